import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main
from fastmlp.cli.command import to_json
from fastmlp.cli.parser import COMMANDS, create_parser


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    mnist = fastmlp.load_mnist()
    few = mnist._replace(x_train=mnist.x_train[:6000], y_train=mnist.y_train[:6000])
    monkeypatch.setattr("fastmlp.load_mnist", lambda: few)


def test_train_saves_a_model_that_evaluate_reads(tmp_path, capsys):
    path = str(tmp_path / "digits.safetensors")
    assert main(["train", "--epochs", "3", "--save", path, "--hidden", "64,32", "--activation", "tanh"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[:2] for line in err.splitlines()[-3:]] == [["epoch", f"{i}/3"] for i in (1, 2, 3)]
    accuracy = float(lines[0].split()[2])
    assert accuracy > 0.9
    assert "samples per second" in lines[1]
    assert main(["evaluate", path]) == 0
    assert f"test accuracy {accuracy:.4f}" in capsys.readouterr().out
    np.save(tmp_path / "digits.npy", fastmlp.load_mnist().x_test[:20])
    assert main(["predict", path, str(tmp_path / "digits.npy")]) == 0
    predicted = [int(line.split(",")[0]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert predicted == fastmlp.load(path).predict(fastmlp.load_mnist().x_test[:20]).tolist()
    assert main(["train", "--epochs", "1", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_train_has_options_for_everything(tmp_path, capsys):
    command = [
        "train", "--hidden", "16", "--epochs", "3", "--dropout", "0.1", "--input-dropout", "0.05", "--l1", "1e-6",
        "--l2", "1e-5", "--clip-norm", "1", "--max-norm", "4", "--label-smoothing", "0.05",
        "--class-weight", "balanced", "--input-scale", "standardize", "--schedule", "plateau", "--warm-up", "0.5",
        "--validation", "0.1",
        "--metrics", "top_2", "--patience", "0", "--csv-log", str(tmp_path / "log.csv"), "--activation", "silu",
        "--optimizer", "adam", "--checkpoint", str(tmp_path / "run"), "--time-budget", "60",
    ]  # fmt: skip
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "validation_top_2" in err
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.85
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert "train_top_2" in log[0]
    assert len(log) == 1 + err.count("epoch ")
    assert main(command) == 0  # nothing is left to do
    assert "epoch " not in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--dropout", "0.3", "--l2", "1e-4", "--label-smoothing", "0.1"]])
def test_compare_finds_small_differences(options, capsys):
    assert main(["compare", "--epochs", "2", "--hidden", "16", *options]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert all(float(row[1]) < 1e-3 and float(row[2]) < 1e-4 for row in rows)


def test_reproduce_prints_the_notebooks_lines(capsys):
    assert main(["reproduce", "--iterations", "501"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["0", "500"]
    assert "(0.6550)" in lines[2]
    assert re.fullmatch(r"[\d.]+x faster than NumPy \([\d.]+ s against [\d.]+ s\)", lines[3])


def test_info_and_warmup(capsys):
    assert main(["info"]) == main(["warmup"]) == 0
    out = capsys.readouterr().out
    assert fastmlp.__version__ in out
    assert "all kernels are compiled" in out


def test_errors_have_a_message_and_a_status(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "nothing")]) == 1
    assert "error" in capsys.readouterr().err
    assert main(["train", "--learning-rate", "-1"]) == 1
    assert "learning_rate must be a finite number > 0" in capsys.readouterr().err
    for bad in (["train", "--activation", "wave"], ["train", "--hidden", "a"], []):
        with pytest.raises(SystemExit):
            main(bad)


def test_it_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "fastmlp", "--help"], capture_output=True, text=True, check=True)
    assert "reproduce" in run.stdout
    assert np.isfinite(len(run.stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["train", "--loss", "nothing"],
        ["compare", "--loss", "mse"],
        ["train", "--size", "28"],
        ["completion"],
        ["train", "--optimizer", "nothing"],
        ["train", "--epochs", "many"],
        ["train", "--input-scale", "wide"],
        ["train", "--schedule", "never"],
        ["train", "--hidden", "12,x"],
        ["evaluate"],
        ["predict", "model"],
        ["reproduce", "--iterations", "1.5"],
    ],
)
def test_a_misused_command_line_gives_status_2_and_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert re.fullmatch(r"(fastmlp[ \w]*): error: .+ \(see: \1 --help\)\n", capsys.readouterr().err)


def test_an_unknown_option_is_an_error_of_its_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "--epoch-count", "3"])
    assert caught.value.code == 2
    assert "fastmlp train: error: unrecognized arguments: --epoch-count" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.split(".")[-1])
def test_help_is_short_on_usage_and_has_an_example_that_is_parsed(command, capsys):
    name = command.__name__.split(".")[-1]
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert len(out.split("\n\n")[0].splitlines()) == 1
    assert "(default: None)" not in out
    examples = out.split("example:\n")[1].splitlines()
    for line in examples:
        program, *arguments = shlex.split(line.split(">")[0])
        assert program == "fastmlp"
        create_parser().parse_args(arguments)


def test_results_as_json(tmp_path, capsys):
    def run(*arguments):
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    path = str(tmp_path / "digits.safetensors")
    trained = run("train", "--epochs", "2", "--validation", "0.1", "--save", path)
    assert (trained["measured_on"], trained["epochs"], trained["saved"]) == ("test", 2, path)
    assert len(trained["history"]["validation_loss"]) == 2
    measured = run("evaluate", path)
    assert {name: measured[name] for name in ("loss", "accuracy")} == {
        name: trained[name] for name in ("loss", "accuracy")
    }
    np.save(tmp_path / "x.npy", fastmlp.load_mnist().x_test[:3])
    rows = run("predict", path, str(tmp_path / "x.npy"))
    assert [row["label"] for row in rows] == fastmlp.load(path).predict(fastmlp.load_mnist().x_test[:3]).tolist()
    assert sum(rows[0][f"probability_{digit}"] for digit in range(10)) == pytest.approx(1)
    compared = run("compare", "--epochs", "1", "--hidden", "8")
    assert compared["epochs"][0]["weight_difference"] < 1e-3
    assert [line["iteration"] for line in run("reproduce", "--iterations", "501")["iterations"]] == [0, 500]
    assert run("info")["fastmlp"] == fastmlp.__version__
    assert run("warmup")["seconds"] > 0
    assert run("report", path, "-o", str(tmp_path / "page.html")) == {"output": str(tmp_path / "page.html")}


def test_predictions_as_json_in_a_file(tmp_path, capsys):
    x = fastmlp.load_mnist().x_test[:3]
    fastmlp.train(*fastmlp.load_mnist()[:2], epochs=1, hidden=(8,), seed=0).save(tmp_path / "model")
    np.save(tmp_path / "x.npy", x)
    arguments = [
        "predict",
        str(tmp_path / "model"),
        str(tmp_path / "x.npy"),
        "--json",
        "-o",
        str(tmp_path / "out.json"),
    ]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["label"] for row in rows] == fastmlp.load(tmp_path / "model").predict(x).tolist()


def test_numbers_that_json_lacks_become_null():
    assert to_json({"a": (np.float32(1.5), float("nan")), 1: np.array([[1, 2]])}) == {"a": [1.5, None], "1": [[1, 2]]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "0"], "epochs must be an integer >= 1, got 0"),
        (["train", "--batch-size", "-1"], "batch_size must be an integer >= 1, got -1"),
        (["train", "--hidden", "8,0"], "hidden: every width must be an integer >= 1, got 0"),
        (["train", "--learning-rate", "nan"], "learning_rate must be a finite number > 0, got nan"),
        (["train", "--momentum", "1"], "momentum must be a number >= 0 and < 1"),
        (["train", "--dropout", "1"], "dropout must be a number >= 0 and < 1"),
        (["train", "--clip-norm", "-1"], "clip_norm must be a finite number > 0"),
        (["train", "--patience", "-1"], "patience must be an integer >= 0, got -1"),
        (["train", "--metrics", "top"], "metrics must be names"),
        (["train", "--validation", "2"], "validation, as a fraction"),
        (["train", "--threads", "0"], "threads must be an integer >= 1, got 0"),
        (["compare", "--seed", "-1"], "seed must be an integer >= 0, got -1"),
        (["reproduce", "--iterations", "0"], "iterations must be an integer >= 1, got 0"),
        (["evaluate", "no-such-file"], "no-such-file"),
        (["predict", "no-such-file", "x.npy"], "no-such-file"),
    ],
)
def test_bad_values_give_status_1_and_name_the_argument(arguments, message, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fastmlp {arguments[0]}: error: ")
    assert message in error


def test_files_of_another_kind_are_refused(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text("hello, this is not a model")
    assert main(["evaluate", str(path)]) == 1
    assert "not a safetensors file" in capsys.readouterr().err


def test_predict_prints_probabilities(tmp_path, capsys):
    x = fastmlp.load_mnist().x_test[:3]
    model = fastmlp.train(x, np.array([3, 5, 3]), hidden=(), epochs=1)
    model.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", x)
    assert main(["predict", str(tmp_path / "model"), str(tmp_path / "x.npy")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "label,probability_3,probability_5"
    printed = np.array([line.split(",") for line in lines[1:]])
    np.testing.assert_array_equal(printed[:, 1:].astype(np.float32), model.predict_proba(x))
    np.testing.assert_array_equal(printed[:, 0].astype(int), model.predict(x))


def test_a_linear_model_and_every_option_of_train(capsys):
    options = "--hidden= --loss softmax_mse --momentum 0 --batch-size 32 --learning-rate 0.3 --seed 4 --threads 1"
    assert main(["train", "--epochs", "1", *options.split()]) == 0
    assert "epoch 1/1  loss " in capsys.readouterr().err


def test_the_corrected_run_without_the_reference(capsys):
    assert main(["reproduce", "--iterations", "101", "--corrected", "--no-reference", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["0", "100", "took"]
    assert "NumPy" not in lines[-1]


def test_the_same_seed_prints_the_same_accuracy(capsys):
    results = []
    for seed in ("1", "1", "2"):
        assert main(["train", "--epochs", "1", "--quiet", "--hidden", "16", "--seed", seed]) == 0
        results.append(capsys.readouterr().out.splitlines()[0])
    assert results[0] == results[1] != results[2]


def test_interruption_gives_status_130(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastmlp.train", interrupt)
    assert main(["train", "--epochs", "1"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fastmlp {fastmlp.__version__}\n"


def test_one_epoch_of_the_whole_mnist_learns_it(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()  # all of the digits
    path = str(tmp_path / "digits")
    assert main(["train", "--epochs", "1", "--quiet", "--save", path]) == 0
    assert float(capsys.readouterr().out.split()[2]) >= 0.95
    mnist = fastmlp.load_mnist()
    assert fastmlp.load(path).evaluate(mnist.x_train, mnist.y_train).accuracy >= 0.95


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "adam", "--schedule", "one-cycle", "--weight-decay", "0.001"],
        ["--optimizer", "rmsprop", "--schedule", "constant", "--init", "orthogonal", "--activation", "elu"],
        ["--optimizer", "adagrad", "--schedule", "cosine", "--init", "lecun", "--learning-rate", "0.05"],
    ],
)
def test_every_optimizer_schedule_and_start_learns(options, capsys):
    assert main(["train", "--epochs", "3", "--quiet", "--batch-size", "16", *options]) == 0
    assert float(capsys.readouterr().out.split()[2]) > 0.5


def test_where_to_save_is_checked_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fastmlp.train", None)
    for path in (tmp_path / "no folder" / "model", tmp_path):
        assert main(["train", "--save", str(path)]) == 1
        error = capsys.readouterr().err
        assert str(path.parent if path.name == "model" else path) in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_folder_goes_away_meanwhile_is_kept(tmp_path, capsys, monkeypatch):
    folder, train = tmp_path / "folder", fastmlp.train
    (tmp_path / "temporary").mkdir()
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def train_and_remove(*arguments, **more):
        model = train(*arguments, **more)
        shutil.rmtree(folder, ignore_errors=True)
        return model

    monkeypatch.setattr("fastmlp.train", train_and_remove)
    assert main(["train", "--epochs", "1", "--quiet", "--hidden", "8", "--save", str(folder / "model")]) == 1
    error = capsys.readouterr().err
    (path,) = (tmp_path / "temporary").iterdir()
    assert f"; the model is in {path}" in error
    assert fastmlp.load(path).widths == (784, 8, 10)


def test_a_link_and_a_device_can_be_saved_to(tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in ["/dev/null", str(tmp_path / "link")]:
        assert main(["train", "--epochs", "1", "--quiet", "--hidden", "4", "--save", path]) == 0
    assert fastmlp.load(tmp_path / "target").widths == (784, 4, 10)
    assert (tmp_path / "link").is_symlink()
    assert Path("/dev/null").is_char_device()


def array_file(content):
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 784), }"
DATA = {
    "empty": b"",
    "text": b"1,2,3\n",
    "cut": array_file(np.zeros((20, 784), np.uint8))[:-1],
    "huge": HEADER.ljust(127) + b"\n",
    "nested": HEADER[:10] + b"(" * 118,
    "objects": array_file(np.array([None, {}], object)),
    "zip": b"PK\x03\x04" + bytes(100),
    "texts": array_file(np.array(["a", "b"])),
    "other width": array_file(np.zeros((2, 3))),
    "a number": array_file(np.zeros(())),
    "no rows": array_file(np.zeros((0, 784))),
    "nan": array_file(np.full((2, 784), np.nan)),
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits"
    mnist = fastmlp.load_mnist()
    fastmlp.train(mnist.x_train[:200], mnist.y_train[:200], hidden=(4,), epochs=1).save(path)
    return path


@pytest.mark.parametrize("name", DATA)
def test_predict_refuses_bad_data_in_one_line(name, digits, tmp_path, capsys):
    path = tmp_path / "x.npy"
    path.write_bytes(DATA[name])
    assert main(["predict", str(digits), str(path)]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("fastmlp predict: error: ")
    assert error.count("\n") == 1


def test_predict_and_evaluate_refuse_bad_models_in_one_line(digits, tmp_path, capsys):
    data, path = digits.read_bytes(), tmp_path / "model"
    nested = b'{"__metadata__":{"fastmlp":"' + b"[" * 100_000 + b'"}}'
    for bad in (b"", b"PK\x03\x04" + bytes(100), data[:-1], b"\xff" * 1000, len(nested).to_bytes(8, "little") + nested):
        path.write_bytes(bad)
        for command in (["predict", str(path), "x.npy"], ["evaluate", str(path)]):
            assert main(command) == 1
            error = capsys.readouterr().err
            assert error.startswith(f"fastmlp {command[0]}: error: {path} is not a ")
            assert error.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [
        "--hidden=10000000000", "--hidden=99999999999999999999",
        "--learning-rate=1e999", "--label-smoothing=nan", "--input-scale=inf", "--seed=-1", "--warm-up=-1",
        "--threads=-9999999999999999999999", "--time-budget=nan", "--l1=inf", "--max-norm=0", "--metrics=",
    ],
)  # fmt: skip
def test_absurd_numbers_end_in_one_line(option, capsys):
    assert main(["train", "--epochs", "1", "--quiet", "--hidden", "4", option]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("fastmlp train: error: ")


def test_a_batch_may_be_larger_than_the_training_set(capsys):
    assert main(["train", "--epochs", "1", "--quiet", "--hidden", "4", "--batch-size=99999999999999999999999"]) == 0
    assert capsys.readouterr().err == ""


def run_module(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "fastmlp", *arguments], text=True, check=False, **options)


def test_ctrl_c_while_numba_is_imported_ends_in_one_line(tmp_path):
    (tmp_path / "numba.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    root = str(Path(fastmlp.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    run = run_module("info", env=env, capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "fastmlp: interrupted\n")


def test_a_reader_that_has_seen_enough_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    run = run_module("info", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (run.returncode, run.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_can_not_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        run = run_module("info", stdout=full, stderr=subprocess.PIPE)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "No space left" in run.stderr


def test_all_that_training_takes_is_compiled_before_it_is_timed(monkeypatch):
    threads, train = [], fastmlp.train

    def note(*arguments, **options):
        threads.append(options["threads"])
        return train(*arguments, **options)

    monkeypatch.setattr("fastmlp.train", note)
    assert main(["train", "--epochs", "1", "--threads", "2", "--quiet"]) == 0
    assert sorted(threads[:-1]) == [1, 2]
    assert threads[-1] == 2
