"""The one place that states Numba's flags and where compiled code is kept.

Numba's own cache looks at the file of the cached function alone, so an edit of ``vector.py`` would leave stale kernels
behind, and a folder that can't be written is an error.  Here the folder's name is a digest of everything that machine
code depends on, and where no folder can be written kernels are compiled in memory (see `code_cache`).
"""

import ctypes
import functools
import hashlib
import inspect
import os
import sys
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba
from numba.core import config, sigutils
from numba.core.ccallback import CFunc
from numba.core.compiler import Compiler
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import CPUDispatcher

from fastmlp.kernels.code_cache import SUFFIX, CodeCache, CodeFolder


def _host() -> tuple[str, str]:
    """Processor and instruction sets that Numba compiles for."""
    name = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        features = llvmlite.binding.get_host_cpu_features().flatten()
    return name, features


CPU_NAME, CPU_FEATURES = _host()


def _digest() -> str:
    """Digest of all that machine code depends on: the kernels' sources, compiler versions, host and flags."""
    digest = hashlib.sha256()
    folder = Path(__file__).resolve().parent  # kernels import nothing of fastmlp from outside
    sources = sorted(folder.rglob("*.py"))
    if not sources:
        raise OSError(f"no sources in {folder}")
    for path in sources:
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    python = sys.version_info[:2], getattr(sys, "abiflags", "")
    versions = (numba.__version__, llvmlite.__version__, python, CPU_NAME, CPU_FEATURES)
    digest.update(repr((versions, config.BOUNDSCHECK, config.OPT, config.DEBUGINFO_DEFAULT)).encode())
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "fastmlp"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastmlp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastmlp"


def _cache_folder() -> Path | None:
    """Return the folder of this version's compiled code, made if need be; None if none can be made."""
    try:
        folder = _cache_root() / f"kernels-{_digest()}"
        folder.mkdir(parents=True, exist_ok=True)
        # one that can't be written is of use if there is something in it
        return folder if os.access(folder, os.W_OK) or any(folder.glob(f"*{SUFFIX}")) else None
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None


CACHE_FOLDER = _cache_folder()
_FOLDER = None if CACHE_FOLDER is None else CodeFolder(CACHE_FOLDER, r"kernels-[0-9a-f]{16}")


def cached_files() -> list[Path]:
    """Return the files in CACHE_FOLDER: one for each compiled function and signature."""
    return [] if CACHE_FOLDER is None else sorted(CACHE_FOLDER.glob(f"*{SUFFIX}"))


def is_cache_writable() -> bool:
    """Return whether compiled code can be kept in CACHE_FOLDER."""
    return CACHE_FOLDER is not None and os.access(CACHE_FOLDER, os.W_OK)


# Of all regions, see `fastmlp.kernels.step.regions`.
REGION_ARGUMENTS = ("record_address", "kind", "layer", "first", "last", "thread")

# No fastmath: sums of vectors have one order wherever they run, and NaN and infinity stay visible.
_FLAGS = {"nogil": True, "error_model": "numpy"}


class _Compiler(_FunctionCompiler):
    """Numba's compiler of a function, which leaves out the wrapper for Python's calls where only kernels call.

    The wrapper takes tuples of arrays apart.  It took a fifth of all compiling.
    """

    def compile(self, args, return_type):
        self.args = args
        return super().compile(args, return_type)

    def _customize_flags(self, flags):
        flags.no_cfunc_wrapper = True
        flags.no_cpython_wrapper = not _is_for_python(self.targetoptions, self.args)
        return flags


def _is_for_python(options, args) -> bool:
    """Return whether Python may call a function with arguments of these types: some only kernels have."""
    return not options.get("forceinline") and not any(name in str(args) for name in ("span(", "record("))


class _Dispatcher(CPUDispatcher):
    """A compiled function that kernels call, or Python."""

    def __init__(self, function, **options):
        options = {"nopython": True, **_FLAGS, **options}
        super().__init__(function, targetoptions=options)
        self._compiler = _Compiler(function, self.targetdescr, options, {}, Compiler)

    @functools.cached_property
    def _for_python(self):
        """The same with wrappers, for calls from tests and benchmarks."""
        return numba.njit(**_FLAGS)(self.py_func)

    def add_overload(self, cres):
        args = tuple(cres.signature.args)
        if _is_for_python(self.targetoptions, args):
            super().add_overload(cres)
        else:  # a call from Python must not find it
            self.overloads[args] = cres

    def _compile_for_args(self, *args, **kws):
        if self.targetoptions.get("forceinline"):
            return self._for_python  # to be called with the same arguments
        return super()._compile_for_args(*args, **kws)


def kernel(function):
    """Compile `function` in nopython mode, without the GIL, and keep its machine code in CACHE_FOLDER."""
    if config.DISABLE_JIT:
        return function
    compiled = _Dispatcher(function)
    if _FOLDER is not None:
        compiled._cache = CodeCache(function, _FOLDER)
    return compiled


def parallel(function):
    """Return a kernel whose loops over `numba.prange` run on several threads."""
    compiled = numba.njit(parallel=True, **_FLAGS)(function)
    if _FOLDER is not None and not config.DISABLE_JIT:
        compiled._cache = CodeCache(function, _FOLDER)
    return compiled


def inline_llvm(function):
    """Compile `function` into its callers, by LLVM: for small ones, called in many places."""
    return function if config.DISABLE_JIT else _Dispatcher(function, forceinline=True)


def inline_numba(function):
    """Compile `function` into its callers, which Numba sees as one: for those that put kernels together.

    Machine code of kernels is optimized once more in every function on the way up; this leaves out those between.
    """
    return numba.njit(inline="always", **_FLAGS)(function)


class region:
    """Decorate a function that kernels call by its `address`, with the arguments REGION_ARGUMENTS, all of them int64.

    What is called by address is compiled once, and not again in each of its callers.  It is compiled, or loaded from
    CACHE_FOLDER, when its address is asked for first.
    """

    SIGNATURE = numba.void(*[numba.int64] * len(REGION_ARGUMENTS))

    def __init__(self, function):
        self.function, self.name = function, function.__name__
        arguments = tuple(inspect.signature(function).parameters)
        if arguments != REGION_ARGUMENTS:
            raise TypeError(f"{self.name} must have the arguments {REGION_ARGUMENTS}, got {arguments}")

    @property
    def is_ready(self) -> bool:
        """Whether it is compiled, here or in the cache."""
        if "address" in self.__dict__ or config.DISABLE_JIT:
            return True
        return _FOLDER is not None and CodeCache(self.function, _FOLDER).has(self.SIGNATURE)

    @functools.cached_property
    def address(self) -> int:
        if config.DISABLE_JIT:
            self.callback = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(REGION_ARGUMENTS))(self.function)
            return ctypes.cast(self.callback, ctypes.c_void_p).value
        signature = sigutils.normalize_signature(self.SIGNATURE)
        # as numba.cfunc makes it
        self.callback = CFunc(self.function, signature, locals={}, options=dict(_FLAGS))
        if _FOLDER is not None:
            self.callback._cache = CodeCache(self.function, _FOLDER)
        self.callback.compile()
        return self.callback.address
