"""One state of the database for a long read: whoever writes meanwhile waits for nobody, and is not seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

FORGOTTEN_AFTER = "15min"  # a reader that asks nothing for so long (a download that stands still) is given up


@contextmanager
def snapshot() -> Iterator[None]:
    """All queries inside see the database as it is at the first of them. Takes no lock that a writer could meet.

    Nothing can be written inside. Within a transaction that is open already it is that transaction's own view.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{FORGOTTEN_AFTER}'")
        yield
