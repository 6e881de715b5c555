"""The state of a training run: copies, checkpoints, and what an error must leave as it was."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.executor import Executor
from fastmlp.engine.training_state import TrainingState

X = (np.arange(60 * 4) * 7919 % 101 / 101).reshape(60, 4).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 1).astype(int) + (X[:, 2] > 0.8)


def arguments():
    plateau = fastmlp.ReduceOnPlateau(0.1, 0.5, patience=1, metric="validation_accuracy")
    stopping = fastmlp.callbacks.EarlyStopping("validation_loss", patience=4, min_delta=0.01)
    return {
        "hidden": (3,), "batch_size": 16, "seed": 3, "epochs": 12, "optimizer": "adam", "dropout": 0.3,
        "validation": 0.25, "metrics": ["top_2"], "learning_rate": fastmlp.Warmup(plateau, 2), "callbacks": [stopping],
    }  # fmt: skip


def trained(**more):
    """A model that `partial_fit` has an executor for, and its state."""
    model = fastmlp.train(X, Y, **{**arguments(), "epochs": 2, **more})
    model.partial_fit(X, Y)
    return model, model._training_state


def values(state):
    """All of a state that training changes."""
    kept = state.to_checkpoint()
    return json.dumps(kept[0]), kept[1]["state"].tobytes()


def test_a_copy_stays_and_restores_what_training_changes():
    model, state = trained()
    saved, wanted = state.copy(), values(state)
    parameters = model._parameters.buffer.copy()
    model.partial_fit(X, Y)
    after = values(state), model._parameters.buffer.tobytes()
    assert after[0] != wanted
    assert values(saved) == wanted
    state.restore(saved)
    model._parameters.buffer[:] = parameters
    assert values(state) == wanted
    model.partial_fit(X, Y)  # from the same state the same happens
    assert (values(state), model._parameters.buffer.tobytes()) == after


def test_errors_and_ctrl_c_restore_state_and_parameters():
    model, state = trained()
    wanted = values(state), model._parameters.buffer.tobytes()

    def train(error):
        with state.restored_after_errors(model._parameters):
            state.executor.train(state.rng.permutation(60), np.full(4, 0.1, np.float32))
            assert (values(state), model._parameters.buffer.tobytes()) != wanted
            raise error

    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            train(error)
        assert (values(state), model._parameters.buffer.tobytes()) == wanted


def test_a_checkpoint_of_the_state_is_json_and_arrays_and_continues():
    _, state = trained()
    kept, arrays = state.to_checkpoint()
    _, other = trained(seed=8)
    assert values(other) != values(state)
    other.load_checkpoint(json.loads(json.dumps(kept)), {name: array.copy() for name, array in arrays.items()})
    assert values(other) == values(state)
    assert other.executor.n_updates == state.executor.n_updates > 0


def test_pickles_and_detached_states_have_no_executor():
    _, state = trained()
    wanted = values(state)
    other = pickle.loads(pickle.dumps(state))
    assert other.executor is None
    assert values(other) == wanted
    assert isinstance(state.executor, Executor)
    state.detach()
    assert state.executor is None
    assert values(state) == wanted


def test_an_executor_continues_from_the_state():
    model, state = trained()
    wanted = values(state)
    state.detach()
    executor = state.executor_for(model._parameters, model.activations, model.loss, 60, 7)
    assert (executor.batch_size, values(state)) == (7, wanted)
    assert state.executor_for(model._parameters, model.activations, model.loss, 60, 7) is executor
    assert state.executor_for(model._parameters, model.activations, model.loss, 60, 9) is not executor
    assert values(state) == wanted


def test_a_new_state_begins_with_zeros():
    model, _ = trained()
    state = TrainingState({"batch_size": 8, "optimizer": fastmlp.Adam()}, np.random.default_rng(0))
    executor = state.executor_for(model._parameters, model.activations, model.loss, 60)
    assert (executor.batch_size, executor.n_updates) == (8, 0)
    assert state.optimizer_state is executor.optimizer_state
    assert not state.optimizer_state.any()


def test_checkpoints_of_an_earlier_version_are_resumed(tmp_path):
    """Of epoch 3, when callbacks kept the best value with another sign, and not how long they had waited."""
    shutil.copytree(Path(__file__).parent / "files" / "checkpoint-1", tmp_path / "run")
    epochs = []
    more = arguments()
    more["callbacks"].append(lambda model: epochs.append(model.history["epoch"][-1]))
    resumed = fastmlp.train(X, Y, checkpoint=tmp_path / "run", **more)
    whole = fastmlp.train(X, Y, **arguments())
    assert epochs == whole.history["epoch"][3:]
    # not bitwise: the checkpoint is from another machine
    for name in whole.history.keys() - {"seconds"}:
        np.testing.assert_allclose(resumed.history[name], whole.history[name], rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(resumed.predict_proba(X), whole.predict_proba(X), rtol=1e-4)
