"""The command line with one's own data."""

import csv
import io
import shutil
import subprocess

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main
from fastmlp.cli.completion import SHELLS, script
from fastmlp.cli.parser import create_parser
from fastmlp.cli.training_options import PIXELS, TABLE, recipe_for, training_arguments
from fastmlp.data.target_scale import target_scale

RNG = np.random.default_rng(0)
X = RNG.standard_normal((240, 3)) * [1, 100, 0.01] + [5, -30, 0]
Z = (X - X.mean(axis=0)) / X.std(axis=0)
LABELS = np.array(["low", "high"])[(Z[:, 0] + Z[:, 1] * Z[:, 2] > 0).astype(int)]
PRICES = 40_000 + 9_000 * (Z[:, 0] - Z[:, 1] + 0.5 * Z[:, 2])
NAMES = ["a", "b", "c"]


def write_table(path, rows=slice(None), **columns):
    names = [*NAMES, *columns]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*X[rows].T, *(column[rows] for column in columns.values())))
    return str(path)


@pytest.fixture
def table(tmp_path):
    pytest.importorskip("pandas")
    return write_table(tmp_path / "train.csv", slice(0, 200), label=LABELS, price=PRICES)


@pytest.fixture
def other(tmp_path):
    return write_table(tmp_path / "test.csv", slice(200, 240), price=PRICES, label=LABELS)  # in another order


def run(capsys, *command):
    """Return what a command printed."""
    status = main([str(part) for part in command])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out, err


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def number(text, after):
    return float(text.split(after)[1].split()[0])


def test_a_table_is_trained_on_measured_and_predicted(table, other, tmp_path, capsys):
    model = tmp_path / "model"
    data = ["--target", "label", "--ignore", "price"]
    out, err = run(capsys, "train", table, *data, "--test", other, "--save", model)
    assert out.startswith(f"{table}: 200 samples of 3 features, 2 classes\n")
    assert err.splitlines()[-1].startswith("epoch 200/200  loss ")
    accuracy = number(out, "test accuracy ")
    assert accuracy > 0.85
    assert fastmlp.load(model).feature_names == NAMES
    out, _ = run(capsys, "evaluate", model, other, *data)
    assert number(out, "test accuracy ") == accuracy
    out, err = run(capsys, "predict", model, other)  # whose columns beside those of the model are not asked for
    assert err == "columns that the model does not use: price, label\n"
    rows = rows_of(out)
    assert list(rows[0]) == ["label", "probability_high", "probability_low"]
    right = np.mean([row["label"] == label for row, label in zip(rows, LABELS[200:])])
    np.testing.assert_allclose(right, accuracy, atol=5e-5)
    for row in rows:
        high = float(row["probability_high"])
        np.testing.assert_allclose(high + float(row["probability_low"]), 1, atol=1e-6)
        assert (row["label"] == "high") == (high > 0.5)
    run(capsys, "predict", model, other, "--ignore", "price,label", "-o", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == out


def test_what_is_measured_without_a_test_set(table, other, capsys):
    data = ["--target", "label", "--ignore", "price", "--quiet", "--epochs", 3]
    assert "training accuracy" in run(capsys, "train", table, *data)[0]
    assert run(capsys, "train", table, *data, "--validation", 0.2)[0].startswith("validation accuracy")
    with_file = run(capsys, "train", table, *data, "--validation", other)[0]
    assert with_file.startswith("validation accuracy")
    with_both = run(capsys, "train", table, *data, "--validation", 0.2, "--test", other)[0]
    assert with_both.startswith("test accuracy")


def test_a_regression_of_large_targets(table, other, tmp_path, capsys):
    model, log = tmp_path / "model", tmp_path / "log.csv"
    data = ["--target", "price", "--ignore", "label"]
    out, err = run(capsys, "train", table, *data, "--test", other, "--save", model, "--validation", other,
                   "--metrics", "mae,r2", "--csv-log", log)  # fmt: skip
    assert number(out, "test r2 ") > 0.95
    loaded = fastmlp.load(model)
    x = X[200:]
    loss = loaded.evaluate(x, PRICES[200:]).loss
    np.testing.assert_allclose(number(out, "test loss "), loss, rtol=1e-3)
    # everywhere in the units of the targets: the history, the log, and what is shown
    np.testing.assert_allclose(loaded.history["validation_loss"][-1], loss, rtol=1e-3)
    mae = np.abs(loaded.predict(x)[:, 0] - PRICES[200:]).mean()
    np.testing.assert_allclose(loaded.history["validation_mae"][-1], mae, rtol=1e-3)
    logged = rows_of(log.read_text())
    assert [float(row["validation_loss"]) for row in logged] == loaded.history["validation_loss"]
    assert [float(row["train_mae"]) for row in logged] == loaded.history["train_mae"]
    np.testing.assert_allclose(number(err.splitlines()[-1], "validation loss "), loss, rtol=1e-3)
    rows = rows_of(run(capsys, "predict", model, other)[0])
    np.testing.assert_array_equal([np.float32(row["prediction"]) for row in rows], loaded.predict(x)[:, 0])


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_model_of_scaled_targets_becomes_one_of_the_targets(loss):
    y = PRICES[:64] / 10_000
    x = Z[:64].astype(np.float32)
    scale = target_scale(y, {"loss": loss, "init": "he"})
    arguments = {"hidden": (8,), "loss": loss, "epochs": 1, "batch_size": 64, "seed": 0, "progress": False}
    delta = {"delta": 1 / scale.factor} if loss == "huber" else {}
    scaled = fastmlp.train(
        x, scale.apply(y), **arguments, **delta, learning_rate=1e-8
    )  # the history is of before the step
    before = scaled.evaluate(x, scale.apply(y)).loss
    scale.put_into(scaled)
    power = 1 if loss == "mae" else 2
    np.testing.assert_allclose(scaled.evaluate(x, y).loss, before * scale.factor**power, rtol=1e-4)
    np.testing.assert_allclose(scaled.history["train_loss"], [before * scale.factor**power], rtol=1e-4)
    assert scaled.delta == pytest.approx(1)


def test_only_regressions_have_a_scale_of_targets():
    options = {"loss": None, "init": "he"}
    assert target_scale(np.array([1, 2, 3]), options) is None
    assert target_scale(np.array(["a", "b"]), options) is None
    assert target_scale(np.full(3, 2.5), options) is None
    assert target_scale(np.array([1.0, np.nan]), options) is None
    assert target_scale(PRICES, {**options, "loss": "poisson"}) is None
    assert target_scale(PRICES, {**options, "init": "notebook"}) is None
    assert target_scale(np.array([1, 2, 3]), {**options, "loss": "mse"}).offset == 2
    several = target_scale(np.array([[1.0, 10], [3, 30]]), options)
    np.testing.assert_array_equal(several.offset, [2, 20])


def test_a_checkpoint_of_a_regression_predicts_the_targets_themselves(table, tmp_path, capsys):
    run(capsys, "train", table, "--target", "price", "--ignore", "label", "--epochs", 2, "--checkpoint",
        tmp_path / "run", "--save", tmp_path / "model")  # fmt: skip
    checkpoint = max((tmp_path / "run").iterdir())
    x = X[:5].astype(np.float32)
    np.testing.assert_array_equal(fastmlp.load(checkpoint).predict(x), fastmlp.load(tmp_path / "model").predict(x))


def test_recipes_suit_the_data():
    sparse, pandas = pytest.importorskip("scipy.sparse"), pytest.importorskip("pandas")
    labels = np.array([0, 1])
    targets = np.array([0.5, 1])
    pixels, floats = np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.float32)
    assert recipe_for(pixels, labels) == recipe_for(sparse.csr_matrix((2, 3)), labels) == PIXELS
    assert recipe_for(pixels, targets) == recipe_for(sparse.csr_matrix((2, 3)), targets)
    assert recipe_for(pixels, targets) == TABLE._replace(input_scale="auto")
    assert recipe_for(floats, labels) == recipe_for(floats, targets) == TABLE._replace(input_scale="standardize")
    assert recipe_for(pandas.DataFrame(floats), labels) == recipe_for(pandas.DataFrame(pixels), targets) == TABLE
    assert (PIXELS.epochs(60_000, 64), TABLE.epochs(100, 64), TABLE.epochs(9_600, 64)) == (10, 200, 20)
    options = create_parser().parse_args(["train", "--learning-rate", "0.5", "--epochs", "7", "--optimizer", "sgd"])
    arguments = training_arguments(options, TABLE, 100)
    assert (arguments["epochs"], arguments["optimizer"].momentum) == (7, 0.9)
    assert arguments["learning_rate"].rate(np.zeros(1), 7) == 0.5


def test_npz_npy_idx_and_svmlight(tmp_path, capsys):
    pytest.importorskip("sklearn")
    labels = (LABELS == "high").astype(int)
    np.savez(tmp_path / "d.npz", x_train=X[:200], y_train=labels[:200], x_test=X[200:], y_test=labels[200:])
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", labels)
    lines = (f"{y} " + " ".join(f"{k + 1}:{v}" for k, v in enumerate(z)) for z, y in zip(Z, labels))
    (tmp_path / "d.svm").write_text("\n".join(lines))
    pixels = np.clip(128 + 50 * Z, 0, 255).astype(np.uint8)
    for name, array in (("train-images-idx2-ubyte", pixels), ("train-labels-idx1-ubyte", labels.astype(np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / name).write_bytes(head + array.tobytes())
    for name, said in (
        ("d.npz", "test"), ("x.npy", "training"), ("d.svm", "training"), ("train-images-idx2-ubyte", "training"),
    ):  # fmt: skip
        out, _ = run(capsys, "train", tmp_path / name, "--save", tmp_path / "m", "--epochs", 100, "--quiet")
        assert number(out, f"{said} accuracy ") > 0.8, name
        evaluated, _ = run(capsys, "evaluate", tmp_path / "m", tmp_path / name)
        assert number(evaluated, "test accuracy ") == number(out, f"{said} accuracy ")
        rows = rows_of(run(capsys, "predict", tmp_path / "m", tmp_path / name)[0])
        assert list(rows[0]) == ["label", "probability_0", "probability_1"]


def test_several_labels_per_sample(tmp_path, capsys):
    y = (Z[:, :2] > 0).astype(np.int64)
    np.savez(tmp_path / "d.npz", x=X, y=y)
    out, _ = run(capsys, "train", tmp_path / "d.npz", "--save", tmp_path / "m", "--quiet")
    assert number(out, "training accuracy ") > 0.9
    rows = rows_of(run(capsys, "predict", tmp_path / "m", tmp_path / "d.npz")[0])
    assert list(rows[0]) == ["label_0", "label_1", "probability_0", "probability_1"]
    assert all((float(row["probability_1"]) > 0.5) == (row["label_1"] == "1") for row in rows)


def test_a_table_of_texts_and_missing_values(tmp_path, capsys):
    pytest.importorskip("pandas")
    colors = np.where(Z[:, 0] > 0.3, "red", np.where(Z[:, 0] < -0.3, "blue", ""))
    size = np.where(np.random.default_rng(1).random(240) < 0.1, "?", np.round(Z[:, 1], 3).astype(str))
    for name, rows in (("train.csv", slice(0, 200)), ("test.csv", slice(200, 240))):
        with open(tmp_path / name, "w", newline="") as file:
            csv.writer(file).writerows([("color", "size", "class"), *zip(colors[rows], size[rows], LABELS[rows])])
    out, _ = run(capsys, "train", tmp_path / "train.csv", "--target", "class", "--test", tmp_path / "test.csv",
                 "--save", tmp_path / "model")  # fmt: skip
    accuracy = number(out, "test accuracy ")
    assert accuracy > 0.6
    rows = rows_of(run(capsys, "predict", tmp_path / "model", tmp_path / "test.csv", "--target", "class")[0])
    right = np.mean([row["label"] == label for row, label in zip(rows, LABELS[200:])])
    np.testing.assert_allclose(right, accuracy, atol=5e-5)


# Images


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "model"
    mnist = fastmlp.load_mnist()
    fastmlp.train(mnist.x_train, mnist.y_train, epochs=2, seed=0, progress=False).save(path)
    return path


def picture(row, path, size=28, dark=False, mode="L"):
    """Write a digit of MNIST as an image."""
    image_module = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image_module.fromarray(255 - row.reshape(28, 28) if dark else row.reshape(28, 28))
    image.resize((size, size), image_module.Resampling.BICUBIC).convert(mode).save(path)
    return str(path)


@pytest.mark.parametrize("name", ["digit.png", "digit.jpg"])
@pytest.mark.parametrize(("size", "dark", "mode"), [(28, False, "L"), (90, True, "RGB"), (200, True, "L")])
def test_digits_are_read_from_pictures(digits_model, tmp_path, capsys, name, size, dark, mode):
    mnist = fastmlp.load_mnist()
    files = [picture(mnist.x_test[k], tmp_path / f"{k}{name}", size, dark, mode) for k in range(6)]
    rows = [rows_of(run(capsys, "predict", digits_model, file)[0])[0] for file in files]
    assert [row["label"] for row in rows] == [str(label) for label in mnist.y_test[:6]]
    assert [row["file"] for row in rows] == files
    assert list(rows[0])[2:] == [f"probability_{k}" for k in range(10)]
    together = rows_of(run(capsys, "predict", digits_model, tmp_path)[0])
    assert together == rows


def test_mnists_own_pixels_stay_as_they_are(digits_model, tmp_path, capsys):
    mnist = fastmlp.load_mnist()
    for k in range(40):
        picture(mnist.x_test[k], tmp_path / f"folder/{mnist.y_test[k]}/{k}.png")
    model = fastmlp.load(digits_model)
    out, _ = run(capsys, "evaluate", digits_model, tmp_path / "folder")  # names of folders as the model's integers
    assert number(out, "test accuracy ") == pytest.approx(
        model.evaluate(mnist.x_test[:40], mnist.y_test[:40]).accuracy, abs=1e-4
    )
    plain, _ = run(capsys, "evaluate", digits_model, tmp_path / "folder", "--prepare", "none")
    assert plain == out


def test_a_folder_of_images_is_trained_on(tmp_path, capsys):
    image_module, rng = pytest.importorskip("PIL.Image"), np.random.default_rng(1)
    for part, n in (("train", 20), ("test", 8)):
        for color, name in enumerate(("red", "blue")):
            for k in range(n):
                pixels = rng.integers(0, 60, (5, 4, 3), np.uint8)
                pixels[:, :, 2 * color] += 60
                path = tmp_path / part / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image_module.fromarray(pixels).save(path)
    out, _ = run(capsys, "train", tmp_path, "--save", tmp_path / "model", "--quiet", "--epochs", 20)
    assert number(out, "test accuracy ") == 1
    file = tmp_path / "test" / "blue" / "3.png"
    (row,) = rows_of(run(capsys, "predict", tmp_path / "model", file)[0])
    assert (row["file"], row["label"]) == (str(file), "blue")
    # another size is an error, unless it is asked for; a gray image is made one of colors
    image_module.fromarray(np.full((9, 8), 99, np.uint8)).save(tmp_path / "other.png")
    assert main(["predict", str(tmp_path / "model"), str(tmp_path / "other.png")]) == 1
    assert "must have 60 features" in capsys.readouterr().err
    run(capsys, "predict", tmp_path / "model", tmp_path / "other.png", "--size", "4x5")


# Errors


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["train", "{table}"],
            "target must be a column of {table}, which are 'a', 'b', 'c', 'label', 'price'; got none",
        ),
        (["train", "{table}", "--target", "labels"], "got 'labels'"),
        (["train", "{table}", "--target", "label", "--ignore", "prize"], "ignore must be a column of"),
        (["train", "{table}", "--target", "label", "--test", "nowhere.csv"], "nowhere.csv"),
        (["train", "{table}", "--target", "label", "--validation", "nowhere.csv"], "nowhere.csv"),
        (["train", "nowhere.csv"], "nowhere.csv"),
        (["train", "{folder}"], "holds no data set; what can be read are"),
        (["evaluate", "{model}", "{table}"], "target must be a column of"),
        (["predict", "{model}", "{folder}"], "holds no data set"),
        (["predict", "{model}", "{table}"], "must have the columns that the model was trained on"),
        (["predict", "{model}", "{table}", "-o", "{folder}"], "must have the columns"),
    ],
)
def test_errors_are_one_line_and_name_what_is_wrong(command, message, table, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "folder").mkdir()
    names = {"table": table, "folder": tmp_path / "folder", "model": tmp_path / "model"}
    frame = pandas.DataFrame(X[:, :2], columns=["a", "z"])
    fastmlp.train(frame, LABELS, hidden=(), epochs=1, progress=False).save(names["model"])
    assert main([part.format(**names) for part in command]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fastmlp {command[0]}: error: ")
    assert error.count("\n") == 1
    assert message.format(**names) in error


# Completion of commands


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_all_commands_and_options(shell, capsys):
    pytest.importorskip("shtab")
    out, _ = run(capsys, "completion", shell)
    for word in ("train", "evaluate", "predict", "reproduce", "learning-rate", "class-weight", "one-cycle"):
        assert word in out
    assert out.strip() == script(create_parser(), shell).strip()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fastmlp ev", {"evaluate"}),
        ("fastmlp train --opt", {"--optimizer"}),
        ("fastmlp train --optimizer ada", {"adam", "adamw", "adagrad"}),
        ("fastmlp evaluate dig", {"digits.csv"}),
        ("fastmlp train dig", {"digits.csv"}),
        ("fastmlp train --test dig", {"digits.csv"}),
    ],
)
def test_bash_completes(line, found, tmp_path):
    pytest.importorskip("shtab")
    (tmp_path / "digits.csv").write_text("")
    (tmp_path / "other.csv").write_text("")
    words = line.split()
    (tmp_path / "script").write_text(script(create_parser(), "bash"))
    command = (
        f"source ./script; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
        f"COMP_POINT={len(line)}; _shtab_fastmlp; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == found


def test_completion_without_its_package_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "fastmlp[completion]" in capsys.readouterr().err
