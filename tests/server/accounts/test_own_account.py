"""One's own account: second factor, sessions, password; and how it ends."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client

from ema_server.accounts.models import User
from ema_server.accounts.services import NoReason, disable_account, enable_account
from ema_server.ledger import outbox
from ema_server.ledger.models import AuditEvent, Job
from tests.world import researcher

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def logged_in(user: User, password: str = PASSWORD) -> Client:
    client = Client()
    answer = client.post("/login/", {"username": user.email, "password": password}, follow=True)
    assert answer.status_code == 200
    return client


def code(secret: str, step: int = 1) -> str:
    return format_hotp_value(hotp_value(secret, list(yield_hotp_counters_from_time())[step]))


def with_app(user: User) -> tuple[Client, str]:
    """Log in, confirm who is there, set up the app; returns the client and the app's secret."""
    client = logged_in(user)
    assert client.get("/account/mfa/totp/activate/")["Location"].startswith("/account/confirm/")
    client.post("/account/confirm/", {"password": PASSWORD, "next": "/account/mfa/totp/activate/"})
    page = client.get("/account/mfa/totp/activate/").content.decode()
    (secret,) = re.findall(r"<code>([A-Z2-7]+)</code>", page)
    answer = client.post("/account/mfa/totp/activate/", {"code": code(secret)})
    assert answer.status_code == 302, answer.content
    # What follows a commit does not happen in a test's transaction, so the app is shown once more.
    client.post("/account/mfa/reauthenticate/", {"code": code(secret, step=0), "next": "/account/"})
    return client, secret


def test_an_app_is_set_up_and_asked_for_at_the_next_login() -> None:
    owner = researcher()
    client, secret = with_app(owner)
    assert "Recovery codes" in client.get("/account/mfa/recovery-codes/").content.decode()
    other = Client()
    answer = other.post("/login/", {"username": owner.email, "password": PASSWORD, "next": "/account/"})
    assert answer["Location"] == "/account/mfa/authenticate/"
    assert other.get("/account/")["Location"].startswith("/login/"), "the password alone opens nothing"
    assert "This code is not right" in other.post("/account/mfa/authenticate/", {"code": "000000"}).content.decode()
    used = code(secret)
    assert other.post("/account/mfa/authenticate/", {"code": used})["Location"] == "/account/"
    again = Client()
    again.post("/login/", {"username": owner.email, "password": PASSWORD})
    answer = again.post("/account/mfa/authenticate/", {"code": used})
    assert answer.status_code == 200, "a code works once"


def test_a_code_works_once_for_as_long_as_it_is_tolerated() -> None:
    owner = researcher()
    _, secret = with_app(owner)
    newest = code(secret, step=2)
    for status in (302, 200):
        other = Client()
        other.post("/login/", {"username": owner.email, "password": PASSWORD})
        assert other.post("/account/mfa/authenticate/", {"code": newest}).status_code == status
        cache.delete(f"allauth.mfa.totp.used?user={owner.pk}&code={newest}")  # as after one step


def test_a_changed_password_ends_the_other_sessions() -> None:
    owner = researcher()
    here, there = logged_in(owner), logged_in(owner)
    new = {"oldpassword": PASSWORD, "password1": "another horse battery", "password2": "another horse battery"}
    assert here.post("/account/password/", new)["Location"] == "/account/"
    assert here.get("/account/").status_code == 200
    assert there.get("/account/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_setting_an_app_up_counts_as_showing_it_and_leaves_a_trace() -> None:
    owner = researcher()
    client = logged_in(owner)
    client.post("/account/confirm/", {"password": PASSWORD, "next": "/account/"})
    page = client.get("/account/mfa/totp/activate/").content.decode()
    (secret,) = re.findall(r"<code>([A-Z2-7]+)</code>", page)
    client.post("/account/mfa/totp/activate/", {"code": code(secret)})
    methods = [each["method"] for each in client.session["account_authentication_methods"]]
    assert methods == ["password", "password", "mfa"]
    assert AuditEvent.objects.filter(action="account.second_factor_added", actor=owner.audit_name).exists()


def test_a_recovery_code_opens_the_account_once() -> None:
    owner = researcher()
    client, _ = with_app(owner)
    first = re.findall(r"<code>(\d{8})</code>", client.get("/account/mfa/recovery-codes/").content.decode())[0]
    for status in (302, 200):
        other = Client()
        other.post("/login/", {"username": owner.email, "password": PASSWORD})
        assert other.post("/account/mfa/authenticate/", {"code": first}).status_code == status


def test_codes_cannot_be_guessed_without_end() -> None:
    owner = researcher()
    _, secret = with_app(owner)
    other = Client()
    other.post("/login/", {"username": owner.email, "password": PASSWORD})
    for n in range(10):
        other.post("/account/mfa/authenticate/", {"code": f"{n:06}"})
    page = other.post("/account/mfa/authenticate/", {"code": code(secret)})
    assert "Too many wrong codes" in page.content.decode()


def test_no_secret_of_a_second_factor_lies_open_in_the_database() -> None:
    owner = researcher()
    client, secret = with_app(owner)
    codes = re.findall(r"<code>(\d{8})</code>", client.get("/account/mfa/recovery-codes/").content.decode())
    seed = Authenticator.objects.get(type="recovery_codes").wrap()
    assert len(codes) == 10
    assert seed.generate_codes() == codes
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(data::text, ' ') FROM mfa_authenticator")
        stored = cursor.fetchone()[0]
    for word in (secret, b64encode(secret.encode()).decode(), *codes):
        assert word not in stored


def test_own_sessions_are_listed_and_ended_one_by_one() -> None:
    owner, stranger = researcher(), researcher()
    here, there = logged_in(owner), logged_in(owner)
    page = here.get("/account/sessions/").content.decode()
    (there_id,) = re.findall(r"/account/sessions/(\d+)/end/", page)
    assert logged_in(stranger).post(f"/account/sessions/{there_id}/end/").status_code == 404
    assert there.get("/").status_code == 200
    here.post(f"/account/sessions/{there_id}/end/")
    assert there.get("/").status_code == 302
    assert here.get("/").status_code == 200


def test_a_closed_account_is_a_stranger_at_its_next_request() -> None:
    owner = researcher()
    browser, unlisted = logged_in(owner), Client()
    unlisted.force_login(owner)
    disable_account(user=owner, actor="server", reason="left")
    assert browser.get("/").status_code == unlisted.get("/").status_code == 302
    answer = Client().post("/login/", {"username": owner.email, "password": PASSWORD}, follow=True)
    assert "This account is closed" in answer.content.decode()
    assert answer.redirect_chain == [("/account/closed/", 302)]
    enable_account(user=owner, actor="server", reason="came back")
    assert browser.get("/").status_code == 302, "an ended session does not come back"
    assert logged_in(owner).get("/").status_code == 200


def test_an_account_is_closed_by_command_and_with_a_reason() -> None:
    owner = researcher()
    browser = logged_in(owner)
    call_command("disable_account", owner.email.upper())
    assert browser.get("/").status_code == 302
    call_command("enable_account", owner.email)
    with pytest.raises(NoReason):
        disable_account(user=owner, actor="server", reason=" ")


def test_a_forgotten_password_is_set_by_a_link_that_works_once() -> None:
    owner = researcher()
    thief = logged_in(owner)
    asked = [Client().post("/account/password/reset/", {"email": e}) for e in (owner.email, "nobody@example.org")]
    assert {(each.status_code, each["Location"]) for each in asked} == {(302, "/account/password/reset/sent/")}
    outbox.run_next(kind="password-reset-mail")
    outbox.run_next(kind="password-reset-mail")
    assert outbox.run_next(kind="password-reset-mail") is None
    (message,) = mail.outbox
    assert message.to == [owner.email]
    (place,) = re.findall(r"https?://[^/]+(/account/password/reset/\S+)", message.body)
    browser = Client()
    form = browser.get(place, follow=True)
    where = form.redirect_chain[-1][0]
    new = {"password1": "another horse battery", "password2": "another horse battery"}
    assert browser.post(where, new)["Location"] == "/account/password/reset/done/"
    assert "This link has ended" in Client().get(place, follow=True).content.decode()
    assert thief.get("/").status_code == 302, "who was logged in with the old password is not any more"
    assert logged_in(owner, "another horse battery").get("/").status_code == 200


def test_no_token_lies_in_the_queue_of_mail() -> None:
    owner = researcher()
    Client().post("/account/password/reset/", {"email": owner.email})
    assert set(Job.objects.get(kind="password-reset-mail").payload) == {"user", "until"}


@pytest.mark.parametrize("away", ["redis://127.0.0.1:1/0"])
def test_with_the_cache_away_login_says_later(away: str, settings: Any) -> None:
    owner = researcher()
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": away}}
    browser = Client(raise_request_exception=False)
    answer = browser.post("/login/", {"username": owner.email, "password": PASSWORD})
    assert answer.status_code == 503
    assert answer["Retry-After"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
