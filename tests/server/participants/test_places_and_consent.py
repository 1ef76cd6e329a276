"""Arms, sites and dyads; consent texts; test participants; retention."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django_scopes import scope

from ema_server.erasure.services import erase
from ema_server.ledger import outbox
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Consent, EnrolmentCode, Participant
from ema_server.participants.services import InvalidPlace, PseudonymTaken, invite, place_participants
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import (
    InvalidConsentText,
    InvalidStructure,
    add_member,
    change_structure,
    publish_consent_text,
)
from tests.world import NOW, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

STRUCTURE = {
    "arms": [{"key": "treatment", "title": "Treatment"}, {"key": "control"}],
    "sites": [{"key": "Leiden"}, {"key": "Delft"}],
    "roles": [{"key": "parent"}, {"key": "child"}],
}


@pytest.fixture
def study() -> Study:
    made = live_study(researcher())
    change_structure(study=made, structure=STRUCTURE, actor="user:1")
    return made


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ({"arm": "placebo"}, "arm: the study has no arm 'placebo'; it has treatment, control."),
        ({"site": "Utrecht"}, "site: the study has no site 'Utrecht'; it has Leiden, Delft."),
        ({"dyad": "D1", "role": "aunt"}, "role: the study has no role 'aunt'; it has parent, child."),
        ({"dyad": "D\0", "role": "child"}, "dyad: must be at most 40 printable characters."),
        ({"dyad": "D1"}, "dyad, role: somebody in a dyad has a role in it; give both or neither."),
        ({"dyad": "D0", "role": "parent"}, "role: dyad 'D0' has somebody who is parent already."),
    ],
)
def test_an_invitation_names_what_the_structure_knows(study: Study, place: dict[str, str], fault: str) -> None:
    invite(study=study, pseudonym="P0", now=NOW, arm="control", site="Delft", dyad="D0", role="parent")
    with pytest.raises(InvalidPlace) as refused:
        invite(study=study, pseudonym="P1", now=NOW, **place)
    assert refused.value.detail == fault
    invite(study=study, pseudonym="P1", now=NOW, dyad="D0", role="child")
    with pytest.raises(PseudonymTaken):
        invite(study=study, pseudonym="P1", now=NOW)


def test_a_study_without_sites_takes_any_and_without_arms_none() -> None:
    plain = live_study()
    invite(study=plain, pseudonym="P1", now=NOW, site="anywhere")
    with pytest.raises(
        InvalidPlace, match="arm: the study has no arm 'a'; it has none; name them in its structure first"
    ):
        invite(study=plain, pseudonym="P2", now=NOW, arm="a")


@pytest.mark.parametrize(
    ("structure", "fault"),
    [
        ([], "structure: must be an object with arms, sites, roles."),
        ({"groups": []}, "groups: is no part of a structure"),
        ({"arms": "a"}, "arms: must be a list"),
        ({"arms": ["a"]}, "arms[0]: must be like"),
        ({"arms": [{"key": "a"}, {"key": "a"}]}, "arms[1] (a).key: is there twice."),
        ({"arms": [{"key": ""}]}, "arms[0] ().key: must be letters"),
        ({"arms": [{"key": "a", "title": "\0"}]}, "arms[0] (a).title: must be a line of at most 200 characters."),
        ({"arms": [{"key": "a", "size": 3}]}, "arms[0] (a).size: is unknown"),
        ({"arms": [{"key": "control"}]}, "arms: 'treatment' has people in it; move them first, or keep it."),
    ],
)
def test_a_structure_is_checked_and_keeps_what_people_are_in(study: Study, structure: object, fault: str) -> None:
    invite(study=study, pseudonym="P1", now=NOW, arm="treatment")
    with pytest.raises(InvalidStructure) as refused:
        change_structure(study=study, structure=structure, actor="user:1")  # type: ignore[arg-type]
    assert fault in refused.value.detail
    assert Study.objects.get(pk=study.pk).structure == STRUCTURE


def test_people_are_placed_all_or_none(study: Study) -> None:
    for name in ("P1", "P2"):
        invite(study=study, pseudonym=name, now=NOW, site="Leiden")
    for rows, fault in (
        ({"P1": {"arm": "control"}, "P9": {"arm": "control"}}, "P9: nobody here has this pseudonym."),
        ({"P1": {"arm": "x"}}, "P1: arm: the study has no arm 'x'; it has treatment, control."),
        ({"P1": {"group": "x"}}, "P1: group: is unknown; there are arm, site, dyad, role."),
        (
            {name: {"dyad": "D1", "role": "parent"} for name in ("P1", "P2")},
            "P1: role: dyad 'D1' would have 2 people who are parent.",
        ),
    ):
        with pytest.raises(InvalidPlace) as refused:
            place_participants(study=study, rows=rows, actor="user:1")
        assert fault in refused.value.detail
        assert refused.value.detail.endswith("Nobody was moved.")
    assert set(Participant.objects.values_list("arm", "dyad")) == {("", "")}
    rows = {"P1": {"dyad": "D1", "role": "parent"}, "P2": {"dyad": "D1", "role": "child", "site": "Delft"}}
    assert place_participants(study=study, rows=rows, actor="user:1") == 2
    swapped = {"P1": {"role": "child"}, "P2": {"role": "parent"}}
    assert place_participants(study=study, rows=swapped, actor="user:1") == 2
    assert place_participants(study=study, rows=swapped, actor="user:1") == 0
    p2 = Participant.objects.get(pseudonym="P2")
    assert (p2.site, p2.dyad, p2.dyad_role) == ("Delft", "D1", "parent")
    assert AuditEvent.objects.filter(action="participants.placed").count() == 3


def test_whoever_is_erased_leaves_their_place_too(study: Study) -> None:
    person, _ = invite(study=study, pseudonym="P1", now=NOW, arm="control", site="Delft", dyad="D1", role="parent")
    erase(participant=person, now=NOW)
    person.refresh_from_db()
    assert (person.arm, person.site, person.dyad, person.dyad_role) == ("", "", "", "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("\ufeffperson,arm,site\nP1,control,Delft\nP2,treatment,\n", "2 people were moved"),
        ("person;arm\nP1;control\n", "1 person was moved"),
        ("person,group\nP1,control\n", "row 1, column 'group': the columns must be person and any of arm"),
        ("person\nP1\n", "row 1: the columns must be person and any of arm"),
        ("person,arm\nP1,control\nP1,control\n", "row 3, column 'person': 'P1' is there twice"),
        ("person,arm\nP1,control\n,control\n", "row 3, column 'person': a pseudonym is needed"),
        ("person,arm\nP1,placebo\n", "P1: arm: the study has no arm 'placebo'"),
    ],
)
def test_places_come_from_a_csv_file(study: Study, tmp_path: Path, content: str, says: str) -> None:
    for name in ("P1", "P2"):
        invite(study=study, pseudonym=name, now=NOW, site="Leiden")
    file, told = tmp_path / "places.csv", StringIO()
    file.write_text(content)
    try:
        call_command("place_participants", study.slug, str(file), stdout=told)
    except CommandError as error:
        told.write(str(error))
        assert set(Participant.objects.values_list("arm", flat=True)) == {""}
    assert says in told.getvalue()


def test_a_consent_text_makes_phones_show_the_newest_version(study: Study) -> None:
    earlier = FakePhone(study, pseudonym="P0").enrolled()
    assert earlier.call("GET", "sync").json()["consent"] is None
    first = publish_consent_text(study=study, texts={"en": "I agree.", "ar": "أوافق"}, actor="user:1")
    assert publish_consent_text(study=study, texts={"en": "I agree. ", "ar": "أوافق"}, actor="user:1") == first
    _, code = invite(study=study, pseudonym="P1", now=NOW)
    phone = FakePhone(study)
    outdated = phone.enrolment(code, consent={"version": "0", "given_at": "2026-03-01T09:00:00+01:00"})
    answer = phone.call("POST", "enrolments", outdated)
    assert (answer.status_code, answer.json()["code"]) == (409, "consent_outdated")
    assert "the current version, which is '1'" in answer.json()["detail"]
    assert answer.json()["consent"] == {"version": "1", "digest": first.digest, "texts": first.texts}
    assert EnrolmentCode.objects.get(participant__pseudonym="P1").uses == 0
    phone.token = phone.call("POST", "enrolments", phone.enrolment(code)).json()["token"]
    assert Consent.objects.get(participant__pseudonym="P1").digest == first.digest
    told = phone.call("GET", "sync").json()["consent"]
    assert (told["version"], told["given"], told["must_consent_anew"]) == ("1", True, False)
    told = earlier.call("GET", "sync").json()["consent"]
    assert (told["given"], told["must_consent_anew"]) == (False, False)
    assert earlier.submit(earlier.item())[0]["status"] == "stored"  # never refused for lack of it


def test_a_changed_text_is_agreed_to_anew_once(study: Study) -> None:
    publish_consent_text(study=study, texts={"en": "I agree."}, actor="user:1")
    phone = FakePhone(study).enrolled()
    publish_consent_text(study=study, texts={"en": "I agree to more."}, actor="user:1", must_consent_anew=True)
    newest = publish_consent_text(study=study, texts={"en": "I agree to more!"}, actor="user:1")
    told = phone.call("GET", "sync").json()["consent"]
    assert (told["version"], told["given"], told["must_consent_anew"]) == ("3", False, True)
    body = {"version": "2", "given_at": "2026-03-02T09:00:00+01:00"}
    assert phone.call("POST", "consents", body).json()["code"] == "consent_outdated"
    body["version"] = "3"
    first, again = phone.call("POST", "consents", body), phone.call("POST", "consents", body)
    assert first.json() == {"version": "3", "digest": newest.digest, "status": "stored"}
    assert again.json() == {"version": "3", "digest": newest.digest, "status": "duplicate"}
    assert Consent.objects.count() == 2
    told = phone.call("GET", "sync").json()["consent"]
    assert (told["given"], told["must_consent_anew"]) == (True, False)
    assert phone.call("POST", "consents", {"version": "3", "given_at": "yesterday"}).status_code == 400


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        ({}, "texts: a consent text needs at least one language."),
        ({"English": "x"}, "texts: 'English' is no language; write a code like en, pt-BR or ar."),
        ({"en": " "}, "texts.en: must hold 1 to 50000 characters, none of them NUL."),
        ({"en": "a\0b"}, "texts.en: must hold 1 to 50000 characters, none of them NUL."),
        ({"en": "x" * 50_001}, "texts.en: must hold 1 to 50000 characters, none of them NUL."),
    ],
)
def test_a_consent_text_that_cannot_be_shown_is_refused(study: Study, texts: dict[str, str], fault: str) -> None:
    with pytest.raises(InvalidConsentText) as refused:
        publish_consent_text(study=study, texts=texts, actor="user:1")
    assert refused.value.detail == fault


def test_a_consent_text_is_previewed_and_published_on_the_page() -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    page = f"/studies/{study.slug}/setup/"
    form = {
        "language0": "en",
        "text0": "I <b>agree</b>.",
        "language1": "ar",
        "text1": "أوافق",
        "language2": "",
        "text2": "",
    }
    preview = client.post(page, {"do": "preview", **form}).content.decode()
    assert '<div class="consent" lang="ar" dir="rtl">' in preview
    assert "I &lt;b&gt;agree&lt;/b&gt;." in preview
    assert study.consent_texts.count() == 0
    twice = client.post(page, {"do": "consent", **form, "language1": "en"})
    assert (twice.status_code, "is there twice" in twice.content.decode()) == (400, True)
    assert "أوافق" in twice.content.decode()  # nothing that was typed is lost
    assert client.post(page, {"do": "preview", **form, "language1": "en"}).status_code == 400
    assert client.post(page, {"do": "consent", **form, "anew": "on"}).status_code == 302
    text = study.consent_texts.get()
    assert (text.texts, text.must_consent_anew) == ({"en": "I <b>agree</b>.", "ar": "أوافق"}, True)


def test_the_participants_page_tells_who_has_not_agreed() -> None:
    owner = researcher()
    study = live_study(owner)
    FakePhone(study).enrolled()
    publish_consent_text(study=study, texts={"en": "I agree."}, actor="user:1")
    FakePhone(study, pseudonym="P2").enrolled()
    client = Client()
    client.force_login(owner)
    assert "1 person has not agreed to the current consent text" in _words(client, study)


def _words(client: Client, study: Study) -> str:
    return " ".join(client.get(f"/studies/{study.slug}/participants/").content.decode().split())


def test_a_test_participant_is_added_shown_once_and_removed_with_one_click() -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    page = f"/studies/{study.slug}/participants/"
    added = client.post(page)
    code = added.context["code"]
    assert code in added.content.decode()
    assert code not in client.get(page).content.decode()
    person = Participant.objects.get()
    assert (person.pseudonym, person.test_person) == ("TEST1", True)
    phone = FakePhone(study)
    assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201
    assert "0 people, and 1 test participant who never counts." in _words(client, study)
    removed = client.post(f"{page}{person.pk}/erase/", {"pseudonym": "TEST1", "reason": "test participant"})
    assert removed.status_code == 302
    assert outbox.run_next(kind="erasure") is not None
    assert "TEST1" not in _words(client, study)


def test_a_study_without_people_says_how_they_come_in() -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    said = _words(client, study)
    assert f"manage.py invite_participants {study.slug} people.csv" in said
    assert ">0 people" not in said


def test_a_coordinator_of_a_site_adds_test_participants_there_and_a_viewer_none() -> None:
    study = live_study()
    for role, site in ((Membership.Role.COORDINATOR, "Leiden"), (Membership.Role.VIEWER, "")):
        user = researcher()
        add_member(study=study, user=user, role=role, site=site)
        client = Client()
        client.force_login(user)
        client.post(f"/studies/{study.slug}/participants/")
    assert Participant.objects.get().site == "Leiden"


def test_arms_are_written_one_a_line() -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    page = f"/studies/{study.slug}/setup/"
    form = {
        "do": "structure",
        "arms": "treatment: Treatment: new\r\n\r\ncontrol",
        "sites": "",
        "roles": "parent\nchild",
    }
    assert client.post(page, form).status_code == 302
    study.refresh_from_db()
    assert study.structure["arms"] == [{"key": "treatment", "title": "Treatment: new"}, {"key": "control"}]
    assert "treatment: Treatment: new\ncontrol" in client.get(page).content.decode()
    bad = client.post(page, {**form, "arms": "a*b"})
    assert (bad.status_code, "arms[0] (a*b).key" in bad.content.decode()) == (400, True)
    assert "a*b</textarea>" in bad.content.decode()


def test_retention_lists_what_is_kept_too_long_and_says_what_to_do() -> None:
    study, empty = live_study(keep_until="2030-01-31"), live_study(keep_until="2030-01-31")
    with scope(study=study):
        invite(study=study, pseudonym="P1", now=NOW)
    for day, listed in (("2030-01-31", False), ("2030-02-01", True)):
        told = StringIO()
        call_command("retention", "--date", day, stdout=told)
        assert (study.slug in told.getvalue()) == listed
        assert empty.slug not in told.getvalue()
        assert ("erase_participant" in told.getvalue()) == listed
    with pytest.raises(CommandError, match="is no date"):
        call_command("retention", "--date", "soon")
