"""A researcher invites, opens and closes codes, helps somebody to a new phone and closes a lost one, in a browser."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from ema_server.common import clock
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Device, EnrolmentCode, Participant
from ema_server.participants.services import digest_of_code, invite, open_study_code
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import add_member
from tests.server.participants.test_credentials import enrolled_with, successor_of
from tests.world import NOW, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

SITES = {"arms": [{"key": "app", "title": "App"}], "sites": [{"key": "Leiden", "title": ""}], "roles": []}
As = Callable[..., Any]


@pytest.fixture
def study() -> Study:
    return live_study(researcher(), slug="daily", structure=SITES)


@pytest.fixture
def owner(study: Study) -> Client:
    client = Client()
    client.force_login(study.memberships.get().user)
    return client


def of_site(study: Study) -> Client:
    user = researcher()
    add_member(study=study, user=user, role=Membership.Role.COORDINATOR, site="Leiden")
    client = Client()
    client.force_login(user)
    return client


def text_of(page: Any) -> str:
    return html.unescape(page.content.decode())


def code_on(page: Any) -> str:
    found = re.search(r'class="code-aloud">([A-Z0-9]{5}-[A-Z0-9]{5})<', page.content.decode())
    assert found, page.content.decode()
    return found[1].replace("-", "")


def until(days: int) -> str:
    return str((clock.now() + timedelta(days=days)).date())


def test_an_invitation_shows_its_sheet_once_with_a_code_that_lets_a_phone_in(owner: Client, study: Study) -> None:
    assert owner.get("/studies/daily/participants/invite/").status_code == 200
    page = owner.post(
        "/studies/daily/participants/invite/", {"pseudonym": "P07", "arm": "app", "site": "Leiden", "until": until(7)}
    )
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    code, text = code_on(page), text_of(page)
    assert f"/join#{code}" in text
    assert f"ema://join?server=http%3A%2F%2Flocalhost%3A8000&code={code}" in text
    assert "23:59 (Europe/Amsterdam)" in text
    drawing = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert drawing
    assert b"<svg" in base64.b64decode(drawing[1])
    person = Participant.objects.get()
    assert (person.pseudonym, person.arm, person.site) == ("P07", "app", "Leiden")
    kept = EnrolmentCode.objects.get()
    assert kept.digest == digest_of_code(code)
    assert code not in str(AuditEvent.objects.values())
    enrolled_with(FakePhone(study), code)
    again = owner.post("/studies/daily/participants/invite/", {"pseudonym": "P07", "until": until(7)})
    assert again.status_code == 409
    assert "is in this study already" in text_of(again)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pseudonym": "P1", "until": "soon"}, "last day: 'soon' is no day"),
        ({"pseudonym": "P1", "until": "9999-12-31"}, "last day: 9999-12-31 is out of range"),
        ({"pseudonym": "P1", "until": "2020-01-01"}, "is out of range; a code lasts from today"),
        ({"pseudonym": "jo@example.org"}, "no address"),
        ({"pseudonym": "P1", "arm": "none"}, "no arm 'none'"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_lost(owner: Client, given: dict[str, str], said: str) -> None:
    page = owner.post("/studies/daily/participants/invite/", given)
    assert page.status_code == 400
    assert said in text_of(page)
    assert given["pseudonym"] in text_of(page)
    assert not Participant.objects.exists()


def test_a_code_for_many_is_opened_listed_and_closed(owner: Client, study: Study) -> None:
    page = owner.post("/studies/daily/codes/", {"do": "open", "uses": "30", "site": "Leiden", "until": until(3)})
    code = code_on(page)
    enrolled_with(FakePhone(study), code)
    listed = text_of(owner.get("/studies/daily/codes/"))
    assert "Anybody, Leiden" in listed
    assert "1 of 30" in listed
    assert code not in listed
    row = EnrolmentCode.objects.get()
    closed = owner.post("/studies/daily/codes/", {"do": "close", "code": row.pk}, follow=True)
    assert "The code is closed." in text_of(closed)
    assert "No code is open." in text_of(closed)
    phone = FakePhone(study)
    assert phone.call("POST", "enrolments", phone.enrolment(code)).json()["code"] == "code_not_valid"
    assert AuditEvent.objects.filter(action="code.closed", about=f"code:{row.pk}").count() == 1
    assert "was over already" in text_of(
        owner.post("/studies/daily/codes/", {"do": "close", "code": row.pk}, follow=True)
    )


@pytest.mark.parametrize("uses", ["", "0", "-1", "10001", "many", "9" * 5000])
def test_limits_of_uses_are_said(owner: Client, uses: str) -> None:
    page = owner.post("/studies/daily/codes/", {"do": "open", "uses": uses})
    assert page.status_code == 400
    assert "uses: " in text_of(page)
    assert not EnrolmentCode.objects.exists()


def test_codes_of_other_sites_and_studies_are_nobodys_to_see_or_close(study: Study) -> None:
    invite(study=study, pseudonym="P8", now=NOW)
    open_study_code(study=study, max_uses=5, now=NOW)
    elsewhere = live_study(researcher(), slug="other")
    open_study_code(study=elsewhere, max_uses=5, now=NOW)
    client = of_site(study)
    assert "No code is open." in text_of(client.get("/studies/daily/codes/"))
    for row in EnrolmentCode.objects.all():
        assert client.post("/studies/daily/codes/", {"do": "close", "code": row.pk}).status_code == 404
    for number in ("", "x", "9" * 30, "²"):
        assert client.post("/studies/daily/codes/", {"do": "close", "code": number}).status_code == 404
    assert client.post("/studies/daily/codes/", {"do": "open", "uses": "2", "site": "Delft"}).status_code == 200
    assert client.post("/studies/daily/participants/invite/", {"pseudonym": "P9", "site": "Delft"}).status_code == 200
    assert EnrolmentCode.objects.latest("pk").participant == Participant.objects.get(pseudonym="P9", site="Leiden")
    assert EnrolmentCode.objects.get(max_uses=2).site == "Leiden"
    assert EnrolmentCode.objects.filter(closed_at__isnull=False).count() == 0


def test_a_person_gets_a_code_for_a_new_phone_and_a_lost_one_is_revoked_with_a_reason(
    owner: Client, study: Study
) -> None:
    old = FakePhone(study).enrolled()
    person = Participant.objects.get()
    address = f"/studies/daily/participants/{person.pk}/"
    page = owner.post(address, {"do": "code", "until": until(7)})
    assert "the old one is closed" in text_of(page)
    new = enrolled_with(old, code_on(page))
    assert old.call("GET", "sync").json()["code"] == "replaced"
    successor_of(new)
    assert "P1, new phone" not in text_of(owner.get("/studies/daily/codes/"))  # what a phone made is not listed
    device = Device.objects.get(revoked_at__isnull=True)
    assert owner.post(address, {"do": "revoke", "phone": device.pk, "reason": " "}).status_code == 400
    for number in ("", "x", str(Device.objects.get(closed_because="replaced").pk)):
        assert owner.post(address, {"do": "revoke", "phone": number, "reason": "lost"}).status_code == 404
    shown = owner.post(address, {"do": "revoke", "phone": device.pk, "reason": "lost in a train"}, follow=True)
    assert "its next call is refused" in text_of(shown)
    assert new.call("GET", "sync").json()["code"] == "revoked"
    assert AuditEvent.objects.get(action="device.revoked").actor == study.memberships.get().user.audit_name


def test_the_page_of_a_person_shows_the_last_report_of_each_phone(owner: Client, study: Study) -> None:
    phone = FakePhone(study).enrolled()
    address = f"/studies/daily/participants/{Participant.objects.get().pk}/"
    assert "It has sent no report of itself." in text_of(owner.get(address))
    report = {
        "id": str(uuid4()),
        "at": clock.now().isoformat(),
        "battery": 0.43,
        "charging": True,
        "app_version": "1.4.0",
        "platform": "<b>",
        "permissions": {"notifications": False},
        "queue": 3,
        "clock_ahead_ms": 61_000,
    }
    phone.call("POST", "device-reports", {"reports": [report]})
    page = owner.get(address)
    for words in (
        "app 1.4.0",
        "battery 43 %, charging",
        "3 answers waiting",
        "notifications not allowed",
        "clock 61 s ahead",
    ):
        assert words in text_of(page), words
    assert "<b>" not in page.content.decode()


def test_who_may_only_look_makes_no_code(study: Study) -> None:
    viewer = researcher()
    add_member(study=study, user=viewer, role=Membership.Role.ANALYST)
    client = Client()
    client.force_login(viewer)
    person, _ = invite(study=study, pseudonym="P1", now=NOW)
    for address in ("participants/invite/", "codes/", f"participants/{person.pk}/"):
        assert client.post(f"/studies/daily/{address}", {"do": "code"}).status_code == 403
    assert EnrolmentCode.objects.count() == 1


def test_the_page_behind_a_link_tells_what_to_do_and_knows_no_code() -> None:
    page = Client().get("/join")
    assert page.status_code == 200
    assert "http://localhost:8000" in text_of(page)
    assert "does not know your code" in text_of(page)
    assert Client().get("/join", {"code": "ABCDEFGHJK"}).content == page.content
