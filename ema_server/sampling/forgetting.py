"""The only way in which events leave the prompt ledger: with the person, or the whole study, that they are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def events_may_go() -> Iterator[None]:
    """Within it, and within the caller's transaction, the database lets prompt events be deleted. Never changed."""
    _say("on")
    yield  # where it fails, the transaction ends and the setting with it
    _say("off")


def _say(word: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('ema.forgetting', %s, true)", [word])
