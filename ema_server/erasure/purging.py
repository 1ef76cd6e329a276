"""Everything that the database holds of one person, removed room by room. Done twice it is done once."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from ema_server.common.canonical import digest
from ema_server.messages.models import Message
from ema_server.participants.models import (
    Consent,
    Device,
    DeviceReport,
    EnrolmentCode,
    Identity,
    Participant,
    Pause,
    PersonTable,
    SeriesValues,
)
from ema_server.participants.person_table import pruned
from ema_server.reports.forgetting import without_person
from ema_server.reports.models import Report
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.sampling.forgetting import events_may_go
from ema_server.sampling.models import Decision, Planning, Prompt, PromptEvent, ScheduleChange


def purge(participant: Participant) -> dict[str, int]:
    """Remove all rows of this person and their marks from what was derived; returns how many of each kind went.

    What stays is the pseudonym, the study and the state "erased": enough to say that somebody was here and left.
    """
    pk = participant.pk
    rows: dict[str, QuerySet[Any]] = {  # children before parents
        "conflicting answers": Conflict.objects.filter(submission__participant=pk),
        "quarantined items": Quarantined.objects.filter(participant=pk),
        "answers": Submission.objects.filter(participant=pk),
        "prompt events": PromptEvent.objects.filter(prompt__participant=pk),
        "decisions": Decision.objects.filter(prompt__participant=pk),
        "prompts": Prompt.objects.filter(participant=pk),
        "plannings": Planning.objects.filter(participant=pk),
        "changes of the schedule": ScheduleChange.objects.filter(participant=pk),
        "messages": Message.objects.filter(participant=pk),
        "pauses": Pause.objects.filter(participant=pk),
        "consents": Consent.objects.filter(participant=pk),
        "codes": EnrolmentCode.objects.filter(participant=pk),
        "reports of phones": DeviceReport.objects.filter(participant=pk),
        "phones": Device.objects.filter(participant=pk),
        "identities": Identity.objects.filter(participant=pk),
        "series of measurements": SeriesValues.objects.filter(participant=pk),
    }
    Upload.objects.filter(device__participant=pk).update(device=None)  # what is left is a count of a batch
    removed = {kind: found.count() for kind, found in rows.items()}
    with events_may_go():
        for found in rows.values():
            found.delete()
    removed["baseline rows"] = _leave_person_tables(participant)
    removed["reports rewritten"] = _leave_reports(participant)
    Participant.objects.filter(pk=pk).update(
        state=Participant.State.ERASED,
        zone="",
        site="",
        arm="",
        dyad="",
        dyad_role="",
        first_day=None,
        last_day=None,
        schedule={},
        enrolled_at=None,
    )
    return removed


def _leave_person_tables(participant: Participant) -> int:
    left = 0
    for table in PersonTable.objects.filter(study=participant.study_id, rows__has_key=participant.pseudonym):
        del table.rows[participant.pseudonym]
        table.columns = pruned(table.columns, table.rows)  # a level that nobody else had tells of them
        table.digest = digest(table.rows)
        table.save(update_fields=["rows", "columns", "digest"])
        left += 1
    return left


def _leave_reports(participant: Participant) -> int:
    left = 0
    for report in Report.objects.filter(study=participant.study_id).iterator(chunk_size=20):
        rewritten = without_person(report.results, report.figures, participant.pseudonym)
        if rewritten is not None:
            report.results, report.figures = rewritten
            report.save(update_fields=["results", "figures"])
            left += 1
    return left
