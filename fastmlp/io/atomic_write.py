"""Write files in one step: a reader, or a crash, finds the old file or the new one, and nothing between."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
import time

_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def replace_file(path, data: bytes) -> None:
    """Write `data` to a new file, and rename it to `path` once it is on the disk.

    A new file has the permissions of any file that the process makes, and one that replaces another has that one's.
    A symbolic link stays, and what it points to is replaced.  A device, pipe or socket can't be replaced: `data` is
    written into it.
    """
    path = os.path.abspath(os.fspath(path))
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:
            file.write(data)
        return
    path = os.path.realpath(path)
    handle, temporary = _make_temporary(os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if mode is not None and stat.S_IMODE(mode) != stat.S_IMODE(os.stat(temporary).st_mode):
                os.chmod(temporary, stat.S_IMODE(mode))
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(path))


def check_writable(path) -> None:
    """Raise the OSError that `replace_file` would raise, as far as it can be known without data."""
    path = os.path.abspath(os.fspath(path))
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path!r} is a folder, not a file")
    if mode is None or stat.S_ISREG(mode):
        handle, temporary = _make_temporary(os.path.dirname(os.path.realpath(path)))
        os.close(handle)
        os.unlink(temporary)
    elif not os.access(path, os.W_OK):
        raise PermissionError(f"{path!r} can't be written")


def rescue_file(path, data: bytes) -> str:
    """Write `data` to a new file beside `path`, or else in the folder for temporary files; returns where it is."""
    path = os.path.abspath(os.fspath(path))
    stem, suffix = os.path.splitext(os.path.basename(path))
    folders = dict.fromkeys([os.path.dirname(path), tempfile.gettempdir()])
    for folder in folders:
        other = os.path.join(folder, f"{stem[:100]}-{secrets.token_hex(4)}{suffix[:50]}")
        with contextlib.suppress(OSError):
            replace_file(other, data)
            return other
    raise OSError(f"no file can be written in any of {', '.join(folders)}")


def _mode(path: str) -> int | None:
    """Return the type and permissions of what is at a path, or at the end of a link; None if there is nothing."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _make_temporary(folder: str) -> tuple[int, str]:
    """Open a new file, with the permissions that the umask leaves, unlike `tempfile`; return its handle and path."""
    temporary = os.path.join(folder, f".fastmlp-{secrets.token_hex(8)}")
    return os.open(temporary, _EXCLUSIVE, 0o666), temporary


# Windows refuses to replace a file while another process has it open: a reader, or a virus scanner.
_PATIENCE = 2.0 if os.name == "nt" else 0.0  # seconds


def _rename(temporary: str, path: str) -> None:
    """Rename a file over another one, once nobody holds that open."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _sync_folder(folder: str) -> None:
    """Put a renaming on the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
