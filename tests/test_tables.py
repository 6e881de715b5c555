"""What lists the names of a table lists all of them."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.cli import main
from fastmlp.initializers import INITS
from fastmlp.losses import LOSSES, OUTPUTS
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks" / "readme.py")
readme = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme)


def row_of(name):
    """The second column of README's first table."""
    (row,) = re.findall(rf"^\| {name} \| (.*) \|$", README, re.MULTILINE)
    return row


def parameter(name, doc=None):
    """What a docstring has of a parameter."""
    (text,) = re.findall(
        rf"^    {name} : (.*?)(?=^    \w+ : |^    \w+\n    -)", doc or fastmlp.train.__doc__, re.M | re.S
    )
    return text


def names_in(text):
    return set(re.findall(r'"(\w+)"', text))


def test_readme_is_what_its_script_writes():
    figures = json.loads((ROOT / "benchmarks" / "figures.json").read_text(encoding="utf-8"))
    assert readme.fill(README, figures) == README
    assert readme.picture(figures) == (ROOT / "docs" / "assets" / "speed.svg").read_text(encoding="utf-8")


def test_readme_lists_them():
    names = {name: set(re.findall(r"`(\w+)`", row_of(name))) for name in ("activations", "losses", "optimizers")}
    assert names["activations"] == set(ACTIVATIONS)
    assert names["losses"] == {*LOSSES, "label_smoothing"}
    assert names["optimizers"] == {kind.__name__ for kind in OPTIMIZERS.values()}


@pytest.mark.parametrize(
    ("argument", "table"),
    [("activation", ACTIVATIONS), ("loss", LOSSES), ("optimizer", OPTIMIZERS), ("init", INITS)],
)
def test_the_docstring_of_train_lists_them(argument, table):
    assert names_in(parameter(argument)) == set(table)


def test_the_docstring_of_train_has_the_default_rates():
    for kind in OPTIMIZERS.values():
        assert f"{kind.learning_rate:g} for {kind.__name__}" in re.sub(r"\s+", " ", parameter("learning_rate"))


def test_the_docstrings_of_estimators_list_them():
    pytest.importorskip("sklearn")
    for estimator in (fastmlp.MLPClassifier, fastmlp.MLPRegressor):
        assert names_in(parameter("solver", estimator.__doc__).split("\n")[0]) - {"lbfgs"} == set(OPTIMIZERS)
    regressions = {name for name, row in LOSSES.items() if not row.has_accuracy}
    assert names_in(parameter("loss", fastmlp.MLPRegressor.__doc__).split("\n")[0]) == {"squared_error", *regressions}


def test_help_lists_them(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = re.sub(r"\s+", "", capsys.readouterr().out)
    for table in (ACTIVATIONS, OPTIMIZERS, INITS, SCHEDULES, LOSSES):
        assert "{" + ",".join(table) + "}" in text


def test_every_loss_has_an_output():
    assert {row.output for row in LOSSES.values()} == set(OUTPUTS)


def test_the_table_has_every_schedule():
    kinds = {kind for kind in vars(fastmlp.schedules).values() if isinstance(kind, type) and hasattr(kind, "rate")}
    assert {kind.__name__ for kind in kinds} <= set(fastmlp.__all__)
    assert {row.kind for row in SCHEDULES.values()} == kinds - {fastmlp.Warmup} | {float}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_made_from_its_highest_rate(name):
    schedule = SCHEDULES[name].make(0.1)
    model = fastmlp.train(np.eye(4), np.arange(4) % 2, learning_rate=schedule, validation=(np.eye(4), [0, 1, 0, 1]))
    assert 0 < max(model.history["learning_rate"]) <= np.float32(0.1)


def test_smoothing_is_for_losses_that_have_it():
    smoothed = [name for name, row in LOSSES.items() if row.smooths]
    assert smoothed == [name for name, row in fastmlp.reference.LOSSES.items() if row.smooths] == ["cross_entropy"]


def test_the_reference_agrees_with_the_table_of_losses():
    for name, row in LOSSES.items():
        theirs = fastmlp.reference.LOSSES[name]
        assert row.has_labels == theirs.has_labels
        assert row.has_accuracy == (theirs.probabilities is not None)


def test_only_the_softmax_over_the_batch_needs_all_of_it():
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    for name, row in LOSSES.items():
        y = np.arange(40) % 2 if row.has_labels else (x[:, :1] > 0).astype(np.float32)
        model = fastmlp.train(x, y, loss=name, hidden=(4,), epochs=1, seed=0)
        outputs = model.predict_proba if row.has_accuracy else model.predict
        assert np.allclose(outputs(x)[:7], outputs(x[:7]), rtol=1e-5) == (not row.whole_batch), name
