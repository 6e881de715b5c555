import numpy as np
import pytest
from helpers import Memory, normal

from fastmlp import reference
from fastmlp.kernels.ops import losses
from fastmlp.kernels.step import regions
from fastmlp.losses import CODES, ELEMENTWISE, LOSSES

ELEMENTS = list(ELEMENTWISE)
SHAPES = [(1, 2), (15, 3), (16, 10), (17, 16), (33, 17), (20, 33), (9, 65), (5, 100)]


def by_rows(name, *more):
    """A loss as a function of everything up to the rows first..last-1."""
    if name in ELEMENTS:
        more = CODES[name], np.float32(more[0] if more else 1)
        return lambda *arguments: losses.elementwise(*arguments, *more)
    more = (np.float32(more[0] if more else 0),) if name == "cross_entropy" else ()
    return lambda *arguments: getattr(losses, name)(*arguments, *more)


def targets_of(name, rng, *shape):
    if name == "binary_cross_entropy":
        return rng.integers(0, 2, shape).astype(np.float32)
    values = normal(rng, *shape)
    return np.abs(values) if name == "poisson" else values


def run(name, logits, target, *more):
    work = Memory(100_000)
    n = len(logits)
    logits_at, capacity = work.panels(logits), -(-n // 16) * 16
    rows = work.take(3 * capacity)
    # the batch lies somewhere in the data set, in some order
    rng = np.random.default_rng(1)
    samples, start = rng.permutation(n + 5).astype(np.int64), 3
    everything = np.zeros((n + 5, *target.shape[1:]), target.dtype)
    everything[samples[start : start + n]] = target
    behind = np.full(16 if name in ELEMENTS else 0, np.nan, target.dtype if name in ELEMENTS else np.float32)
    everything = np.concatenate([everything.ravel(), behind.astype(target.dtype)])
    arguments = work.array, logits_at, everything, samples, start, rows, capacity
    if name == "notebook":
        losses.notebook(*arguments)
    else:
        half = n // 2 // 16 * 16
        for first, last in ((half, n), (0, half)):
            by_rows(name, *more)(*arguments, first, last)
    loss = work.array[rows : rows + n]
    predicted = work.array[rows + capacity : rows + capacity + n]
    return loss, predicted, work.read(logits_at)


@pytest.mark.parametrize("name", ["cross_entropy", "softmax_mse", "notebook"])
@pytest.mark.parametrize(("n", "n_classes"), SHAPES)
@pytest.mark.parametrize("scale", [1, 30])
def test_losses_of_classes(name, n, n_classes, scale):
    if (
        name == "notebook"
    ):  # takes one maximum for the whole batch: float32's exponentials of logits far apart underflow
        scale = min(scale, 8)
    rng = np.random.default_rng(0)
    logits, labels = scale * normal(rng, n, n_classes), rng.integers(0, n_classes, n).astype(np.int32)
    logits[0] = 0.5  # all classes equal: the first one is predicted
    got = run(name, logits, labels)
    want = getattr(reference, name)(logits.astype(np.float64), labels)
    np.testing.assert_allclose(got[0], want[0], rtol=2e-5, atol=1e-5)
    if name != "notebook":
        np.testing.assert_array_equal(got[1], want[1])
    np.testing.assert_allclose(got[2], want[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n", "n_outputs"), [(1, 1), (17, 1), (16, 3), (9, 65)])
@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("delta", [1, 0.3])
def test_losses_of_elements(n, n_outputs, name, delta):
    rng = np.random.default_rng(0)
    out, targets = normal(rng, n, n_outputs), targets_of(name, rng, n, n_outputs)
    out[0, 0] = targets[0, 0] + 1  # where one half of Huber's loss meets the other
    got = run(name, out, targets, delta)
    want = reference.elementwise(out.astype(np.float64), targets.astype(np.float64), name, delta)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-6)
    np.testing.assert_allclose(got[2], want[2], rtol=1e-5, atol=1e-7)


def test_binary_cross_entropy_far_from_zero_is_finite_and_exact():
    out, targets = np.float32([[80, -80, 80, -80, 0]]), np.float32([[1, 0, 0, 1, 1]])
    loss, right, gradient = run("binary_cross_entropy", out, targets)
    np.testing.assert_allclose(loss, [(160 + np.log(2)) / 5], rtol=1e-6)
    np.testing.assert_allclose(right, [0.4])
    np.testing.assert_allclose(gradient, [[0, 0, 0.2, -0.2, -0.1]], atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
@pytest.mark.parametrize(("n", "n_classes"), SHAPES)
def test_label_smoothing(n, n_classes, smoothing):
    rng = np.random.default_rng(0)
    logits, labels = normal(rng, n, n_classes), rng.integers(0, n_classes, n).astype(np.int32)
    got = run("cross_entropy", logits, labels, smoothing)
    want = reference.cross_entropy(logits.astype(np.float64), labels, smoothing)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("zeros", [False, True])
def test_losses_and_gradients_are_weighed(zeros):
    rng, work = np.random.default_rng(0), Memory(50_000)
    gradient, loss = normal(rng, 20, 37), normal(rng, 20)
    weights = np.zeros(30, np.float32) if zeros else rng.random(30).astype(np.float32)
    samples, at, rows = rng.permutation(30), work.panels(gradient), work.take(3 * 32)
    work.array[rows : rows + 20] = loss
    for first, last in ((16, 20), (0, 16)):
        losses.weigh(work.array, at, weights, samples, 5, rows, 32, first, last)
    want_loss, want = reference.weigh(loss.astype(float), gradient.astype(float), weights[samples[5:25]])
    np.testing.assert_allclose(work.array[rows : rows + 20], want_loss, rtol=1e-6)
    np.testing.assert_allclose(work.read(at), want, rtol=1e-5)
    assert np.isnan(work.array[rows + 20 : rows + 32]).all()


@pytest.mark.parametrize("name", ["cross_entropy", "softmax_mse", "notebook"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_loss(name, bad):
    logits = np.zeros((4, 3), np.float32)
    logits[2, 1] = bad
    with np.errstate(invalid="ignore"):  # NumPy warns where it stands in for compiled code
        assert not np.isfinite(run(name, logits, np.zeros(4, np.int32))[0]).all()


@pytest.mark.parametrize("name", ["softmax", "batch_softmax"])
def test_softmaxes(name):
    rng, work = np.random.default_rng(0), Memory(50_000)
    logits = 5 * normal(rng, 19, 21)
    logits_at = work.panels(logits)
    getattr(losses, name)(work.array, logits_at, *((0, 19) if name == "softmax" else ()))
    want = getattr(reference, name)(logits.astype(np.float64))
    np.testing.assert_allclose(work.read(logits_at), want, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["cross_entropy", *ELEMENTS])
@pytest.mark.parametrize("setting", [0, 0.3])
def test_gradients_of_the_reference_are_those_of_its_loss(name, setting):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4, 3))
    labels = name == "cross_entropy"
    target = rng.integers(0, 3, 4) if labels else targets_of(name, rng, 4, 3).astype(float)
    setting = setting if labels else setting + 0.5  # label smoothing; Huber's delta
    gradient = getattr(reference, name)(z, target, setting)[2]
    for i in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[i] = 1e-6
        up, down = (getattr(reference, name)(z + s, target, setting)[0].mean() for s in (step, -step))
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-7)


@pytest.mark.parametrize(("name", "softmax"), [("softmax_mse", "softmax"), ("notebook", "batch_softmax")])
def test_squares_go_back_through_the_diagonal_of_the_softmaxs_jacobian(name, softmax):
    rng = np.random.default_rng(0)
    z, labels, step = rng.standard_normal((4, 3)), rng.integers(0, 3, 4), 1e-6
    p, gradient = getattr(reference, softmax)(z), getattr(reference, name)(z, labels)[2]
    for i, j in np.ndindex(*z.shape):
        up, down = z.copy(), z.copy()
        up[i, j] += step
        down[i, j] -= step
        slope = (getattr(reference, softmax)(up)[i, j] - getattr(reference, softmax)(down)[i, j]) / (2 * step)
        want = 2 * (p[i, j] - (labels[i] == j)) / len(z) * slope
        assert gradient[i, j] == pytest.approx(want, abs=1e-8)


@pytest.mark.parametrize("n_classes", [2, 16, 17, 65])
def test_the_predicted_class_is_the_first_of_the_largest(n_classes):
    logits = np.eye(n_classes, dtype=np.float32) - 1
    twice = logits.copy()
    twice[:, -1] = 0  # as large as the one on the diagonal, and behind it
    for values in (logits, twice):
        _, predicted, _ = run("cross_entropy", values, np.zeros(n_classes, np.int32))
        np.testing.assert_array_equal(predicted, np.arange(n_classes))


def test_logits_far_apart_give_finite_losses_and_gradients():
    logits, labels = np.float32([[0, 1e4, -1e4], [3e38, 0, -3e38], [-1e4, -1e4, -1e4]]), np.array([1, 0, 2], np.int32)
    with np.errstate(over="ignore"):  # 3e38 + 3e38: NumPy warns where it stands in for compiled code
        loss, predicted, gradient = run("cross_entropy", logits, labels)
    np.testing.assert_allclose(loss, [0, 0, np.log(3)], rtol=1e-6)
    np.testing.assert_array_equal(predicted, [1, 0, 0])
    np.testing.assert_allclose(gradient, np.float32([[0, 0, 0], [0, 0, 0], [1, 1, -2]]) / 9, atol=1e-7)


@pytest.mark.parametrize("name", ["cross_entropy", "softmax_mse", *ELEMENTS])
@pytest.mark.parametrize(("first", "last"), [(16, 32), (32, 35)])
def test_rows_outside_of_the_share_are_left_alone(name, first, last):
    rng, work = np.random.default_rng(0), Memory(50_000)
    logits = normal(rng, 35, 5)
    logits_at, rows = work.panels(logits), work.take(3 * 48)
    work.array[rows : rows + 3 * 48] = 7  # not NaN, which stays NaN whatever is added
    labels = rng.integers(0, 5, 35).astype(np.int32)
    target = targets_of(name, rng, 35 * 5 + 16) if name in ELEMENTS else labels
    by_rows(name)(work.array, logits_at, target, np.arange(35), 0, rows, 48, first, last)
    changed = (work.read(logits_at) != logits).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed), np.arange(first, last))
    written = np.flatnonzero(work.array[rows : rows + 35] != 7)
    np.testing.assert_array_equal(written, np.arange(first, last))


def test_kernels_and_reference_agree_with_the_table():
    assert set(LOSSES) == set(reference.LOSSES)
    assert set(ELEMENTWISE) == set(reference.ELEMENTWISE)
    assert {CODES[name] for name in ELEMENTWISE} == set(losses.ELEMENTWISE)
    assert len(set(CODES.values())) == len(LOSSES)
    assert set(CODES.values()) == set(regions.LOSS_ENTRIES)


def test_an_unknown_loss_of_elements_gives_nan():
    rng, work = np.random.default_rng(0), Memory(10_000)
    out = work.panels(normal(rng, 3, 5))
    targets, rows = np.zeros(15 + 16, np.float32), work.take(3 * 16)
    unknown = max(CODES.values()) + 1
    losses.elementwise(work.array, out, targets, np.arange(3), 0, rows, 16, 0, 3, unknown, np.float32(1))
    assert np.isnan(work.read(out)).all()
    assert np.isnan(work.array[rows : rows + 3]).all()
