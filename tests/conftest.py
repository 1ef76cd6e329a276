"""What all tests share: both databases, and ledgers that a test's end may empty although nobody else may."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import OperationalError, connection
from django.test import TransactionTestCase
from django.test.client import ClientHandler
from django_scopes import scopes_disabled
from django_scopes.state import state

from tests import documented


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the database uses the key store too."""
    for item in items:
        for marker in item.iter_markers("django_db"):
            marker.kwargs.setdefault("databases", "__all__")


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> None:
    """A strong hash costs a third of a second for each researcher of a test, listing all static files 30 ms a client."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def _every_study(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test looks at the whole database; the requests that it makes begin without any scope, as in a server."""
    if request.node.get_closest_marker("scoped"):
        yield
        return
    with scopes_disabled():
        yield


_answer = ClientHandler.__call__


def _without_scope(self: ClientHandler, environ: dict[str, Any]) -> Any:
    token = state.set(None)
    try:
        response = _answer(self, environ)
        if environ["PATH_INFO"].startswith("/api/"):
            documented.check(environ["REQUEST_METHOD"], environ["PATH_INFO"], response)
        return response
    finally:
        state.reset(token)


ClientHandler.__call__ = _without_scope  # type: ignore[method-assign]


NEVER_EMPTIED = ("ledger_auditevent", "sampling_promptevent", "sampling_decision", "participants_devicereport")


@contextmanager
def _ledgers_may_be_emptied() -> Iterator[None]:
    _triggers("DISABLE")
    try:
        yield
    finally:
        _triggers("ENABLE")


def _triggers(verb: str) -> None:
    with connection.cursor() as cursor:
        for table in NEVER_EMPTIED:
            cursor.execute(f"ALTER TABLE {table} {verb} TRIGGER never_emptied")


_teardown = TransactionTestCase._fixture_teardown


def _emptying(self: Any) -> None:
    """Emptying all tables can meet a server of the test's own in the middle of its work: a deadlock is tried again."""
    for attempt in range(5):
        try:
            with _ledgers_may_be_emptied():
                _teardown(self)
        except (CommandError, OperationalError):
            if attempt == 4:
                raise
            time.sleep(0.2 * (attempt + 1))
        else:
            return


TransactionTestCase._fixture_teardown = _emptying  # type: ignore[method-assign]
