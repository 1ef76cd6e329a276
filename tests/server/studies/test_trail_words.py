"""The audit trail as an owner reads it."""

from __future__ import annotations

import pytest

from ema_server.common import clock
from ema_server.ledger.models import AuditEvent
from ema_server.participants.services import invite
from ema_server.studies.queries import audit_events, trail_lines
from ema_server.studies.services import lock_data
from tests.world import NOW, live_study

pytestmark = pytest.mark.django_db


def test_changes_read_as_words_and_an_event_about_a_person_leads_to_them() -> None:
    study = live_study()
    person, _ = invite(study=study, pseudonym="P1", now=NOW)
    lock_data(study=study, now=clock.now())
    lines = {line.event.action: line for line in trail_lines(audit_events(study))}
    assert ("state", "live → locked") in lines["data.locked"].changes
    assert person.pk in {line.person for line in lines.values()}
    assert lines["data.locked"].person is None


def test_counts_read_by_their_names_and_nothing_is_no_count() -> None:
    event = AuditEvent(actor="server", about="participant:7", changes={"removed": {"answers": 3, "codes": 0}})
    (line,) = trail_lines([event])
    assert line.changes == [("removed", "answers 3")]
    assert line.person == 7
