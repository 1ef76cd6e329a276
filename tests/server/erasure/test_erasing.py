"""A person who is erased is found nowhere afterwards, in nothing that the server keeps or gives out."""

from __future__ import annotations

import html
import logging
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
import redis
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django_scopes import scopes_disabled

import analysis.report
from ema_server.common import clock
from ema_server.common.canonical import digest
from ema_server.erasure import services
from ema_server.erasure.models import Certificate
from ema_server.ledger import audit, outbox
from ema_server.ledger.models import AuditEvent, Job
from ema_server.participants.models import Device, Participant, PersonTable
from ema_server.participants.person_data import import_person_table
from ema_server.participants.services import PersonErased, invite
from ema_server.reports.models import Report
from ema_server.reports.services import produce_report
from ema_server.responses.models import Quarantined, Submission
from ema_server.responses.services import record_submissions
from ema_server.sampling.services import start_participation
from ema_server.vault import services as vault
from tests.planted import WITH_TEXT, Planted, everything, holds, plant_in
from tests.server.reports.test_nights import answered_study
from tests.world import FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_register(settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path


def plant() -> tuple[FakePhone, Planted]:
    """A study with a report, in which one person has left their twenty texts."""
    study = answered_study(survey=WITH_TEXT, owner=researcher()).study
    phone, planted = plant_in(study)
    produce_report(study=study, night=clock.now().date(), now=clock.now())
    return phone, planted


def test_identity_and_free_text_are_ciphertext_from_the_beginning() -> None:
    _, planted = plant()
    rows = everything()
    assert len(planted.sealed) >= 14
    assert [text for text in planted.sealed if holds(rows, text)] == []


def test_twenty_planted_strings_are_found_nowhere_afterwards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    phone, planted = plant()
    person = Participant.objects.get(pseudonym="P77")
    assert any(holds(everything(), text) for text in planted.texts), "what was never there proves nothing"
    services.ask_for_erasure(participant=person, actor="user:1", now=clock.now(), reason="asked by e-mail")
    assert outbox.run_due(queue="celery") >= 1
    report = produce_report(study=phone.study, night=clock.now().date(), now=clock.now())
    call_command("export_dataset", phone.study.slug, out=tmp_path / "rows.csv")
    call_command("latest_report", phone.study.slug, json=True)

    places = {
        "tables": everything(),
        "logs": caplog.text,
        "exports": (tmp_path / "rows.csv").read_text() + capsys.readouterr().out,
        "reports": str(report.results) + str(report.figures),
        "cache": everything_in_valkey(),
    }
    for place, content in places.items():
        assert [text for text in planted.texts if holds(content, text)] == [], place
    assert Quarantined.objects.filter(participant=person).count() == 0


def everything_in_valkey() -> str:
    server = redis.Redis.from_url(configured.CELERY_BROKER_URL)
    found = []
    for database in range(4):
        server = redis.Redis.from_url(configured.CELERY_BROKER_URL, db=database)
        for key in server.scan_iter():
            found += [repr(key), repr(server.dump(key))]
    return "\n".join(found)


def test_a_row_copied_away_before_cannot_be_opened_after() -> None:
    plant()
    person = Participant.objects.get(pseudonym="P77")
    kept = Submission.objects.select_related("participant").get(participant=person, sealed__isnull=False)
    services.erase(participant=person, now=clock.now())
    with pytest.raises(vault.KeyDestroyed):
        _ = kept.sealed


def test_the_phone_is_closed_at_once_and_the_person_cannot_come_back() -> None:
    phone, _ = plant()
    person = Participant.objects.get(pseudonym="P77")
    services.ask_for_erasure(participant=person, actor="user:1", now=clock.now())
    assert phone.call("GET", "sync").status_code == 401
    outbox.run_due(queue="celery")
    assert phone.call("POST", "submissions", {"items": [phone.item(9)]}).status_code in {401, 410}
    with pytest.raises(vault.KeyDestroyed):
        vault.seal(b"x", owner=person.key_id, context="c")


def test_an_answer_on_its_way_while_the_person_is_erased_is_not_stored() -> None:
    plant()
    device = Device.objects.select_related("participant__study").get(participant__pseudonym="P77")
    services.erase(participant=device.participant, now=clock.now())
    with pytest.raises(PersonErased):
        record_submissions(device=device, raw_items=[b"{}"], now=clock.now())


def test_others_keep_everything_and_reports_keep_what_they_say_of_all() -> None:
    phone, _ = plant()
    others = Submission.objects.exclude(participant__pseudonym="P77").count()
    before = Report.objects.get()
    assert "P77" in str(before.results)
    services.erase(participant=Participant.objects.get(pseudonym="P77"), now=clock.now())
    after = Report.objects.get()
    assert "P77" not in str(after.results) + str(after.figures)
    assert "P1" in str(after.results["models"][0]["persons"])
    assert after.results["models"][0]["fixed"] == before.results["models"][0]["fixed"]
    assert after.results["persons_erased"] == 1
    assert Submission.objects.count() == others
    assert PersonTable.objects.get().rows == {"P1": {"nick": "other"}}
    assert audit.verify(audit.chain_name(phone.study.pk)) == []


def test_somebody_who_is_erased_while_a_night_runs_is_not_in_its_report() -> None:
    phone, _ = plant()
    person, build, runs = Participant.objects.get(pseudonym="P77"), analysis.report.build, []
    Report.objects.all().delete()

    def slow(frame: Any, *given: Any, **more: Any) -> Any:
        runs.append("P77" in set(frame["person"]))
        found = build(frame, *given, **more)
        if len(runs) == 1:
            services.erase(participant=person, now=clock.now())
        return found

    with patch("analysis.report.build", slow):
        report = produce_report(study=phone.study, night=clock.now().date(), now=clock.now())
    assert runs == [True, False], "it was read again"
    assert "P77" not in str(report.results) + str(report.figures)
    assert Report.objects.count() == 1


def test_who_asked_to_be_erased_is_read_no_more_even_while_the_erasure_waits() -> None:
    phone, _ = plant()
    services.ask_for_erasure(participant=Participant.objects.get(pseudonym="P77"), actor="user:1", now=clock.now())
    report = produce_report(study=phone.study, night=clock.now().date(), now=clock.now())
    assert "P77" not in str(report.results) + str(report.figures)


def test_the_reason_of_an_erasure_goes_with_the_person() -> None:
    plant()
    person = Participant.objects.get(pseudonym="P77")
    services.ask_for_erasure(participant=person, actor="user:1", now=clock.now(), reason="Jo Doe wrote to us")
    assert AuditEvent.objects.get(action="participant.erasure_asked").reason == "Jo Doe wrote to us"
    outbox.run_due(queue="celery")
    with pytest.raises(vault.KeyDestroyed):
        _ = AuditEvent.objects.get(action="participant.erasure_asked").reason


def test_an_erasure_that_was_given_up_begins_again_when_it_is_asked_for_again() -> None:
    plant()
    person = Participant.objects.get(pseudonym="P77")
    services.ask_for_erasure(participant=person, actor="user:1", now=clock.now())
    Job.objects.filter(kind="erasure").update(dead_at=clock.now())
    services.ask_for_erasure(participant=person, actor="user:1", now=clock.now())
    outbox.run_due(queue="celery")
    assert Certificate.objects.count() == 1


def test_baseline_data_do_not_bring_an_erased_person_back_nor_let_them_be_guessed_from_the_trail() -> None:
    phone, _ = plant()
    services.erase(participant=Participant.objects.get(pseudonym="P77"), now=clock.now())
    with pytest.raises(PersonErased, match="P77 was erased; leave them out"):
        import_person_table(study=phone.study, rows={"P77": {"sex": "f"}, "P1": {"sex": "m"}})
    rows = {"P1": {"sex": "m"}}
    import_person_table(study=phone.study, rows=rows)
    assert digest(rows) not in str(AuditEvent.objects.values_list("changes", flat=True))


@pytest.mark.django_db(transaction=True)
def test_a_phone_that_enrols_while_its_person_is_erased_does_not_bring_them_back() -> None:
    study = live_study(researcher())
    person, code = invite(study=study, pseudonym="P1", now=clock.now())
    inside, started = threading.Event(), threading.Event()

    def erase() -> None:
        try:
            inside.wait(10)
            started.set()
            with scopes_disabled():
                services.ask_for_erasure(participant=person, actor="user:1", now=clock.now())
        finally:
            connections.close_all()

    def slow_zone(name: str) -> ZoneInfo:
        inside.set()
        started.wait(10)
        thread.join(0.5)  # time for the erasure to be written down, unless it waits for us
        return ZoneInfo(name)

    thread = threading.Thread(target=erase)
    thread.start()
    with patch("ema_server.participants.services.ZoneInfo", slow_zone):
        start_participation(
            code=code,
            zone="Europe/Amsterdam",
            consent_version="1",
            consented_at=clock.now(),
            device={},
            now=clock.now(),
        )
    thread.join()
    assert Participant.objects.get().state == Participant.State.ERASED
    assert Device.objects.get().revoked_at is not None


def test_the_certificate_proves_it_and_names_nobody() -> None:
    _, planted = plant()
    person = Participant.objects.get(pseudonym="P77")
    services.erase(participant=person, now=clock.now())
    certificate = Certificate.objects.get()
    text = services.text_of(certificate)
    assert certificate.removed["answers"] == 16
    assert certificate.removed["quarantined items"] == 3
    assert str(person.key_id) in text
    assert [each for each in planted.texts if each in text] == []


def test_erasing_twice_is_erasing_once() -> None:
    plant()
    person = Participant.objects.get(pseudonym="P77")
    for _ in range(2):
        services.ask_for_erasure(participant=person, actor="user:1", now=clock.now())
        services.erase(participant=person, now=clock.now())
    outbox.run_due(queue="celery")
    assert Certificate.objects.count() == 1
    assert Job.objects.get(kind="erasure").done_at is not None


def test_a_crash_between_key_and_rows_is_finished_by_the_outbox() -> None:
    plant()
    person = Participant.objects.get(pseudonym="P77")
    services.ask_for_erasure(participant=person, actor="user:1", now=clock.now())
    with patch("ema_server.erasure.services.purge", side_effect=RuntimeError("killed")):
        outbox.run_due(queue="celery")
    assert Certificate.objects.count() == 0
    with pytest.raises(vault.KeyDestroyed):
        vault.seal(b"x", owner=person.key_id, context="c")  # the key is gone first
    Job.objects.update(due_at=clock.now())
    outbox.run_due(queue="celery")
    assert Certificate.objects.count() == 1


def test_the_register_is_replayed_on_a_database_that_knows_the_person_still() -> None:
    plant()
    person = Participant.objects.get(pseudonym="P77")
    vault.destroy_key(
        owner=person.key_id, now=clock.now()
    )  # as a restored backup stands: rows there, key in the register
    assert services.replay_register() == 1
    assert Submission.objects.filter(participant=person).count() == 0
    assert services.replay_register() == 0


def test_an_owner_erases_on_the_page_by_typing_the_pseudonym() -> None:
    phone, _ = plant()
    owner = phone.study.memberships.get(role="owner").user
    person = Participant.objects.get(pseudonym="P77")
    client = Client()
    client.force_login(owner)
    address = f"/studies/{phone.study.slug}/participants/{person.pk}/"
    refused = client.post(f"{address}erase/", {"pseudonym": "P78"})
    assert refused.status_code == 400
    assert "type P77 to confirm" in refused.content.decode()
    assert client.get(f"{address}certificate/").status_code == 404
    assert client.post(f"{address}erase/", {"pseudonym": "P77", "reason": "asked"}).status_code == 302
    assert "is being erased" in client.get(f"{address}erase/").content.decode()
    outbox.run_due(queue="celery")
    page = client.get(f"{address}erase/").content.decode()
    assert "P77 was erased" in page
    certificate = client.get(f"{address}certificate/")
    assert "CERTIFICATE OF ERASURE" in certificate.content.decode()
    assert "attachment" in certificate["Content-Disposition"]


def test_the_command_asks_before_it_erases(monkeypatch: pytest.MonkeyPatch) -> None:
    phone, _ = plant()
    monkeypatch.setattr("builtins.input", lambda: "P1")
    with pytest.raises(CommandError, match="Nothing was erased"):
        call_command("erase_participant", phone.study.slug, "P77")
    call_command("erase_participant", phone.study.slug, "P77", yes=True)
    assert Certificate.objects.get().pseudonym == "P77"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM participants_identity")
        assert cursor.fetchone()[0] == 0


@pytest.mark.parametrize("pseudonym", ["Ward 3: A", 'O\'Neil "x" <1&2>'])
def test_an_odd_pseudonym_leaves_no_mark_in_a_report(pseudonym: str) -> None:
    study = answered_study(owner=researcher()).study
    Participant.objects.filter(pseudonym="P3").update(pseudonym=pseudonym)
    produce_report(study=study, night=clock.now().date(), now=clock.now())
    before = Report.objects.get()
    assert pseudonym in html.unescape("".join(before.figures.values()))
    services.erase(participant=Participant.objects.get(pseudonym=pseudonym), now=clock.now())
    after = Report.objects.get()
    assert pseudonym not in html.unescape("".join(after.figures.values()))
    assert pseudonym not in {row["person"] for row in after.results["models"][0]["persons"]}
    assert 'data-person="P2"' in str(after.figures)
