"""Logging in by password: guesses are counted before they are hashed, and no answer tells who has an account."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, reverse

from ema_server.common import clock
from tests.world import researcher

PASSWORD = "correct horse battery"


def guess(email: str, password: str = "wrong", *, client: Client | None = None, address: str = "192.0.2.1") -> Any:
    return (client or Client()).post("/login/", {"username": email, "password": password}, REMOTE_ADDR=address)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that reached the hash."""
    seen: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: MD5PasswordHasher, password: str, salt: str) -> str:
        seen.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    return seen


@pytest.mark.django_db
def test_of_a_thousand_guesses_from_ten_addresses_ten_reach_the_hash(hashed: list[str]) -> None:
    owner = researcher()
    hashed.clear()
    for n in range(1000):
        request = RequestFactory().post("/login/", REMOTE_ADDR=f"192.0.2.{n % 10}")
        assert authenticate(request, email=owner.email, password=f"guess {n}") is None
    assert len([each for each in hashed if each.startswith("guess")]) == 10


@pytest.mark.django_db
def test_the_page_answers_the_tenth_guess_and_all_that_follow_with_a_wait(hashed: list[str]) -> None:
    owner = researcher()
    hashed.clear()
    answers = [guess(owner.email, f"guess {n}", address=f"192.0.2.{n}").status_code for n in range(14)]
    assert answers == [200] * 9 + [429] * 5
    assert len([each for each in hashed if each.startswith("guess")]) == 10
    assert guess(owner.email, PASSWORD).status_code == 429, "also the right password waits"


@pytest.mark.django_db(transaction=True)
def test_guesses_in_parallel_gain_nothing(hashed: list[str]) -> None:
    owner = researcher()
    hashed.clear()

    def try_one(n: int) -> int:
        try:
            return int(guess(owner.email, f"guess {n}", address=f"192.0.2.{n}").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(try_one, range(40)))
    assert len([each for each in hashed if each.startswith("guess")]) == 10
    assert answers.count(429) >= 30


@pytest.mark.django_db
@pytest.mark.parametrize("spelling", ["ADMIN@example.org", "admın@example.org", "ＡＤＭＩＮ@example.org"])
def test_other_spellings_of_an_address_give_no_more_guesses(spelling: str, hashed: list[str]) -> None:
    researcher("admin@example.org")
    for n in range(10):
        guess("admin@example.org", f"guess {n}")
    hashed.clear()
    guess(spelling, "guess 11")
    assert hashed == []


@pytest.mark.django_db
def test_a_lockout_says_when_to_try_again_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = researcher()
    open_session = Client()
    open_session.force_login(owner)
    for _ in range(10):
        answer = guess(owner.email)
    assert answer.status_code == 429
    assert 890 <= int(answer["Retry-After"]) <= 900
    assert "Try again in 15 minutes" in answer.content.decode()
    assert open_session.get("/").status_code == 200, "an open session stays open"
    later = clock.now() + timedelta(minutes=15, seconds=1)
    monkeypatch.setattr("axes.handlers.proxy.now", lambda: later)
    assert guess(owner.email, PASSWORD).status_code == 302


@pytest.mark.django_db
def test_a_right_password_takes_its_count_back() -> None:
    owner = researcher()
    for _ in range(12):
        assert guess(owner.email, PASSWORD).status_code == 302


@pytest.mark.django_db
def test_an_unknown_address_behaves_alike() -> None:
    known = researcher().email
    for n in range(12):
        pages = []
        for email in (known, "nobody@example.org"):
            answer = guess(email)
            text = answer.content.decode().replace(email, "ADDRESS")
            pages.append((answer.status_code, [line for line in text.splitlines() if "csrf" not in line]))
        assert pages[0] == pages[1], f"guess {n + 1} tells them apart"


@pytest.mark.django_db
def test_the_proxys_word_counts_only_where_a_proxy_is(settings: Any) -> None:
    from axes.models import AccessAttempt

    guess_with = {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}
    Client().post("/login/", {"username": "a@example.org", "password": "x"}, REMOTE_ADDR="192.0.2.1", **guess_with)
    assert AccessAttempt.objects.get().ip_address == "192.0.2.1"
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    Client().post("/login/", {"username": "b@example.org", "password": "x"}, REMOTE_ADDR="192.0.2.1", **guess_with)
    assert AccessAttempt.objects.get(username="b@example.org").ip_address == "203.0.113.9"


@pytest.mark.django_db
def test_no_password_and_no_address_is_kept_in_what_counts_guesses() -> None:
    from axes.models import AccessAttempt

    guess("a@example.org", "my real password")
    attempt = AccessAttempt.objects.get()
    assert attempt.get_data == attempt.post_data == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name", ["account_signup", "account_email", "account_confirm_login_code", "socialaccount_connections", "saml_acs"]
)
def test_what_nobody_wants_is_not_mounted(name: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(name)


@pytest.mark.django_db
def test_logging_out_needs_a_post() -> None:
    client = Client()
    client.force_login(researcher())
    assert client.get("/logout/").status_code == 200
    assert client.get("/").status_code == 200
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/").status_code == 302
