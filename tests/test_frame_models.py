"""Models of data frames with categories, text, booleans and missing values: the encoding lies inside them."""

import copy
import pickle

import numpy as np
import pytest
from helpers import import_or_skip

import fastmlp
from fastmlp import reference
from fastmlp.data.frames import FrameEncoder

RNG = np.random.default_rng(0)
N = 120
CITY = RNG.choice(["Rome", "Oslo", "Bern"], N)
MEMBER = RNG.random(N) < 0.5
AGE = RNG.normal(40, 10, N)
INCOME = np.exp(RNG.normal(0, 2, N))
ABSENT = RNG.random(N) < 0.2
ROOMS = RNG.integers(1, 6, N)
TARGET = np.array(["no", "yes"])[((AGE > 40) ^ (CITY == "Oslo")).astype(int)]
FIXED = {"hidden": (8,), "epochs": 3, "seed": 0, "batch_size": 16}
FEATURES = ["city=Bern", "city=Oslo", "city=Rome", "member=True", "age", "income", "income is missing", "rooms"]


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return import_or_skip(request.param)


def columns(rows=slice(None)):
    income = [None if absent else value for absent, value in zip(ABSENT.tolist(), INCOME.tolist())]
    others = {"city": CITY, "member": MEMBER, "age": AGE, "income": income, "rooms": ROOMS}
    everything = {name: values if name == "income" else values.tolist() for name, values in others.items()}
    return {name: values[rows] for name, values in everything.items()}


def robust(values, known):
    low, median, high = np.quantile(known, [0.25, 0.5, 0.75])
    z = (values - median) / (high - low)
    return z / np.sqrt(1 + (z / 3) ** 2)


EVERY = np.arange(N)


def encoded(scale=None, samples=EVERY):
    """The features by hand, learnt from some samples."""
    present = INCOME[samples][~ABSENT[samples]]
    income = np.where(ABSENT, np.median(present), INCOME)
    numbers = [(AGE, AGE[samples]), (income, present), (ROOMS, ROOMS[samples])]
    age, income, rooms = (values if scale is None else scale(values, known) for values, known in numbers)
    hot = [CITY == "Bern", CITY == "Oslo", CITY == "Rome", np.where(MEMBER, 1, -1)]
    return np.stack([*hot, age, income, ABSENT, rooms], axis=1).astype(np.float32)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


# ---------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("scale", ["auto", "robust"])
def test_a_frame_is_trained_and_predicted_as_the_array_made_by_hand(library, scale):
    frame, x = library.DataFrame(columns()), encoded(robust if scale == "robust" else None)
    model = fastmlp.train(frame, library.Series(TARGET.tolist()), input_scale=scale, metrics="top_1", **FIXED)
    plain = fastmlp.train(x, TARGET, metrics="top_1", **FIXED)
    assert same(model, plain)
    assert (model.feature_names, model.encoder.feature_names) == ([*columns()], FEATURES)
    assert (model.n_features, model.input_scale) == (8, 1.0)
    np.testing.assert_array_equal(model.encoder.transform(frame), x)
    for n in (1, 5, N):  # one sample, few, and a whole chunk
        some = frame[:n]
        np.testing.assert_array_equal(model.predict_proba(some), plain.predict_proba(x[:n]))
        np.testing.assert_array_equal(model.predict(some), plain.predict(x[:n]))
        np.testing.assert_array_equal(model.predict(x[:n]), plain.predict(x[:n]))  # arrays are encoded already
    assert model.evaluate(frame, TARGET) == plain.evaluate(x, TARGET)
    assert model.history["train_top_1"] == plain.history["train_top_1"]


def test_the_reference_trains_on_what_the_encoder_makes(library):
    frame = library.DataFrame(columns())
    model = fastmlp.train(frame, TARGET, input_scale="robust", **FIXED)
    want = reference.train(model.encoder.transform(frame), TARGET, **FIXED)
    np.testing.assert_allclose(
        model.predict_proba(frame), want.predict_proba(model.encoder.transform(frame)), rtol=1e-4
    )


def test_nothing_is_learnt_from_what_is_held_out(library):
    frame = library.DataFrame(columns())
    model = fastmlp.train(frame, TARGET, validation=0.25, input_scale="robust", metrics="top_1", **FIXED)
    split_rng = np.random.default_rng(np.random.SeedSequence(0).spawn(4)[1])
    shuffled = split_rng.permutation(N)
    samples, held_out = np.sort(shuffled[N // 4 :]), np.sort(shuffled[: N // 4])
    x = encoded(robust, samples)
    np.testing.assert_array_equal(model.encoder.transform(frame), x)
    plain = fastmlp.train(x[samples], TARGET[samples], validation=(x[held_out], TARGET[held_out]), **FIXED)
    for name in ("validation_loss", "validation_accuracy"):
        assert model.history[name] == plain.history[name]


def test_a_validation_frame_is_encoded_as_the_training_frame(library):
    train, test = slice(0, 80), slice(80, N)
    x = encoded(samples=np.arange(80))
    plain = fastmlp.train(x[train], TARGET[train], validation=(x[test], TARGET[test]), **FIXED)
    validation = library.DataFrame(columns(test)), TARGET[test]
    model = fastmlp.train(library.DataFrame(columns(train)), TARGET[train], validation=validation, **FIXED)
    assert model.history["validation_loss"] == plain.history["validation_loss"]
    bad = library.DataFrame({**columns(test), "city": [1.0] * (N - 80)})
    with pytest.raises(TypeError, match="validation x must hold text in the column 'city'"):
        fastmlp.train(library.DataFrame(columns(train)), TARGET[train], validation=(bad, TARGET[test]), **FIXED)


def test_columns_are_checked_by_name(library):
    model = fastmlp.train(library.DataFrame(columns()), TARGET, **FIXED)
    names = [*columns()]
    for other, match in (
        (library.DataFrame({name: columns()[name] for name in names[::-1]}), "in another order"),
        (library.DataFrame({name: columns()[name] for name in names[1:]}), r"without \['city'\]"),
    ):
        for call in (
            model.predict, model.predict_proba, lambda x: model.evaluate(x, TARGET),
            lambda x: model.partial_fit(x, TARGET),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=f"x must have the columns that the model was trained on.*{match}"):
                call(other)
    with pytest.raises(ValueError, match="x must have 8 features"):
        model.predict(np.zeros((3, 5)))


def test_partial_fit_takes_frames(library):
    train, later = slice(0, 80), slice(80, N)
    x = encoded(samples=np.arange(80))
    model = fastmlp.train(library.DataFrame(columns(train)), TARGET[train], **FIXED)
    plain = fastmlp.train(x[train], TARGET[train], **FIXED)
    got = model.partial_fit(library.DataFrame(columns(later)), TARGET[later])
    assert got == plain.partial_fit(x[later], TARGET[later])
    assert same(model, plain)


def test_a_model_as_init_keeps_its_encoder(library):
    first = fastmlp.train(library.DataFrame(columns(slice(0, 80))), TARGET[:80], input_scale="robust", **FIXED)
    others = {**columns(slice(80, N)), "city": ["Rome", "Paris"] * 20}
    model = fastmlp.train(library.DataFrame(others), TARGET[80:], init=first, **FIXED)
    assert model.encoder == first.encoder
    plain = fastmlp.train(first.encoder.transform(library.DataFrame(others)), TARGET[80:], init=first, **FIXED)
    assert same(model, plain)
    for name in ("age", "rooms"):  # columns of numbers alone are encoded too
        frame = library.DataFrame({name: columns()[name]})
        with pytest.raises(ValueError, match="x must have the columns that the model was trained on"):
            fastmlp.train(frame, TARGET, init=first, **FIXED)
    with pytest.raises(ValueError, match="input_scale must be 'auto' where init is a model with an encoder"):
        fastmlp.train(library.DataFrame(others), TARGET[80:], init=first, input_scale="standardize", **FIXED)


def test_a_frame_of_booleans_and_one_of_gaps_are_encoded(library):
    booleans = library.DataFrame({"a": MEMBER.tolist(), "b": (~ABSENT).tolist()})
    model = fastmlp.train(booleans, TARGET, **FIXED)
    assert same(model, fastmlp.train(np.stack([MEMBER, ~ABSENT], axis=1) * np.float32(2) - 1, TARGET, **FIXED))
    gaps = library.DataFrame({"income": columns()["income"]})
    model = fastmlp.train(gaps, TARGET, **FIXED)
    assert same(model, fastmlp.train(encoded()[:, 5:7], TARGET, **FIXED))


def test_wrong_arguments_are_refused_by_name(library):
    frame = library.DataFrame(columns())
    for error, match, arguments in (
        (ValueError, "missing must be one of 'indicator', 'error', got 'mean'", {"missing": "mean"}),
        (ValueError, "x must not have missing values with missing='error'.*'income'", {"missing": "error"}),
        (
            ValueError,
            "x must have at most max_levels=2 different values.*got 3 in the column 'city'",
            {"max_levels": 2},
        ),
        (TypeError, r"max_levels must be an integer.*2\.5", {"max_levels": 2.5}),
        (ValueError, "input_scale must be a number or one of", {"input_scale": np.ones(5)}),
        (ValueError, "input_scale must be one of", {"input_scale": "big"}),
        (ValueError, "init must have weights of shapes", {"init": [(np.zeros((5, 8)), np.zeros(8))]}),
    ):
        with pytest.raises(error, match=match):
            fastmlp.train(frame, TARGET, **{**FIXED, **arguments})
    for arguments in ({"missing": None}, {"max_levels": 1}):  # of an array too
        with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
            fastmlp.train(encoded(), TARGET, **FIXED, **arguments)


def test_frames_that_are_not_collected_are_refused():
    polars = import_or_skip("polars")
    frame = polars.DataFrame(columns())
    with pytest.raises(TypeError, match=r"pass x\.collect\(\)"):
        fastmlp.train(frame.lazy(), TARGET, **FIXED)
    model = fastmlp.train(frame, TARGET, **FIXED)
    with pytest.raises(TypeError, match=r"pass x\.collect\(\)"):
        model.predict(frame.lazy())


# ---------------------------------------------------------------------------------------------- keeping the model


def test_the_encoder_is_saved_pickled_and_copied(library, tmp_path):
    frame = library.DataFrame(columns())
    model = fastmlp.train(frame, TARGET, input_scale="robust", missing="indicator", **FIXED)
    model.save(tmp_path / "model.safetensors")
    for known in (
        fastmlp.load(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert known.encoder == model.encoder
        np.testing.assert_array_equal(known.predict_proba(frame), model.predict_proba(frame))


def test_training_resumes_from_a_checkpoint(library, tmp_path):
    frame = library.DataFrame(columns())
    arguments = {**FIXED, "input_scale": "robust", "validation": 0.25}
    whole = fastmlp.train(frame, TARGET, **arguments)
    fastmlp.train(frame, TARGET, checkpoint=tmp_path, **{**arguments, "epochs": 1})
    resumed = fastmlp.train(frame, TARGET, checkpoint=tmp_path, **arguments)
    assert same(whole, resumed)
    (newest,) = tmp_path.glob("epoch-000003.safetensors")
    np.testing.assert_array_equal(fastmlp.load(newest).predict(frame), whole.predict(frame))
    for name, value in (("city", "Oslo"), ("age", 3.5), ("income", None), ("member", None)):
        changed = columns()
        changed[name] = [*changed[name][:-1], value]
        if changed[name] != columns()[name]:
            with pytest.raises(ValueError, match="holds a training with another x"):
                fastmlp.train(library.DataFrame(changed), TARGET, checkpoint=tmp_path, **arguments)


# ---------------------------------------------------------------------------------------------- robust arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_an_array_is_scaled_robustly_as_by_hand(dtype, tmp_path):
    x = (RNG.standard_normal((N, 6)) * 30 + 100).astype(dtype)
    model = fastmlp.train(x, TARGET, input_scale="robust", validation=(x, TARGET), **FIXED)
    z = model.input_scale.apply(x)
    np.testing.assert_allclose(z, np.stack([robust(column, column) for column in x.T.astype(float)], axis=1), rtol=1e-6)
    plain = fastmlp.train(z, TARGET, validation=(z, TARGET), **FIXED)
    assert same(model, plain)
    assert model.history["validation_loss"] == plain.history["validation_loss"]
    model.save(tmp_path / "model.safetensors")
    for known in (model, fastmlp.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        for n in (1, 2, N):
            np.testing.assert_array_equal(known.predict(x[:n]), plain.predict(z[:n]))
            np.testing.assert_array_equal(known.predict_proba(x[:n]), plain.predict_proba(z[:n]))
        assert known.evaluate(x, TARGET) == plain.evaluate(z, TARGET)
    assert model.partial_fit(x, TARGET) == plain.partial_fit(z, TARGET)
    assert same(model, plain)


def test_robust_scales_come_from_the_samples_that_are_trained_on():
    x = RNG.standard_normal((N, 6))
    model = fastmlp.train(x, TARGET, input_scale="robust", validation=0.25, **FIXED)
    shuffled = np.random.default_rng(np.random.SeedSequence(0).spawn(4)[1]).permutation(N)
    np.testing.assert_allclose(model.input_scale.offset, np.median(x[shuffled[N // 4 :]], axis=0), rtol=1e-12)


def test_mostly_zero_input_keeps_its_zeros_and_its_kernels():
    x = RNG.integers(0, 4, (N, 40)) * (RNG.random((N, 40)) < 0.2)
    model = fastmlp.train(x.astype(np.uint8), TARGET, input_scale="robust", **FIXED)
    dense = fastmlp.train(x.astype(np.uint8), TARGET, input_scale="robust", sparse=False, **FIXED)
    assert same(model, dense)
    assert (model.input_scale.apply(x)[x == 0] == 0).all()


@pytest.mark.parametrize("n", [1, 3])
def test_bad_samples_are_refused_by_a_robust_model(n):
    x = RNG.standard_normal((N, 3))
    model = fastmlp.train(x, TARGET, input_scale="robust", **FIXED)
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(ValueError, match="x must be finite"):
            model.predict(np.full((n, 3), bad))


def test_sparse_matrices_and_folders_are_refused(tmp_path):
    scipy_sparse = import_or_skip("scipy.sparse")
    x = RNG.standard_normal((N, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"input_scale='robust'.*sparse matrix"):
        fastmlp.train(scipy_sparse.csr_matrix(x), TARGET, input_scale="robust", **FIXED)
    model = fastmlp.train(x, TARGET, input_scale="robust", **FIXED)
    with pytest.raises(ValueError, match=r"x must be an array with input_scale='robust'"):
        model.predict(scipy_sparse.csr_matrix(x))
    np.save(tmp_path / "0.npy", x)
    with pytest.raises(ValueError, match="read in parts"):
        fastmlp.train(tmp_path, TARGET, input_scale="robust", shuffle_buffer=32, **FIXED)
    arguments = {**FIXED, "shuffle": False}
    streamed = fastmlp.train(tmp_path, TARGET, input_scale=model.input_scale, shuffle_buffer=32, **arguments)
    assert same(streamed, fastmlp.train(x, TARGET, input_scale=model.input_scale, **arguments))


def test_the_reference_scales_robustly_too():
    x = RNG.standard_normal((N, 5)) * 10 + 50
    x[:, 3] = np.arange(N) < 10  # whose quartiles are equal
    x[:, 4] = 7
    arguments = {**FIXED, "input_scale": "robust", "validation": 0.25}
    model, want = fastmlp.train(x, TARGET, **arguments), reference.train(x, TARGET, **arguments)
    np.testing.assert_allclose(model.input_scale.factor, want.input_scale.factor, rtol=1e-10)
    for a, b in zip(model.weights + model.biases, want.weights + want.biases):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.history["validation_loss"], want.history["validation_loss"], rtol=1e-4)


# ---------------------------------------------------------------------------------------------- ONNX, PyTorch


@pytest.mark.parametrize("target", [TARGET, AGE], ids=["classes", "regression"])
@pytest.mark.parametrize("scale", ["auto", "standardize", "robust", 0.01])
def test_onnx_takes_the_raw_frame(library, tmp_path, scale, target):
    onnxruntime = import_or_skip("onnxruntime")
    import_or_skip("onnx")
    frame = library.DataFrame(columns())
    model = fastmlp.train(frame, target, input_scale=scale, learning_rate=0.01, **FIXED)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [column.name for column in session.get_inputs()] == [*columns()]
    inputs = {
        column.name: frame[[column.name]].to_numpy().astype(str if "string" in column.type else float)
        for column in session.get_inputs()
    }
    got = session.run(None, inputs)
    if target is AGE:
        np.testing.assert_allclose(got[0], model.predict(frame), rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(got[0], model.predict(frame))
        np.testing.assert_allclose(got[1], model.predict_proba(frame), rtol=1e-5, atol=1e-5)


def test_onnx_has_inputs_of_any_name(tmp_path):
    pandas, onnxruntime = import_or_skip("pandas"), import_or_skip("onnxruntime")
    import_or_skip("onnx")
    names = ["label", "probabilities", "weight_0", "gemm_3", "constant_0", "concat_0", "x"]
    frame = pandas.DataFrame(RNG.standard_normal((N, len(names))), columns=names).assign(text=CITY)
    model = fastmlp.train(frame, TARGET, **FIXED)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    given = [each.name for each in session.get_inputs()]
    assert given == ["label_2", "probabilities_2", *names[2:], "text"]
    inputs = {
        each: frame[[name]].to_numpy().astype(str if name == "text" else float) for each, name in zip(given, frame)
    }
    np.testing.assert_allclose(session.run(["probabilities"], inputs)[0], model.predict_proba(frame), atol=1e-5)
    with pytest.raises(ValueError, match="dtype must be 'float32' for a model with an encoder"):
        model.to_onnx(tmp_path / "other.onnx", dtype="uint8")


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_robust_scales_go_into_onnx(tmp_path, dtype):
    onnxruntime = import_or_skip("onnxruntime")
    import_or_skip("onnx")
    x = (RNG.standard_normal((N, 5)) * 3 + 100).astype(dtype)
    model = fastmlp.train(x, TARGET, input_scale="robust", **FIXED)
    model.to_onnx(tmp_path / "model.onnx", dtype=np.dtype(dtype).name)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    got = session.run(["probabilities"], {"x": x})[0]
    np.testing.assert_allclose(got, model.predict_proba(x), rtol=1e-5, atol=1e-5)


def test_robust_scales_go_into_pytorch():
    torch = import_or_skip("torch")
    x = (RNG.standard_normal((N, 5)) * 3 + 100).astype(np.float32)
    model = fastmlp.train(x, TARGET, input_scale="robust", **FIXED)
    got = model.to_torch()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(got, model.predict_proba(x), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------------------- estimators


@pytest.fixture
def classifier():
    import_or_skip("sklearn")
    return fastmlp.MLPClassifier(
        (8,), tol=10, n_iter_no_change=3, max_iter=5, random_state=0, input_scale="robust", batch_size=16
    )


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_estimators_take_frames(library, classifier):
    sklearn = import_or_skip("sklearn.base")
    frame, x = library.DataFrame(columns()), encoded(robust)
    plain = sklearn.clone(classifier).set_params(input_scale=1.0).fit(x, TARGET)
    classifier.fit(frame, TARGET)
    assert same(classifier.model_, plain.model_)
    assert (classifier.n_features_in_, [*classifier.feature_names_in_]) == (5, [*columns()])
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(classifier, method)(frame), getattr(plain, method)(x))
    assert classifier.score(frame, TARGET) == plain.score(x, TARGET)
    assert pickle.loads(pickle.dumps(classifier)).score(frame, TARGET) == plain.score(x, TARGET)
    classifier.partial_fit(frame, TARGET)
    plain.partial_fit(x, TARGET)
    assert same(classifier.model_, plain.model_)
    regressor = fastmlp.MLPRegressor(tol=10, n_iter_no_change=2, random_state=0).fit(frame, AGE)
    np.testing.assert_array_equal(regressor.predict(frame), regressor.model_.predict(frame)[:, 0])


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_estimators_learn_from_what_is_not_held_out(library, classifier):
    values = columns()
    values["city"] = [f"city{k}" for k in range(N)]  # every row has its own: those held out are seen nowhere
    frame = library.DataFrame(values)
    classifier.set_params(early_stopping=True, validation_fraction=0.25).fit(frame, TARGET)
    levels = classifier.model_.encoder.columns[0].levels
    assert len(levels) == 90
    assert len(classifier.validation_scores_) >= 1


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_estimators_go_on_with_their_encoder(library, classifier):
    frame = library.DataFrame(columns())
    classifier.set_params(warm_start=True).fit(frame, TARGET)
    encoder = classifier.model_.encoder
    later = library.DataFrame({**columns(), "city": ["Paris", "Rome"] * (N // 2)})
    classifier.fit(later, TARGET)
    assert classifier.model_.encoder == encoder
    classifier.partial_fit(later, TARGET)
    assert classifier.model_.encoder == encoder


def test_wrong_frames_are_refused_by_estimators(library, classifier):
    frame = library.DataFrame(columns())
    with pytest.raises(ValueError, match="missing must be one of"):
        classifier.set_params(missing="drop").fit(encoded(), TARGET)
    with pytest.raises(ValueError, match=r"missing='error', got .* in the column 'income'"):
        classifier.set_params(missing="error").fit(frame, TARGET)
    with pytest.raises(ValueError, match=r"max_levels=2.*'city'"):
        classifier.set_params(missing="indicator", max_levels=2).fit(frame, TARGET)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.set_params(max_levels=3).fit(frame, TARGET[:5])
    classifier.fit(frame, TARGET)
    with pytest.raises(TypeError, match=r"X must be a data frame with the columns.*'city'.*got ndarray"):
        classifier.predict(encoded())
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(library.DataFrame({name: columns()[name] for name in [*columns()][::-1]}))


def test_transformers_of_scikit_learn_still_work_in_front(classifier):
    pandas = import_or_skip("pandas")
    compose, pipeline = import_or_skip("sklearn.compose"), import_or_skip("sklearn.pipeline")
    preprocessing, impute = import_or_skip("sklearn.preprocessing"), import_or_skip("sklearn.impute")
    frame = pandas.DataFrame(columns())
    front = compose.make_column_transformer(
        (preprocessing.OneHotEncoder(), ["city"]), (impute.SimpleImputer(), ["income"]), remainder="passthrough"
    )
    model = pipeline.make_pipeline(front, classifier.set_params(input_scale="standardize")).fit(frame, TARGET)
    assert model[-1].model_.encoder is None
    assert model.predict(frame).shape == (N,)
    whole = pipeline.make_pipeline(preprocessing.FunctionTransformer(), classifier).fit(frame, TARGET)
    assert isinstance(whole[-1].model_.encoder, FrameEncoder)
    assert whole.predict(frame).shape == (N,)
