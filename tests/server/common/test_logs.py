"""Log lines tell what happened and to which number, and never what somebody sent."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client

from ema_server.common.logs import SafeJson, SafeLine, logging_settings
from ema_server.responses import services
from tests.world import FakePhone, live_study, researcher

PLANTED = "Planted-7Q"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """All that the process logs, through the production formatter, from every logger at its own level."""
    written = io.StringIO()
    settings = logging_settings("json", debug=False)
    settings["handlers"]["console"]["stream"] = written
    for name in settings["loggers"]:
        logging.getLogger(name).disabled = False
    logging.config.dictConfig(settings)
    yield written
    logging.config.dictConfig(logging_settings("plain", debug=False))


def parsed(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


@pytest.mark.django_db
def test_a_request_is_one_line_with_its_route_and_who_asked(lines: io.StringIO) -> None:
    phone = FakePhone(live_study()).enrolled()
    mine = str(uuid4())
    answer = phone.call("GET", "sync", **{"X-Request-ID": mine})
    assert answer["X-Request-ID"] == mine
    line = parsed(lines)[-1]
    assert line["logger"] == "ema_server.access"
    assert (line["route"], line["method"], line["status"]) == ("sync", "GET", 200)
    assert line["request"] == mine
    assert line["ms"] > 0
    assert isinstance(line["device"], int)
    client, user = Client(), researcher()
    client.force_login(user)
    client.get("/")
    assert parsed(lines)[-1]["user"] == user.pk


@pytest.mark.parametrize("given", ["", "x" * 32, PLANTED, "../etc", "0" * 200])
def test_a_request_id_that_is_no_uuid_is_replaced(given: str) -> None:
    answer = Client(headers={"X-Request-ID": given}).get("/livez")
    assert answer["X-Request-ID"] != given
    assert len(answer["X-Request-ID"]) == 36


@pytest.mark.django_db
def test_what_somebody_sent_is_in_no_line(lines: io.StringIO) -> None:
    phone = FakePhone(live_study(slug="planted-study")).enrolled()
    anyone = Client(raise_request_exception=False)
    anyone.get(f"/{PLANTED}/?q={PLANTED}", headers={"User-Agent": PLANTED, "X-Request-ID": PLANTED, "Referer": PLANTED})
    anyone.get(f"/api/v1/{PLANTED}", headers={"Authorization": f"Bearer {PLANTED}"})
    anyone.get("/", headers={"Host": f"{PLANTED}.example.org"})
    anyone.generic(PLANTED, "/api/v1/sync")
    anyone.post("/login/", {"username": PLANTED, "password": PLANTED})
    anyone.post("/api/v1/enrolments", {"code": PLANTED}, content_type="application/json")
    phone.submit({**phone.item(0), "answers": {"support": PLANTED}}, {"client_id": PLANTED})
    assert len(parsed(lines)) >= 8
    assert PLANTED.lower() not in lines.getvalue().lower()


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_database_is_told_without_its_values(lines: io.StringIO) -> None:
    """PostgreSQL's own text would say DETAIL: Key (…)=(…) already exists, or show the failing row."""
    phone = FakePhone(live_study()).enrolled()

    def clash(*_: Any, **__: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE clash (answer text PRIMARY KEY)")
            cursor.execute("INSERT INTO clash VALUES (%s), (%s)", [PLANTED, PLANTED])

    with patch.object(services, "_insert_new", clash):
        body = json.dumps({"items": [phone.item(0)]})
        answer = Client(raise_request_exception=False).post(
            f"/api/v1/submissions?{PLANTED}",
            body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {phone.token}"},
        )
    assert answer.status_code == 500
    assert PLANTED not in lines.getvalue()
    (error,) = [line for line in parsed(lines) if line["level"] == "ERROR"]
    assert error["exception"] == "django.db.utils.IntegrityError"
    assert error["sqlstate"] == "23505"
    assert any("responses/services.py" in place for place in error["at"])
    assert error["request"] == parsed(lines)[-1]["request"]


def formatted(name: str, text: str, *arguments: Any, **extra: Any) -> str:
    record = logging.LogRecord(name, logging.WARNING, "x.py", 7, text, arguments, None)
    record.__dict__.update(extra)
    assert json.loads(SafeJson().format(record))["message"] in SafeLine().format(record)
    return SafeJson().format(record)


def test_only_numbers_and_our_own_names_are_filled_in() -> None:
    assert "Worker (pid:7) … 100%" in formatted("gunicorn.error", "Worker (pid:%s) %s 100%%", 7, PLANTED)
    assert PLANTED not in formatted("some.library", f"made up: {PLANTED}")
    assert "broker (OSError)" in formatted("ema_server.x", "broker (%s)", "OSError")
    assert "(…)" in formatted("ema_server.x", "broker (%s)", "a text with an answer")
    assert PLANTED not in formatted("ema_server.x", "y", answer=PLANTED, kind=f"{PLANTED} free text", task=b"x")
    assert "…" in formatted("celery.worker", "%(name)s", {"name": PLANTED})
