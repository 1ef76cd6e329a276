"""Every service that changes something for a person writes an audit event, and each of those calls is exercised here.

The calls are read from the sources. Remove one, and the exercise that expects its event fails; add a call, or a service
that writes, and the suite asks for its entry.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator

from ema_server.accounts import factors
from ema_server.accounts import services as accounts
from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.common.csv_rows import open_csv
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.exports.delivery import Delivery
from ema_server.exports.queries import State
from ema_server.ledger.models import AuditEvent
from ema_server.messages.services import send_message, take_back_message
from ema_server.participants import codes, credentials, person_data
from ema_server.participants import services as participants
from ema_server.participants.models import Device, Participant
from ema_server.participants.series import SeriesReading, read_series
from ema_server.reports.services import lock_plan, publish_plan
from ema_server.rights.services import begin_own_export
from ema_server.sampling import person_edits, plan_edits
from ema_server.sampling.pausing import pause_participant, resume_participant
from ema_server.sampling.services import withdraw_participant
from ema_server.studies import drafts, team
from ema_server.studies import services as studies
from ema_server.studies.models import Invitation, Membership, Study
from tests.world import NOW, PLAN, SAMPLING, SURVEY, FakePhone, live_study, researcher

WRITING = (
    "services.py",
    "team.py",
    "drafts.py",
    "person_data.py",
    "plan_edits.py",
    "person_edits.py",
    "undoing.py",
    "placing.py",
    "codes.py",
    "credentials.py",
    "device_reports.py",
    "pausing.py",
)
ROOT = Path(__file__).resolve().parents[3] / "ema_server"

# Public functions of services that write and leave no audit event, with the reason.
NOT_AUDITED = {
    "accounts": {
        "end_sessions": "a session is no record of anybody's data; disabling, which ends them, is audited",
        "end_session": "one ends one's own",
        "ask_for_password_reset": "asks for a mail; nothing changes before its link is used",
    },
    "participants": {
        "update_device": "what a phone says of itself; the newest facts are kept with the phone",
        "hold": "locks, writes nothing",
        "add_test_person": "audits through invite",
        "invite_all": "audits through invite",
        "new_code": "who calls it audits",
        "renew_credential": "who calls it audits; an enrolment that is sent again is in the trail already",
        "maker_is_open": "writes nothing",
        "successor_code": "ten minutes long; the enrolment that uses it is audited with the phone that it replaces",
        "record_device_reports": "append-only, what phones say of themselves",
    },
    "sampling": {
        **dict.fromkeys(("publish_plan", "change_schedule"), "audits through edits.write_change"),
        "undo": "audits through publish_plan or change_schedule",
        "follow_arms": "each prompt that changes has an event of its own; place_participants is audited",
        "preview_plan": "writes nothing",
        "preview_schedule": "writes nothing",
        "roll_out": "does what publish_plan has recorded; each prompt that changes has an event of its own",
        "roll_out_job": "does what publish_plan has recorded",
        "start_participation": "audits through participants.enrol_participant and plan_prompts",
        "change_device": "each moved prompt has an event of its own in the ledger of prompts",
        "record_events": "append-only, the ledger of prompts itself",
        "end_pause": "audits through _resume and _note",
        "close_pause": "as part of withdraw_participant, which is audited; each prompt called off has an event of its own",
        "call_off_silence": "each prompt that is called off has an event of its own in the ledger of prompts",
    },
    "responses": {
        "record_submissions": "append-only, the answers themselves: a row for each item and each batch",
        **dict.fromkeys(("read_submission", "judge", "row_of"), "writes nothing"),
    },
    "reports": {
        "ask_for_night": "required work, a row of the outbox",
        "ask_for_due_nights": "required work, rows of the outbox",
        "run_next_night": "runs what the outbox holds",
        "do_night": "runs what the outbox holds",
        "produce_report": "a report is never overwritten and names its inputs",
        "compile_note": "writes nothing",
        "warm_up": "writes nothing",
    },
    "messages": {},
    "exports": {},
    "imports": {
        "dry_run": "writes nothing",
        "import_report": "writes nothing",
        "import_finished_study": "audits in _keep_report, as part of the one transaction",
    },
    "rights": {"leave_study": "audits through withdraw_participant and ask_for_erasure"},
    "erasure": {
        "carry_out": "audits through erase",
        "replay_register": "audits through erase, for each person",
        "text_of": "writes nothing",
        "erase": "audits as it certifies",
    },
    "studies": {
        **dict.fromkeys(
            ("newest_draft", "check_name", "review", "faults_of", "side_by_side", "merged"), "writes nothing"
        ),
        **dict.fromkeys(("begin_draft", "copy_version", "go_back"), "audits through save_draft"),
        "publish_draft": "audits through publish_survey",
        "mail_invitation": "sends what invite_member and resend_invitation have recorded",
        "send_invitation": "sends what invite_member and resend_invitation have recorded",
        "faults_of_plan": "writes nothing",
        "versions_for": "writes nothing",
    },
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
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call):
                        found |= {Call(room, function.name, action) for action in _actions(node, function.name, path)}
    return found


def _actions(node: ast.Call, function: str, path: Path) -> set[str]:
    """The actions that a call of `audit.record`, or of a room's own `_note` around it, may write."""
    called = ast.unparse(node.func)
    if called == "_note":
        action: ast.expr = node.args[0]
    elif called == "audit.record" and function != "_note":
        action = next(k.value for k in node.keywords if k.arg == "action")
    else:
        return set()
    choices = [action.body, action.orelse] if isinstance(action, ast.IfExp) else [action]
    texts = [each.value for each in choices if isinstance(each, ast.Constant)]
    assert len(texts) == len(choices), f"{path}: an action is a plain text, so that it can be found"
    return {str(text) for text in texts}


@pytest.fixture
def world() -> dict[str, Any]:
    owner = researcher()
    study = live_study(owner)
    phone = FakePhone(study).enrolled()
    return {"owner": owner, "study": study, "phone": phone, "person": Participant.objects.get(study=study)}


EARLIER = {"rules": [{**SAMPLING["rules"][0], "times": ["09:00"]}]}
STEPS = b"person,time,count\nP1,2026-03-02T10:00Z,5\n"
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
    "message.sent": lambda s, u, p: send_message(study=s, to=[p.pseudonym], text="Hello", now=NOW, actor=u.audit_name),
    "message.taken_back": lambda s, u, p: take_back_message(
        message=send_message(study=s, to=[p.pseudonym], text="Hello", now=NOW, actor=u.audit_name)[0],
        now=NOW,
        actor=u.audit_name,
    ),
    "device.credential_rotated": lambda s, u, p: credentials.rotate_credential(
        device=(device := Device.objects.get(participant=p)), shown=device.token_digest
    ),
    "participant.code_issued": lambda s, u, p: codes.code_for_new_phone(participant=p, actor=u.audit_name, now=NOW),
    "code.closed": lambda s, u, p: (
        participants.open_study_code(study=s, max_uses=3, now=NOW),
        codes.close_code(code=s.enrolment_codes.get(participant=None), actor=u.audit_name, now=NOW),
    ),
    "person_table.imported": lambda s, u, p: person_data.import_person_table(study=s, rows={"P1": {"age": 40}}),
    "series.imported": lambda s, u, p: person_data.import_series(
        study=s,
        name="steps",
        series=read_series(open_csv(BytesIO(STEPS)), [p.pseudonym], SeriesReading()),
        source="5" * 64,
    ),
    "member.added": lambda s, u, p: studies.add_member(study=s, user=researcher(), role=Membership.Role.VIEWER),
    "survey.published": lambda s, u, p: studies.publish_survey(
        study=s, questionnaire="evening", document=SURVEY, actor=u.audit_name
    ),
    "draft.saved": lambda s, u, p: drafts.save_draft(
        study=s, questionnaire="momentary", text="{}", based_on=None, editor=u, actor=u.audit_name, now=NOW
    ),
    "analysis_plan.locked": lambda s, u, p: lock_plan(plan=s.analysis_plans.get(), now=NOW, actor=u.audit_name),
    "sampling_plan.published": lambda s, u, p: studies.publish_sampling_plan(study=s, document=EARLIER),
    "plan.changed": lambda s, u, p: plan_edits.publish_plan(
        study=s, document=EARLIER, based_on=1, effect="next_day", reason="school holidays", actor=u.audit_name, now=NOW
    ),
    "schedule.changed": lambda s, u, p: person_edits.change_schedule(
        participant=p,
        schedule=person_edits.Schedule(p.first_day, p.first_day, {}),
        based_on=0,
        effect="next_day",
        reason="one day is enough",
        actor=u.audit_name,
        now=NOW,
    ),
    "data.locked": lambda s, u, p: studies.lock_data(study=s, now=NOW, reason="complete"),
    "study.state_changed": lambda s, u, p: studies.change_state(study=s, to="paused", actor=u.audit_name, now=NOW),
    "study.structure_changed": lambda s, u, p: studies.change_structure(
        study=s, structure={"arms": [{"key": "a"}]}, actor=u.audit_name
    ),
    "study.dates_changed": lambda s, u, p: studies.change_dates(
        study=s, actor=u.audit_name, keep_until=NOW.date() + timedelta(days=3650)
    ),
    "consent_text.published": lambda s, u, p: studies.publish_consent_text(
        study=s, texts={"en": "I agree."}, actor=u.audit_name
    ),
    "crisis_card.published": lambda s, u, p: studies.publish_crisis_card(
        study=s, card={"en": {"title": "Help", "text": "Call 113."}}, actor=u.audit_name
    ),
    "participant.consented": lambda s, u, p: participants.give_consent(
        device=Device.objects.get(participant=p), version="2", consented_at=NOW, now=NOW
    ),
    "participants.placed": lambda s, u, p: participants.place_participants(
        study=s, rows={"P1": {"site": "Leiden"}}, actor=u.audit_name
    ),
    "participant.allocated": lambda s, u, p: (
        studies.change_structure(study=s, structure={"arms": [{"key": "a"}, {"key": "b"}]}, actor=u.audit_name),
        studies.publish_sampling_plan(study=s, document={**SAMPLING, "allocation": {"arms": {"a": 1, "b": 1}}}),
        FakePhone(s, pseudonym="P7").enrolled(),
    ),
    "participant.withdrawn": lambda s, u, p: withdraw_participant(
        participant=p, now=NOW, actor=u.audit_name, reason="moved away"
    ),
    "participant.paused": lambda s, u, p: pause_participant(participant=p, now=NOW, actor=u.audit_name),
    "participant.pause_changed": lambda s, u, p: [
        pause_participant(participant=p, now=NOW, actor=u.audit_name, until=until)
        for until in (None, NOW + timedelta(days=2))
    ],
    "participant.resumed": lambda s, u, p: (
        pause_participant(participant=p, now=NOW, actor=u.audit_name),
        resume_participant(participant=p, now=NOW, actor=u.audit_name),
    ),
    "participant.exported": lambda s, u, p: begin_own_export(device=Device.objects.get(participant=p), form="json"),
    "analysis_plan.published": lambda s, u, p: publish_plan(study=s, document={**PLAN, "notes": ["new"]}),
    "data.export_started": lambda s, u, p: _exported(s, u),
    "data.exported": lambda s, u, p: list(_exported(s, u)),
    "participant.erasure_asked": lambda s, u, p: ask_for_erasure(participant=p, actor=u.audit_name, now=clock.now()),
    "participant.erased": lambda s, u, p: erase(participant=p, now=clock.now()),
    "study.created": lambda s, u, p: studies.create_study(
        owner=u, actor=u.audit_name, slug="another", title="Another", starts_on=NOW.date(), ends_on=NOW.date()
    ),
    "account.created": lambda s, u, p: accounts.create_account(
        email="new@example.org", name="New", password="a long enough phrase"
    ),
    "account.disabled": lambda s, u, p: accounts.disable_account(user=u, actor="server", reason="left"),
    "account.enabled": lambda s, u, p: accounts.enable_account(user=u, actor="server", reason="back"),
    "account.changed": lambda s, u, p: accounts.change_account(user=u, actor="server", changes={"is_staff": True}),
    "account.second_factor_removed": lambda s, u, p: (
        Authenticator.objects.create(user=u, type=Authenticator.Type.TOTP, data={}),
        accounts.remove_second_factor(user=u, actor="server"),
    ),
    "account.recovery_codes_renewed": lambda s, u, p: factors.renewed(
        None, user=u, authenticator=Authenticator(user=u, type=Authenticator.Type.RECOVERY_CODES)
    ),
    "member.invited": lambda s, u, p: _invited(s, u),
    "invitation.sent_again": lambda s, u, p: team.resend_invitation(
        invitation=_invited(s, u), actor=u.audit_name, now=NOW
    ),
    "invitation.revoked": lambda s, u, p: team.revoke_invitation(invitation=_invited(s, u), actor="user:1", now=NOW),
    "invitation.accepted": lambda s, u, p: team.accept_invitation(
        invitation=_invited(s, u), user=researcher("new@example.org"), now=NOW
    ),
    "member.changed": lambda s, u, p: team.change_role(member=_colleague(s), role="analyst", actor=u.audit_name),
    "member.removed": lambda s, u, p: team.remove_member(member=_colleague(s), actor=u.audit_name),
    "study.second_factor_required": lambda s, u, p: team.require_second_factor(
        study=s, required=True, own_factor=True, actor=u.audit_name
    ),
    "study.second_factor_not_required": lambda s, u, p: [
        team.require_second_factor(study=s, required=required, own_factor=True, actor=u.audit_name)
        for required in (True, False)
    ],
}
ELSEWHERE = {  # what only a browser, a whole restore or the demo brings about
    "study.imported": "tests/server/imports/test_import_study.py",
    "study.removed": "tests/server/demo/test_start_clean.py",
    "account.second_factor_added": "tests/server/accounts/test_own_account.py",
    "server.restored": "tests/journeys/test_restore.py",
}


def _exported(study: Study, owner: User) -> Delivery:
    state = State(cutoff=NOW, plan=PLAN, data_hash=None)
    return Delivery(
        study=study, shape="prompts", format="csv", state=state, with_text=False, by=owner, actor=owner.audit_name
    )


def _invited(study: Study, owner: User) -> Invitation:
    return team.invite_member(study=study, email="new@example.org", role="viewer", invited_by=owner, now=NOW)


def _colleague(study: Study) -> Membership:
    return studies.add_member(study=study, user=researcher(), role=Membership.Role.VIEWER)


def test_every_audit_call_is_exercised_and_every_exercise_has_its_call() -> None:
    assert {call.action for call in calls()} == set(EXERCISES) | set(ELSEWHERE)
    for action, path in ELSEWHERE.items():
        assert f'"{action}"' in (ROOT.parent / path).read_text(), f"{path} no longer expects {action}"


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
        functions = {
            node.name: ast.unparse(node)
            for name in WRITING
            if (path := ROOT / room / name).exists()
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        private = {name for name in functions if name.startswith("_") and name != "_note"}
        for name in sorted(set(functions) - private - {"_note"}):
            reached = (room, name) in audited or any(
                (room, helper) in audited and f"{helper}(" in functions[name] for helper in private
            )
            assert reached or name in excused or name.startswith("digest_of"), (
                f"{room}: {name} writes no audit event: record one, or say here why none is needed"
            )
        assert set(excused) <= set(functions), f"{room}: an excuse for a service that is gone"
