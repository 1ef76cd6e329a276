"""A study's team: invited by mail, joined once, changed by owners, never without one."""

from __future__ import annotations

import re
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.ledger import outbox
from ema_server.ledger.models import AuditEvent, Job
from ema_server.studies import team
from ema_server.studies.models import Invitation, Membership, Study
from ema_server.studies.services import add_member
from tests.server.accounts.test_own_account import logged_in, with_app
from tests.world import live_study, researcher

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
NEW = {"name": "New Colleague", "password": "a long enough phrase"}


def invited(study: Study, owner: User, email: str = "new@example.org", **more: Any) -> tuple[Invitation, str]:
    """An invitation, mailed; returns it and the address in the mail."""
    given = {"role": "viewer", **more}
    invitation = team.invite_member(study=study, email=email, invited_by=owner, now=clock.now(), **given)
    return invitation, mailed()


def mailed() -> str:
    outbox.run_next(kind="invitation-mail")
    (place,) = re.findall(r"https?://[^/]+(/invitations/\S+)", mail.outbox[-1].body)
    return str(place)


def act(client: Client, study: Study, do: str, **more: Any) -> Any:
    return client.post(f"/studies/{study.slug}/team/", {"do": do, **more})


def test_a_colleague_is_invited_and_joins_with_a_new_account() -> None:
    owner = researcher()
    study = live_study(owner)
    client = logged_in(owner)
    assert act(client, study, "invite", email="New@Example.org", role="coordinator", site="Leiden").status_code == 302
    place = mailed()
    assert mail.outbox[-1].to == ["new@example.org"]
    browser = Client()
    assert study.title in browser.get(place).content.decode()
    assert browser.post(place, NEW)["Location"] == "/"
    assert study.title in browser.get("/").content.decode()
    member = Membership.objects.get(study=study, user__email="new@example.org")
    assert (member.role, member.site, member.user.name) == ("coordinator", "Leiden", "New Colleague")
    assert logged_in(member.user, NEW["password"]).get("/").status_code == 200


def test_who_has_an_account_logs_in_and_joins() -> None:
    owner, colleague = researcher(), researcher()
    study = live_study(owner)
    _, place = invited(study, owner, colleague.email)
    browser = Client()
    assert f"/login/?next={place}" in browser.get(place).content.decode()
    assert browser.post(place, NEW).status_code == 409, "no second account for the address"
    answer = browser.post("/login/", {"username": colleague.email, "password": PASSWORD, "next": place})
    assert answer["Location"] == place
    browser.post(place)
    assert study.memberships.filter(user=colleague, role="viewer").exists()


def test_an_invitation_is_for_its_address_alone() -> None:
    owner, other = researcher(), researcher()
    study = live_study(owner)
    _, place = invited(study, owner)
    browser = logged_in(other)
    assert "You are logged in as" in browser.get(place).content.decode()
    assert browser.post(place).status_code == 403
    assert not study.memberships.filter(user=other).exists()


def test_a_weak_password_is_told_and_nothing_is_made() -> None:
    owner = researcher()
    study = live_study(owner)
    _, place = invited(study, owner)
    answer = Client().post(place, {"name": "New", "password": "password12"})
    assert answer.status_code == 409
    assert "too common" in answer.content.decode()
    assert not User.objects.filter(email="new@example.org").exists()


@pytest.mark.parametrize("given", [{"name": "New\x00"}, {"password": "a long enough\x00 phrase"}])
def test_what_no_account_can_hold_is_told_and_nothing_is_made(given: dict[str, str]) -> None:
    owner = researcher()
    study = live_study(owner)
    _, place = invited(study, owner)
    answer = Client().post(place, {**NEW, **given})
    assert answer.status_code in (400, 409)
    assert "code 0" in answer.content.decode()
    assert not User.objects.filter(email="new@example.org").exists()


def test_used_withdrawn_replaced_expired_and_unknown_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = researcher()
    study = live_study(owner)
    _, used = invited(study, owner, "used@example.org")
    Client().post(used, NEW)
    withdrawn_one, withdrawn = invited(study, owner, "withdrawn@example.org")
    team.revoke_invitation(invitation=withdrawn_one, actor="server", now=clock.now())
    again, replaced = invited(study, owner, "again@example.org")
    team.resend_invitation(invitation=again, actor="server", now=clock.now())
    newest = mailed()
    late, expired = invited(study, owner, "late@example.org")
    Invitation.objects.filter(pk=late.pk).update(expires_at=clock.now() - timedelta(seconds=1))
    pages = [Client().get(place) for place in (used, withdrawn, replaced, expired, "/invitations/nothing/")]
    assert {page.status_code for page in pages} == {410}
    assert len({page.content for page in pages}) == 1
    assert "ask whoever invited you" in pages[0].content.decode()
    assert all(Client().post(place, NEW).status_code == 410 for place in (used, withdrawn, replaced, expired))
    assert Client().get(newest).status_code == 200


def test_the_token_exists_in_the_mail_alone() -> None:
    owner = researcher()
    study = live_study(owner)
    invitation, place = invited(study, owner)
    token = place.split("/")[2]
    invitation.refresh_from_db()
    assert invitation.token_digest == sha256(token.encode()).hexdigest()
    assert set(Job.objects.get(kind="invitation-mail").payload) == {"invitation"}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{token}%"])
            assert cursor.fetchone() == (0,), table


def test_asked_twice_it_is_one_invitation_with_the_newest_role() -> None:
    owner = researcher()
    study = live_study(owner)
    first, _ = invited(study, owner, role="viewer")
    second, _ = invited(study, owner, "NEW@example.org", role="analyst")
    assert first.pk == second.pk
    assert Invitation.objects.get().role == "analyst"


def test_mail_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = researcher()
    study = live_study(owner)
    team.invite_member(study=study, email="new@example.org", role="viewer", invited_by=owner, now=clock.now())

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError("the mail server is away")

    with monkeypatch.context() as broken:
        broken.setattr(team, "send_mail", refuse)
        with pytest.raises(OSError, match="away"):
            outbox.run_next(kind="invitation-mail")
    job = Job.objects.get(kind="invitation-mail")
    assert job.done_at is None
    Job.objects.update(due_at=clock.now())
    assert Client().get(mailed()).status_code == 200


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"email": "no address"}, "not_an_address"),
        ({"role": "king"}, "unknown_role"),
        ({"role": "viewer", "site": "Leiden"}, "site_not_for_role"),
        ({"role": "coordinator", "site": "Lei\x00den"}, "site_not_for_role"),
        ({"email": "new@" + "a." * 130 + "example"}, "not_an_address"),
    ],
)
def test_bad_input_is_named(given: dict[str, str], code: str) -> None:
    owner = researcher()
    study = live_study(owner)
    with pytest.raises(team.DomainError) as error:
        invited(study, owner, **given)
    assert error.value.code == code
    answer = act(logged_in(owner), study, "invite", **{"email": "new@example.org", "role": "viewer", **given})
    assert answer.status_code == 400
    assert not Invitation.objects.exists()


def test_a_member_is_not_invited_again() -> None:
    owner = researcher()
    study = live_study(owner)
    with pytest.raises(team.MemberAlready):
        invited(study, owner, owner.email.upper())


def test_the_last_owner_stays() -> None:
    owner, second = researcher(), researcher()
    study = live_study(owner)
    client = logged_in(owner)
    mine = study.memberships.get(user=owner)
    assert act(client, study, "remove", id=mine.pk).status_code == 409
    answer = act(client, study, "change", id=mine.pk, role="viewer")
    assert answer.status_code == 409
    assert "needs an owner" in answer.content.decode()
    other = add_member(study=study, user=second, role=Membership.Role.OWNER)
    User.objects.filter(pk=second.pk).update(is_active=False)
    assert act(client, study, "remove", id=mine.pk).status_code == 409, (
        "an owner whose account is closed does not count"
    )
    User.objects.filter(pk=second.pk).update(is_active=True)
    assert act(client, study, "remove", id=mine.pk)["Location"] == "/"
    assert list(study.memberships.all()) == [other]


def test_only_owners_see_the_team_and_only_their_own() -> None:
    owner, viewer = researcher(), researcher()
    study, other = live_study(owner), live_study(researcher())
    add_member(study=study, user=viewer, role=Membership.Role.VIEWER)
    assert logged_in(viewer).get(f"/studies/{study.slug}/team/").status_code == 403
    client = logged_in(owner)
    assert client.get(f"/studies/{other.slug}/team/").status_code == 404
    theirs = other.memberships.get()
    assert act(client, study, "remove", id=theirs.pk).status_code == 404
    assert act(client, study, "change", id=theirs.pk, role="viewer").status_code == 404
    for wrong in ("", "x", "9" * 30):
        assert act(client, study, "remove", id=wrong).status_code == 404


def test_whoever_another_owner_was_faster_to_remove_is_told_so() -> None:
    owner = researcher()
    study = live_study(owner)
    member = add_member(study=study, user=researcher("second@example.org"), role=Membership.Role.VIEWER)
    Membership.objects.filter(pk=member.pk).delete()
    with pytest.raises(team.NoMember):
        team.remove_member(member=member, actor=owner.audit_name)
    with pytest.raises(team.NoMember):
        team.change_role(member=member, role="analyst", actor=owner.audit_name)


def test_no_browser_keeps_a_page_of_a_study() -> None:
    owner = researcher()
    study = live_study(owner)
    client = logged_in(owner)
    for place in ("/", f"/studies/{study.slug}/team/", f"/studies/{study.slug}/participants/"):
        assert "no-store" in client.get(place)["Cache-Control"], place


def test_whoever_is_removed_is_out_at_once() -> None:
    owner, viewer = researcher(), researcher()
    study = live_study(owner)
    member = add_member(study=study, user=viewer, role=Membership.Role.VIEWER)
    browser = logged_in(viewer)
    assert browser.get(f"/studies/{study.slug}/report/").status_code == 200
    act(logged_in(owner), study, "remove", id=member.pk)
    assert browser.get(f"/studies/{study.slug}/report/").status_code == 404


def test_a_study_can_require_a_second_factor() -> None:
    owner, viewer = researcher(), researcher()
    study, other = live_study(owner), live_study(viewer)
    add_member(study=study, user=viewer, role=Membership.Role.VIEWER)
    assert act(logged_in(owner), study, "require").status_code == 409, "nobody shuts themselves out"
    client, _ = with_app(owner)
    assert act(client, study, "require").status_code == 302
    assert client.get(f"/studies/{study.slug}/report/").status_code == 200
    browser = logged_in(viewer)
    page = browser.get(f"/studies/{study.slug}/report/")
    assert page.status_code == 403
    assert "its owners require it" in page.content.decode()
    assert "Opens with your second factor" in browser.get("/").content.decode()
    assert browser.get(f"/studies/{other.slug}/report/").status_code == 200
    browser, _ = with_app(viewer)
    assert browser.get(f"/studies/{study.slug}/report/").status_code == 200


def test_every_change_of_the_team_leaves_a_trace_without_an_address() -> None:
    owner, viewer = researcher(), researcher()
    study = live_study(owner)
    before = AuditEvent.objects.filter(study_id=study.pk).count()
    invitation, _ = invited(study, owner, viewer.email)
    team.resend_invitation(invitation=invitation, actor=owner.audit_name, now=clock.now())
    member = team.accept_invitation(invitation=invitation, user=viewer, now=clock.now())
    team.change_role(member=member, role="coordinator", site="Leiden", actor=owner.audit_name)
    team.remove_member(member=member, actor=owner.audit_name)
    gone, _ = invited(study, owner, "gone@example.org")
    team.revoke_invitation(invitation=gone, actor=owner.audit_name, now=clock.now())
    team.require_second_factor(study=study, required=True, own_factor=True, actor=owner.audit_name)
    events = list(AuditEvent.objects.filter(study_id=study.pk).order_by("number"))[before:]
    actions = [event.action for event in events]
    wanted = ["member.invited", "invitation.sent_again", "member.added", "invitation.accepted", "member.changed"]
    wanted += ["member.removed", "member.invited", "invitation.revoked", "study.second_factor_required"]
    assert actions == wanted
    assert "@" not in str([event.changes for event in events])


@pytest.mark.parametrize("site", ["North\x00", "a\nb", "x" * 41])
def test_a_site_that_cannot_be_kept_is_refused_in_words(site: str) -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    given = {"do": "invite", "email": "new@example.org", "role": "coordinator", "site": site}
    page = client.post(f"/studies/{study.slug}/team/", given)
    assert page.status_code == 400
    assert "site: at most 40 characters" in page.content.decode()
    assert not Invitation.objects.exists()
