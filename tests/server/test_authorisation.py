"""The authorisation matrix: every route, every role, in one's own study and in another's.

The routes come from the URL configuration. One without an entry here fails the suite, and so does an entry without a route.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_scopes import scopes_disabled

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Participant
from ema_server.participants.services import invite
from ema_server.reports.models import Report
from ema_server.studies.drafts import save_draft
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import add_member
from tests.world import NOW, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

Role = Membership.Role
EVERYBODY = {"owner", "analyst", "coordinator", "viewer", "site"}  # "site": a coordinator of the site Leiden
ROLES = sorted(EVERYBODY)


@dataclass(frozen=True)
class Page:
    """A researcher's route: the roles that may open it. `about` says which object its address names."""

    roles: frozenset[str]
    about: str = "study"
    method: str = "get"
    names: tuple[tuple[str, str | int], ...] = ()  # of the study's own, which every study has


def page(*roles: str, about: str = "study", method: str = "get", **names: str | int) -> Page:
    return Page(frozenset(roles), about, method, tuple(names.items()))


STUDY_PAGES = {
    "report": page("owner", "analyst", "coordinator", "viewer"),
    "report-run": page("owner", "analyst", "coordinator", "viewer", about="run"),
    "participants": page("owner", "coordinator", "site"),
    "participant": page("owner", "coordinator", "site", about="person"),
    "invite": page("owner", "coordinator", "site"),
    "codes": page("owner", "coordinator", "site"),
    "identity": page("owner", "coordinator", "site", about="person"),
    "people-data": page("owner", "coordinator"),
    "erase": page("owner", about="person"),
    "certificate": page("owner", about="erased"),
    "withdraw": page("owner", "coordinator", "site", about="person"),
    "pause-person": page("owner", "coordinator", "site", about="person"),
    "person-schedule": page("owner", "coordinator", "site", about="person"),
    "schedule": page("owner", "coordinator"),
    "dry-run": page("owner", "coordinator"),
    "setup": page("owner"),
    "questionnaires": page("owner", "coordinator"),
    "questionnaire": page("owner", "coordinator", questionnaire="momentary"),
    "publish-questionnaire": page("owner", "coordinator", questionnaire="momentary"),
    "questionnaire-document": page("owner", "coordinator", questionnaire="momentary"),
    "draft-beside": page("owner", "coordinator", questionnaire="momentary", number=1),
    "audit": page("owner"),
    "data": page("owner", "analyst"),
    "codebook": page("owner", "analyst"),
    "team": page("owner"),
}
PHONE = {  # need a phone's credential, and know no other study by it
    "sync", "submissions", "prompt-events", "device", "consents", "device-credential", "successor-code", "device-reports", "manifest",
    "pause", "resume", "leave", "own-data",
}  # fmt: skip
OPEN = {  # need none, or check their own
    "enrolments", "enrolment-preview", "schema", "survey-schema", "live", "ready", "metrics", "invitation", "join",
}  # fmt: skip
DOORS = {  # how somebody gets in, or back in
    "login", "account_login", "logout", "account_logout", "account_inactive", "account_reset_password",
    "account_reset_password_done", "account_reset_password_from_key", "account_reset_password_from_key_done",
    "mfa_authenticate", "mfa_login_webauthn", "account_set_password",
}  # fmt: skip
OWN = {  # need a login, and show one's own and nobody else's
    "home", "account", "account_change_password", "account_reauthenticate", "mfa_index",
    "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp", "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes", "mfa_download_recovery_codes", "mfa_list_webauthn", "mfa_add_webauthn",
    "mfa_reauthenticate_webauthn", "mfa_remove_webauthn", "mfa_edit_webauthn", "usersessions_list", "end-session",
}  # fmt: skip
ADMIN = "admin:"  # operators alone


def routes() -> Iterator[tuple[str, str]]:
    """Every named route: its name and its pattern."""

    def walk(patterns: list[URLPattern | URLResolver], prefix: str, space: str) -> Iterator[tuple[str, str]]:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                name = f"{space}{pattern.namespace}:" if pattern.namespace else space
                yield from walk(pattern.url_patterns, path, name)
            else:
                yield f"{space}{pattern.name}", path

    yield from walk(get_resolver().url_patterns, "", "")


ROUTES = dict(routes())
OURS = {name for name in ROUTES if not name.startswith(ADMIN)}


def test_every_route_has_an_entry_and_every_entry_a_route() -> None:
    entries = set(STUDY_PAGES) | PHONE | OPEN | DOORS | OWN
    assert OURS - entries == set(), "routes without an entry: say who may use them"
    assert entries - OURS == set(), "entries without a route"


def test_what_lies_below_a_study_is_in_the_matrix() -> None:
    below = {name for name, path in ROUTES.items() if path.startswith("studies/")}
    assert below == set(STUDY_PAGES)
    calls = {name for name, path in ROUTES.items() if path.startswith("api/")}
    assert calls == PHONE | {"enrolments", "enrolment-preview", "schema", "survey-schema"}


@dataclass
class World:
    study: Study
    people: dict[str, User]
    ids: dict[str, int]  # what an address may name, in this study

    def address(self, name: str) -> str:
        about = STUDY_PAGES[name].about
        more = {"run": {"run_id": self.ids["run"]}, "study": {}}.get(about, {"pk": self.ids.get(about, 0)})
        return reverse(name, kwargs={"slug": self.study.slug, **more, **dict(STUDY_PAGES[name].names)})


def build(slug: str) -> World:
    study = live_study(slug=slug)
    people = {role: researcher() for role in ROLES}
    with scopes_disabled():
        for role, user in people.items():
            if role == "site":
                add_member(study=study, user=user, role=Role.COORDINATOR, site="Leiden")
            else:
                add_member(study=study, user=user, role=Role(role))
        phone = FakePhone(study).enrolled()
        person = Participant.objects.get(study=study)
        person.site = "Leiden"
        person.save()
        gone, _ = invite(study=study, pseudonym="P9", now=NOW, site="Leiden")
        ask_for_erasure(participant=gone, actor="server", now=clock.now())
        erase(participant=gone, now=clock.now())
        elsewhere, _ = invite(study=study, pseudonym="P8", now=NOW, site="Delft")
        save_draft(
            study=study, questionnaire="momentary", text="{}", based_on=None, editor=None, actor="server", now=NOW
        )
        plan = study.analysis_plans.get()
        run = Report.objects.create(
            study=study, plan=plan, night="2026-03-03", cutoff=NOW, n_rows=0, data_hash="d", plan_hash="p",
            code_version="c", seconds=1, figures={},
            results={"models": [], "mode": "conduct", "flow": [], "compliance": {"persons": [], "answered": 0, "planned": 0}, "study": {}},
        )  # fmt: skip
        ids = {"person": person.pk, "erased": gone.pk, "elsewhere": elsewhere.pk, "run": run.pk}
    assert phone.token
    return World(study, people, ids)


def status(user: User | None, address: str, method: str = "get", **data: Any) -> int:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    answer = getattr(client, method)(address, data)
    code: int = answer.status_code
    return code


@pytest.mark.parametrize("name", sorted(STUDY_PAGES))
def test_each_role_opens_what_it_may_and_nothing_else(name: str) -> None:
    mine, theirs = build("mine"), build("theirs")
    allowed = STUDY_PAGES[name].roles
    nowhere = mine.address(name).replace("/mine/", "/nowhere/")
    for role in ROLES:
        user = mine.people[role]
        assert status(user, mine.address(name)) == (200 if role in allowed else 403), role
        missing = status(user, nowhere)
        for method in ("get", "post"):  # another study's page answers like one that is not there
            assert status(user, theirs.address(name), method) == missing == 404, (role, method)
    assert status(researcher(), mine.address(name)) == 404
    assert status(User.objects.create_superuser("root@example.org", "x"), mine.address(name)) == 404
    assert status(None, mine.address(name)) == 302


@pytest.mark.parametrize("name", sorted(name for name, entry in STUDY_PAGES.items() if entry.about != "study"))
def test_an_object_of_another_study_answers_like_a_missing_one(name: str) -> None:
    mine, theirs = build("mine"), build("theirs")
    about = STUDY_PAGES[name].about
    owner = mine.people["owner"]
    right, wrong = mine.address(name), theirs.address(name).replace("/theirs/", "/mine/")
    missing = right.replace(f"/{mine.ids[about]}/", "/99999999/")
    assert len({right, wrong, missing}) == 3
    for method in ("get", "post"):
        if status(owner, right, method) == 405:
            continue
        assert status(owner, wrong, method) == status(owner, missing, method) == 404


@pytest.mark.parametrize("name", ["participant", "identity"])
def test_a_coordinator_of_one_site_meets_nobody_of_another(name: str) -> None:
    world = build("mine")
    address = reverse(name, kwargs={"slug": "mine", "pk": world.ids["elsewhere"]})
    assert status(world.people["coordinator"], address) == 200
    assert status(world.people["site"], address) == 404
    assert status(world.people["site"], address, "post", name="x") in {404, 405}
    client = Client()
    client.force_login(world.people["site"])
    page = client.get(reverse("participants", kwargs={"slug": "mine"})).content.decode()
    assert "P1" in page
    assert "P8" not in page


def test_the_home_page_shows_ones_own_studies_alone() -> None:
    mine = build("mine")
    theirs = build("theirs")
    Study.objects.filter(pk=theirs.study.pk).update(title="Somebody else's")
    client = Client()
    client.force_login(mine.people["viewer"])
    page = client.get("/").content.decode()
    assert "Somebody else" not in page
    assert status(None, "/") == 302


@pytest.mark.parametrize("name", sorted(PHONE))
def test_a_phone_without_its_credential_gets_nothing(name: str) -> None:
    world = build("mine")
    methods = {"sync": "GET", "device": "PUT", "own-data": "GET"}
    for token in ("", "wrong", "null"):
        phone = FakePhone(world.study, token=token)
        path = reverse(name).removeprefix("/api/v1/")
        assert phone.call(methods.get(name, "POST"), path, {}).status_code == 401
    client = Client()
    client.force_login(world.people["owner"])  # a researcher's session is no phone
    assert client.generic(methods.get(name, "POST"), reverse(name), "{}", "application/json").status_code == 401


def test_a_phone_can_neither_read_nor_touch_another_study() -> None:
    mine, theirs = FakePhone(live_study()).enrolled(), FakePhone(live_study()).enrolled()
    ids = {prompt["id"] for prompt in theirs.prompts}
    assert not ids & {prompt["id"] for prompt in mine.call("GET", "sync").json()["prompts"]}
    event = {
        "id": str(UUID(int=5)),
        "prompt": theirs.prompts[0]["id"],
        "kind": "opened",
        "at": "2026-03-02T11:00:00+01:00",
    }
    (receipt,) = mine.call("POST", "prompt-events", {"events": [event]}).json()["receipts"]
    missing = mine.call("POST", "prompt-events", {"events": [{**event, "prompt": str(UUID(int=7))}]}).json()[
        "receipts"
    ][0]
    assert receipt == missing
    assert receipt["code"] == "unknown_prompt"
    stolen = {**mine.item(), "prompt": theirs.prompts[0]["id"]}
    (stored,) = mine.submit(stolen)
    (orphan,) = mine.submit({**mine.item(), "prompt": str(UUID(int=7))})
    assert stored["status"] == orphan["status"] == "stored"  # an orphan: kept, bound to nothing
    assert theirs.study.submissions.count() == 0


def test_a_phones_token_opens_no_page_of_researchers() -> None:
    world = build("mine")
    phone = FakePhone(world.study, pseudonym="P2").enrolled()
    for name in STUDY_PAGES:
        answer = Client().get(world.address(name), headers={"Authorization": f"Bearer {phone.token}"})
        assert answer.status_code == 302, name


def filled(path: str) -> str:
    """A pattern as an address, with numbers and names that fit."""
    path = re.sub(r"<(int|path):\w+>", "1", path)
    return "/" + re.sub(r"<[^>]*>", "x", re.sub(r"\(\?P<.*", "x", path)).strip("^$")


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_page_of_ones_own_asks_for_a_login(name: str) -> None:
    for method in ("get", "post"):
        answer = getattr(Client(), method)(filled(ROUTES[name]))
        assert answer.status_code in {302, 405}, method
        if answer.status_code == 302:
            assert answer["Location"].startswith("/login/")


def test_nobody_ends_a_session_of_somebody_else() -> None:
    mine, theirs = Client(), Client()
    for client in (mine, theirs):
        client.post("/login/", {"username": researcher().email, "password": "correct horse battery"})
        assert client.get("/account/sessions/").status_code == 200
    other = UserSession.objects.get(session_key=theirs.session.session_key)
    assert mine.post(f"/account/sessions/{other.pk}/end/").status_code == 404
    assert theirs.get("/account/").status_code == 200


def test_operators_pages_are_for_operators_alone() -> None:
    owner = build("mine").people["owner"]
    pages = [
        path for name, path in ROUTES.items() if name.startswith(ADMIN) and not name.endswith((":login", ":logout"))
    ]
    assert len(pages) > 10
    for path in pages:
        for user in (None, owner):
            for method in ("get", "post"):
                assert status(user, filled(path), method) in {302, 403, 404, 405}, (path, user)
                client = Client()
                if user:
                    client.force_login(user)
                answer = getattr(client, method)(filled(path))
                if answer.status_code == 302:
                    assert answer["Location"].split("?")[0] in {"/login/", "/admin/login/"}, path


def test_opening_an_identity_leaves_a_trace() -> None:
    world = build("mine")
    owner = world.people["owner"]
    assert status(owner, world.address("identity"), "post", name="Jo Doe") == 302
    assert status(owner, world.address("identity")) == 200
    seen = AuditEvent.objects.filter(study=world.study, action="identity.seen").get()
    assert (seen.actor, seen.about) == (owner.audit_name, f"participant:{world.ids['person']}")
    assert "Jo" not in str(seen.changes)
