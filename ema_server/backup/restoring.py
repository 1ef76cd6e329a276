"""Bringing backups back: everything is checked first, then all rows come back in one transaction, or none.

Before that transaction ends, the register of erasures is played again, so nobody who was erased since is ever seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django_scopes import scopes_disabled

from ema_server.backup import catalog, schema
from ema_server.backup.archive import Archive, open_archive
from ema_server.backup.services import REGISTER
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.restoring import run_after_restore
from ema_server.erasure.models import Certificate
from ema_server.ledger import audit, bond
from ema_server.vault import sealing
from ema_server.vault.models import DataKey, Erasure, MasterKey, Store
from ema_server.vault.services import SERVER, check_store, erased_owners

LOCK = 0x454D4152  # any number that nothing else locks
WAITS_FOR_TABLES = "5s"
_DATA_KEYS = DataKey._meta.db_table
_MASTER_KEYS = MasterKey._meta.db_table
_ERASURES = Erasure._meta.db_table
_STORES = Store._meta.db_table
_CERTIFICATES = Certificate._meta.db_table
_MIGRATIONS = "django_migrations"  # says which tables there are, and is right already

UNREADABLE_WITHOUT_KEYS = (
    "participants' identity and contacts, free text, what is in quarantine and the reasons in the audit trail; the audit "
    "trail cannot be verified, and an answer that a phone sends again is not recognised as the same"
)


class RestoreRefused(DomainError):
    """Nothing was changed; the message says what stands in the way."""

    code = "restore_refused"


@dataclass(slots=True)
class Restored:
    """What came back."""

    rows: dict[str, int] = field(default_factory=dict)
    migrated: int = 0
    erased: int = 0
    register_from: str = ""  # the backup's moment, where no later register of erasures was to be had


Progress = Callable[[str, int, int], None]


def restore(
    main: Path, *, keys: Path | None, without_keys: bool, progress: Progress = lambda table, rows, total: None
) -> Restored:
    """Check both files and both databases, then fill both. Raises a DomainError, with nothing changed, if it cannot be."""
    with ExitStack() as open_files:
        archives = {"main": open_files.enter_context(open_archive(main, store="main"))}
        if keys is not None:
            archives["keys"] = open_files.enter_context(open_archive(keys, store="keys"))
        for store, archive in archives.items():
            schema.refuse_unknown(archive.manifest, catalog.STORES[store])
        register = _register(archives, {path.parent for path in (main, keys) if path is not None})
        try:
            return _restore(archives, register, without_keys=without_keys, progress=progress)
        except (psycopg.Error, DatabaseError) as error:
            cause = error if isinstance(error, psycopg.Error) else error.__cause__
            if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                raise RestoreRefused(_in_use()) from error
            raise RestoreRefused(
                f"The database refused ({type(cause or error).__name__}). All was rolled back: it is as empty as before."
            ) from error


def _restore(
    archives: dict[str, Archive], register: dict[UUID, datetime], *, without_keys: bool, progress: Progress
) -> Restored:
    aliases = {store: catalog.STORES[store] for store in archives}
    main_alias = catalog.STORES["main"]
    with connections[main_alias].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            raise RestoreRefused("Another restore is running on this database. Wait until it has ended.")
    try:
        _refuse_occupied(archives)
        _refuse_wrong_keys(archives, without_keys=without_keys)
        for store, archive in archives.items():
            if not schema.is_at(archive.manifest, aliases[store]):
                progress(f"making the {catalog.NAMES[store]}'s tables", 0, 0)
                schema.rebuild(archive.manifest, aliases[store])
        with ExitStack() as transactions:
            for alias in catalog.STORES.values():  # the key store's ends first: rows without keys are of no use
                transactions.enter_context(transaction.atomic(using=alias))
            return _fill(archives, register, progress, without_keys=without_keys)
    finally:
        with connections[main_alias].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _fill(
    archives: dict[str, Archive], register: dict[UUID, datetime], progress: Progress, *, without_keys: bool
) -> Restored:
    done, main = Restored(), archives["main"].manifest
    for store, archive in archives.items():
        _fill_store(archive, catalog.STORES[store], register, progress)
        done.rows[store] = archive.manifest.rows
        done.migrated += schema.migrate_forward(catalog.STORES[store])
    if without_keys:
        bond.loosen()
    progress("erasing again who was erased since", 0, 0)
    erasures = [Erasure(owner=owner, erased_at=at) for owner, at in register.items()]  # the store's own may be older
    Erasure.objects.bulk_create(erasures, ignore_conflicts=True)
    done.erased = len(register)
    if "keys" in archives and not (Path(settings.VAR) / REGISTER).exists():
        done.register_from = main.moment
    with scopes_disabled():
        run_after_restore()
        changes = {"rows": main.rows, "code": main.code}
        about = f"backup:{main.moment}"
        audit.record(action="server.restored", actor="server", study_id=None, about=about, changes=changes)
    return done


def _fill_store(archive: Archive, alias: str, register: dict[UUID, datetime], progress: Progress) -> None:
    catalog.settle(alias)
    _lock_all(alias)
    _refuse_occupied({archive.manifest.store: archive})  # again, now that nobody else can write
    _refuse_other_columns(archive, alias)
    for table in catalog.tables(alias):  # what migrations put into empty tables comes back with the rest
        if table.name != _MIGRATIONS and not catalog.is_left_out(table.name):
            catalog.run(alias, f"DELETE FROM {catalog.quoted(alias, table.name)}")
    so_far = 0
    for name, entry in archive.manifest.tables.items():
        if name != _MIGRATIONS:
            progress(name, so_far, archive.manifest.rows)
            _copy(archive, alias, name, without=set(register) if name == _DATA_KEYS else set())
        so_far += entry.rows
    for sequence in archive.manifest.sequences:
        if not catalog.is_left_out(sequence["table"]):
            _set_sequence(alias, sequence)


def finish_schema() -> None:
    """What Django derives after migrations (content types, permissions) for models that are newer than the backup."""
    for alias in catalog.STORES.values():
        call_command("migrate", database=alias, verbosity=0, interactive=False)


def _refuse_occupied(archives: dict[str, Archive]) -> None:
    """A second restore would mix two servers' data; only an empty database is filled."""
    for store in archives:
        alias = catalog.STORES[store]
        there = catalog.occupied(alias)
        if not there or (store == "keys" and _only_started(there)):
            continue
        named = ", ".join(f"{name} ({rows:,})" for name, rows in sorted(there.items(), key=lambda pair: -pair[1])[:4])
        hint = (
            "Leave --keys out if this is the store that belongs to the backup."
            if store == "keys"
            else "Make a new database and set DATABASE_URL to it; this one stays as it is."
        )
        raise RestoreRefused(
            f"The {catalog.NAMES[store]} is not empty: it holds rows in {named}. A restore never overwrites. {hint}"
        )


def _only_started(there: dict[str, int]) -> bool:
    """What a server that was started and has no data yet puts into its key store: its name, its own key."""
    return set(there) <= {_DATA_KEYS, _MASTER_KEYS, _STORES} and not DataKey.objects.exclude(owner=SERVER).exists()


def _refuse_wrong_keys(archives: dict[str, Archive], *, without_keys: bool) -> None:
    """The master key that is set must open the key store, and the key store must be this backup's."""
    belongs_to = archives["main"].manifest.server
    if "keys" in archives:
        _prove_master_key(archives["keys"])
        store = archives["keys"].manifest.server
    else:
        store = _living_store()
    if without_keys:
        if _STORES not in {table.name for table in catalog.tables(catalog.STORES["keys"])}:
            call_command("migrate", database=catalog.STORES["keys"], verbosity=0, interactive=False)
        return
    if store is None or (belongs_to is not None and store != belongs_to and "keys" not in archives):
        what = "is missing" if store is None else "belongs to another server"
        raise RestoreRefused(
            f"The key store {what}. Add --keys FILE with the key store's backup, or set KEYS_DATABASE_URL to the store that "
            f"belongs to this backup. With --without-keys these stay unreadable for ever: {UNREADABLE_WITHOUT_KEYS}."
        )
    if belongs_to is not None and store != belongs_to:
        raise RestoreRefused(
            f"The two files are of two servers: the main database belongs to key store {belongs_to}, the keys are of {store}. "
            "Give the key store's backup of the same server."
        )


def _living_store() -> str | None:
    """The name of the key store that is there, if there is one with keys and the master key opens it."""
    alias = catalog.STORES["keys"]
    try:
        connections[alias].ensure_connection()
    except DatabaseError as error:
        raise RestoreRefused(
            f"The key store's database cannot be reached ({type(error).__name__}). Set KEYS_DATABASE_URL to one that can, also "
            "to restore without keys: the server makes new ones there."
        ) from error
    if not catalog.occupied(alias):
        return None
    return str(check_store())


def _prove_master_key(archive: Archive) -> None:
    """Of the master keys that the archive knows, those that wrap something in it, and those that are set."""
    in_use = {row["master"] for row in archive.rows(_DATA_KEYS)}
    for row in archive.rows(_MASTER_KEYS):
        number, proof = int(row["number"] or b"0"), bytes.fromhex((row["proof"] or b"")[3:].decode())
        key = settings.MASTER_KEYS.get(number)
        if key is None and row["number"] not in in_use:
            continue  # rotated out
        try:
            if key is None:
                raise sealing.CannotOpen
            sealing.unseal(proof, key=key, context=f"master|{number}")
        except sealing.CannotOpen as error:
            raise RestoreRefused(
                f"EMA_MASTER_KEY number {number} is {'not set' if key is None else 'not the key that sealed this key store'}. "
                "Set the master key that the server had when the backup was taken."
            ) from error


def _refuse_other_columns(archive: Archive, alias: str) -> None:
    there = {table.name: set(table.columns) for table in catalog.tables(alias)}
    for name, entry in archive.manifest.tables.items():
        missing = set(entry.columns) - there.get(name, set())
        if missing:
            raise RestoreRefused(
                f"The backup's table {name} does not fit this database: it has no {', '.join(sorted(missing))}. "
                "Restore with the version that took the backup."
            )


def _lock_all(alias: str) -> None:
    """Whoever serves or works meanwhile waits until the rows are there and the erased are erased."""
    names = catalog.quoted(alias, *(table.name for table in catalog.tables(alias)))
    catalog.run(alias, f"SET LOCAL lock_timeout = '{WAITS_FOR_TABLES}'")
    catalog.run(alias, f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")


def _copy(archive: Archive, alias: str, table: str, *, without: set[UUID]) -> None:
    columns = archive.manifest.tables[table].columns
    into = f"COPY {catalog.quoted(alias, table)} ({catalog.quoted(alias, *columns)}) FROM STDIN"
    with connections[alias].cursor() as cursor, cursor.copy(into) as copy:
        for chunk in _without(archive.chunks(table), columns, without):
            copy.write(chunk)


def _without(chunks: Iterator[bytes], columns: list[str], owners: set[UUID]) -> Iterator[bytes]:
    """A key of somebody who was erased is not even written and deleted again: it never reaches the disk."""
    if not owners:
        yield from chunks
        return
    place, erased = columns.index("owner"), {str(owner).encode() for owner in owners}
    for chunk in chunks:
        yield b"".join(
            line for line in chunk.splitlines(keepends=True) if line.split(b"\t")[place].strip() not in erased
        )


def _set_sequence(alias: str, sequence: dict[str, object]) -> None:
    catalog.run(
        alias,
        "SELECT setval(pg_get_serial_sequence(%s, %s), %s, %s)",
        [catalog.quoted(alias, str(sequence["table"])), sequence["column"], sequence["value"], sequence["called"]],
    )


def _register(archives: dict[str, Archive], folders: set[Path]) -> dict[UUID, datetime]:
    """Everybody who was erased, wherever that was written down: the key store and its backup, the certificates, this
    server's own file, and the copies beside the backups."""
    try:
        register = erased_owners()
    except DatabaseError:
        register = {}
    for store, table, column in (("keys", _ERASURES, "owner"), ("main", _CERTIFICATES, "key_id")):
        if store in archives and table in archives[store].manifest.tables:
            for row in archives[store].rows(table):
                owner, at = row[column] or b"", row["erased_at"] or b""
                register.setdefault(UUID(owner.decode()), datetime.fromisoformat(at.decode()))
    for folder in folders:
        path = folder / REGISTER
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
            try:
                entry = json.loads(line)
                register.setdefault(UUID(entry["owner"]), datetime.fromisoformat(entry["erased_at"]))
            except (ValueError, KeyError, TypeError) as error:
                raise RestoreRefused(
                    f"{path}, line {number} names nobody: this copy of the register of erasures is damaged, and without it "
                    "somebody who was erased could come back. Nothing was changed. Copy it again from where it was whole."
                ) from error
    return register


def _in_use() -> str:
    return (
        f"The database is in use at {clock.now():%H:%M}: its tables could not be had within {WAITS_FOR_TABLES}. Nothing was "
        "changed. Stop web, worker and beat, then restore again."
    )
