"""Below /api/ every error is a problem document, elsewhere a plain page; an outage of the database is 503, never 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.db import InternalError, OperationalError, connection
from django.http import HttpResponse
from django.test import Client

from ema_server.common.outage import is_outage, sqlstate_of
from ema_server.reports.views import HomeView
from ema_server.responses.models import Submission, Upload
from ema_server.responses.views import SyncView
from tests.world import FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db


def call(method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    client = Client(raise_request_exception=False)
    kind = headers.pop("content_type", "application/json")
    return client.generic(method, path, body, content_type=kind, headers=headers)


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert (body["status"], body["code"]) == (status, code)
    assert set(body) >= {"type", "title", "status", "code", "detail"}
    return body


@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing", "/api/v2/sync", "/api/v1/sync/"])
def test_an_unknown_address_of_the_api_is_a_problem_document(path: str) -> None:
    assert_problem(call("GET", path), 404, "not_found")


def test_wrong_methods_types_bodies_and_hosts_are_problem_documents() -> None:
    assert_problem(call("DELETE", "/api/v1/enrolments"), 405, "method_not_allowed")
    assert_problem(call("POST", "/api/v1/enrolments", b"a=1", content_type="text/csv"), 415, "unsupported_media_type")
    assert_problem(call("POST", "/api/v1/enrolments", b"{"), 400, "malformed")
    assert_problem(call("POST", "/api/v1/enrolments", b"[" * 100_000), 400, "malformed")
    assert_problem(call("POST", "/api/v1/enrolments", b" " * (5 * 1024 * 1024 + 1)), 413, "too_large")
    assert_problem(call("GET", "/api/v1/sync", Host="evil.example.org"), 400, "bad_request")
    assert assert_problem(call("GET", "/api/v1/sync"), 401, "not_authenticated")["title"] == "No valid credential"


def test_our_own_fault_is_a_problem_document_without_its_inside() -> None:
    phone = FakePhone(live_study()).enrolled()
    with patch.object(SyncView, "get", side_effect=ValueError("secret inside")):
        answer = phone.call("GET", "sync")
    assert "inside" not in str(assert_problem(answer, 500, "server_error"))


def test_pages_get_a_page() -> None:
    answer = call("GET", "/nothing/here")
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.content.decode()
    assert answer["Content-Type"].startswith("text/html")
    assert call("GET", "/", Host="evil.example.org").status_code == 400
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/login/", {"username": "a", "password": "b"})
    assert answer.status_code == 403
    assert "<h1>This form has expired</h1>" in answer.content.decode()
    big = Client(raise_request_exception=False).post("/login/", {"username": "x" * (5 * 1024 * 1024 + 1)})
    assert big.status_code == 413 or b"Too large" in big.content


def test_a_page_that_fails_says_so_in_our_design() -> None:
    client = Client(raise_request_exception=False)
    client.force_login(researcher())
    with patch.object(HomeView, "get", side_effect=RuntimeError("secret inside")):
        answer = client.get("/")
    assert answer.status_code == 500
    assert "<h1>This is our fault</h1>" in answer.content.decode()
    assert "inside" not in answer.content.decode()


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.errors.SerializationFailure(), True),
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.errors.ProgramLimitExceeded(), False),  # a value too long for an index: sending it again helps nobody
        (psycopg.errors.UniqueViolation(), False),
        (psycopg.errors.UndefinedTable(), False),
        (ValueError(), False),
    ],
)
def test_what_counts_as_an_outage(error: Exception, outage: bool) -> None:
    assert is_outage(error) is outage
    wrapped = OperationalError("x") if isinstance(error, psycopg.OperationalError) else InternalError("x")
    wrapped.__cause__ = error
    assert is_outage(wrapped) is outage
    while_handling = RuntimeError("another")
    while_handling.__context__ = wrapped
    assert is_outage(while_handling) is outage
    assert sqlstate_of(wrapped) == getattr(error, "sqlstate", None)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """PostgreSQL itself says 53100 when the batch's last row is written, after its answers."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = '53100'; END $$;"
            "CREATE TRIGGER full_disk BEFORE INSERT ON responses_upload EXECUTE FUNCTION pg_temp.full()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER IF EXISTS full_disk ON responses_upload")


@pytest.mark.django_db(transaction=True)
def test_a_full_disk_answers_503_and_stores_no_half(full_disk: None) -> None:
    phone = FakePhone(live_study()).enrolled()
    body = json.dumps({"items": [phone.item(0), phone.item(1), {"client_id": "poison"}]}).encode()
    answer = call("POST", "/api/v1/submissions", body, Authorization=f"Bearer {phone.token}")
    assert_problem(answer, 503, "unavailable")
    assert answer["Retry-After"] == "10"
    assert (Submission.objects.count(), Upload.objects.count()) == (0, 0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER full_disk ON responses_upload")
    answer = call("POST", "/api/v1/submissions", body, Authorization=f"Bearer {phone.token}")
    assert isinstance(answer, HttpResponse)
    assert [each["status"] for each in answer.json()["receipts"]] == ["stored", "stored", "rejected"]
