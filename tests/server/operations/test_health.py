"""Liveness touches nothing; readiness looks at everything that a request stands on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.test import Client

from ema_server.common import clock
from ema_server.operations import health


def ready() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()["checks"]


def test_a_living_process_says_so_without_a_database() -> None:
    with patch.object(connection, "cursor", side_effect=AssertionError("touched")):
        assert Client().get("/livez").content == b"alive\n"


@pytest.mark.django_db
def test_a_whole_server_is_ready() -> None:
    status, checks = ready()
    assert status == 200
    assert set(checks) >= {"clock", "database", "database_clock", "database_migrations"}
    assert set(checks.values()) == {"ok"}


@pytest.mark.django_db
def test_a_missing_migration_is_told_with_the_way_out() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'ledger'")
    status, checks = ready()
    assert status == 503
    assert checks["database_migrations"] == "failed: 1 to apply: run manage.py upgrade"


@pytest.mark.django_db
def test_a_clock_that_differs_from_the_databases_is_told() -> None:
    with patch.object(clock, "now", return_value=clock.now() - timedelta(minutes=3)):
        status, checks = ready()
    assert status == 503
    assert checks["database_clock"].startswith("failed: differs from ours by 18")


@pytest.mark.django_db
def test_a_clock_that_was_set_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_started_wall", health._started_wall + 60)
    status, checks = ready()
    assert status == 503
    assert "set back by 60 s" in checks["clock"]


@pytest.mark.django_db
def test_a_database_that_is_away_is_told_without_its_address() -> None:
    error = OperationalError('connection to server at "10.0.0.7", user "ema" failed')
    with patch.object(connection, "cursor", side_effect=error):
        status, checks = ready()
    assert status == 503
    assert checks["database"] == "failed: cannot be used (OperationalError)"
