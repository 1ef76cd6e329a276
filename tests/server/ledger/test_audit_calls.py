"""Every service that changes something for a person writes an audit event, and each of those calls is exercised here.

The calls are read from the sources. Remove one, and the exercise that expects its event fails; add a call, or a service
that writes, and the suite asks for its entry.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.ledger.models import AuditEvent
from ema_server.participants import services as participants
from ema_server.participants.models import Device, Participant
from ema_server.reports.services import publish_plan
from ema_server.studies import services as studies
from ema_server.studies.models import Membership, Study
from tests.world import NOW, PLAN, SAMPLING, SURVEY, FakePhone, live_study, researcher

ROOT = Path(__file__).resolve().parents[3] / "ema_server"

# Public functions of services that write and leave no audit event, with the reason.
NOT_AUDITED = {
    "accounts": {},
    "participants": {
        "update_device": "what a phone says of itself; the newest facts are kept with the phone",
        "hold": "locks, writes nothing",
    },
    "sampling": {
        "start_participation": "audits through participants.enrol_participant",
        "plan_prompts": "the ledger of prompts is its own record, made again from seed and plan",
        "change_device": "each moved prompt has an event of its own in the ledger of prompts",
        "record_events": "append-only, the ledger of prompts itself",
    },
    "responses": {"record_submissions": "append-only, the answers themselves: a row for each item and each batch"},
    "reports": {
        "ask_for_night": "required work, a row of the outbox",
        "ask_for_due_nights": "required work, rows of the outbox",
        "run_next_night": "runs what the outbox holds",
        "do_night": "runs what the outbox holds",
        "produce_report": "a report is never overwritten and names its inputs",
        "compile_note": "writes nothing",
        "warm_up": "writes nothing",
    },
    "erasure": {
        "carry_out": "audits through erase",
        "replay_register": "audits through erase, for each person",
        "certified_owners": "writes nothing",
        "text_of": "writes nothing",
        "erase": "audits as it certifies",
    },
    "studies": {},
}


@dataclass(frozen=True)
class Call:
    """One call of `audit.record` in the sources."""

    room: str
    function: str
    action: str


def calls() -> set[Call]:
    found = set()
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0]
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "audit.record":
                    action = next(k.value for k in node.keywords if k.arg == "action")
                    assert isinstance(action, ast.Constant), (
                        f"{path}: an action is a plain text, so that it can be found"
                    )
                    found.add(Call(room, function.name, str(action.value)))
    return found


@pytest.fixture
def world() -> dict[str, Any]:
    owner = researcher()
    study = live_study(owner)
    phone = FakePhone(study).enrolled()
    return {"owner": owner, "study": study, "phone": phone, "person": Participant.objects.get(study=study)}


Exercise = Callable[[Study, User, Participant], object]
EXERCISES: dict[str, Exercise] = {
    "participant.invited": lambda s, u, p: participants.invite(study=s, pseudonym="P5", now=NOW, actor=u.audit_name),
    "study_code.opened": lambda s, u, p: participants.open_study_code(study=s, max_uses=3, now=NOW),
    "participant.enrolled": lambda s, u, p: FakePhone(s, pseudonym="P6").enrolled(),
    "identity.recorded": lambda s, u, p: participants.record_identity(
        participant=p, facts={"name": "Jo"}, actor=u.audit_name
    ),
    "identity.seen": lambda s, u, p: (
        participants.record_identity(participant=p, facts={"name": "Jo"}, actor=u.audit_name),
        participants.see_identity(participant=p, actor=u.audit_name),
    ),
    "device.revoked": lambda s, u, p: participants.revoke_device(
        device=Device.objects.get(participant=p), actor=u.audit_name, reason="lost", now=NOW
    ),
    "person_table.imported": lambda s, u, p: participants.import_person_table(study=s, rows={"P1": {"age": 40}}),
    "member.added": lambda s, u, p: studies.add_member(study=s, user=researcher(), role=Membership.Role.VIEWER),
    "survey.published": lambda s, u, p: studies.publish_survey(
        study=s, questionnaire="evening", document=SURVEY, actor=u.audit_name
    ),
    "sampling_plan.published": lambda s, u, p: studies.publish_sampling_plan(study=s, document=SAMPLING),
    "data.locked": lambda s, u, p: studies.lock_data(study=s, now=NOW, reason="complete"),
    "analysis_plan.published": lambda s, u, p: publish_plan(study=s, document={**PLAN, "notes": ["new"]}),
    "participant.erasure_asked": lambda s, u, p: ask_for_erasure(participant=p, actor=u.audit_name, now=clock.now()),
    "participant.erased": lambda s, u, p: erase(participant=p, now=clock.now()),
}


def test_every_audit_call_is_exercised_and_every_exercise_has_its_call() -> None:
    assert {call.action for call in calls()} == set(EXERCISES)


@pytest.mark.django_db
@pytest.mark.parametrize("action", sorted(EXERCISES))
def test_the_service_leaves_its_event(action: str, world: dict[str, Any]) -> None:
    before = AuditEvent.objects.filter(action=action).count()
    EXERCISES[action](world["study"], world["owner"], world["person"])
    assert AuditEvent.objects.filter(action=action).count() == before + 1
    event = AuditEvent.objects.filter(action=action).latest("number")
    assert event.about
    assert event.actor
    assert "@" not in str(event.changes), "no address in what is readable for ever"


def test_every_service_that_writes_is_audited_or_says_why_not() -> None:
    audited = {(call.room, call.function) for call in calls()}
    for room, excused in NOT_AUDITED.items():
        path = ROOT / room / "services.py"
        if not path.exists():
            continue
        tree = ast.parse(path.read_text())
        public = {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")}
        inner = {n.name: ast.unparse(n) for n in tree.body if isinstance(n, ast.FunctionDef)}
        for name in sorted(public):
            reached = (room, name) in audited or any(
                (room, helper) in audited and f"{helper}(" in inner[name] for helper in inner if helper.startswith("_")
            )
            assert reached or name in excused or name.startswith("digest_of"), (
                f"{room}.services.{name} writes no audit event: record one, or say here why none is needed"
            )
        assert set(excused) <= public, f"{room}: an excuse for a service that is gone"
