"""One file for one store: a ZIP of tables as PostgreSQL's COPY text, a manifest, and the digest of all of it at the end.

Written in one go to a temporary name and renamed when it is whole and on the disk, so that a file with a backup's name
is a backup. Nothing here knows Django.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import IO, Any

from ema_server.common.errors import DomainError

FORMAT = 1
UNFINISHED = ".unfinished"
CHUNK = 1 << 20
_MANIFEST = "manifest.json"
_TRAILER = b"\nema-server backup, sha256 "
_TRAILER_BYTES = len(_TRAILER) + 64 + 1


class BadArchive(DomainError):
    """This file cannot be restored; the message says why."""

    code = "bad_archive"


@dataclass(slots=True)
class TableEntry:
    """What an archive says of one table."""

    columns: list[str]
    rows: int
    sha256: str
    bytes: int


@dataclass(slots=True)
class Manifest:
    """What an archive says of itself."""

    store: str  # "main" or "keys"
    server: str | None  # the key store's name: which two archives belong together
    moment: str
    code: str
    migrations: dict[str, list[str]]
    left_out: dict[str, str] = field(default_factory=dict)
    tables: dict[str, TableEntry] = field(default_factory=dict)
    sequences: list[dict[str, Any]] = field(default_factory=list)
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


class _Digesting(RawIOBase):
    """A file that is only written forwards, and knows the digest of what was written."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.raw, self.sha = raw, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha.update(data)
        self.raw.write(data)
        return len(data)

    def flush(self) -> None:
        if not self.raw.closed:
            self.raw.flush()


class Writer:
    """Tables go in one after the other, as streams; memory holds a chunk of one at a time."""

    def __init__(self, raw: IO[bytes], manifest: Manifest) -> None:
        self.raw, self.manifest = raw, manifest
        self.out = _Digesting(raw)
        self.zip = zipfile.ZipFile(self.out, "w", zipfile.ZIP_DEFLATED, compresslevel=3)

    def add(self, table: str, columns: list[str], chunks: Iterable[bytes | memoryview]) -> int:
        """Store one table; returns its rows. COPY's text has one line for each row, whatever the values hold."""
        sha, rows, size = hashlib.sha256(), 0, 0
        with self.zip.open(f"tables/{table}.copy", "w", force_zip64=True) as member:
            for chunk in _gathered(chunks):
                sha.update(chunk)
                rows += chunk.count(b"\n")
                size += len(chunk)
                member.write(chunk)
        self.manifest.tables[table] = TableEntry(columns, rows, sha.hexdigest(), size)
        return rows

    def close(self) -> None:
        self.zip.writestr(_MANIFEST, json.dumps(asdict(self.manifest), indent=1))
        self.zip.close()
        self.raw.write(_TRAILER + self.out.sha.hexdigest().encode() + b"\n")
        self.raw.flush()
        os.fsync(self.raw.fileno())


@contextmanager
def new_archive(path: Path, manifest: Manifest) -> Iterator[Writer]:
    """A file of this name exists once the block has ended well, whole and readable by its owner alone; else none does."""
    unfinished = path.with_name(path.name + UNFINISHED)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    raw = os.fdopen(descriptor, "wb", buffering=CHUNK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # held while it is being written: one that is not is a dead backup's
        writer = Writer(raw, manifest)
        try:
            yield writer
            writer.close()
        finally:
            writer.zip.fp = None  # whole or given up: it shall not write once more when it is collected
        unfinished.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError, ValueError):  # what could not be written cannot be flushed either
            raw.close()


def remove_unfinished(folder: Path) -> int:
    """Remove what killed backups left here; one that is still being written stays."""
    removed = 0
    for path in folder.glob(f"*{UNFINISHED}"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink(missing_ok=True)
            removed += 1
    return removed


class Archive:
    """A backup that was read to its end once and is undamaged."""

    def __init__(self, path: Path, zip_file: zipfile.ZipFile, manifest: Manifest) -> None:
        self.path, self.zip, self.manifest = path, zip_file, manifest

    def chunks(self, table: str) -> Iterator[bytes]:
        """One table's rows as COPY text, in whole lines; raises BadArchive at the end if they are not what was stored."""
        sha, rest = hashlib.sha256(), b""
        with self.zip.open(f"tables/{table}.copy") as member:
            while chunk := member.read(CHUNK):
                sha.update(chunk)
                lines, newline, rest = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield lines + newline
        if rest or sha.hexdigest() != self.manifest.tables[table].sha256:
            raise BadArchive(_damaged(self.path, f"the rows of {table} are not those that were stored"))

    def rows(self, table: str) -> Iterator[dict[str, bytes | None]]:
        """One table's rows by column, as COPY text (bytea as `\\\\x…`): for small tables."""
        columns = self.manifest.tables[table].columns
        for chunk in self.chunks(table):
            for line in chunk.splitlines():
                yield dict(zip(columns, (None if cell == b"\\N" else cell for cell in line.split(b"\t")), strict=True))


@contextmanager
def open_archive(path: Path, *, store: str) -> Iterator[Archive]:
    """The archive, once every digest in it is checked. Raises BadArchive with a sentence."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadArchive(
            f"{path} cannot be read: {error.strerror}. Name a file that manage.py backup wrote."
        ) from error
    with file:
        _check_whole(path, file)
        try:
            zip_file = zipfile.ZipFile(file)
            manifest = _manifest(path, zip_file)
            if manifest.store != store:
                raise BadArchive(
                    f"{path} is a backup of the {'key store' if manifest.store == 'keys' else 'main database'}; "
                    "give the main database's file first and the key store's after --keys."
                )
            archive = Archive(path, zip_file, manifest)
            for table, entry in manifest.tables.items():
                if sum(chunk.count(b"\n") for chunk in archive.chunks(table)) != entry.rows:
                    raise BadArchive(_damaged(path, f"{table} has not the number of rows that was stored"))
        except (zipfile.BadZipFile, KeyError, EOFError, ValueError, TypeError) as error:
            raise BadArchive(_damaged(path, f"its parts cannot be read ({type(error).__name__})")) from error
        yield archive


def _check_whole(path: Path, file: IO[bytes]) -> None:
    """The digest of the whole file, which is its last line: any byte that changed, or an end that is missing, shows."""
    size = path.stat().st_size
    file.seek(max(0, size - _TRAILER_BYTES))
    trailer = file.read()
    if not trailer.startswith(_TRAILER) or not trailer.endswith(b"\n"):
        raise BadArchive(
            f"{path} is no whole backup: its last line is missing. Was it copied to its end? Restore another one."
        )
    file.seek(0)
    sha, left = hashlib.sha256(), size - _TRAILER_BYTES
    while left > 0 and (chunk := file.read(min(CHUNK, left))):
        sha.update(chunk)
        left -= len(chunk)
    if sha.hexdigest().encode() != trailer[len(_TRAILER) : -1]:
        raise BadArchive(_damaged(path, "its content does not match the digest at its end"))
    file.seek(0)


def _manifest(path: Path, zip_file: zipfile.ZipFile) -> Manifest:
    content = json.loads(zip_file.read(_MANIFEST))
    if content["format"] > FORMAT:
        raise BadArchive(
            f"{path} has the format {content['format']}, written by a newer version ({content.get('code')}); this one reads "
            f"up to format {FORMAT}. Install that version, or a later one, and restore with it."
        )
    tables = {name: TableEntry(**entry) for name, entry in content.pop("tables").items()}
    return Manifest(**content, tables=tables)


def _damaged(path: Path, how: str) -> str:
    return f"{path} is damaged: {how}. Nothing was changed. Restore another backup, or copy this one again."


def _gathered(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """COPY hands over row by row; the file is written by the megabyte."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
