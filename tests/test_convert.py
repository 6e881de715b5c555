import copy
import sys

import numpy as np
import pytest
from helpers import import_or_skip
from networks import ALL_ACTIVATIONS, ALL_LOSSES, REGRESSIONS, InputScale, outputs, random_model

import fastmlp
from fastmlp.activations import ACTIVATIONS

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


@pytest.fixture
def torch():
    torch = import_or_skip("torch")
    torch.manual_seed(0)
    return torch


def torch_outputs(module, x=X):
    import torch

    module.eval()
    with torch.no_grad():
        return module(torch.tensor(x)).numpy()


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
def test_every_activation_from_torch(torch, activation):
    nn = torch.nn
    name, arguments = ACTIVATIONS[activation].torch
    module = nn.Sequential(nn.Linear(4, 9), getattr(nn, name)(**arguments), nn.Linear(9, 3))
    model = fastmlp.from_torch(module)
    assert (model.activations, model.loss, model.classes) == ((activation,), "mse", None)
    close(outputs(model, 3 * X), torch_outputs(module, 3 * X))


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("dim", [1, -1])
def test_a_torch_classifier(torch, last, dim):
    nn = torch.nn
    relu = nn.ReLU()  # one module in two places
    inner = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 6), relu)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 8), nn.AlphaDropout(), relu, nn.Sequential(inner, nn.Identity(), nn.Linear(6, 3)),
        getattr(nn, last)(dim=dim),
    )  # fmt: skip
    model = fastmlp.from_torch(module)
    assert (model.widths, model.activations, model.loss) == ((4, 8, 6, 3), ("relu", "relu"), "cross_entropy")
    assert model.classes.tolist() == [0, 1, 2]
    want = torch_outputs(module)
    close(model.predict_proba(X), want if last == "Softmax" else np.exp(want))
    with torch.no_grad():
        module[1].weight.zero_()
    assert np.abs(model.weights[0]).min() > 0  # copies


def test_what_torch_does_not_say_is_said_by_classes(torch):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    regression = fastmlp.from_torch(module, input_scale=0.5)
    assert (regression.loss, regression.classes, regression.input_scale) == ("mse", None, 0.5)
    close(regression.predict(2 * X), torch_outputs(module))

    names = ["cat", "dog", "ape"]
    model = fastmlp.from_torch(module, classes=names)
    assert (model.loss, model.classes.tolist()) == ("cross_entropy", ["ape", "cat", "dog"])
    z = torch_outputs(module)
    labels = np.array(names)[z.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), labels)
    close(model.predict_proba(X), torch.softmax(torch.tensor(z[:, [2, 0, 1]]), 1).numpy())
    assert model.evaluate(X, labels).accuracy == 1

    with pytest.raises(ValueError, match="classes must be 3 different integers or strings, got"):
        fastmlp.from_torch(module, classes=[0, 1])
    with pytest.raises(ValueError, match="classes must be 3 different integers or strings, got"):
        fastmlp.from_torch(module, classes=[0, 1, 1])
    with pytest.raises(ValueError, match="classes must be 3 different integers or strings, got"):
        fastmlp.from_torch(module, classes=[0.5, 1, 2])
    with pytest.raises(ValueError, match="input_scale must be"):
        fastmlp.from_torch(module, input_scale=-1)


@pytest.mark.parametrize("sigmoid", [True, False])
def test_a_single_output_with_two_classes(torch, sigmoid):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), *[nn.Sigmoid()] * sigmoid)
    model = fastmlp.from_torch(module, classes=["yes", "no"])
    assert (model.loss, model.classes.tolist(), model.widths) == ("cross_entropy", ["no", "yes"], (4, 8, 2))
    p = torch_outputs(module) if sigmoid else torch.sigmoid(torch.tensor(torch_outputs(module))).numpy()
    close(model.predict_proba(X), np.hstack([p, 1 - p]))
    assert set(model.predict(X)) == {"no", "yes"}
    for bad in ([1], [1, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match=r"classes must be (None for .*, or )?2 "):
            fastmlp.from_torch(module, classes=bad)


def test_a_last_sigmoid_is_for_several_labels(torch):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3, bias=False), nn.Sigmoid())
    model = fastmlp.from_torch(module)
    assert (model.loss, model.activations, model.classes) == ("binary_cross_entropy", ("sigmoid",), None)
    close(outputs(model, X), torch_outputs(module))
    with pytest.raises(ValueError, match="classes must be None for outputs with sigmoid, got"):
        fastmlp.from_torch(module, classes=["a", "b", "c"])


def test_linear_layers_alone(torch):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 3, bias=False)).double()
    model = fastmlp.from_torch(module)
    assert (model.activations, model.has_bias) == (("identity",), False)
    assert not any(bias.any() for bias in model.biases)
    close(model.predict(X), torch_outputs(module, X.astype(np.float64)))
    single = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
    close(fastmlp.from_torch(single).predict(X), torch_outputs(single))
    mixed = fastmlp.from_torch(nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 3)))
    assert mixed.has_bias


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda nn: [nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Conv2d(1, 1, 3)],
         "layer 3, Conv2d, can't be represented: only Linear, Dropout and activations can"),
        (lambda nn: [nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4))], "layer 1.1, BatchNorm1d, can't"),
        (lambda nn: [nn.Linear(4, 4), nn.PReLU()], "layer 1, PReLU, can't"),
        (lambda nn: [nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.Linear(4, 4)],
         r"layer 1, LeakyReLU, can't be represented: it has negative_slope=0.2, and fastmlp 0.01 only"),
        (lambda nn: [nn.Linear(4, 4), nn.ELU(2), nn.Linear(4, 4)], "ELU, .* has alpha=2, and fastmlp 1.0 only"),
        (lambda nn: [nn.Linear(4, 4), nn.Softplus(2), nn.Linear(4, 4)], "has beta=2.*, and fastmlp 1.0 only"),
        (lambda nn: [nn.Linear(4, 4), nn.Softplus(1, 2), nn.Linear(4, 4)], "has threshold=2.*, and fastmlp 20.0 only"),
        (lambda nn: [nn.Linear(4, 4), nn.Softmax(dim=0)], "layer 1, Softmax, .* has dim=0, and fastmlp 1 or -1 only"),
        (lambda nn: [nn.Linear(4, 4), nn.Softmax(dim=1), nn.Linear(4, 4)], "layer 1, Softmax, .* on outputs only"),
        (lambda nn: [nn.Linear(4, 4), nn.ReLU()], "layer 1, ReLU, .*: outputs can have softmax or sigmoid, not relu"),
        (lambda nn: [nn.Linear(4, 4), nn.ReLU(), nn.Softmax(1)], "layer 2, Softmax, .* right after .* relu"),
        (lambda nn: [nn.Linear(4, 1), nn.Softmax(1)], "layer 1, Softmax, .*: the softmax of one output is always 1"),
        (lambda nn: [nn.ReLU(), nn.Linear(4, 4)], "layer 0, ReLU, .*: it comes before the first layer with weights"),
        (lambda nn: [nn.Linear(4, 3), nn.Flatten(), nn.Linear(4, 2)],
         "layer 2, Linear, .*: it has 4 inputs, and the layer before it 3 outputs"),
        (lambda nn: [nn.Flatten(0), nn.Linear(4, 2)], "layer 0, Flatten, .* has start_dim=0, and fastmlp 1 only"),
        (lambda nn: [nn.Dropout()], "the network must have a layer with weights, got none"),
    ],
)  # fmt: skip
def test_torch_modules_that_are_refused(torch, layers, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.from_torch(torch.nn.Sequential(*layers(torch.nn)))


def test_torch_modules_with_a_forward_of_their_own(torch):
    nn = torch.nn

    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Plain(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    with pytest.raises(ValueError, match=r"layer 0, Residual, .* forward of its own; its state_dict\(\)"):
        fastmlp.from_torch(Residual(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match=r"layer 1, Residual, .* forward of its own"):
        fastmlp.from_torch(nn.Sequential(nn.Linear(4, 4), Residual(nn.Linear(4, 4))))
    plain = Plain()
    close(fastmlp.from_torch(plain).predict(X), torch_outputs(plain))
    with pytest.raises(TypeError, match=r"module_or_state_dict must be that of a torch.nn.Sequential, got 3"):
        fastmlp.from_torch(3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(torch, bad):
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)).double()
    with torch.no_grad():
        module[1].bias[2] = bad
    with pytest.raises(ValueError, match=r"layer 1, Linear, .*: its weights must be finite"):
        fastmlp.from_torch(module)


def test_state_dicts(torch):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6, bias=False), nn.Tanh(), nn.Linear(6, 3))
    model = fastmlp.from_torch(module.state_dict(), activation=["relu", "tanh"], classes=["a", "b", "c"])
    assert (model.activations, model.classes.tolist()) == (("relu", "tanh"), ["a", "b", "c"])
    close(np.log(model.predict_proba(X)), torch.log_softmax(torch.tensor(torch_outputs(module)), 1).numpy())
    named = {f"net.fc_{key}": value for key, value in module.state_dict().items()}
    close(fastmlp.from_torch(named, activation=("relu", "tanh")).predict(X), torch_outputs(module))
    assert fastmlp.from_torch(named).activations == ("relu", "relu")
    single = nn.Linear(4, 3)
    close(fastmlp.from_torch(single.state_dict()).predict(X), torch_outputs(single))


def test_layers_of_a_state_dict_are_in_the_order_of_their_numbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # arrays do without PyTorch
    rng = np.random.default_rng(0)
    state = {f"net.{k}.weight": rng.standard_normal((4, 4)) for k in range(0, 24, 2)}
    model = fastmlp.from_torch(dict(sorted(state.items())), activation="identity")
    assert list(state) != sorted(state)
    for weight, want in zip(model.weights, state.values()):
        np.testing.assert_allclose(weight, want.T, rtol=1e-6)
    state = {"second.weight": np.ones((3, 4)), "first.weight": np.ones((2, 3))}  # other names stay as they are
    assert fastmlp.from_torch(state).widths == (4, 3, 2)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"0.weight": (4, 4), "1.weight": (4,), "1.bias": (4,)}, r"'1.weight', of shape \(4,\), can't be represented"),
        ({"0.weight": (4, 4), "0.running_mean": (4,)}, r"'0.running_mean', of shape \(4,\), can't be .*only weights"),
        ({"0.weight": (4, 1, 3, 3)}, r"'0.weight', of shape \(4, 1, 3, 3\), can't"),
        ({"0.weight": (4, 4), "3.bias": (4,)}, r"'3.bias', of shape \(4,\), can't"),
        ({"0.weight": (4, 4), "0.bias": (3,)}, r"'0.bias', of shape \(3,\), .* doesn't fit 0.weight"),
        ({"0.weight": (5, 4), "2.weight": (2, 6)}, "2.weight, .*: it has 6 inputs, and the layer before it 5 outputs"),
        ({"0.weight": (0, 4)}, "0.weight, .*: it must have inputs and outputs, got 4 and 0"),
        ({}, "a layer with weights, got none"),
    ],
)
def test_state_dicts_that_are_refused(state, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.from_torch({key: np.ones(shape) for key, shape in state.items()})


def test_activations_of_a_state_dict_are_checked():
    state = {"0.weight": np.ones((4, 4)), "1.weight": np.ones((4, 4)), "2.weight": np.ones((4, 4))}
    with pytest.raises(ValueError, match=r"activation must be one name, or one per hidden layer \(2\)"):
        fastmlp.from_torch(state, activation=["relu"])
    with pytest.raises(ValueError, match=r"activation must be one of .*'gelu_tanh'.*, got 'softmax'"):
        fastmlp.from_torch(state, activation="softmax")
    assert fastmlp.from_torch(state, activation=["gelu", "silu"]).activations == ("gelu", "silu")


@pytest.mark.parametrize("hidden", [(), (8, 5)])
@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_every_loss_to_torch(torch, loss, hidden):
    model = random_model((4, *hidden, 3), "tanh", loss)
    module = fastmlp.to_torch(model)
    assert type(module) is torch.nn.Sequential
    close(torch_outputs(module), outputs(model, X))
    assert copy.deepcopy(module.state_dict()).keys() == module.state_dict().keys()
    with torch.no_grad():
        module[0].weight.zero_()
    assert np.abs(model.weights[0]).min() > 0  # copies


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
def test_there_and_back(torch, activation):
    for loss in set(ALL_LOSSES) - {"notebook"}:
        classes = None if loss in (*REGRESSIONS, "binary_cross_entropy") else ["a", "b", "c"]
        model = random_model((4, 8, 5, 3), [activation, "relu"], loss, classes and np.array(classes))
        back = fastmlp.from_torch(model.to_torch(), classes=classes)
        assert back.activations == model.activations
        assert (back.classes is None) == (model.classes is None)
        for a, b in zip(model.weights + model.biases, back.weights + back.biases):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(outputs(model, X), outputs(back, X))
        same = {"softmax_mse": "cross_entropy", "mae": "mse", "huber": "mse"}
        assert back.loss == same.get(loss, loss)
    with pytest.raises(ValueError, match=r"Softmax, .* has dim=0"):
        fastmlp.from_torch(random_model((4, 3), loss="notebook").to_torch())


def test_the_inputs_scale_and_offset_go_into_the_first_layer(torch):
    model = random_model((4, 8, 3), loss="mse", input_scale=0.25)
    close(torch_outputs(model.to_torch()), outputs(model, X))
    model.has_bias, model.biases[0][:] = False, 0
    assert model.to_torch()[0].bias is None
    scale, offset = np.float32([1, 2, 0.5, 3]), np.float32([0, -1, 2, 3])
    model.input_scale = InputScale(offset, scale)
    close(torch_outputs(model.to_torch()), outputs(model, X))
    bytes_ = np.arange(40, dtype=np.uint8).reshape(10, 4)
    model = random_model((4, 8, 3), loss="mse")
    close(torch_outputs(model.to_torch(), bytes_ / np.float32(255)), outputs(model, bytes_))


def test_torchs_random_numbers_are_left_alone(torch):
    before = torch.random.get_rng_state()
    random_model((4, 8, 3)).to_torch()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_exp_is_an_output_that_a_file_can_hold(torch, tmp_path):
    model = random_model((4, 3), loss="poisson")
    torch.save(model.to_torch(), tmp_path / "model.pt")
    close(torch_outputs(torch.load(tmp_path / "model.pt", weights_only=False)), outputs(model, X))
    with pytest.raises(ValueError, match="classes must be None for outputs with exp, got"):
        fastmlp.from_torch(model.to_torch(), classes=[0, 1, 2])


def test_a_converted_model_is_saved_and_trained_on(torch, tmp_path):
    model = fastmlp.from_torch(
        torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)), classes=[0, 1]
    )
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(fastmlp.load(tmp_path / "model.safetensors").predict(X), model.predict(X))
    y = (X[:, 0] > 0).astype(int)
    trained = fastmlp.train(X, y, hidden=(8,), init=model, epochs=30, batch_size=10, seed=0)
    assert trained.evaluate(X, y).loss < model.evaluate(X, y).loss / 2


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("torch", lambda: fastmlp.from_torch(object())),
        ("torch", lambda: random_model((4, 3)).to_torch()),
        ("keras", lambda: fastmlp.from_keras(object())),
        ("sklearn", lambda: fastmlp.from_sklearn(object())),
    ],
)
def test_a_missing_package_is_named(monkeypatch, package, call):
    monkeypatch.delitem(sys.modules, "sklearn.neural_network", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"this needs {package}: pip install 'fastmlp\[{package}\]'"):
        call()
