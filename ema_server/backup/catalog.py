"""What is in a database, read from its own catalogue: so a backup holds what is there, whichever code made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from ema_server.vault.router import KEYS

STORES = {"main": DEFAULT_DB_ALIAS, "keys": KEYS}
NAMES = {"main": "main database", "keys": "key store"}

# By the beginning of a table's name. Each comes back by itself, or should not come back.
LEFT_OUT = {
    "django_session": "logins: people log in again, and a stolen backup opens no session",
    "django_celery_beat_": "the schedule comes from the settings when beat starts; the rest is its bookkeeping",
    "axes_": "failed logins with the addresses they came from: kept for days, and of no use afterwards",
}
# Written by `migrate` itself, or by looking at the key store, so that a database that holds nothing else is empty.
FILLED_BY_MIGRATE = {
    "django_migrations", "django_content_type", "auth_permission", "django_site", "ledger_keystorebond",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: list[str]
    key: list[str]
    estimate: int


def is_left_out(table: str) -> bool:
    return any(table.startswith(prefix) for prefix in LEFT_OUT)


def tables(alias: str) -> list[Table]:
    """Every table with its columns in order (generated ones follow by themselves) and its primary key."""
    found = _rows(
        alias,
        """
        SELECT c.relname,
               (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
               coalesce((SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int[], a.attnum::int))
                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
                 WHERE i.indrelid = c.oid AND i.indisprimary), '{}'),
               greatest(c.reltuples, 0)::bigint
          FROM pg_class c
         WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relpersistence = 'p'
         ORDER BY c.relname
        """,
    )
    return [Table(*row) for row in found]


def sequences(alias: str) -> list[dict[str, Any]]:
    """Where each column that counts by itself has arrived."""
    places = _rows(
        alias,
        """
        SELECT t.relname, a.attname, s.oid::regclass::text
          FROM pg_class s
          JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
          JOIN pg_class t ON t.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
          JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
         WHERE s.relkind = 'S' AND t.relnamespace = current_schema()::regnamespace
         ORDER BY 1, 2
        """,
    )
    found = []
    for table, column, sequence in places:
        ((value, called),) = _rows(alias, f"SELECT last_value, is_called FROM {sequence}")
        found.append({"table": table, "column": column, "value": value, "called": called})
    return found


def migrations(alias: str) -> dict[str, list[str]]:
    """App → the migrations that are applied, in order. Empty for a database without tables."""
    if not any(table.name == "django_migrations" for table in tables(alias)):
        return {}
    applied: dict[str, list[str]] = {}
    for app, name in _rows(alias, "SELECT app, name FROM django_migrations ORDER BY id"):
        applied.setdefault(app, []).append(name)
    return applied


def occupied(alias: str) -> dict[str, int]:
    """Table → rows, of the tables that hold what somebody put there."""
    found = {}
    for table in tables(alias):
        if table.name not in FILLED_BY_MIGRATE and not is_left_out(table.name):
            ((rows,),) = _rows(alias, f"SELECT count(*) FROM {quoted(alias, table.name)}")
            if rows:
                found[table.name] = rows
    return found


def own_functions(alias: str) -> list[str]:
    """The functions that migrations made: those in our schema that belong to no extension."""
    found = _rows(
        alias,
        """
        SELECT p.oid::regprocedure::text FROM pg_proc p
         WHERE p.pronamespace = current_schema()::regnamespace
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        """,
    )
    return [name for (name,) in found]


def quoted(alias: str, *names: str) -> str:
    return ", ".join(connections[alias].ops.quote_name(name) for name in names)


def settle(alias: str) -> None:
    """One spelling of every value, whatever the server or role prefers; and long work is not cut short."""
    run(
        alias,
        "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC'; "
        "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL statement_timeout = 0; "
        "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL client_encoding = 'UTF8'",
    )


def run(alias: str, statement: str, values: list[Any] | None = None) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)


def _rows(alias: str, statement: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
