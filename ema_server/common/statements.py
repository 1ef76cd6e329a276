"""A statement that calls make all day: sent and planned once a connection, then named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from django.db import connection

_MOST = 100  # statements kept by a connection, as psycopg's own default


def prepared_row(statement: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The first row that a statement of our own, always the same text, gives for these values. Django's cursor would send
    the text with the values inside, to be planned anew each time; and it keeps psycopg from preparing anything, so that this
    connection is told otherwise: Django's own statements go on unprepared."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        raw = connection.connection
        if raw.prepare_threshold is None:
            raw.prepare_threshold = 5
            raw.prepared_max = raw.prepared_max or _MOST
        row: tuple[Any, ...] | None = psycopg.Cursor(raw).execute(statement, values, prepare=True).fetchone()
    return row
