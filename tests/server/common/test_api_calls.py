"""What phones call passes by what pages need, and keeps what keeps everybody safe."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.test import Client

from tests.world import FakePhone, live_study

pytestmark = pytest.mark.django_db


def test_a_call_has_its_headers_and_asks_for_no_session() -> None:
    phone = FakePhone(live_study()).enrolled()
    with patch("django.contrib.sessions.middleware.SessionMiddleware.process_request", side_effect=AssertionError):
        for answer in (phone.call("GET", "sync"), phone.call("POST", "submissions", {}), phone.call("GET", "nowhere")):
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert answer["X-Frame-Options"] == "DENY"
            assert answer["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert answer["X-Request-ID"]
            assert int(answer["Content-Length"]) == len(answer.content)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_a_host_that_is_not_ours_is_refused() -> None:
    answer = Client(headers={"host": "elsewhere.example.org"}).get("/api/v1/sync")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_pages_have_all_of_theirs() -> None:
    page = Client().get("/login/")
    assert "script-src" in page["Content-Security-Policy"]
    assert page["X-Frame-Options"] == "DENY"
