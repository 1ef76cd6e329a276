"""Whether an error means "the database (or the cache) cannot serve now", wherever in a request it struck."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError
from redis.exceptions import ConnectionError as CacheAway
from redis.exceptions import TimeoutError as CacheSlow

# SQLSTATE classes and codes (PostgreSQL, appendix A): lost connections, no resources left (disk, memory, connections),
# shut down or cancelled by the operator, errors of the system below, a conflict that a retry solves, a standby.
_OUTAGES = ("08", "53", "57", "58", "40001", "40P01", "55P03", "25006")


def is_outage(error: BaseException | None) -> bool:
    """True where trying again later may succeed. An error raised while handling an outage is one, too."""
    return any(_says_so(each) for each in _chain(error))


def sqlstate_of(error: BaseException | None) -> str | None:
    """PostgreSQL's five letters, the one part of a database's error that never holds a value."""
    for each in _chain(error):
        if isinstance(each, psycopg.Error) and each.sqlstate:
            return each.sqlstate
    return None


def _says_so(error: BaseException) -> bool:
    if isinstance(error, CacheAway | CacheSlow):
        return True
    if not isinstance(error, DatabaseError | InterfaceError | psycopg.Error):
        return False
    own = error if isinstance(error, psycopg.Error) else error.__cause__
    if isinstance(own, psycopg.Error) and own.sqlstate:
        return own.sqlstate.startswith(_OUTAGES)
    kinds = OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError
    return isinstance(error, kinds)  # without a code: never connected, or cut off


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
