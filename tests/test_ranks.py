"""One network trained by several ranks, which are threads here; `test_mpi.py` has real processes."""

import numpy as np
import pytest
import scipy.sparse
from thread_communicator import Aborted, on_ranks

import fastmlp
from fastmlp import reference
from fastmlp.engine.executor import Executor
from fastmlp.errors import RankError
from fastmlp.training.data import rank_batch_size, rank_part
from fastmlp.training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((93, 12)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
NUMBERS = np.stack([np.sin(X[:, 0]), X[:, 1]], axis=1)
WEIGHTS = RNG.integers(0, 3, 93)
PIXELS = (RNG.integers(0, 256, (93, 12)) * (RNG.random((93, 12)) < 0.3)).astype(np.uint8)
FIXED = {"hidden": (70, 9), "batch_size": 20, "epochs": 2, "seed": 0, "learning_rate": 0.02, "activation": "tanh"}


def train_on(n_ranks, x=X, y=Y, **arguments):
    """The models of all ranks, which are the same."""
    models = on_ranks(n_ranks, lambda communicator: fastmlp.train(x, y, communicator=communicator, **arguments))
    for model in models:
        if isinstance(model, BaseException):
            raise model
        assert repr(model.history) == repr(models[0].history)  # NaN included
        for got, want in zip(model.weights + model.biases, models[0].weights + models[0].biases):
            np.testing.assert_array_equal(got, want)
    return models


def assert_same(got, want, tolerance=2e-6):
    for ours, theirs in zip(got.weights + got.biases, want.weights + want.biases):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
    np.testing.assert_allclose(got.history["train_loss"], want.history["train_loss"], rtol=1e-5)
    assert got.history["train_accuracy"] == pytest.approx(want.history["train_accuracy"], abs=0.02, nan_ok=True)


@pytest.mark.parametrize(
    ("x", "y", "more"),
    [
        (X, Y, {}),
        (X, Y, {"optimizer": fastmlp.SGD(momentum=0.9, nesterov=True, weight_decay=0.1)}),
        (X, Y, {"optimizer": fastmlp.Adam(eps=1e-3), "clip_norm": 0.1, "l2": 0.1, "l1": 0.01}),
        (X, Y, {"optimizer": fastmlp.RMSprop(eps=1e-3), "max_norm": 0.5, "sample_weight": WEIGHTS}),
        (X, Y, {"learning_rate": fastmlp.OneCycle(0.1), "shuffle": "replacement", "class_weight": "balanced"}),
        (X, NUMBERS, {"validation": 0.2, "input_scale": "standardize", "hidden": ()}),
        (PIXELS, Y, {"init": "glorot", "label_smoothing": 0.1}),
        (scipy.sparse.csr_matrix(PIXELS), Y, {"batch_size": 4}),
    ],
)
def test_gradients_of_every_step_give_the_result_of_one_process(x, y, more):
    arguments = {**FIXED, **more}
    want = fastmlp.train(x, y, **arguments)
    for n_ranks in (2, 4):
        got = train_on(n_ranks, x, y, **arguments)[0]
        assert_same(got, want)
        np.testing.assert_allclose(got.history["validation_loss"], want.history["validation_loss"], rtol=1e-5)


def averaged(n_ranks, average_every, start, momentum, batch_size, rate):
    """An epoch in float64, with the reference's steps: weights and velocities, averaged over ranks."""
    parameters = [[np.array(array, np.float64) for array in pair] for pair in start]
    velocities = [[np.zeros_like(array) for array in pair] for pair in parameters]
    rule = reference.set_rate(reference.rule_of(fastmlp.SGD(momentum))[0], rate, 1)
    starts = range(0, len(X), batch_size)
    for first in range(0, len(starts), average_every):
        pieces = [np.arange(s, min(s + batch_size, len(X))) for s in starts[first : first + average_every]]
        sums, total = None, 0
        for rank in range(n_ranks):
            own = [[array.copy() for array in pair] for pair in parameters]
            velocity = [[array.copy() for array in pair] for pair in velocities]
            n_own = 0
            for piece in pieces:
                part = np.array_split(piece, n_ranks)[rank]
                n_own += len(part)
                if len(part):
                    reference.train_step(
                        X[part].astype(np.float64), Y[part], [w for w, _ in own], [b for _, b in own], velocity,
                        ["tanh", "identity"], "cross_entropy", rule,
                    )  # fmt: skip
            flat = [array * n_own for pair in (*own, *velocity) for array in pair]
            sums = flat if sums is None else [a + b for a, b in zip(sums, flat)]
            total += n_own
        flat = iter(array / total for array in sums)
        parameters = [[next(flat), next(flat)] for _ in parameters]
        velocities = [[next(flat), next(flat)] for _ in velocities]
    return parameters


@pytest.mark.parametrize(("n_ranks", "average_every", "batch_size"), [(2, 2, 20), (3, 4, 7), (4, 100, 23), (4, 2, 5)])
def test_parameters_and_state_are_averaged_every_so_many_steps(n_ranks, average_every, batch_size):
    start = [(RNG.standard_normal((12, 70)) / 4, np.zeros(70)), (RNG.standard_normal((70, 3)) / 8, np.zeros(3))]
    got = train_on(
        n_ranks, hidden=(70,), activation="tanh", batch_size=batch_size, epochs=1, learning_rate=0.1, init=start,
        optimizer=fastmlp.SGD(0.9), shuffle=False, average_every=average_every,
    )[0]  # fmt: skip
    want = averaged(n_ranks, average_every, start, 0.9, batch_size, 0.1)
    for (weight, bias), ours, theirs in zip(want, got.weights, got.biases):
        np.testing.assert_allclose(ours, weight, atol=2e-5)
        np.testing.assert_allclose(theirs, bias, atol=2e-5)


@pytest.mark.parametrize("average_every", [1, 3])
def test_adaptive_optimizers_and_dropout_learn(average_every):
    arguments = {**FIXED, "optimizer": "adam", "dropout": 0.2, "epochs": 20, "average_every": average_every}
    first, second = (train_on(3, **arguments)[0] for _ in range(2))
    assert first.evaluate(X, Y).accuracy > 0.9
    for one, two in zip(first.weights, second.weights):  # the same seed, and the same number of ranks
        np.testing.assert_array_equal(one, two)


def test_no_rank_is_without_work_but_in_a_short_last_batch():
    samples = np.arange(93)
    for batch_size in range(1, 40):
        for n_ranks in range(1, batch_size + 1):
            parts = [rank_part(samples, batch_size, rank, n_ranks) for rank in range(n_ranks)]
            assert sorted(np.concatenate(parts)) == list(samples)
            for rank, part in enumerate(parts):
                own = rank_batch_size(batch_size, rank, n_ranks)
                assert own >= 1
                for step, start in enumerate(range(0, 93, batch_size)):  # as the executor cuts them
                    batch = part[step * own : (step + 1) * own]
                    assert set(batch) <= set(samples[start : start + batch_size])


@pytest.mark.parametrize("average_every", [1, 2])
def test_a_run_is_resumed_with_another_number_of_ranks(average_every, tmp_path):
    arguments = {**FIXED, "optimizer": fastmlp.SGD(0.9), "average_every": average_every, "checkpoint": tmp_path}
    train_on(4, **{**arguments, "epochs": 2})
    train_on(2, **{**arguments, "epochs": 3})
    alone = fastmlp.train(X, Y, **{**arguments, "epochs": 4})
    got = train_on(3, **{**arguments, "epochs": 5})[0]
    assert got.history["train_loss"][:4] == alone.history["train_loss"]
    want = fastmlp.train(X, Y, **{**arguments, "epochs": 5, "checkpoint": None})
    if average_every == 1:
        assert_same(got, want, 1e-5)
    assert got.history["epoch"] == want.history["epoch"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000004.safetensors", "epoch-000005.safetensors"]


def test_a_model_is_trained_further_by_one_process():
    arguments = {**FIXED, "optimizer": fastmlp.SGD(0.9)}
    want = fastmlp.train(X, Y, **arguments)
    want.partial_fit(X, Y)
    for model in train_on(2, **arguments):
        model.partial_fit(X, Y)
        assert_same(model, want, 1e-5)


def test_rank_0_calls_callbacks_which_may_change_the_model_and_end_training():
    calls = []

    def train(communicator):
        def callback(model):
            calls.append(communicator.Get_rank())
            model.biases[-1][:] = 7
            model.history.setdefault("own", []).append(1)
            return len(calls) == 2

        return fastmlp.train(X, Y, communicator=communicator, callbacks=callback, **{**FIXED, "epochs": 9})

    models = on_ranks(3, train)
    assert calls == [0, 0]
    for model in models:
        assert len(model.history["epoch"]) == len(model.history["own"]) == 2
        assert (model.biases[-1] == 7).all()


def break_rank(monkeypatch, cls, method, error, rank=1, after=3):
    """Have a method raise an error on one rank."""
    original = getattr(cls, method)

    def broken(self, *arguments):
        self.calls = getattr(self, "calls", 0) + 1
        if getattr(self, "fails", False) and self.calls > after:
            raise error
        return original(self, *arguments)

    monkeypatch.setattr(cls, method, broken)
    new_executor = Trainer._new_executor

    def marked(self, seed):
        executor = new_executor(self, seed)
        executor.fails = self.fails = self.ranks.rank == rank
        return executor

    monkeypatch.setattr(Trainer, "_new_executor", marked)


@pytest.mark.parametrize("average_every", [1, 2])
def test_an_error_of_one_rank_is_raised_on_all(monkeypatch, average_every):
    break_rank(monkeypatch, Executor, "train_packed", MemoryError("no room"))
    results = on_ranks(
        3, lambda each: fastmlp.train(X, Y, communicator=each, average_every=average_every, **{**FIXED, "epochs": 9})
    )
    assert [type(result) for result in results] == [RankError, MemoryError, RankError]
    assert str(results[0]) == "rank 1 of 3 failed, which ends all: MemoryError: no room"


def test_an_interrupt_of_one_rank_ends_all_with_the_last_complete_epoch(monkeypatch):
    want = train_on(3, **{**FIXED, "epochs": 1})[0]
    break_rank(monkeypatch, Executor, "train_packed", KeyboardInterrupt(), after=7)  # an epoch has 5 steps
    for model in on_ranks(3, lambda each: fastmlp.train(X, Y, communicator=each, **{**FIXED, "epochs": 9})):
        assert model.interrupted
        assert model.history["epoch"] == [1]
        np.testing.assert_array_equal(model.weights[0], want.weights[0])


def test_an_error_that_the_others_do_not_expect_aborts(monkeypatch, capsys):
    break_rank(monkeypatch, Trainer, "_pack", MemoryError("no room"), after=0)
    results = on_ranks(3, lambda each: fastmlp.train(X, Y, communicator=each, **FIXED))
    assert [type(result) for result in results] == [Aborted, MemoryError, Aborted]
    assert "MemoryError: no room\nfastmlp: rank 1 of 3 failed, which ends all" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_raised_on_all():
    x = X.copy()
    x[40] = 1e30  # in the part of one rank
    results = on_ranks(
        4, lambda each: fastmlp.train(x, NUMBERS, communicator=each, **{**FIXED, "shuffle": False, "hidden": ()})
    )
    for result in results:
        assert isinstance(result, fastmlp.DivergenceError)
        assert result.epoch == 1


@pytest.mark.parametrize(
    ("of_rank", "match"),
    [
        (lambda rank: {"batch_size": 20 + rank}, "batch_size must be the same on all ranks, got 21 on rank 1 and 20"),
        (lambda rank: {"epochs": 2 + rank}, "epochs must be the same on all ranks"),
        (lambda rank: {"validation": 0.1 if rank else None}, "validation must be the same"),
        (lambda rank: {"checkpoint": None if rank else "folder"}, "checkpoint must be the same"),
        (lambda rank: {"sample_weight": WEIGHTS + rank}, "sample_weight must be the same"),
        (lambda rank: {"optimizer": "sgd" if rank else "adma"}, "optimizer must be one of"),
        (lambda rank: {"batch_size": 1}, "must be at least as many as the ranks, 2, got 1"),
        (lambda rank: {"loss": "notebook"}, "communicator needs a loss of single samples, but 'notebook'"),
        (lambda rank: {"average_every": 0}, "average_every must be an integer >= 1, got 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_on_all(of_rank, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = on_ranks(2, lambda each: fastmlp.train(X, Y, communicator=each, **{**FIXED, **of_rank(each.Get_rank())}))
    assert all(isinstance(result, (ValueError, RankError)) for result in results)
    assert any(isinstance(result, ValueError) for result in results)
    assert match in str(results[0])
    assert not (tmp_path / "folder").exists()


def test_streams_and_other_objects_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for result in on_ranks(2, lambda each: fastmlp.train(mapped, Y, communicator=each, shuffle_buffer=10, **FIXED)):
        assert "communicator needs x in memory" in str(result)
    with pytest.raises(TypeError, match=r"communicator must be one of mpi4py's, such as .*COMM_WORLD, got int"):
        fastmlp.train(X, Y, communicator=3)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"ema_decay": 0.9}, "ema_decay must be 0 with a communicator of several processes, got 0.9"),
        (
            {"scale_rate_factor": 6.0},
            "scale_rate_factor must be None with a communicator of several processes, got 6.0",
        ),
    ],
)
def test_what_only_one_process_can_do_is_refused(settings, match):
    for result in on_ranks(2, lambda each: fastmlp.train(X, Y, communicator=each, **{**FIXED, **settings})):
        assert match in str(result)


def test_a_communicator_of_one_changes_no_bit():
    got, want = train_on(1, **FIXED)[0], fastmlp.train(X, Y, **FIXED)
    for ours, theirs in zip(got.weights, want.weights):
        np.testing.assert_array_equal(ours, theirs)
