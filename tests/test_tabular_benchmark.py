"""The comparison on tables runs, on those that scikit-learn holds."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
PATH = Path(__file__).parent.parent / "benchmarks" / "tabular.py"
SPEC = importlib.util.spec_from_file_location("tabular_benchmark", PATH)
tabular = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tabular)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")  # put back to what it was


@pytest.mark.filterwarnings("ignore")
def test_every_model_gets_a_rank(capsys):
    tabular.main(["--seeds", "1", "--epochs", "3", "--rows", "150", "--data", "wine", "diabetes"])
    head, wine, diabetes, ranks, seconds = capsys.readouterr().out.splitlines()
    assert head.split() == ["table", "rows", "columns", "tabular", "boosting", "forest", "MLP"]
    for line, name, size in [(wine, "wine", ["150", "13"]), (diabetes, "diabetes", ["150", "10"])]:
        assert line.split()[:3] == [name, *size]
        assert len(re.findall(r"\d\.\d{4} +\d+\.\d\d s", line)) == 4
    assert sum(map(float, ranks.split()[2:])) == pytest.approx(10, abs=0.05)
    assert seconds.split()[0] == "seconds"


def test_labels_and_numbers_are_told_apart():
    own = [table for table in tabular.TABLES.values() if table.package == "sklearn"]
    targets = [tabular.load(table, 10**6)[1].dtype.kind for table in own]
    assert sorted(targets) == ["f", "i", "i", "i"]
