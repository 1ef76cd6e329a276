"""A study from nothing to its first phone, by commands; what each refuses, and that nothing half-done stays."""

from __future__ import annotations

import csv
import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django_scopes import scope

from ema_server.common import clock
from ema_server.ledger.models import AuditEvent
from ema_server.studies.models import Study
from ema_server.studies.services import SlugTaken, change_state, create_study
from tests.world import SAMPLING, SURVEY, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

FACTS = {"title": "Evenings", "zone": "Europe/Berlin", "starts": "2026-03-02", "ends": "2026-03-15"}


def call(name: str, *args: object, **options: object) -> str:
    told = StringIO()
    call_command(name, *map(str, args), stdout=told, **options)
    return told.getvalue()


def test_a_study_goes_from_nothing_to_its_first_phone(tmp_path: Path, client: Client) -> None:
    owner = researcher("owner@example.org")
    survey, plan, people, codes = (tmp_path / name for name in ("survey.json", "plan.json", "people.csv", "codes.csv"))
    survey.write_text(json.dumps(SURVEY))
    plan.write_text(json.dumps(SAMPLING))
    people.write_text("person\nP1\nP2\n")

    told = call("create_study", "evenings", owner="Owner@example.org", **FACTS)
    assert told.startswith("evenings is a draft now: 14 days, 2026-03-02 to 2026-03-15, Europe/Berlin.")
    assert "/studies/evenings/setup/" in told
    with pytest.raises(CommandError, match="'momentary' was never published here;\n    publish a questionnaire first"):
        call("publish_sampling_plan", "evenings", plan, yes=True)
    call("publish_survey", "evenings", survey, questionnaire="momentary", yes=True)
    told = call("publish_sampling_plan", "evenings", plan)
    assert "momentary (momentary): at 10:00, 13:00, 16:00 and 19:00 every day; open 60\n  minutes." in told
    assert "nothing was published" in told
    assert "Version 1" in call("publish_sampling_plan", "evenings", plan, yes=True)

    study = Study.objects.get(slug="evenings")
    client.force_login(owner)
    assert client.get("/studies/evenings/setup/").status_code == 200
    with scope(study=study):
        change_state(study=study, to="live", actor="server", now=clock.now())
    assert call("invite_participants", "evenings", people, out=codes).startswith("2 people are invited to evenings")
    assert stat.S_IMODE(codes.stat().st_mode) == 0o600
    rows = list(csv.DictReader(codes.open()))
    assert [row["person"] for row in rows] == ["P1", "P2"]
    phone = FakePhone(study)
    assert phone.call("POST", "enrolments", phone.enrolment(rows[0]["code"])).status_code == 201
    made = AuditEvent.objects.filter(study_id=study.pk, action="participant.invited")
    assert made.count() == 2


@pytest.mark.parametrize(
    ("slug", "facts", "fault"),
    [
        ("two words", {}, "slug: "),
        ("x" * 51, {}, "slug: "),
        ("taken", {}, "slug: there is a study 'taken' already; choose another short name."),
        ("new", {"title": "  "}, "title: "),
        ("new", {"zone": "Berlin"}, "zone: 'Berlin' is no IANA time zone; write one like Europe/Amsterdam."),
        ("new", {"starts": "2.3.2026"}, "--starts '2.3.2026' is no date; write one like 2026-03-15."),
        ("new", {"ends": "2026-03-01"}, "ends_on: 2026-03-01 is before the first day, 2026-03-02."),
        ("new", {"owner": "nobody@example.org"}, "--owner: nobody here has the address 'nobody@example.org'."),
    ],
)
def test_a_study_that_cannot_be_is_refused(slug: str, facts: dict[str, str], fault: str) -> None:
    live_study(researcher("owner@example.org"), slug="taken")
    with pytest.raises(CommandError) as refused:
        call("create_study", slug, **{**FACTS, **facts})
    assert str(refused.value).startswith(fault)
    assert Study.objects.count() == 1


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("person,arm\nP1,\nP2,placebo\n", "P2: arm: the study has no arm 'placebo'"),
        (
            "person\nP1\nanna@example.org\n",
            "characters that can be seen, without blanks around them, and no address. Nobody was invited.",
        ),
        ("person\nOLD\n", "OLD: pseudonym: 'OLD' is in this study already; choose another. Nobody was invited."),
        ("person\nP1\nP1\n", "row 3, column 'person': 'P1' is there twice; give each person one row."),
        ("name\nP1\n", "the columns must be person and any of arm, site, dyad, role."),
    ],
)
def test_an_invitation_is_for_everybody_of_the_file_or_nobody(tmp_path: Path, file: str, fault: str) -> None:
    study, people, codes = live_study(), tmp_path / "people.csv", tmp_path / "codes.csv"
    people.write_text("person\nOLD\n")
    call("invite_participants", study.slug, people, out=tmp_path / "old.csv")
    people.write_text(file)
    with pytest.raises(CommandError) as refused:
        call("invite_participants", study.slug, people, out=codes)
    assert fault in str(refused.value)
    assert not codes.exists()
    with scope(study=study):
        assert study.participants.count() == 1


def test_codes_never_take_the_place_of_a_file(tmp_path: Path) -> None:
    study, people = live_study(), tmp_path / "people.csv"
    people.write_text("person\nP1\n")
    with pytest.raises(CommandError, match="is there already and stays as it is"):
        call("invite_participants", study.slug, people, out=people)
    assert people.read_text() == "person\nP1\n"
    with scope(study=study):
        assert not study.participants.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_the_same_short_name_at_once_one_is_told_that_it_is_taken() -> None:
    owner = researcher("owner@example.org")

    def create() -> Study:
        try:
            return create_study(
                owner=owner,
                actor="server",
                slug="twice",
                title="Twice",
                starts_on=date(2026, 3, 2),
                ends_on=date(2026, 3, 9),
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Study.objects.create(slug="twice", title="First", starts_on=date(2026, 3, 2), ends_on=date(2026, 3, 9))
            second = pool.submit(create)
            _until_somebody_waits_for_a_lock()
        with pytest.raises(SlugTaken, match="there is a study 'twice' already"):
            second.result(timeout=10)
    assert Study.objects.get(slug="twice").title == "First"


def _until_somebody_waits_for_a_lock() -> None:
    for _ in range(500):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waited")
