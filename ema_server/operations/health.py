"""Whether this process can do its work now: one named check for each thing that it stands on, and no secret in any."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.db import DatabaseError, connections
from django.db.migrations.loader import MigrationLoader

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.outage import sqlstate_of
from ema_server.vault.services import check_store

CLOCKS_MAY_DIFFER = 5.0  # seconds between our clock and the database's
CLOCK_MAY_JUMP = 5.0  # seconds back since this process started
NAMES = {"default": "database", "keys": "key_store"}

_started_wall, _started_steady = time.time(), time.monotonic()


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, whether it holds, and, where it does not, what an operator should know."""

    name: str
    holds: bool
    detail: str = ""


def checks() -> list[Check]:
    """Each database reachable and migrated, each clock like ours, ours not set back."""
    found = [_steady_clock()]
    for alias in connections:
        found += _database(alias)
    return found if any(not check.holds for check in found) else [*found, _master_key()]


def _master_key() -> Check:
    """Whether the master key is the one that sealed the key store."""
    try:
        check_store()
    except DomainError as error:
        return Check("master_key", False, error.detail)
    return Check("master_key", True)


def _database(alias: str) -> list[Check]:
    name = NAMES.get(alias, alias)
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            theirs: datetime = cursor.fetchone()[0]
            difference = abs((clock.now() - theirs).total_seconds())
            cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
            applied: set[tuple[str, str]] = set()
            if cursor.fetchone()[0]:
                cursor.execute("SELECT app, name FROM django_migrations")
                applied = set(cursor.fetchall())
    except DatabaseError as error:
        state = sqlstate_of(error)
        return [Check(name, False, f"cannot be used ({type(error).__name__}{f', {state}' if state else ''})")]
    missing = sorted(_migrations() - applied)
    return [
        Check(name, True),
        Check(f"{name}_clock", difference <= CLOCKS_MAY_DIFFER, f"differs from ours by {difference:.1f} s"),
        Check(f"{name}_migrations", not missing, f"{len(missing)} to apply: run manage.py upgrade" if missing else ""),
    ]


def _steady_clock() -> Check:
    jumped = (time.monotonic() - _started_steady) - (time.time() - _started_wall)
    if jumped <= CLOCK_MAY_JUMP:
        return Check("clock", True)
    return Check("clock", False, f"was set back by {jumped:.0f} s while this process runs: mend it, then restart")


@cache
def _migrations() -> frozenset[tuple[str, str]]:
    """The last migration of every app that this code brings."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())
