import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fastmlp


def test_importing_loads_no_optional_and_no_slow_package():
    optional = {"rich", "scipy", "sklearn", "matplotlib", "safetensors", "onnx", "onnxruntime", "torch", "keras"}
    # Numba looks for SciPy by itself: only what fastmlp adds to it counts
    code = (
        "import sys, numba; before = set(sys.modules); import fastmlp\n"
        f"print(sorted({optional} & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_all_names_are_there_and_typed():
    assert all(hasattr(fastmlp, name) for name in fastmlp.__all__)
    assert (Path(fastmlp.__file__).parent / "py.typed").exists()


def test_the_reference_imports_nothing_of_fastmlp():
    source = Path(fastmlp.reference.__file__).read_text()
    assert "import fastmlp" not in source.replace(">>> ", "")
    folder = str(Path(fastmlp.__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); import reference; print('numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_the_version_is_that_of_the_installed_package():
    try:
        installed = metadata.version("fastmlp")
    except metadata.PackageNotFoundError:
        pytest.skip("fastmlp is not installed")
    assert installed == fastmlp.__version__


def test_all_names_are_sorted_once_and_documented():
    assert len(set(fastmlp.__all__)) == len(fastmlp.__all__)
    assert all(getattr(fastmlp, name).__doc__ for name in fastmlp.__all__)


def test_training_in_a_pipe_does_not_import_rich():
    code = (
        "import sys, fastmlp, numpy as np\n"
        "fastmlp.train(np.eye(4), np.array([0, 1, 0, 1]), epochs=1)\n"
        "print('rich' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("False\n", "")
