"""`train_many`: many networks at once, each of them bitwise the one that is trained alone."""

import os
import signal
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import fastmlp
from fastmlp.data import encoding
from fastmlp.many.configs import check_configs, merge
from fastmlp.training import shared

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 7)).astype(np.float32)
LABELS = RNG.choice(["a", "b", "c"], 300)
VALUES = RNG.standard_normal((300, 2))
BYTES = (RNG.integers(0, 256, (300, 30)) * (RNG.random((300, 30)) < 0.2)).astype(np.uint8)
SPARSE = scipy.sparse.csr_matrix(RNG.standard_normal((300, 30)) * (RNG.random((300, 30)) < 0.2))

# Settings of one network each, of all kinds.
CONFIGS = [
    {"hidden": (9,), "seed": 0},
    {"hidden": (70, 5), "activation": "tanh", "optimizer": "adam", "seed": 1, "epochs": 5},
    {"hidden": (), "batch_size": 1, "seed": 2},
    {"hidden": (8,), "samples": RNG.permutation(300)[:100], "input_scale": "robust", "seed": 3},
    {"hidden": (8,), "validation": np.arange(50), "input_scale": "standardize", "seed": 4},
    {"hidden": (8,), "validation": 0.2, "dropout": 0.1, "learning_rate": fastmlp.Cosine(0.1), "seed": 5},
    {"hidden": (8,), "callbacks": [fastmlp.callbacks.EarlyStopping("train_loss", patience=1)], "epochs": 20, "seed": 6},
    {"hidden": (8,), "shuffle": "replacement", "l1": 1e-4, "init": "glorot", "seed": 7},
    {"hidden": (8,), "learning_rate": fastmlp.ReduceOnPlateau(0.1, metric="train_loss", patience=1), "seed": 8},
]


def same(one, other):
    """Whether two models have bitwise the same parameters and the same history, but for the time that it took."""
    histories = [{k: np.asarray(v) for k, v in model.history.items() if k != "seconds"} for model in (one, other)]
    np.testing.assert_equal(*histories)
    return one._parameters.buffer.tobytes() == other._parameters.buffer.tobytes()


def alone(config, x, y, **common):
    return fastmlp.train(x, y, **{**common, **config}, threads=1, progress=False)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("x", "y"), [(X, LABELS), (BYTES, LABELS), (X, VALUES)], ids=["labels", "bytes", "regression"])
def test_each_network_is_the_one_that_is_trained_alone(x, y, threads):
    models = fastmlp.train_many(CONFIGS, x, y, threads=threads, batch_size=32, epochs=3)
    assert len(models) == len(CONFIGS)
    for config, model in zip(CONFIGS, models):
        assert same(model, alone(config, x, y, batch_size=32, epochs=3))


def test_networks_of_a_sparse_matrix_are_those_trained_alone():
    configs = [{"seed": 0}, {"seed": 1, "batch_size": 1}, {"seed": 2, "samples": [0, 5, 7, 9, 200]}, {"loss": "mae"}]
    models = fastmlp.train_many(configs[:3], SPARSE, LABELS, threads=2, hidden=(8,), epochs=2)
    for config, model in zip(configs, models):
        assert same(model, alone(config, SPARSE, LABELS, hidden=(8,), epochs=2))


def test_networks_of_a_frame_are_those_trained_alone():
    frame = pd.DataFrame({"number": X[:, 0], "text": RNG.choice(["u", "v", "w"], 300)})
    configs = [{"seed": 0}, {"seed": 1, "samples": np.arange(100)}, {"seed": 2, "input_scale": "standardize"}]
    models = fastmlp.train_many(configs, frame, LABELS, threads=2, hidden=(8,), epochs=2)
    for config, model in zip(configs, models):
        want = alone(config, frame, LABELS, hidden=(8,), epochs=2)
        assert same(model, want)
        np.testing.assert_array_equal(model.predict(frame), want.predict(frame))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_with_an_encoder_as_init_leaves_the_others_alone(threads):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((60, 3)).astype(np.float32), columns=["a", "b", "c"])
    with_gaps, labels = frame.mask(frame > 1), LABELS[:60]
    first = fastmlp.train(with_gaps, labels, hidden=(4,), epochs=1, seed=0, progress=False)
    assert first.encoder is not None
    configs = [{"hidden": (4,), "init": first, "seed": 1}, {"hidden": (4,), "seed": 2}]
    models = fastmlp.train_many(configs, frame, labels, threads=threads, epochs=2)
    assert [model.encoder is None for model in models] == [False, True]
    for config, model in zip(configs, models):
        assert same(model, alone(config, frame, labels, epochs=2))


def test_losses_may_differ():
    losses = [{"loss": loss, "seed": 0} for loss in ("mse", "mae", "huber")]
    for config, model in zip(losses, fastmlp.train_many(losses, X, VALUES, hidden=(8,), epochs=2)):
        assert same(model, alone(config, X, VALUES, hidden=(8,), epochs=2))


def test_the_data_are_checked_and_encoded_once(monkeypatch):
    calls = []

    def counted(module, name):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: calls.append(name) or function(*args))

    counted(shared, "check_features")
    counted(shared, "encode_labels")
    counted(encoding, "coded_rows")
    counted(encoding, "is_sparse")
    configs = [{"seed": seed, "input_scale": 1.0 + seed} for seed in range(8)]
    models = fastmlp.train_many(configs, BYTES, LABELS, threads=3, hidden=(4,), epochs=1)
    assert sorted(calls) == ["check_features", "coded_rows", "encode_labels", "is_sparse"]
    assert [model.input_scale for model in models] == [1.0 + seed for seed in range(8)]
    calls.clear()
    models = fastmlp.train_many(configs, BYTES, LABELS, hidden=(4,), epochs=1, classes=["c", "d", "b", "a"])
    assert calls.count("encode_labels") == 1
    assert [model.classes.tolist() for model in models] == [["a", "b", "c", "d"]] * 8


def test_results_come_when_they_are_there_and_the_list_has_the_order_of_the_configs():
    first_may_end = threading.Event()
    wait = [lambda model: first_may_end.wait(60) and False]
    configs = [{"callbacks": wait, "seed": 0}, {"seed": 1}, {"seed": 2}]
    order = []
    for index, model in fastmlp.iter_many(configs, X, LABELS, threads=2, hidden=(4,), epochs=1):
        assert same(model, alone({"seed": index}, X, LABELS, hidden=(4,), epochs=1))
        order.append(index)
        if len(order) == 2:
            first_may_end.set()
    assert order == [1, 2, 0]


def test_callbacks_that_networks_share_are_copied_for_each():
    stop = fastmlp.callbacks.EarlyStopping("train_loss", patience=1, min_delta=0.01)
    rate = fastmlp.ReduceOnPlateau(0.5, metric="train_loss", patience=0)
    common = {"callbacks": stop, "learning_rate": rate, "epochs": 30, "hidden": (8,)}
    configs = [{"seed": seed} for seed in range(6)]
    models = fastmlp.train_many(configs, X, LABELS, threads=3, **common)
    for config, model in zip(configs, models):
        assert same(model, alone(config, X, LABELS, **common))
    assert len({len(model.history["epoch"]) for model in models}) > 1

    own = fastmlp.callbacks.EarlyStopping("train_loss")
    function = print
    one, other, third = check_configs([{"callbacks": [own, function]}, *[{"callbacks": [stop, function]}] * 2], {})
    assert one["callbacks"] == [own, function]
    assert len({id(stop), id(other["callbacks"][0]), id(third["callbacks"][0])}) == 3
    assert other["callbacks"][1] is function


def test_callbacks_may_be_iterators():
    calls = []
    count = [lambda model: calls.append(model)]
    fastmlp.train_many([{"callbacks": iter(count)}, {}], X, LABELS, hidden=(4,), epochs=2)
    assert len(calls) == 2
    fastmlp.train_many([{"seed": 0}, {"seed": 1}], X, LABELS, hidden=(4,), epochs=2, callbacks=iter(count))
    assert len(calls) == 6


class Log:
    """Refers to another callback."""

    def __init__(self, other):
        self.other = other

    def on_train_end(self, model):
        pass


def test_copied_callbacks_refer_to_the_copies_beside_them():
    stop = fastmlp.callbacks.EarlyStopping("train_loss")
    settings = {"callbacks": [stop, Log(stop), stop]}
    for copied in (*check_configs([settings, settings], {}), merge({}, settings)):
        one, log, last = copied["callbacks"]
        assert one is not stop
        assert log.other is one is last


def test_a_generator_may_yield_the_same_dict_again():
    def configs():
        config = {}
        for width in (2, 3, 4):
            config["hidden"] = (width,)
            yield config

    models = fastmlp.train_many(configs(), X, LABELS, epochs=1)
    assert [model.widths[1] for model in models] == [2, 3, 4]


def test_a_config_may_have_a_checkpoint(tmp_path):
    configs = [{"checkpoint": tmp_path / str(seed), "seed": seed} for seed in range(2)]
    fastmlp.train_many(configs, X, LABELS, hidden=(4,), epochs=2)
    longer = fastmlp.train_many(configs, X, LABELS, hidden=(4,), epochs=4)
    for seed, model in enumerate(longer):
        assert same(model, alone({"seed": seed}, X, LABELS, hidden=(4,), epochs=4))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_says_which_network_it_is_of(threads):
    configs = [{"seed": 0}, {"learning_rate": -1}]
    with pytest.raises(ValueError, match=r"^configs\[1\]: learning_rate must be a finite number > 0, got -1$"):
        fastmlp.train_many(configs, X, LABELS, threads=threads, epochs=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_that_diverges_leaves_the_others_alone_if_asked_to(threads):
    configs = [{"seed": 0}, {"seed": 1, "learning_rate": 1e30}, {"seed": 2}]
    common = {"hidden": (8,), "loss": "mse", "epochs": 3}
    models = fastmlp.train_many(configs, X, VALUES, threads=threads, on_error="return", **common)
    assert isinstance(models[1], fastmlp.DivergenceError)
    assert str(models[1]).startswith("configs[1]: the loss or a weight became NaN or infinite in epoch")
    assert models[1].model.widths == (7, 8, 2)
    for index in (0, 2):
        assert same(models[index], alone(configs[index], X, VALUES, **common))
    with pytest.raises(fastmlp.DivergenceError, match=r"configs\[1\]"):
        fastmlp.train_many(configs, X, VALUES, threads=threads, **common)


def test_the_first_error_ends_all_others():
    def fail(model):
        raise RuntimeError("no more")

    configs = [{"epochs": 10**9}, {"callbacks": [fail]}, *({"epochs": 10**9} for _ in range(5))]
    before = threading.active_count()
    with pytest.raises(RuntimeError, match=r"configs\[1\]: no more"):
        fastmlp.train_many(configs, X, LABELS, threads=2, hidden=(4,))
    assert threading.active_count() == before


def test_closing_the_iterator_ends_all_threads():
    before = threading.active_count()
    networks = fastmlp.iter_many([{"epochs": 1}, *[{"epochs": 10**9}] * 5], X, LABELS, threads=3, hidden=(4,))
    assert next(networks)[0] == 0
    assert threading.active_count() == before + 3
    networks.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_all(threads):
    begun = threading.Event()
    training = [lambda model: begun.set()]

    def interrupt():
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    before = threading.active_count()
    killer = threading.Thread(target=interrupt)
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        fastmlp.train_many([{"epochs": 10**9, "callbacks": training}] * 5, X, LABELS, threads=threads, hidden=(4,))
    killer.join()
    assert threading.active_count() == before


class Watch:
    """Says when training begins, and records how many epochs are complete when it ends."""

    def __init__(self):
        self.begun, self.epochs = threading.Event(), []

    def on_train_begin(self, model):
        self.begun.set()

    def on_train_end(self, model):
        self.epochs.append(len(model.history["epoch"]))


def test_a_long_epoch_is_interrupted_too():
    # an epoch of 60 calls into compiled code, of 5e10 operations each
    x, y = np.zeros((120_000, 50), np.uint8), np.arange(120_000) % 2
    watch = Watch()
    config = {"hidden": (2000, 2000), "batch_size": 2000, "epochs": 1, "callbacks": watch}
    networks = fastmlp.iter_many([{"epochs": 1, "hidden": (2,)}, config], x, y, threads=2)
    next(networks)
    assert watch.begun.wait(60)
    networks.close()
    assert watch.epochs == [0]


@pytest.mark.parametrize(
    ("configs", "common", "error", "match"),
    [
        ([{"hiden": 3}], {}, TypeError, r"configs\[0\] must hold settings of fastmlp.train, got 'hiden'"),
        ([{}, {"threads": 2}], {}, ValueError, r"configs\[1\] must not hold 'threads', which all networks share"),
        ([{}, {"x": 2}], {}, ValueError, r"configs\[1\] must not hold 'x'"),
        ([{}], {"progress": True}, ValueError, "train_many must not hold 'progress'"),
        ([{}], {"rate": 1}, TypeError, "train_many must hold settings of fastmlp.train, got 'rate'"),
        ({}, {}, TypeError, "configs must be a list of dicts of fastmlp.train's settings, got dict"),
        (3, {}, TypeError, "configs must be a list of dicts"),
        ([3], {}, TypeError, r"configs\[0\] must be a dict of fastmlp.train's settings, got 3"),
        ([{}], {"communicator": 3}, ValueError, "train_many must not hold 'communicator', as each network is trained"),
        ([{}, {}], {"checkpoint": "a"}, ValueError, r"configs\[1\] must have a checkpoint folder of its own, got 'a'"),
        ([{"checkpoint": "a/"}, {"checkpoint": "a"}], {}, ValueError, r"got 'a', which is that of configs\[0\]"),
        ([{}], {"on_error": "ignore"}, ValueError, "on_error must be one of 'raise', 'return', got 'ignore'"),
        ([{}], {"threads": 0}, ValueError, "threads must be an integer >= 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_training(configs, common, error, match):
    with pytest.raises(error, match=match):
        fastmlp.train_many(configs, X, LABELS, **common)


def test_no_configs_make_no_models():
    assert fastmlp.train_many([], X, LABELS) == []
