"""All that the server holds of one person, in sections of rows: what `GET me/export` gives them, as JSON or in CSV files.

Rows are read a few at a time, each section from its own cursor; nothing grows with how much there is. A room that begins to keep
something of a person adds a section here; `tests/server/rights/test_export.py` asks for it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import DateTimeField, F, FloatField, Func, Q

from ema_server.ledger.models import AuditEvent
from ema_server.messages.queries import messages_of
from ema_server.participants.models import Identity, Participant, PersonTable, SeriesValues
from ema_server.responses.content import merge
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.sampling.models import Planning, Prompt, PromptEvent, ScheduleChange
from ema_server.studies.models import SurveyVersion
from ema_server.surveys.answers import answer_in_words
from ema_server.surveys.document import Survey
from ema_server.surveys.texts import in_language

Row = tuple[Any, ...]
AT_ONCE = 200  # rows that are read together
LARGE = 2  # of rows that may hold megabytes


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of thing. `rows` are values in the order of `columns`: plain values, times with their zone, or JSON."""

    name: str
    about: str
    columns: tuple[str, ...]
    rows: Callable[[Participant], Iterator[Row]]
    at_once: int = AT_ONCE


# Who they are -----------------------------------------------------------------------------------------------------------


def about_participant(person: Participant) -> dict[str, Any]:
    return {
        "pseudonym": person.pseudonym,
        "state": person.state,
        "site": person.site,
        "arm": person.arm,
        "dyad": person.dyad,
        "role": person.dyad_role,
        "zone": person.zone,
        "first_day": person.first_day,
        "last_day": person.last_day,
        "schedule": person.schedule,
        "test_person": person.test_person,
        "invited_at": person.created_at,
        "enrolled_at": person.enrolled_at,
    }


def about_study(person: Participant) -> dict[str, Any]:
    study = person.study
    return {"slug": study.slug, "title": study.title, "first_day": study.starts_on, "last_day": study.ends_on}


def about_identity(person: Participant) -> dict[str, Any] | None:
    """Opened: it is theirs. None where the study keeps none."""
    identity = Identity.objects.filter(participant=person).first()
    return None if identity is None else {name: getattr(identity, name) for name in Identity.FIELDS}


# What there is of them --------------------------------------------------------------------------------------------------


def _consents(person: Participant) -> Iterator[Row]:
    yield from person.consents.order_by("pk").values_list("version", "digest", "given_at", "received_at")


def _codes(person: Participant) -> Iterator[Row]:
    yield from person.codes.order_by("pk").values_list("expires_at", "max_uses", "uses")


def _devices(person: Participant) -> Iterator[Row]:
    yield from person.devices.order_by("pk").values_list(
        "pk", "platform", "os_version", "app_version", "zone", "created_at", "revoked_at", "closed_because"
    )


def _device_reports(person: Participant) -> Iterator[Row]:
    yield from (
        person.device_reports.order_by("pk")
        .values_list(
            "device_id", "client_id", "phone_text", "received_at", "battery", "charging", "platform", "os_version",
            "app_version", "zone", "permissions", "queue", "clock_ahead_ms",
        )
        .iterator()
    )  # fmt: skip


def _messages(person: Participant) -> Iterator[Row]:
    for each in messages_of(person):
        yield each["id"], each["text"], each["written_at"], each["expires_at"], each["taken_back_at"]


def _pauses(person: Participant) -> Iterator[Row]:
    yield from person.pauses.order_by("since", "pk").values_list("since", "until")


def _baseline(person: Participant) -> Iterator[Row]:
    tables = PersonTable.objects.filter(study=person.study_id, rows__has_key=person.pseudonym).order_by("number")
    for table in tables.iterator(chunk_size=LARGE):
        labels = {each["name"]: each.get("label", "") for each in table.columns}
        for name, value in table.rows[person.pseudonym].items():
            yield table.number, table.imported_at, name, labels.get(name, ""), value


def _series(person: Participant) -> Iterator[Row]:
    """Each value a row; the database takes its arrays apart, so that a year of steps is no year in memory."""
    found = SeriesValues.objects.filter(participant=person).order_by("series__name", "series__number", "column")
    for pk, name, number, column, imported_at in found.values_list(
        "pk", "series__name", "series__number", "column", "series__imported_at"
    ):
        values = SeriesValues.objects.filter(pk=pk).values_list(
            Func(F("at"), function="unnest", output_field=DateTimeField()),
            Func(F("value"), function="unnest", output_field=FloatField()),
        )
        for at, value in values.iterator(chunk_size=2_000):
            yield name, number, imported_at, column, at, value


def _plannings(person: Participant) -> Iterator[Row]:
    found = Planning.objects.filter(participant=person).order_by("pk")
    yield from found.values_list("made_at", "cause", "plan__number", "facts", "counts").iterator(chunk_size=AT_ONCE)


def _schedule_changes(person: Participant) -> Iterator[Row]:
    found = ScheduleChange.objects.filter(participant=person).order_by("pk")
    for made_at, actor, effect, before, after, reason in found.values_list(
        "made_at", "actor", "effect", "before", "after", "reason"
    ):
        yield made_at, _who(actor), effect, before, after, reason


def _prompts(person: Participant) -> Iterator[Row]:
    found = Prompt.objects.filter(participant=person).select_related("decision").order_by("scheduled_at", "pk")
    for each in found.iterator(chunk_size=AT_ONCE):
        decision = getattr(each, "decision", None)
        drawn = decision and {
            "options": decision.options,
            "draw": decision.draw,
            "option": decision.option,
            "made_at": decision.made_at,
        }
        yield (
            each.pk, each.rule, each.questionnaire, each.day, each.slot, each.scheduled_at, each.expires_at,
            each.grace_minutes, each.local_date, each.local_time, each.utc_offset_minutes, each.zone, each.practice,
            each.wave, drawn,
        )  # fmt: skip


def _prompt_events(person: Participant) -> Iterator[Row]:
    found = PromptEvent.objects.filter(prompt__participant=person).select_related("prompt__participant").order_by("pk")
    for each in found.iterator(chunk_size=AT_ONCE):
        yield (
            each.client_id, each.prompt_id, each.kind, each.code, each.reason, each.note, each.phone_text, each.phone_at,
            each.was_at, each.now_at, each.received_at, each.device_id,
        )  # fmt: skip


def _submissions(person: Participant) -> Iterator[Row]:
    for each in _sent(person):
        yield (
            each.client_id, each.prompt_id, each.received_at, each.answered_at, each.utc_offset_minutes, each.device_id,
            merge(each.payload, each.sealed),
        )  # fmt: skip


def _answers(person: Participant) -> Iterator[Row]:
    """One row for each answer, with the words of its question: for people and their spreadsheets."""
    surveys: dict[int, Survey] = {}
    for each in _sent(person):
        version = each.survey_version_id
        if version not in surveys:
            surveys[version] = SurveyVersion.objects.get(pk=version).survey
        survey, whole = surveys[version], merge(each.payload, each.sealed)
        for name, value in whole["answers"].items():
            item = survey.by_name[name]
            spoken = "" if value is None or item.type == "text" else answer_in_words(item, value, survey)
            yield (
                each.client_id, whole["questionnaire"], whole["survey_version"], each.prompt_id, whole["answered_at"],
                each.received_at, each.complete, name, in_language(item.text, None, survey.languages), value, spoken,
            )  # fmt: skip


def _sent(person: Participant) -> Iterator[Submission]:
    found = Submission.objects.filter(participant=person).select_related("participant").order_by("pk")
    return found.iterator(chunk_size=AT_ONCE)


def _conflicts(person: Participant) -> Iterator[Row]:
    found = Conflict.objects.filter(submission__participant=person).select_related("submission__participant")
    for each in found.order_by("pk").iterator(chunk_size=AT_ONCE):
        yield each.submission.client_id, each.received_at, merge(each.payload, each.sealed)


def _quarantined(person: Participant) -> Iterator[Row]:
    """As it was sent, to the byte: as text, or in base64 where it is none."""
    found = Quarantined.objects.filter(participant=person).select_related("participant").order_by("pk")
    for each in found.iterator(chunk_size=LARGE):
        sent = each.body.encode(errors="surrogateescape")
        try:
            text, coded = sent.decode(), None
        except UnicodeDecodeError:
            text, coded = None, base64.b64encode(sent).decode()
        yield each.received_at, each.device_id, each.code, each.detail.encode(errors="replace").decode(), text, coded


def _uploads(person: Participant) -> Iterator[Row]:
    found = Upload.objects.filter(device__participant=person).order_by("pk")
    counts = ("stored", "duplicate", "conflict", "rejected")
    yield from found.values_list("received_at", "device_id", *counts).iterator(chunk_size=AT_ONCE)


def _trail(person: Participant) -> Iterator[Row]:
    """What the audit trail says of them and of their phones, and why; not which researcher did it."""
    own = Q(about=person.audit_name) | Q(about__in=[device.audit_name for device in person.devices.all()])
    found = AuditEvent.objects.filter(own, study=person.study_id).order_by("number")
    for each in found.iterator(chunk_size=AT_ONCE):
        yield each.at, each.action, _who(each.actor), each.changes, each.reason


def _who(actor: str) -> str:
    return "study team" if actor.startswith("user:") else actor


SECTIONS = (
    Section("consents", "What you agreed to", ("version", "digest", "given_at", "received_at"), _consents),
    Section("codes", "Codes that let your phone in; the codes themselves are not kept",
            ("expires_at", "max_uses", "uses"), _codes),
    Section("devices", "Your phones", ("device", "platform", "os_version", "app_version", "zone", "enrolled_at",
            "closed_at", "closed_because"), _devices),
    Section("device_reports", "What your phones said of themselves", ("device", "report", "at_by_phone", "received_at",
            "battery", "charging", "platform", "os_version", "app_version", "zone", "permissions", "queue",
            "clock_ahead_ms"), _device_reports),
    Section("messages", "What the study team wrote to you",
            ("message", "text", "written_at", "expires_at", "taken_back_at"), _messages),
    Section("pauses", "When you paused; without an end while you do", ("since", "until"), _pauses),
    Section("baseline", "What the study team imported about you, in each version of the table",
            ("version", "imported_at", "column", "label", "value"), _baseline),
    Section("series", "Measurements that the study team imported, one row each",
            ("series", "version", "imported_at", "column", "at", "value"), _series),
    Section("plannings", "When your questionnaires were planned, and from what",
            ("made_at", "cause", "sampling_plan", "facts", "counts"), _plannings),
    Section("schedule_changes", "Changes of your schedule",
            ("made_at", "by", "effect", "before", "after", "reason"), _schedule_changes),
    Section("prompts", "What you were to be asked, and when", ("prompt", "rule", "questionnaire", "day", "slot", "scheduled_at",
            "expires_at", "grace_minutes", "local_date", "local_time", "utc_offset_minutes", "zone", "practice", "wave",
            "decision"), _prompts),
    Section("prompt_events", "What became of it", ("event", "prompt", "kind", "code", "reason", "note", "at_by_phone",
            "phone_at", "was_at", "now_at", "received_at", "device"), _prompt_events),
    Section("submissions", "What you sent: `item` is what your phone sent, and can be sent again",
            ("client_id", "prompt", "received_at", "answered_at", "utc_offset_minutes", "device", "item"), _submissions),
    Section("conflicts", "What your phone sent under an id that had other content already",
            ("client_id", "received_at", "item"), _conflicts),
    Section("quarantined", "What your phone sent and the server could not accept, as it was sent",
            ("received_at", "device", "code", "detail", "body", "body_base64"), _quarantined, LARGE),
    Section("uploads", "How often your phone sent something, and what became of it",
            ("received_at", "device", "stored", "duplicate", "conflict", "rejected"), _uploads),
    Section("trail", "What was done with your record, and by whom", ("at", "action", "by", "changes", "reason"), _trail),
)  # fmt: skip
ANSWERS = Section(
    "answers", "Your answers, one row each", ("client_id", "questionnaire", "survey_version", "prompt", "answered_at",
    "received_at", "complete", "item", "question", "value", "label"), _answers,
)  # fmt: skip
