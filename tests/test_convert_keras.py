import os
import warnings

import numpy as np
import pytest
from helpers import import_or_skip
from networks import outputs

import fastmlp
from fastmlp.activations import ACTIVATIONS

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)

# Keras' own conversion of PyTorch's tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    import_or_skip(os.environ["KERAS_BACKEND"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = import_or_skip("keras")
    keras.utils.set_random_seed(0)
    return keras


def stack(keras, *layers, n_features=4):
    return keras.Sequential([keras.Input((n_features,)), *layers])


def close(model, keras_model, x=X):
    np.testing.assert_allclose(outputs(model, x), keras_model.predict(x, verbose=0), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        *((row.keras, name) for name, row in ACTIVATIONS.items() if row.keras),
        ("swish", "silu"),
    ],
)  # fmt: skip
def test_activations_by_name(keras, theirs, ours):
    layers = keras.layers
    for hidden in ([layers.Dense(9, activation=theirs)], [layers.Dense(9), layers.Activation(theirs)]):
        theirs_model = stack(keras, *hidden, layers.Dense(3))
        model = fastmlp.from_keras(theirs_model)
        assert (model.activations, model.loss, model.classes) == ((ours,), "mse", None)
        close(model, theirs_model, 3 * X)


def test_activations_as_layers(keras):
    layers = keras.layers
    theirs = stack(
        keras, layers.Dense(9), layers.ReLU(), layers.Dense(8, activation=layers.LeakyReLU(negative_slope=0.01)),
        layers.Dense(7), layers.Activation(layers.ELU()), layers.Dense(6, use_bias=False), layers.Dense(3),
    )  # fmt: skip
    model = fastmlp.from_keras(theirs)
    assert model.activations == ("relu", "leaky_relu", "elu", "identity")
    assert not model.biases[3].any()
    close(model, theirs)


@pytest.mark.parametrize("last", ["softmax", "log_softmax", "layer"])
def test_a_classifier(keras, last):
    layers = keras.layers
    end = [layers.Dense(3), layers.Softmax()] if last == "layer" else [layers.Dense(3, activation=last)]
    inner = stack(keras, layers.Dense(8, activation="relu"), layers.GaussianDropout(0.5), n_features=4)
    theirs = stack(keras, layers.Dropout(0.5), inner, layers.Dense(5, "tanh"), layers.GaussianNoise(1), *end)
    model = fastmlp.from_keras(theirs, classes=["c", "a", "b"], input_scale=1.0)
    assert (model.widths, model.activations, model.loss) == ((4, 8, 5, 3), ("relu", "tanh"), "cross_entropy")
    assert (model.classes.tolist(), model.input_scale) == (["a", "b", "c"], 1.0)
    want = theirs.predict(X, verbose=0)
    want = np.exp(want) if last == "log_softmax" else want
    np.testing.assert_allclose(model.predict_proba(X), want[:, [1, 2, 0]], rtol=1e-4, atol=2e-6)
    assert fastmlp.from_keras(theirs).classes.tolist() == [0, 1, 2]


def test_other_outputs(keras):
    layers = keras.layers
    theirs = stack(keras, layers.Dense(3, activation="sigmoid"))
    model = fastmlp.from_keras(theirs)
    assert (model.loss, model.classes) == ("binary_cross_entropy", None)
    close(model, theirs)
    theirs = stack(keras, layers.Dense(2, activation="exponential"))
    model = fastmlp.from_keras(theirs)
    assert (model.loss, model.classes) == ("poisson", None)
    close(model, theirs)
    theirs = stack(keras, layers.Dense(1, activation="sigmoid"))
    model = fastmlp.from_keras(theirs, classes=[0, 1])
    np.testing.assert_allclose(model.predict_proba(X)[:, 1:], theirs.predict(X, verbose=0), rtol=1e-4, atol=2e-6)


def test_functional_models_and_files(keras, tmp_path):
    layers = keras.layers
    image = keras.Input((2, 2, 1))
    h = layers.Dense(8, activation="relu")(layers.Flatten()(image))
    h = stack(keras, layers.Dense(5, activation="tanh"), n_features=8)(h)
    theirs = keras.Model(image, layers.Dense(3)(h))
    want = theirs.predict(X.reshape(50, 2, 2, 1), verbose=0)
    theirs.save(tmp_path / "model.keras")
    for one in (theirs, keras.saving.load_model(tmp_path / "model.keras")):
        model = fastmlp.from_keras(one)
        assert (model.widths, model.activations) == ((4, 8, 5, 3), ("relu", "tanh"))
        np.testing.assert_allclose(model.predict(X), want, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda k: [k.Dense(4), k.BatchNormalization()],
         "layer 1, BatchNormalization, can't be represented: only Dense, Dropout and activations can"),
        (lambda k: [k.Dense(4), k.PReLU(), k.Dense(4)], "layer 1, PReLU, can't be"),
        (lambda k: [k.Rescaling(1 / 255), k.Dense(4)], "layer 0, Rescaling, can't be"),
        (lambda k: [k.Dense(4), k.LeakyReLU(), k.Dense(4)], r"LeakyReLU, .* has negative_slope=0.3, and fastmlp 0.01"),
        (lambda k: [k.Dense(4, activation="leaky_relu"), k.Dense(4)],
         r"layer 0, Dense, .* leaky_relu has a slope of 0.2 there.*LeakyReLU\(negative_slope=0.01\)"),
        (lambda k: [k.Dense(4), k.ReLU(max_value=6), k.Dense(4)], r"ReLU, .* has max_value=6.*, and fastmlp None only"),
        (lambda k: [k.Dense(4), k.ELU(2.0), k.Dense(4)], r"ELU, .* has alpha=2.*, and fastmlp 1.0 only"),
        (lambda k: [k.Dense(4), k.Activation("celu"), k.Dense(4)], r"layer 1, Activation, .* 'celu' is none of fastm"),
        (lambda k: [k.Dense(4, activation=lambda z: z), k.Dense(4)], r"layer 0, Dense, .* '<lambda>' is none of"),
        (lambda k: [k.Dense(4, activation="relu")], r"layer 0, Dense, .*: outputs can have softmax or sigmoid, not"),
        (lambda k: [k.Dense(4, activation="softmax"), k.Dense(4)], r"layer 0, Dense, .* has softmax on outputs only"),
        (lambda k: [k.Reshape((2, 2)), k.Dense(4)], r"layer 0, Reshape, can't"),
    ],
)  # fmt: skip
def test_stacks_that_are_refused(keras, layers, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.from_keras(stack(keras, *layers(keras.layers)))


def test_layers_that_are_like_others(keras):
    layers = keras.layers

    class Dense(layers.Dense):
        def call(self, x):
            return super().call(x) + 1

    class ReLU(layers.ReLU):
        def call(self, x):
            return -super().call(x)

    with pytest.raises(ValueError, match="layer 0, Dense, can't be represented"):
        fastmlp.from_keras(stack(keras, Dense(3)))
    with pytest.raises(ValueError, match="layer 1, ReLU, can't be represented"):
        fastmlp.from_keras(stack(keras, layers.Dense(3), ReLU(), layers.Dense(3)))
    with pytest.raises(ValueError, match=r"layer 0, Dense, .* on rows of features"):
        fastmlp.from_keras(keras.Sequential([keras.Input((2, 4)), layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"layer 0, Flatten, .* data_format='channels_first'"):
        fastmlp.from_keras(
            keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(data_format="channels_first"), layers.Dense(3)])
        )


def test_graphs_that_are_no_stack_are_refused(keras):
    layers = keras.layers
    start = keras.Input((4,))
    first, second = layers.Dense(4), layers.Dense(4)
    a, b = first(start), second(start)
    with pytest.raises(ValueError, match=r"layer 2, Dense, .*: its input must be the output of the layer before"):
        fastmlp.from_keras(keras.Model(start, [a, b]))
    with pytest.raises(ValueError, match=r"layer 2, Add, .*: its input must be the output of the layer before"):
        fastmlp.from_keras(keras.Model(start, layers.Add()([start, a])))
    c = layers.Dense(4)(a)
    with pytest.raises(ValueError, match=r"output of model .*, can't be .*: it must be that of the last layer alone"):
        fastmlp.from_keras(keras.Model(start, [a, c]))
    twice = layers.Dense(4)
    with pytest.raises(ValueError, match=r"output of model .*, can't be .*: it must be that of the last layer alone"):
        fastmlp.from_keras(keras.Model(start, twice(twice(start))))
    twice = layers.Dense(4)
    with pytest.raises(ValueError, match=r"layer 2, Dense, .*: its input must be the output of the layer before"):
        fastmlp.from_keras(keras.Model(start, layers.Dense(2)(twice(twice(start)))))


def test_other_models_are_refused(keras):
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="model Own, can't be represented: only Sequential and plain functional"):
        fastmlp.from_keras(Own())
    with pytest.raises(ValueError, match="model must be built"):
        fastmlp.from_keras(keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(TypeError, match=r"model must be a keras.Model of Keras 3, got builtins.int"):
        fastmlp.from_keras(3)


def test_a_model_that_was_built_by_a_call(keras):
    theirs = keras.Sequential([keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)])
    want = theirs.predict(X, verbose=0)
    np.testing.assert_allclose(fastmlp.from_keras(theirs).predict(X), want, rtol=1e-4, atol=2e-6)
