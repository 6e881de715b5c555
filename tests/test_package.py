import subprocess
import sys
from pathlib import Path

import fastmlp


def test_importing_loads_no_optional_and_no_slow_package():
    optional = {"rich", "sklearn", "matplotlib", "safetensors", "onnx", "torch"}
    code = f"import sys, fastmlp; print(sorted({optional} & set(sys.modules)))"
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
