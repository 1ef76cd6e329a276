"""Operators' records, and what each kind of page allows the browser to run."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Permission
from django.test import Client

from ema_server.accounts.models import User
from tests.server.accounts.test_own_account import logged_in, with_app
from tests.world import live_study, researcher

pytestmark = pytest.mark.django_db


def operator() -> User:
    return User.objects.create_superuser("operator@example.org", "correct horse battery")


def policy(address: str, client: Client | None = None) -> dict[str, list[str]]:
    header = (client or Client()).get(address)["Content-Security-Policy"]
    parts = [part.split() for part in header.split(";")]
    return {part[0]: part[1:] for part in parts if part}


def test_every_kind_of_page_runs_our_own_files_alone() -> None:
    owner = researcher()
    study = live_study(owner)
    client = logged_in(owner)
    for address, who in (
        ("/login/", Client()),
        ("/account/password/reset/", Client()),
        ("/", client),
        (f"/studies/{study.slug}/report/", client),
        ("/account/mfa/", client),
        ("/nowhere/", client),
        ("/livez", Client()),
    ):
        found = policy(address, who)
        assert found["script-src"] == ["'self'"], address
        assert found["object-src"] == found["base-uri"] == found["frame-ancestors"] == ["'none'"], address
        assert found["form-action"] == found["default-src"] == ["'self'"], address
        assert "unsafe" not in str(found), address
    found = policy("/api/v1/schema", Client())
    assert found["default-src"] == found["frame-ancestors"] == ["'none'"], "no page: it loads nothing at all"


def test_eval_is_allowed_at_the_admin_alone() -> None:
    client, _ = with_app(operator())
    found = policy("/admin/", client)
    assert found["script-src"] == ["'self'", "'unsafe-eval'"]
    assert found["object-src"] == found["base-uri"] == found["frame-ancestors"] == ["'none'"]


def test_the_admin_leads_strangers_to_our_own_login() -> None:
    answer = Client().get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == "/login/?next=%2Fadmin%2F"
    assert logged_in(researcher()).get("/admin/", follow=True).status_code == 403


def test_an_operator_needs_a_second_factor(settings: pytest.FixtureRequest) -> None:
    user = operator()
    page = logged_in(user).get("/admin/", follow=True)
    assert page.status_code == 403
    assert "need a second factor" in page.content.decode()
    client, _ = with_app(user)
    assert client.get("/admin/", follow=True).status_code == 200
    settings.EMA_ADMIN_MFA = False  # type: ignore[attr-defined]
    other = Client()
    other.force_login(user)
    assert other.get("/admin/").status_code == 200


def test_an_operator_closes_an_account_and_sees_no_password() -> None:
    client, _ = with_app(operator())
    owner = researcher()
    browser = logged_in(owner)
    page = client.get(f"/admin/accounts/user/{owner.pk}/change/").content.decode()
    assert "password" not in page.lower().replace("/password_change/", "").replace("change password", "")
    client.post("/admin/accounts/user/", {"action": "disable", "_selected_action": [owner.pk]})
    owner.refresh_from_db()
    assert not owner.is_active
    assert browser.get("/").status_code == 302


def test_operators_see_memberships_and_change_none() -> None:
    client, _ = with_app(operator())
    owner = researcher()
    member = live_study(owner).memberships.get()
    assert owner.email in client.get("/admin/studies/membership/").content.decode()
    assert client.get(f"/admin/studies/membership/{member.pk}/change/").status_code == 200
    for address in (f"/admin/studies/membership/{member.pk}/delete/", "/admin/studies/membership/add/"):
        assert client.post(address).status_code == 403


@pytest.mark.parametrize(("may", "done"), [("view_user", []), ("change_user", ["colleague"])])
def test_an_operator_acts_within_what_they_were_given(may: str, done: list[str]) -> None:
    helper = User.objects.create_user("helper@example.org", "correct horse battery", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__in=["view_user", may]))
    accounts = {"colleague": researcher(), "superuser": operator()}
    for user in accounts.values():
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
    client, _ = with_app(helper)
    chosen = [user.pk for user in accounts.values()]
    for action in ("remove_second_factor", "disable"):
        client.post("/admin/accounts/user/", {"action": action, "_selected_action": chosen})
    closed = [name for name, user in accounts.items() if not User.objects.get(pk=user.pk).is_active]
    stripped = [name for name, user in accounts.items() if not Authenticator.objects.filter(user=user).exists()]
    assert closed == stripped == done


def test_no_search_tells_the_digest_of_a_password() -> None:
    client, _ = with_app(operator())
    assert client.get("/admin/accounts/user/?password__startswith=p").status_code == 400
