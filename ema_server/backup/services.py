"""Taking a backup: one consistent look at a store, streamed into one file; old ones are removed afterwards."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections, transaction

from ema_server.backup import catalog
from ema_server.backup.archive import Manifest, new_archive, open_archive, remove_unfinished
from ema_server.common.errors import DomainError
from ema_server.common.version import code_version
from ema_server.vault.services import KeyStoreFault, check_store, erased_owners

MARKER = "last-backup.json"
REGISTER = "erasures.jsonl"
_NAME = re.compile(r"ema-(main|keys)-(\d{8}T\d{6})Z(?:-\d+)?\.backup")


Progress = Callable[[str, int, int, int], None]


class BackupFailed(DomainError):
    code = "backup_failed"


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that is on the disk."""

    path: Path
    rows: int
    bytes: int
    sha256_of_tables: dict[str, str]


def back_up(store: str, *, folder: Path, now: datetime, progress: Progress | None = None) -> Taken:
    """Write one store as it is at this moment, while the server serves. Memory does not grow with its size.

    `progress` hears the table that is being read, the rows before it, about how many there will be, and its own so far.
    """
    alias, path, server = catalog.STORES[store], _free_name(folder, store, now), name_of_server()
    try:
        with transaction.atomic(using=alias):
            catalog.run(alias, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            catalog.settle(alias)
            manifest = Manifest(
                store=store,
                server=server,
                moment=now.astimezone(UTC).isoformat(),
                code=code_version(),
                migrations=catalog.migrations(alias),
                left_out=catalog.LEFT_OUT if store == "main" else {},
            )
            if not manifest.migrations:
                raise BackupFailed(f"The {catalog.NAMES[store]} has no tables yet, so there is nothing to back up.")
            tables = [table for table in catalog.tables(alias) if not catalog.is_left_out(table.name)]
            total, rows = sum(table.estimate for table in tables), 0
            with new_archive(path, manifest) as archive:
                for table in tables:
                    tell = partial(progress, table.name, rows, total) if progress else None
                    rows += archive.add(table.name, table.columns, _counted(_copied(alias, table), tell))
                manifest.sequences = catalog.sequences(alias)
    except (psycopg.Error, DatabaseError) as error:
        raise BackupFailed(
            f"The {catalog.NAMES[store]} could not be read to its end ({type(error).__name__}). No file was left; try again."
        ) from error
    except OSError as error:
        raise BackupFailed(
            f"{path} could not be written: {error.strerror}. No file was left there; earlier backups are untouched. "
            "Make room, or name another folder."
        ) from error
    digests = {name: entry.sha256 for name, entry in manifest.tables.items()}
    return Taken(path, manifest.rows, path.stat().st_size, digests)


def name_of_server() -> str | None:
    """Which key store belongs to this database, given a name if it has none yet; None where it cannot be used now."""
    try:
        return str(check_store())
    except (DatabaseError, KeyStoreFault):
        return None


def prepare_folder(folder: Path) -> None:
    """There, closed to others if it is new, and without what killed backups left."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_unfinished(folder)
    except OSError as error:
        raise BackupFailed(
            f"{folder} cannot be used: {error.strerror}. Name a folder that you may write to."
        ) from error


def read_back(taken: Taken, *, store: str) -> None:
    """Read the file to its end and compare every digest, before an older one is removed for it."""
    with open_archive(taken.path, store=store):
        pass


def remove_old(folder: Path, *, store: str, keep: timedelta, now: datetime) -> list[Path]:
    """Remove this store's backups that are older than `keep`, and no other file."""
    removed = []
    for path in sorted(folder.iterdir()):
        named = _NAME.fullmatch(path.name)
        if named and named[1] == store and now - _moment(named[2]) > keep:
            path.unlink()
            removed.append(path)
    return removed


def copy_register(folder: Path) -> None:
    """The register of erasures as it is now, beside the backups: a restore erases again whoever stands in it. While the
    key store is away the copy that is there stays."""
    try:
        register = erased_owners()
    except DatabaseError:
        return
    lines = [
        json.dumps({"owner": str(owner), "erased_at": at.astimezone(UTC).isoformat()})
        for owner, at in sorted(register.items(), key=lambda pair: pair[1])
    ]
    _write_whole(folder / REGISTER, "".join(f"{line}\n" for line in lines))


def leave_marker(*, now: datetime, main: Taken, keys: Taken | None) -> None:
    """What the metrics read: when the last backup succeeded, and how large it was."""
    content: dict[str, Any] = {"moment": now.astimezone(UTC).isoformat()}
    for name, taken in (("main", main), ("keys", keys)):
        content[name] = None if taken is None else {"file": taken.path.name, "rows": taken.rows, "bytes": taken.bytes}
    _write_whole(Path(settings.VAR) / MARKER, json.dumps(content, indent=1) + "\n")


def _copied(alias: str, table: catalog.Table) -> Iterator[bytes | memoryview]:
    """Ordered by the primary key, so that equal content has an equal digest."""
    order = f" ORDER BY {catalog.quoted(alias, *table.key)}" if table.key else ""
    rows = f"SELECT {catalog.quoted(alias, *table.columns)} FROM {catalog.quoted(alias, table.name)}{order}"
    with connections[alias].cursor() as cursor, cursor.copy(f"COPY ({rows}) TO STDOUT") as copy:
        yield from copy


def _counted(chunks: Iterator[bytes | memoryview], tell: Callable[[int], None] | None) -> Iterator[bytes | memoryview]:
    """COPY hands over about a row at a time."""
    for count, chunk in enumerate(chunks, 1):
        if tell is not None and count % 5_000 == 0:
            tell(count)
        yield chunk


def _free_name(folder: Path, store: str, now: datetime) -> Path:
    stem = f"ema-{store}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    names = [f"{stem}.backup", *(f"{stem}-{n}.backup" for n in range(2, 100))]
    return next(path for path in (folder / name for name in names) if not path.exists())


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
