"""The audit trail only grows, and no tampering with it stays unseen."""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client
from django_scopes import scopes_disabled

from ema_server.common import clock
from ema_server.common.restoring import run_after_restore
from ema_server.ledger import audit
from ema_server.ledger.models import AuditChain, AuditEvent
from ema_server.participants.models import EnrolmentCode
from ema_server.studies import team
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import add_member
from ema_server.vault import services as vault
from ema_server.vault.models import Anchor
from tests.world import live_study, researcher

pytestmark = pytest.mark.django_db

TAMPERINGS = 1000
EVENTS = 40


@pytest.fixture
def study() -> Study:
    study = live_study()
    for number in range(EVENTS):
        audit.record(
            action="thing.changed",
            actor=f"user:{number % 5}",
            study_id=study.pk,
            about=f"thing:{number}",
            changes={"size": [number, number + 1]},
            reason="because" if number % 3 == 0 else "",
        )
    return study


@pytest.fixture
def tamperer() -> Any:
    """Somebody who may do everything in this database, but has not the key."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_auditevent DISABLE TRIGGER ALL")
        yield cursor
        cursor.execute("ALTER TABLE ledger_auditevent ENABLE TRIGGER ALL")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_auditevent SET actor = 'nobody'",
        "UPDATE ledger_auditevent SET actor = actor",
        "DELETE FROM ledger_auditevent",
        "TRUNCATE ledger_auditevent",
        "TRUNCATE ledger_auditevent CASCADE",
    ],
)
def test_the_database_refuses_to_change_the_trail(study: Study, statement: str) -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize(
    "changes", [{10: "ten", 9: "nine"}, {"both": ("a", 2)}, {"huge": 10**40}, {"text": "ß\u2028\U0001f600"}]
)
def test_what_json_spells_in_another_way_is_no_tampering(changes: dict[Any, Any]) -> None:
    study = live_study()
    audit.record(action="thing.changed", actor="server", study_id=study.pk, about="thing:1", changes=changes)
    assert audit.verify(audit.chain_name(study.pk)) == []


@pytest.mark.parametrize("number", [1e22, -0.0, 1.5])
def test_a_number_that_the_database_spells_anew_is_refused_before_it_is_hashed(number: float) -> None:
    with pytest.raises(TypeError, match="write it as a text"):
        audit.record(action="x", actor="server", study_id=None, about="y", changes={"a": [{"b": number}]})


@pytest.mark.django_db(transaction=True)
def test_a_chain_that_grows_while_it_is_read_is_not_taken_for_altered() -> None:
    study = live_study()
    chain, ended = audit.chain_name(study.pk), threading.Event()

    def write() -> None:
        try:
            while not ended.is_set():
                with transaction.atomic():
                    audit.record(action="thing.changed", actor="server", study_id=study.pk, about="thing:1")
        finally:
            connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = [fault for _ in range(60) for fault in audit.verify(chain)]
    finally:
        ended.set()
        thread.join()
    assert found == []
    assert AuditChain.objects.get(name=chain).length > 30, "it grew meanwhile"


@pytest.mark.django_db(transaction=True)
def test_who_holds_a_chain_and_who_changes_its_study_do_not_wait_for_each_other_in_a_ring() -> None:
    study = live_study()
    held, faults = threading.Barrier(2, timeout=10), []

    def chain_then_study() -> None:
        audit.record(action="study_code.opened", actor="server", study_id=study.pk, about="study:1")
        held.wait()
        EnrolmentCode.objects.create(study=study, digest="x", expires_at=clock.now())

    def study_then_chain() -> None:
        team._locked(study)
        held.wait()
        audit.record(action="member.changed", actor="server", study_id=study.pk, about="user:1")

    def run(work: Any) -> None:
        try:
            with scopes_disabled(), transaction.atomic():
                work()
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[work]) for work in (chain_then_study, study_then_chain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_after_a_restore_a_chain_of_the_same_length_is_anchored_anew(study: Study, tamperer: Any) -> None:
    chain = AuditChain.objects.get(name=audit.chain_name(study.pk))
    Anchor.objects.create(chain=chain.name, length=chain.length, head="f" * 64, anchored_at=clock.now())
    assert audit.verify(chain.name) != []
    run_after_restore()
    audit.anchor_chains(now=clock.now())
    assert audit.verify(chain.name) == []
    earlier = AuditEvent.objects.get(chain=chain.name, number=chain.length - 1)
    tamperer.execute("DELETE FROM ledger_auditevent WHERE chain = %s AND number = %s", [chain.name, chain.length])
    chain.length, chain.head, chain.last_at = earlier.number, earlier.hash, earlier.at
    chain.proof = audit._proof(chain, vault.server_key("audit"))  # as its record was before, kept by who cut the end
    chain.save()
    assert [fault.detail for fault in audit.verify(chain.name)] == [
        f"event {chain.length + 1} was anchored in the key store and is missing here."
    ]


@pytest.mark.parametrize("tampering", ["reason = '\\x00'", "actor = 'user:nobody'", f"actor = 'user:{'9' * 40}'"])
def test_the_page_of_the_trail_opens_when_the_trail_was_altered(study: Study, tamperer: Any, tampering: str) -> None:
    owner = researcher()
    add_member(study=study, user=owner, role=Membership.Role.OWNER)
    client = Client()
    client.force_login(owner)
    tamperer.execute(f"UPDATE ledger_auditevent SET {tampering} WHERE study_id = %s AND number = 40", [study.pk])
    page = client.get(f"/studies/{study.slug}/audit/?verify")
    assert page.status_code == 200
    assert "Event 40 is not what was written" in page.content.decode()
    assert "no-store" in page["Cache-Control"]


def test_an_untouched_chain_holds(study: Study) -> None:
    assert audit.verify(audit.chain_name(study.pk)) == []
    call_command("verify_audit")


def test_each_of_a_thousand_tamperings_is_found(study: Study, tamperer: Any) -> None:
    rng, chain = Random(20261124), audit.chain_name(study.pk)
    seen: set[str] = set()
    for _ in range(TAMPERINGS):
        with transaction.atomic():
            name = _tamper(tamperer, rng, study, chain)
            seen.add(name)
            assert audit.verify(chain) != [], f"{name} stayed unseen"
            transaction.set_rollback(True)
    assert audit.verify(chain) == []
    assert len(seen) >= 14


def _tamper(cursor: Any, rng: Random, study: Study, chain: str) -> str:
    """One random tampering; returns its name."""
    length = AuditChain.objects.get(name=chain).length
    number = rng.randint(1, length)
    changes = {
        "actor": "actor = actor || '0'",
        "action": "action = action || '.'",
        "about": "about = 'thing:x'",
        "changes": """changes = changes || '{"size": 1}'""",
        "time": "at = at + interval '1 microsecond'",
        "reason removed": "reason = CASE WHEN reason IS NULL THEN '\\x00'::bytea END",
        "hash": "hash = reverse(hash)",
        "previous": "previous = reverse(hash)",
        "study": "study_id = study_id + 1000",
        "person": "person = gen_random_uuid()",
    }
    whole = [
        "deleted",
        "end cut",
        "end cut and its record",
        "swapped",
        "moved away",
        "inserted",
        "record edited",
        "copied",
    ]
    name = rng.choice([*changes, *whole])
    this = "WHERE chain = %s AND number = %s"
    if name in changes:
        cursor.execute(f"UPDATE ledger_auditevent SET {changes[name]} {this}", [chain, number])
    elif name == "deleted":
        cursor.execute(f"DELETE FROM ledger_auditevent {this}", [chain, number])
    elif name in {"end cut", "end cut and its record"}:
        kept = rng.randint(0, length - 1)
        cursor.execute("DELETE FROM ledger_auditevent WHERE chain = %s AND number > %s", [chain, kept])
        if name == "end cut and its record":
            last = AuditEvent.objects.filter(chain=chain).order_by("-number").first()
            AuditChain.objects.filter(name=chain).update(length=kept, head=last.hash if last else audit.START)
    elif name == "swapped":
        first, second = rng.sample(range(1, length + 1), 2)
        swap = "UPDATE ledger_auditevent SET number = %s WHERE chain = %s AND number = %s"
        for to, of in ((0, first), (first, second), (second, 0)):
            cursor.execute(swap, [to, chain, of])
    elif name == "moved away":
        cursor.execute(f"UPDATE ledger_auditevent SET chain = 'study 0' {this}", [chain, number])
    elif name == "record edited":
        AuditChain.objects.filter(name=chain).update(last_at=clock.now() - timedelta(days=rng.randint(1, 9)))
    else:
        place = length + 1 if name == "inserted" else number
        if name == "copied":
            cursor.execute(f"DELETE FROM ledger_auditevent {this}", [chain, number])
        other = rng.choice([each for each in range(1, length + 1) if each != number])
        cursor.execute(
            "INSERT INTO ledger_auditevent (study_id, chain, number, at, actor, action, about, changes, reason, person, "
            "previous, hash) SELECT study_id, chain, %s, at, actor, action, about, changes, reason, person, previous, hash "
            "FROM ledger_auditevent WHERE chain = %s AND number = %s",
            [place, chain, other],
        )
    return name


def test_cutting_the_end_by_an_older_copy_of_its_record_shows_at_the_anchor(study: Study, tamperer: Any) -> None:
    """Whoever kept an old, well proven record of the end can put it back; the key store remembers the later one."""
    chain = audit.chain_name(study.pk)
    older = AuditChain.objects.get(name=chain)
    audit.record(action="thing.hidden", actor="user:1", study_id=study.pk, about="thing:99")
    audit.anchor_chains(now=clock.now())
    tamperer.execute("DELETE FROM ledger_auditevent WHERE chain = %s AND number > %s", [chain, older.length])
    older.save()
    (fault,) = audit.verify(chain)
    assert "anchored in the key store and is missing" in fault.detail


def test_a_chain_that_vanished_whole_is_missed(study: Study, tamperer: Any) -> None:
    audit.anchor_chains(now=clock.now())
    tamperer.execute("DELETE FROM ledger_auditevent")
    AuditChain.objects.all().delete()
    assert audit.chain_name(study.pk) in audit.chains()
    with pytest.raises(CommandError, match="not as it was written"):
        call_command("verify_audit")


def test_an_event_belongs_into_the_transaction_of_its_change() -> None:
    study = live_study()
    before = AuditEvent.objects.count()

    @transaction.atomic
    def change() -> None:
        audit.record(action="a.b", actor="server", study_id=study.pk, about="x")
        raise ValueError("something failed later")

    with pytest.raises(ValueError, match="later"):
        change()
    assert AuditEvent.objects.count() == before
    assert audit.verify(audit.chain_name(study.pk)) == []


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_recorded() -> None:
    with pytest.raises(RuntimeError, match="belongs into the transaction"):
        audit.record(action="a.b", actor="server", study_id=None, about="x")


def test_a_clock_that_runs_backwards_is_refused_and_a_small_step_is_not(study: Study) -> None:
    before, now = AuditEvent.objects.count(), clock.now()
    with (
        patch.object(clock, "now", return_value=now - timedelta(hours=1)),
        pytest.raises(audit.ClockRanBackwards, match="Set the clock"),
    ):
        audit.record(action="a.b", actor="server", study_id=study.pk, about="x")
    assert AuditEvent.objects.count() == before
    with patch.object(clock, "now", return_value=now - timedelta(seconds=2)):
        event = audit.record(action="a.b", actor="server", study_id=study.pk, about="x")
    assert event.at >= AuditEvent.objects.get(chain=event.chain, number=event.number - 1).at


def test_anchoring_twice_keeps_one_anchor(study: Study) -> None:
    for _ in range(2):
        audit.anchor_chains(now=clock.now())
    assert Anchor.objects.filter(chain=audit.chain_name(study.pk)).count() == 1


def test_a_reason_is_sealed(study: Study) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_auditevent e WHERE e::text LIKE '%%because%%'")
        assert cursor.fetchone()[0] == 0
    reasons = [event.reason for event in AuditEvent.objects.filter(study=study) if event.reason]
    assert "because" in reasons
