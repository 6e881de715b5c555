"""What lists the names of a table lists all of them."""

import re
from pathlib import Path

import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.cli import main
from fastmlp.initializers import INITS
from fastmlp.losses import LOSSES, OUTPUTS
from fastmlp.optimizers import OPTIMIZERS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


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


def test_readme_lists_them():
    assert set(re.split(r"[,;]\s*", row_of("activations"))) - {"one per layer"} == set(ACTIVATIONS)
    assert set(LOSSES) <= set(re.findall(r"\w+", row_of("losses")))
    assert set(re.findall(r"`(\w+)`", row_of("optimizers"))) == {kind.__name__ for kind in OPTIMIZERS.values()}


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
    for table in (ACTIVATIONS, OPTIMIZERS, INITS, LOSSES):
        assert "{" + ",".join(table) + "}" in text


def test_every_loss_has_an_output():
    assert {row.output for row in LOSSES.values()} == set(OUTPUTS)
