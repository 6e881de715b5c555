import numpy as np
import pytest
from helpers import Memory, normal

from fastmlp import reference
from fastmlp.kernels import losses

SHAPES = [(1, 2), (15, 3), (16, 10), (17, 16), (33, 17), (20, 33), (9, 65), (5, 100)]


def run(name, logits, target):
    work = Memory(100_000)
    n = len(logits)
    logits_at, capacity = work.panels(logits), -(-n // 16) * 16
    rows = work.take(3 * capacity)
    # the batch lies somewhere in the data set, in some order
    rng = np.random.default_rng(1)
    samples, start = rng.permutation(n + 5).astype(np.int64), 3
    everything = np.zeros((n + 5, *target.shape[1:]), target.dtype)
    everything[samples[start : start + n]] = target
    arguments = work.array, logits_at, everything.ravel(), samples, start, rows, capacity
    if name == "notebook":
        losses.notebook(*arguments)
    else:
        half = n // 2 // 16 * 16
        for first, last in ((half, n), (0, half)):
            getattr(losses, name)(*arguments, first, last)
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
def test_mse(n, n_outputs):
    rng = np.random.default_rng(0)
    out, targets = normal(rng, n, n_outputs), normal(rng, n, n_outputs)
    got = run("mse", out, targets)
    want = reference.mse(out.astype(np.float64), targets.astype(np.float64))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    np.testing.assert_allclose(got[2], want[2], rtol=1e-5, atol=1e-7)


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


@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_gradients_of_the_reference_are_those_of_its_loss(name):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4, 3))
    target = rng.integers(0, 3, 4) if name == "cross_entropy" else rng.standard_normal((4, 3))
    gradient = getattr(reference, name)(z, target)[2]
    for i in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[i] = 1e-6
        up, down = (getattr(reference, name)(z + s, target)[0].mean() for s in (step, -step))
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-7)
