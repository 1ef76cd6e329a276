"""The answers, one row for each item of each questionnaire that came, those that no model reads included and marked with why.

An item without an answer has a row in a finished questionnaire, so that what was skipped and what was never asked stay
apart; in a broken-off one nobody knows which. Free text and what a questionnaire calls sensitive is sealed under its person's key; it is opened, person by person, only for
whoever asks for it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pandas as pd
from django.db.models import Count, TextField
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast

from ema_server.participants.models import Participant
from ema_server.reports.dataset import (
    Micros,
    Person,
    PromptRow,
    parts,
    read_events,
    read_prompts,
    starts_of,
    times,
    window,
)
from ema_server.reports.fates import STATUSES, Fate, Sent, fate
from ema_server.reports.variables import Variable, empty, typed
from ema_server.responses.models import Submission
from ema_server.sampling.queries import questionnaires_of_events
from ema_server.studies.models import Study
from ema_server.surveys.answers import answer_in_words, counted, unanswered
from ema_server.surveys.document import Item, Survey
from ema_server.surveys.kinds import minutes_of
from ema_server.vault.fields import Seal
from ema_server.vault.services import KeyDestroyed, holding_keys

SUBMISSIONS = 2_000  # about so many at a time

WHY = {
    "event": "reports an event, by the person's own doing",
    "no_prompt": "answers no prompt",
    "not_due": "came before its prompt was due",
    "unfinished": "the questionnaire was broken off",
    "repeat": "the prompt was answered before",
    "too_late": "answered later than the plan counts",
    "not_shown": "the item was not shown with these answers",
    "skipped": "the item was shown and left empty",
    "not_asked": "the item was not shown, and there is no answer",
    "practice": "a prompt to practise with",
    "test_person": "a person who tries the app out",
}


def _of(name: str, kind: Any, label: str, **more: Any) -> Variable:
    return Variable(name, kind, label, origin="answer", **more)


VARIABLES = [
    _of("person", "text", "Pseudonym of the person"),
    _of("submission", "text", "The questionnaire as it was sent: the phone's own number for it"),
    _of("questionnaire", "text", "Questionnaire"),
    _of("survey_version", "whole", "Version that the person was shown"),
    _of("prompt", "text", "The prompt that it answers; empty where it answers none"),
    _of("day", "number", "Day in the study, from 1"),
    _of("slot", "number", "Number of the prompt in its day"),
    _of("scheduled_at", "moment", "When the prompt was due (UTC)"),
    _of("answered_at", "moment", "When it was finished, by the phone's clock where it can be believed (UTC)"),
    _of("received_at", "moment", "When the server received it (UTC)"),
    _of("utc_offset_minutes", "number", "Offset of the phone's clock from UTC", unit="minutes"),
    _of("complete", "flag", "Whether the questionnaire was finished"),
    _of("status", "category", "What became of the prompt",
        levels=(*STATUSES.items(), ("event", "an event that the person reported"), ("no_prompt", "there was no prompt"), ("not_due", "the prompt was not due yet"))),
    _of("practice", "flag", "A prompt to practise with; never counted"),
    _of("test_person", "flag", "A person who tries the app out; never counted"),
    _of("item", "text", "Item"),
    _of("value", "text", "The answer; several options as a JSON list"),
    _of("number", "number", "The answer as a number: yes 1, no 0; a time in minutes after midnight"),
    _of("label", "text", "What the chosen value is called"),
    _of("counted", "flag", "Whether it is in the rows that the models read"),
    _of("why", "category", "Why it is not", levels=tuple(WHY.items())),
]  # fmt: skip


class Whole(NamedTuple):
    """One submission as it is read."""

    sent: Sent
    person: int
    client_id: UUID
    offset: int | None
    sealed: Any


class _Who(NamedTuple):
    pseudonym: str
    key: UUID
    test_person: bool


@dataclass
class _Rows:
    """Submissions, and how many rows each gives, beside those rows."""

    people: Mapping[int, _Who]
    submissions: list[tuple[Whole, PromptRow | None, str]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    cells: list[tuple[str, str | None, float, str | None, bool, str | None]] = field(default_factory=list)


def people(study: Study, cutoff: datetime) -> list[Person]:
    """Who has answered, in order, with how many questionnaires each sent."""
    found = (
        Submission.objects.filter(study=study, received_at__lte=cutoff)
        .exclude(participant__state=Participant.State.ERASED)
        .values_list("participant_id", "participant__pseudonym")
        .annotate(Count("id"))
        .order_by("participant__pseudonym")
    )
    return [Person._make(row) for row in found]


def chunks(
    study: Study, cutoff: datetime, plan: Mapping[str, Any], persons: Sequence[Person], *, with_text: bool
) -> Iterator[pd.DataFrame]:
    """The rows of these people in parts; at least one part, which may be empty."""
    versions = {each.pk: each for each in study.survey_versions.all()}
    words = _Words({pk: each.survey for pk, each in versions.items()})
    events = questionnaires_of_events(study)
    of_events = {pk for pk, each in versions.items() if each.questionnaire in events}
    for part in parts(persons, SUBMISSIONS):
        with holding_keys():
            rows = _read(study, cutoff, plan, part, words, of_events, with_text=with_text)
        yield _frame(rows, versions) if rows.cells else empty(VARIABLES)


def _read(
    study: Study,
    cutoff: datetime,
    plan: Mapping[str, Any],
    persons: Sequence[Person],
    words: _Words,
    of_events: set[int],
    *,
    with_text: bool,
) -> _Rows:
    prompts: dict[UUID | None, PromptRow] = {prompt.id: prompt for prompt in read_prompts(study, cutoff, persons)}
    events = read_events(study, cutoff, persons)
    starts = starts_of(study, cutoff, prompts.values())
    sent = _submissions(study, cutoff, persons, with_text=with_text)
    of_prompt: dict[UUID, list[Sent]] = {}
    for each in sent:
        if each.sent.prompt is not None:
            of_prompt.setdefault(each.sent.prompt, []).append(each.sent)
    fates: dict[UUID | None, Fate] = {}
    late = plan.get("late_cutoff_minutes")
    for prompt, several in of_prompt.items():
        if prompt in prompts:
            several.sort(key=lambda each: each.order)
            fates[prompt] = fate(several, events.get(prompt, {}), window(prompts[prompt], starts), late)
    rows = _Rows(_who(persons))
    for whole in sent:
        prompt_row = prompts.get(whole.sent.prompt)
        became = fates.get(whole.sent.prompt)
        who = rows.people[whole.person]
        why = _why_not(whole, prompt_row, became, who)
        if why == "no_prompt" and whole.sent.version in of_events:
            why = "event"
        answers = msgspec.json.decode(whole.sent.answers)
        open_alone = not with_text
        if whole.sealed is not None and with_text:
            opened = _opened(whole, who.key, study)
            answers |= opened
            open_alone = not opened
        cells = words.cells(whole.sent, answers, prompt_row, why, open_alone=open_alone)
        if cells:
            rows.submissions.append((whole, prompt_row, became.status if became else str(why)))
            rows.counts.append(len(cells))
            rows.cells.extend(cells)
    return rows


def _submissions(study: Study, cutoff: datetime, persons: Sequence[Person], *, with_text: bool) -> list[Whole]:
    """By person and time, as they were answered."""
    found = Submission.objects.filter(
        study=study, participant__in=[person.pk for person in persons], received_at__lte=cutoff
    )
    order = {person.pk: place for place, person in enumerate(persons)}
    read = [
        Whole(Sent._make(row[:7]), row[7], row[8], row[9], row[10] if with_text else None)
        for row in found.values_list(
            "id", "prompt_id", "complete", Micros("answered_at"), Micros("received_at"), "survey_version_id",
            Cast(KeyTransform("answers", "payload"), TextField()), "participant_id", "client_id", "utc_offset_minutes",
            *(["sealed"] if with_text else []),
        )
    ]  # fmt: skip
    read.sort(key=lambda each: (order[each.person], _moment(each.sent), each.sent.id))
    return read


def _moment(sent: Sent) -> int:
    return sent.received if sent.answered is None else sent.answered


def _why_not(whole: Whole, prompt: PromptRow | None, became: Fate | None, who: _Who) -> str | None:
    """Why the models do not read this submission; None where they do."""
    if prompt is None or became is None:
        return "no_prompt" if whole.sent.prompt is None else "not_due"
    if not whole.sent.complete:
        return "unfinished"
    if became.answer is not None and became.answer.id != whole.sent.id:
        return "repeat"
    if not became.used:
        return "too_late"
    return "test_person" if who.test_person else "practice" if prompt.practice else None


def _who(persons: Sequence[Person]) -> dict[int, _Who]:
    found = Participant.objects.filter(pk__in=[each.pk for each in persons])
    return {row[0]: _Who._make(row[1:]) for row in found.values_list("pk", "pseudonym", "key_id", "test_person")}


def _opened(whole: Whole, key: UUID, study: Study) -> dict[str, Any]:
    """The sealed answers; none of somebody whose key was destroyed while this was read."""
    sealed = Submission._meta.get_field("sealed")
    try:
        text = sealed.opened(bytes(whole.sealed), Seal(key, study.pk, str(whole.client_id)))
    except KeyDestroyed:
        return {}
    opened: dict[str, Any] = json.loads(text).get("answers", {})
    return opened


class _Words:
    """Answers as cells; each answer's spelling is found once."""

    def __init__(self, surveys: Mapping[int, Survey]) -> None:
        self._surveys = surveys
        self._known: dict[tuple[int, str, Any], tuple[str, float, str]] = {}

    def cells(
        self, sent: Sent, answers: Mapping[str, Any], prompt: PromptRow | None, why: str | None, *, open_alone: bool
    ) -> list[tuple[str, str | None, float, str | None, bool, str | None]]:
        """The submission's items in the order in which they are asked. `open_alone`: nothing is known of sealed answers."""
        survey = self._surveys[sent.version]
        facts = prompt.facts if prompt and survey.facts else {}
        shown = counted(survey, answers, facts)
        empty = unanswered(survey, answers, facts) if sent.complete and len(answers) < len(survey.items) else {}
        found: list[tuple[str, str | None, float, str | None, bool, str | None]] = []
        for item in survey.items:
            value = answers.get(item.name)
            if value is not None:
                reason = why or (None if item.name in shown else "not_shown")
                found.append((item.name, *self._spelt(sent.version, survey, item, value), reason is None, reason))
            elif item.name in empty and not (item.sealed and open_alone):
                reason = "skipped" if empty[item.name] else "not_asked"
                found.append((item.name, None, math.nan, None, False, reason))
        return found

    def _spelt(self, version: int, survey: Survey, item: Item, value: Any) -> tuple[str, float, str]:
        if item.type == "text" or isinstance(value, list):
            return _spelling(survey, item, value)
        key = (version, item.name, value)
        if key not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[key] = _spelling(survey, item, value)
        return self._known[key]


def _spelling(survey: Survey, item: Item, value: Any) -> tuple[str, float, str]:
    """An answer as a text, as a number (NaN where it is none), and what its value is called."""
    text = (
        value
        if isinstance(value, str)
        else _number_text(value)
        if isinstance(value, float)
        else json.dumps(value, ensure_ascii=False)
    )
    number = float("nan")
    if item.type == "time":
        number = float(minutes_of(value))
    elif isinstance(value, int | float) or (item.type == "choice" and re.fullmatch(r"-?\d{1,15}", value)):
        number = float(value)
    if item.type == "text":
        return text, number, ""
    called = answer_in_words(item, value, survey)
    return text, number, "" if called == text else called


def _number_text(value: float) -> str:
    return repr(value).removesuffix(".0")


def _frame(rows: _Rows, versions: Mapping[int, Any]) -> pd.DataFrame:
    wholes = [whole for whole, _, _ in rows.submissions]
    prompts = [prompt for _, prompt, _ in rows.submissions]
    of_submission = pd.DataFrame(
        {
            "person": [rows.people[each.person].pseudonym for each in wholes],
            "submission": [str(each.client_id) for each in wholes],
            "questionnaire": [versions[each.sent.version].questionnaire for each in wholes],
            "survey_version": [versions[each.sent.version].number for each in wholes],
            "prompt": [str(prompt.id) if prompt else None for prompt in prompts],
            "day": [prompt.day if prompt else np.nan for prompt in prompts],
            "slot": [prompt.slot if prompt else np.nan for prompt in prompts],
            "scheduled_at": times((prompt and prompt.scheduled for prompt in prompts), utc=True),
            "answered_at": times((each.sent.answered for each in wholes), utc=True),
            "received_at": times((each.sent.received for each in wholes), utc=True),
            "utc_offset_minutes": [np.nan if each.offset is None else each.offset for each in wholes],
            "complete": [each.sent.complete for each in wholes],
            "status": [status for _, _, status in rows.submissions],
            "practice": [prompt.practice if prompt else False for prompt in prompts],
            "test_person": [rows.people[each.person].test_person for each in wholes],
        }
    )
    frame = of_submission.take(np.repeat(np.arange(len(wholes)), rows.counts)).reset_index(drop=True)
    for name, column in zip(
        ("item", "value", "number", "label", "counted", "why"), zip(*rows.cells, strict=True), strict=True
    ):
        frame[name] = list(column)
    return typed(frame, VARIABLES)
