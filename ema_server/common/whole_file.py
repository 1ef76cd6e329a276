"""A file that is under its name when it is whole, and never before."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

_NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}


@contextmanager
def whole_file(path: Path, *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Write here; when the block ends well the file is on the disk and takes its name, replacing what had it.

    Until then it has no name at all, so that even a process that is killed leaves nothing behind (where the file system
    cannot do that, it has a hidden name that is removed).
    """
    hidden = path.with_name(f".{path.name[:80]}.{token_hex(4)}.part")
    descriptor, nameless = _opened(hidden, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if nameless:
                _name(file.fileno(), hidden)
        os.replace(hidden, path)
    except BaseException:
        with suppress(OSError):
            hidden.unlink()
        raise


def _name(descriptor: int, path: Path) -> None:
    """Give an open file a name. That the link in /proc is followed is a matter of `linkat`, which Python calls only where
    a folder is open."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _opened(hidden: Path, mode: int) -> tuple[int, bool]:
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        try:
            return os.open(hidden.parent, os.O_TMPFILE | os.O_WRONLY, mode), True
        except OSError as error:
            if error.errno not in _NO_NAMELESS or not hidden.parent.is_dir():
                raise
    return os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), False
