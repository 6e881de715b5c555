import ast
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


def run(code, *arguments):
    """What `code` prints in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_alone_does_not_load_numba():
    assert run("import sys, fastmlp; print({'numba', 'numpy'} & set(sys.modules))") == "set()\n"


def test_importing_leaves_the_process_as_it_is(tmp_path):
    code = """
import gc, os, sys
import numpy as np, numba, safetensors.numpy
def fail(*_):
    raise AssertionError("a setting of the whole process is changed")
before = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.callbacks[:]
for module, name in [(gc, "disable"), (gc, "enable"), (gc, "freeze"), (gc, "set_threshold"), (os, "umask")]:
    setattr(module, name, fail)
class Config(type(numba.core.config)):
    def __setattr__(self, name, value):
        fail()
numba.core.config.__class__ = Config
import fastmlp
model = fastmlp.train(np.eye(4), np.array([0, 1, 0, 1]), epochs=1)
model.save(sys.argv[1])
assert fastmlp.load(sys.argv[1]).widths == model.widths
print((gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.callbacks[:]) == before)
"""
    assert run(code, str(tmp_path / "model")) == "True\n"


@pytest.mark.parametrize(
    "where",
    ["model", "kernels.ops.losses", "kernels.simd.llvm", "engine.executor", "training.trainer", "train", "optimizers"],
)
def test_an_import_that_was_interrupted_can_be_repeated(where):
    code = """
import sys, numpy as np
class Interrupt:
    armed = True
    def find_spec(self, name, path=None, target=None):
        if self.armed and name == "fastmlp." + sys.argv[1]:
            self.armed = False
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
import fastmlp
try:
    fastmlp.train
except KeyboardInterrupt:
    print("interrupted")
model = fastmlp.train(np.eye(4), np.array([0, 1, 0, 1]), epochs=1)
print(len(model.predict(np.eye(4))))
"""
    assert run(code, where) == "interrupted\n4\n"


def test_train_is_the_function_whatever_is_imported_first():
    for first in ("import fastmlp.train", "from fastmlp.train import train", "import fastmlp.cli", ""):
        assert run(f"{first}\nimport fastmlp; print(type(fastmlp.train).__name__)") == "function\n"


def test_all_names_are_there_and_typed():
    assert all(hasattr(fastmlp, name) for name in fastmlp.__all__)
    assert (Path(fastmlp.__file__).parent / "py.typed").exists()


def test_the_reference_imports_nothing_of_fastmlp():
    folder = str(Path(fastmlp.__file__).parent)
    for path in (Path(folder) / "reference").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level != 1]
        assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}, path
    code = f"import sys; sys.path.insert(0, {folder!r}); import reference; print('numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_the_version_is_that_of_the_installed_package():
    try:
        installed = metadata.version("fastmlp")
    except metadata.PackageNotFoundError:
        pytest.skip("fastmlp is not installed")
    assert installed == fastmlp.__version__


def test_all_names_are_listed_once_in_order_and_documented():
    assert fastmlp.__all__ == sorted(set(fastmlp.__all__))
    assert all(getattr(fastmlp, name).__doc__ for name in fastmlp.__all__)


def test_training_in_a_pipe_does_not_import_rich():
    code = (
        "import sys, fastmlp, numpy as np\n"
        "fastmlp.train(np.eye(4), np.array([0, 1, 0, 1]), epochs=1)\n"
        "print('rich' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("False\n", "")


# Files that are being split.
LONG_FILES = ("engine/executor.py",)


def sources():
    folder = Path(fastmlp.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(LONG_FILES):
            yield name, path.read_text()


def test_files_are_short():
    too_long = {name: n for name, text in sources() if (n := len(text.splitlines())) > 400}
    assert too_long == {}


def n_lines(function):
    """How many lines a function has, without its docstring."""
    doc = function.body[0] if ast.get_docstring(function) is not None else None
    return function.end_lineno - function.lineno + 1 - (0 if doc is None else doc.end_lineno - doc.lineno + 1)


def test_functions_fit_on_a_screen():
    too_long = {}
    for name, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and n_lines(node) > 60:
                too_long[name, node.name] = n_lines(node)
    assert too_long == {}
