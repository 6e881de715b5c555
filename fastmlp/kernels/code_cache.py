"""Files of compiled code, one per function and signature.

Numba's own cache raises whatever is wrong with its files: a full disk, a truncated file, one that another program
wrote.  It also keeps an index per function, which concurrent processes overwrite.  Here a file that can't be written is
left out, and one that can't be read is compiled again and replaced.
"""

import contextlib
import hashlib
import os
import pickle
import re
import shutil
import time
import uuid

from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

SUFFIX = ".nbc"
DIGEST_BYTES = 32
DAY = 24 * 3600
UNUSED_DAYS = 30  # folders of other versions are removed after so long


class CodeCache(FunctionCache):
    """The compiled code of one function, in the form in which Numba's dispatchers ask for it.

    Parameters
    ----------
    function : function
    folder : CodeFolder
    """

    def __init__(self, function, folder):
        self._py_func, self._name = function, repr(function)
        self.folder = folder
        module = function.__module__.rpartition(".")[2]
        self._base = re.sub(r"[^\w.]", "", f"{module}.{function.__qualname__}")
        self.enable()

    @property
    def cache_path(self):
        return str(self.folder.path)

    def _file_name(self, sig, codegen) -> str:
        key = hashlib.sha256(repr(self._index_key(sig, codegen)).encode()).hexdigest()
        return f"{self._base}-{self._py_func.__code__.co_firstlineno}-{key[:16]}{SUFFIX}"

    def has(self, sig) -> bool:
        """Return whether there is a file for a signature, be it damaged or not."""
        return self.folder.has(self._file_name(sig, cpu_target.target_context.codegen()))

    def load_overload(self, sig, target_context):
        """Return the compiled code for a signature; None where there is none that can be used."""
        target_context.refresh()
        if not self._enabled:
            return None
        data = self.folder.read(self._file_name(sig, target_context.codegen()))
        if data is None:
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(data))
        except Exception:  # the file is whole, but not of this Numba: anything may be raised
            return None

    def save_overload(self, sig, data):
        """Keep the compiled code for a signature, if the folder can be written."""
        # code with addresses of this process in it is of no use to another one
        if self._enabled and not data.lifted and not data.library.has_dynamic_globals:
            self.folder.write(self._file_name(sig, data.codegen), dumps(data._reduce()))

    def flush(self):
        """Forget the compiled code of the function."""
        for path in self.folder.path.glob(f"{self._base}-*{SUFFIX}"):
            path.unlink(missing_ok=True)


class CodeFolder:
    """The folder of one version's compiled code.  No error of the file system comes out of it.

    Parameters
    ----------
    path : Path
        Other folders beside it whose names match `siblings` belong to other versions.
    siblings : str
        Regular expression.
    """

    def __init__(self, path, siblings: str):
        self.path, self.siblings = path, siblings
        self._is_used = self._is_written = False

    def read(self, name: str) -> bytes | None:
        """Return what was written under a name; None if it is not there or damaged."""
        self._note_use()
        try:
            data = (self.path / name).read_bytes()
        except OSError:
            return None
        digest, data = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        return data if hashlib.sha256(data).digest() == digest else None

    def has(self, name: str) -> bool:
        """Return whether there is a file of that name."""
        return (self.path / name).exists()

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step, so that other processes see all of it or nothing."""
        temporary = self.path / f"{name}.{uuid.uuid4().hex[:16]}.tmp"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(hashlib.sha256(data).digest() + data)
                os.replace(temporary, self.path / name)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError:
            return
        if not self._is_written:
            self._is_written = True
            self.remove_unused()

    def _note_use(self) -> None:
        """Set the folder's time, which says when it was used last, at most once a day."""
        if not self._is_used:
            self._is_used = True
            with contextlib.suppress(OSError):
                if self.path.stat().st_mtime < time.time() - DAY:
                    os.utime(self.path)

    def remove_unused(self) -> None:
        """Remove the folders of versions that have not been used for a month, and files that were never finished."""
        with contextlib.suppress(OSError):
            now = time.time()
            for other in self.path.parent.iterdir():
                is_old = re.fullmatch(self.siblings, other.name) and other != self.path
                if is_old and other.stat().st_mtime < now - UNUSED_DAYS * DAY:
                    shutil.rmtree(other, ignore_errors=True)
            for part in self.path.glob("*.tmp"):
                if part.stat().st_mtime < now - DAY:
                    part.unlink()
