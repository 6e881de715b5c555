"""Modules of PyTorch whose call is not their class's forward, and weights that are not plain arrays."""

import numpy as np
import pytest
from helpers import import_or_skip

import fastmlp

torch = import_or_skip("torch")
nn, utils = torch.nn, torch.nn.utils
prune = import_or_skip("torch.nn.utils.prune")

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


def hooked(module, register, hook):
    getattr(module, register)(hook)
    return module


def with_forward(module, forward):
    module.forward = forward
    return module


class Doubled(nn.Linear):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Halved(nn.Module):
    """A parametrization that differs between training and evaluation."""

    def forward(self, weight):
        return weight if self.training else weight / 2


@pytest.mark.filterwarnings("ignore")  # of what PyTorch calls old
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: utils.weight_norm(nn.Linear(4, 3)), "layer 0, Linear, can't be represented: it has forward hooks"),
        (lambda: utils.spectral_norm(nn.Linear(4, 3)), "layer 0, Linear, .* forward hooks"),
        (lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5), "layer 0, Linear, .* forward hooks"),
        (lambda: hooked(nn.Linear(4, 3), "register_forward_hook", lambda m, i, o: o + 1), "forward hooks"),
        (lambda: hooked(nn.Linear(4, 3), "register_forward_pre_hook", lambda m, i: (2 * i[0],)), "forward hooks"),
        (lambda: nn.Sequential(nn.Linear(4, 3), hooked(nn.ReLU(), "register_forward_hook", lambda m, i, o: o + 1)),
         "layer 0.1, ReLU, .* forward hooks"),
        (lambda: nn.Sequential(nn.Linear(4, 3), with_forward(nn.ReLU(), lambda x: x)),
         "layer 0.1, ReLU, .* its forward has been replaced"),
        (lambda: with_forward(nn.Sequential(nn.Linear(4, 3)), lambda x: x), "Sequential, .* forward has been replaced"),
        (lambda: Doubled(4, 3), "layer 0, Doubled, .* __call__ of its own"),
        (lambda: torch.jit.script(nn.Sequential(nn.Linear(4, 3))), "RecursiveScriptModule, can't"),
        (lambda: torch.jit.trace(nn.Sequential(nn.Linear(4, 3)), torch.ones(1, 4)), "TopLevelTracedModule, can't"),
        (lambda: nn.Linear(4, 3, dtype=torch.complex64), "layer 0, Linear, .* complex numbers"),
        (lambda: nn.Linear(4, 3, device="meta"), "layer 0, Linear, .* no values"),
        (lambda: nn.LazyLinear(3), "layer 0, LazyLinear, can't"),
    ],
)  # fmt: skip
def test_what_a_call_does_beside_forward_is_refused(make, message):
    module = make()
    with pytest.raises(ValueError, match=message):
        fastmlp.from_torch(nn.Sequential(module))


@pytest.mark.parametrize("register", ["register_module_forward_hook", "register_module_forward_pre_hook"])
def test_hooks_for_all_modules_are_refused(register):
    handle = getattr(nn.modules.module, register)(lambda *arguments: None)
    try:
        with pytest.raises(ValueError, match="hooks for all modules"):
            fastmlp.from_torch(nn.Sequential(nn.Linear(4, 3)))
    finally:
        handle.remove()


def test_a_hook_of_the_outermost_module_is_refused():
    module = nn.Sequential(nn.Linear(4, 3))
    module.register_forward_hook(lambda m, i, o: o + 1)
    with pytest.raises(ValueError, match="module Sequential, can't be represented: it has forward hooks"):
        fastmlp.from_torch(module)


@pytest.mark.parametrize("shapes", [((4,), None), ((3, 4), (1,)), ((3, 4), (4,))])
def test_weights_of_another_shape_are_refused(shapes):
    linear = nn.Linear(4, 3)
    linear.weight, linear.bias = (None if shape is None else nn.Parameter(torch.ones(shape)) for shape in shapes)
    with pytest.raises(ValueError, match=r"layer 0, Linear, .* weight and bias must have the shapes \(n_out, n_in\)"):
        fastmlp.from_torch(nn.Sequential(linear))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["spectral_norm", "weight_norm", "halved"])
def test_parametrizations_are_those_of_evaluation(name, training):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3))
    if name == "halved":
        utils.parametrize.register_parametrization(module[0], "weight", Halved())
    else:
        getattr(utils.parametrizations, name)(module[0])
    module.train(training)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    model = fastmlp.from_torch(module)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(part.training == training for part in module.modules())
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(X), module.eval()(torch.tensor(X)).numpy(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(3, 4, dtype=torch.complex64), "'w.weight', can't be represented: its weights are complex"),
        (torch.ones(3, 4, device="meta"), "'w.weight', .* no values"),
        ("text", "'w.weight', .* must hold real numbers"),
        (None, "'w.weight', .* must hold real numbers"),
        ([[1, 2], [3]], "'w.weight', "),
        (np.ones((3, 4), complex), "'w.weight', .* must hold real numbers"),
    ],
)
def test_values_of_a_state_dict_that_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.from_torch({"w.weight": value})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn"])
def test_weights_of_other_floats(dtype):
    state = {"w.weight": torch.linspace(-1, 1, 12).reshape(3, 4).to(getattr(torch, dtype))}
    np.testing.assert_array_equal(fastmlp.from_torch(state).weights[0], state["w.weight"].float().numpy().T)


def test_sparse_weights_are_made_dense():
    weight = torch.eye(4)[:3]
    np.testing.assert_array_equal(fastmlp.from_torch({"w.weight": weight.to_sparse()}).weights[0], weight.numpy().T)
