import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    mnist = fastmlp.load_mnist()
    few = mnist._replace(x_train=mnist.x_train[:6000], y_train=mnist.y_train[:6000])
    monkeypatch.setattr("fastmlp.load_mnist", lambda: few)


def test_train_saves_a_model_that_evaluate_reads(tmp_path, capsys):
    path = str(tmp_path / "digits.safetensors")
    assert main(["train", "--epochs", "3", "--save", path, "--hidden", "64,32", "--activation", "tanh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["epoch", str(i)] for i in (1, 2, 3)]
    accuracy = float(lines[3].split()[2])
    assert accuracy > 0.9
    assert "samples per second" in lines[4]
    assert main(["evaluate", path]) == 0
    assert f"test accuracy {accuracy:.4f}" in capsys.readouterr().out
    np.save(tmp_path / "digits.npy", fastmlp.load_mnist().x_test[:20])
    assert main(["predict", path, str(tmp_path / "digits.npy")]) == 0
    predicted = [int(line) for line in capsys.readouterr().out.split()]
    assert predicted == fastmlp.load(path).predict(fastmlp.load_mnist().x_test[:20]).tolist()
    assert main(["train", "--epochs", "1", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_compare_finds_small_differences(capsys):
    assert main(["compare", "--epochs", "2", "--hidden", "16"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert all(float(row[1]) < 1e-3 and float(row[2]) < 1e-4 for row in rows)


def test_reproduce_prints_the_notebooks_lines(capsys):
    assert main(["reproduce", "--iterations", "501"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["0", "500"]
    assert "(0.6550)" in lines[2]
    assert "the same run in NumPy took" in lines[3]


def test_info_and_warmup(capsys):
    assert main(["info"]) == main(["warmup"]) == 0
    out = capsys.readouterr().out
    assert fastmlp.__version__ in out
    assert "all kernels are compiled" in out


def test_errors_have_a_message_and_a_status(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "nothing")]) == 1
    assert "error" in capsys.readouterr().err
    assert main(["train", "--learning-rate", "-1"]) == 1
    assert "learning_rate must be a finite number greater than 0" in capsys.readouterr().err
    for bad in (["train", "--activation", "wave"], ["train", "--hidden", "a"], []):
        with pytest.raises(SystemExit):
            main(bad)


def test_it_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "fastmlp", "--help"], capture_output=True, text=True, check=True)
    assert "reproduce" in run.stdout
    assert np.isfinite(len(run.stdout))
