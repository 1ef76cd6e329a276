"""The rows that a night reads: one per prompt that was due, missed ones included.

They are read from one snapshot, some whole persons at a time, in the order of the rows, so that a study of any size is
read in the memory of a part; `load` is the parts together. What type a column has is decided before the first row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from django.db.models import BigIntegerField, Count, Exists, F, Func, OuterRef, QuerySet, TextField
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast

from ema_server.common.snapshot import snapshot
from ema_server.participants.models import Participant
from ema_server.participants.person_columns import TableColumn
from ema_server.participants.person_table import from_rows, typed_frame_columns
from ema_server.participants.queries import current_person_table, series_values
from ema_server.reports.asked import Asked, asked_columns
from ema_server.reports.columns import derive, derived_variables
from ema_server.reports.csv_file import as_csv as as_csv
from ema_server.reports.decided import Decided, decision_columns, decision_variables, read_decisions
from ema_server.reports.fates import STATUSES, Fate, Sent, Window, fate, minutes
from ema_server.reports.starts import read_starts
from ema_server.reports.variables import Kind, Variable, empty, typed
from ema_server.responses.models import Submission
from ema_server.sampling import queries
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.models import Study

ROWS = 10_000  # about so many at a time
COUNTED_EVENTS = ("expired", "cancelled", "reissued")
PLACE = {"wave": "wave", "site": "participant__site", "arm": "participant__arm", "dyad": "participant__dyad",
         "role": "participant__dyad_role"}  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60_000_000  # microseconds
NOTHING = np.iinfo(np.int64).min  # numpy's "not a time"


class Micros(Func):
    """A time as whole microseconds since 1970: cheaper to read, and nothing is rounded."""

    template = "(extract(epoch from %(expressions)s) * 1000000)::bigint"
    output_field = BigIntegerField()


class Person(NamedTuple):
    pk: int
    pseudonym: str
    rows: int


@dataclass(frozen=True)
class Source:
    """What there is to read of a study at a cutoff: its people in order, its columns, its newest person table."""

    study: Study
    cutoff: datetime
    plan: Mapping[str, Any]
    persons: list[Person]
    asked: Asked
    people: pd.DataFrame  # one row for each person, by pseudonym
    decides: bool  # whether the study has decision points
    variables: list[Variable]

    @property
    def rows(self) -> int:
        return sum(person.rows for person in self.persons)


def load(study: Study, cutoff: datetime, plan: Mapping[str, Any]) -> pd.DataFrame:
    """Everything known at `cutoff`, one row per prompt due by then, ordered by person and time.

    An answer counts where it was finished inside its window (`answered`; started inside it and finished within the grace is
    inside) or at most the plan's
    `late_cutoff_minutes` after it (`late`; null: however late). The first finished answer to a prompt is the one that
    counts; further ones are counted in `repeats`. Answers that do not count stay stored; here their items are empty
    and `held_items` says how many open (not sealed) values the server holds. Times are UTC; `scheduled_local` is wall time.
    """
    return pd.concat(chunks(study, cutoff, plan), ignore_index=True)


def chunks(study: Study, cutoff: datetime, plan: Mapping[str, Any], *, rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """`load` in parts of whole persons with about so many rows each; at least one part, which may be empty."""
    with snapshot():
        source = read_source(study, cutoff, plan)
        for part in parts(source.persons, rows):
            yield read_frame(source, part)


def read_source(study: Study, cutoff: datetime, plan: Mapping[str, Any]) -> Source:
    persons = _persons(study, cutoff)
    asked = asked_columns(study, questionnaire=plan.get("questionnaire"))
    people, covariates = _people(study, cutoff, [person.pseudonym for person in persons])
    own = [name for name in PLACE if name in people.columns and _is_given(study, cutoff, persons, PLACE[name])]
    people, covariates = people.drop(columns=own), [each for each in covariates if each.name not in own]
    # A baseline column named like a place stands for it where the study has none of its own.
    places = [each for each in PLACES if each.name not in people.columns]
    decision = decision_variables(study, cutoff)
    variables = [*PROMPT, *decision, *places, *asked.variables, *CLOCK, *covariates]
    return Source(
        study,
        cutoff,
        plan,
        persons,
        asked,
        people,
        bool(decision),
        derived_variables(variables, plan.get("columns", {})),
    )


def parts(persons: Sequence[Person], rows: int) -> Iterator[list[Person]]:
    """Whole persons in their order, until a part has at least so many rows."""
    part: list[Person] = []
    held = 0
    for person in persons:
        part.append(person)
        held += person.rows
        if held >= rows:
            yield part
            part, held = [], 0
    if part or not persons:
        yield part


def read_frame(source: Source, persons: Sequence[Person]) -> pd.DataFrame:
    """The rows of some persons, typed as the whole is."""
    prompts = read_prompts(source.study, source.cutoff, persons)
    if not prompts:
        return empty(source.variables)
    frame = pd.DataFrame(_columns(source, prompts, persons))
    frame = _with_clock_terms(frame)
    frame = frame.drop(columns=[name for name in PLACE if name in source.people.columns])
    frame = frame.join(source.people, on="person")
    series = partial(series_values, source.study, cutoff=source.cutoff)
    return typed(derive(frame, source.plan.get("columns", {}), series), source.variables)


def data_hash(frame: pd.DataFrame) -> str:
    """The SHA-256 of the file that `as_csv` makes of the whole frame."""
    found = hashlib.sha256()
    for start in range(0, max(len(frame), 1), ROWS):
        found.update(as_csv(frame.iloc[start : start + ROWS], header=start == 0))
    return found.hexdigest()


class PromptRow(NamedTuple):
    """One prompt as it is read. Times are microseconds since 1970."""

    person: int
    id: Any
    questionnaire: str
    day: int
    slot: int
    scheduled: int
    local: int
    zone: str
    offset: int
    expires: int
    grace: int  # microseconds
    practice: bool
    test_person: bool
    wave: str
    site: str
    arm: str
    dyad: str
    role: str
    decision: Decided | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What expressions may ask of it (`@day`, `@arm` …), as `sampling.queries.facts_of` says it."""
        local = EPOCH + timedelta(microseconds=self.local)
        return {
            "day": self.day,
            "prompt": self.slot,
            "wave": self.wave,
            "weekday": local.isoweekday(),
            "hour": local.hour + local.minute / 60 + local.second / 3600,
            "practice": self.practice,
            "arm": self.arm,
            "site": self.site,
            "role": self.role,
            # What was drawn is done where the person was available.
            "option": "" if self.decision is None or self.decision.available is False else self.decision.option,
        }


def due(study: Study, cutoff: datetime) -> QuerySet[Prompt]:
    """The prompts that were due at the cutoff. What was taken back before anybody was asked is none, nor what had come before
    its person was in or while they had no phone, unless it was answered. So `responses.compliance` counts, too."""
    answered = Exists(Submission.objects.filter(prompt=OuterRef("pk"), received_at__lte=cutoff))
    nobodys = queries.not_asked(study, cutoff=cutoff) | queries.before_enrolment(study) | queries.phone_was_lost()
    return Prompt.objects.filter(study=study, scheduled_at__lte=cutoff).exclude(nobodys & ~answered)


def read_prompts(study: Study, cutoff: datetime, persons: Sequence[Person]) -> list[PromptRow]:
    """The prompts of some persons that were due at the cutoff, by person and time."""
    found = (
        due(study, cutoff)
        .filter(participant__in=[person.pk for person in persons])
        .order_by("participant__pseudonym", "scheduled_at", "rule")
    )
    decided = read_decisions(study, cutoff, [person.pk for person in persons])
    return [
        PromptRow._make((*row, decided.get(row[1])))
        for row in found.values_list(
            "participant_id", "id", "questionnaire", "day", "slot", Micros("scheduled_at"),
            Micros(F("local_date") + F("local_time")), "zone", "utc_offset_minutes", Micros("expires_at"),
            Cast("grace_minutes", BigIntegerField()) * MINUTE, "practice", "participant__test_person", *PLACE.values(),
        )
    ]  # fmt: skip


def starts_of(study: Study, cutoff: datetime, prompts: Collection[PromptRow]) -> dict[Any, int]:
    """When those of these prompts that have a grace were first started."""
    return read_starts(study, cutoff, [prompt.id for prompt in prompts if prompt.grace])


def window(prompt: PromptRow, starts: Mapping[Any, int]) -> Window:
    return Window(prompt.expires, prompt.grace, starts.get(prompt.id))


def read_sent(study: Study, cutoff: datetime, persons: Sequence[Person], **more: Any) -> dict[Any, list[Sent]]:
    """Each prompt's submissions known at the cutoff, in the order in which they were answered."""
    found: dict[Any, list[Sent]] = {}
    sent = Submission.objects.filter(
        study=study, participant__in=[person.pk for person in persons], received_at__lte=cutoff, **more
    )
    for row in sent.values_list(
        "id", "prompt_id", "complete", Micros("answered_at"), Micros("received_at"), "survey_version_id",
        Cast(KeyTransform("answers", "payload"), TextField()),
    ):  # fmt: skip
        found.setdefault(row[1], []).append(Sent._make(row))
    for several in found.values():
        if len(several) > 1:
            several.sort(key=lambda each: each.order)
    return found


def read_events(study: Study, cutoff: datetime, persons: Sequence[Person]) -> dict[Any, dict[str, int]]:
    """How often each prompt expired, was cancelled (and not asked for again) and was issued again."""
    found: dict[Any, dict[str, int]] = {}
    events = PromptEvent.objects.filter(
        study=study,
        prompt__participant__in=[person.pk for person in persons],
        received_at__lte=cutoff,
        kind__in=COUNTED_EVENTS,
    ).exclude(queries.taken_back(cutoff))
    for prompt, kind, count in events.values_list("prompt_id", "kind").annotate(Count("id")).order_by():
        found.setdefault(prompt, {})[kind] = count
    return found


def _persons(study: Study, cutoff: datetime) -> list[Person]:
    """Who has rows, in their order. Whoever asked to be erased is read no more, even before it is done."""
    found = (
        due(study, cutoff)
        .filter(participant__enrolled_at__lte=cutoff)
        .exclude(participant__state=Participant.State.ERASED)
        .values_list("participant_id", "participant__pseudonym")
        .annotate(Count("id"))
        .order_by("participant__pseudonym")
    )
    return [Person._make(row) for row in found]


def _is_given(study: Study, cutoff: datetime, persons: Sequence[Person], field: str) -> bool:
    """Whether any row has something there."""
    there = due(study, cutoff).filter(participant__in=[person.pk for person in persons])
    return there.exclude(**{field: ""}).exists()


def _columns(source: Source, prompts: Sequence[PromptRow], persons: Sequence[Person]) -> dict[str, Any]:
    """The prompts with what became of each, column by column."""
    sent = read_sent(source.study, source.cutoff, persons, prompt__isnull=False)
    events = read_events(source.study, source.cutoff, persons)
    starts = starts_of(source.study, source.cutoff, prompts)
    names = {person.pk: person.pseudonym for person in persons}
    late, nothing = source.plan.get("late_cutoff_minutes"), ()
    fates: list[Fate] = []
    held: list[int] = []
    items = source.asked.cells(len(prompts))
    for place, prompt in enumerate(prompts):
        here = sent.get(prompt.id, nothing)
        became = fate(here, events.get(prompt.id, {}), window(prompt, starts), late)
        fates.append(became)
        held.append(0 if became.used else sum(_given(each) for each in here))
        if became.used and became.answer:
            items.put(place, became.answer.version, msgspec.json.decode(became.answer.answers), prompt)
    return {
        "person": [names[prompt.person] for prompt in prompts],
        "questionnaire": [prompt.questionnaire for prompt in prompts],
        "day": [prompt.day for prompt in prompts],
        "slot": [prompt.slot for prompt in prompts],
        "scheduled_at": times((prompt.scheduled for prompt in prompts), utc=True),
        "scheduled_local": times(prompt.local for prompt in prompts),
        "zone": [prompt.zone for prompt in prompts],
        "utc_offset_minutes": [prompt.offset for prompt in prompts],
        "expires_at": times((prompt.expires for prompt in prompts), utc=True),
        "answered_at": times((each.answer and each.answer.answered for each in fates), utc=True),
        "received_at": times((each.answer and each.answer.received for each in fates), utc=True),
        "latency_minutes": [
            minutes(each.answer.answered - prompt.scheduled)
            if each.answer and each.answer.answered is not None
            else np.nan
            for prompt, each in zip(prompts, fates, strict=True)
        ],
        "status": [each.status for each in fates],
        "used": [each.used for each in fates],
        "held_items": held,
        "reissues": [events.get(prompt.id, {}).get("reissued", 0) for prompt in prompts],
        "repeats": [max(sum(each.complete for each in sent.get(prompt.id, nothing)) - 1, 0) for prompt in prompts],
        "practice": [prompt.practice for prompt in prompts],
        "test_person": [prompt.test_person for prompt in prompts],
        **(decision_columns([prompt.decision for prompt in prompts]) if source.decides else {}),
        **{name: [getattr(prompt, name) for prompt in prompts] for name in PLACE},
        **items.columns,
    }


def _given(sent: Sent) -> int:
    return sum(value is not None for value in msgspec.json.decode(sent.answers).values())


def times(micros: Any, *, utc: bool = False) -> pd.Series:
    """Microseconds since 1970, or None, as a column of times."""
    counts = np.array([NOTHING if each is None else each for each in micros], dtype="int64")
    column = pd.Series(counts.view("datetime64[us]"))
    return column.dt.tz_localize("UTC") if utc else column


def _with_clock_terms(frame: pd.DataFrame) -> pd.DataFrame:
    """Weekend, time of day and time of year, by the person's own wall clock and calendar."""
    local = frame["scheduled_local"].dt
    frame["weekend"] = (local.day_of_week >= 5).astype("int64")
    frame["hour"] = local.hour + local.minute / 60 + local.second / 3600
    frame["sin24"], frame["cos24"] = np.sin(2 * np.pi * frame["hour"] / 24), np.cos(2 * np.pi * frame["hour"] / 24)
    turn = 2 * np.pi * (local.day_of_year - 1) / 365.25
    frame["sin_year"], frame["cos_year"] = np.sin(turn), np.cos(turn)
    return frame


def _people(study: Study, cutoff: datetime, persons: list[str]) -> tuple[pd.DataFrame, list[Variable]]:
    """The newest person table's columns for these people."""
    table = current_person_table(study, cutoff)
    columns = [TableColumn.of(each) for each in table.columns] or list(from_rows(table.rows).columns) if table else []
    variables = []
    people: dict[str, pd.Series] = {}
    for name, (_, by_person) in typed_frame_columns(table.columns, table.rows).items() if table else ():
        column = next(each for each in columns if each.name == name)
        people[name] = pd.Series([by_person.get(person) for person in persons], index=persons, dtype=object)
        variables.append(_covariate(column, people[name]))
    return typed(pd.DataFrame(people, index=pd.Index(persons, dtype="str")), variables), variables


def _covariate(column: TableColumn, values: pd.Series) -> Variable:
    kinds: Mapping[str, Kind] = {
        "number": "number",
        "integer": "number",
        "yesno": "yesno",
        "category": "category",
        "date": "date",
    }
    kind = kinds.get(column.type, "text")
    levels = dict(column.levels)
    if kind == "category":
        levels |= {value: value for value in sorted(set(values.dropna()) - set(levels))}
    return Variable(column.name, kind, column.label or column.name, levels=tuple(levels.items()), origin="person")


def _own(name: str, kind: Any, label: str, **more: Any) -> Variable:
    return Variable(name, kind, label, origin="prompt", **more)


PROMPT = (
    _own("person", "text", "Pseudonym of the person"),
    _own("questionnaire", "text", "Questionnaire that the prompt asked for"),
    _own("day", "whole", "Day in the study, from 1"),
    _own("slot", "whole", "Number of the prompt in its day"),
    _own("scheduled_at", "moment", "When the prompt was due (UTC)"),
    _own("scheduled_local", "local", "When the prompt was due, by the person's own clock"),
    _own("zone", "text", "Time zone by which it was planned"),
    _own("utc_offset_minutes", "whole", "Offset of that zone from UTC at that moment", unit="minutes"),
    _own("expires_at", "moment", "When its window closed (UTC)"),
    _own("answered_at", "moment", "When the answer was finished, by the phone's clock where it can be believed (UTC)"),
    _own("received_at", "moment", "When the server received it (UTC)"),
    _own("latency_minutes", "number", "From due to finished", unit="minutes"),
    _own("status", "category", "What became of the prompt", levels=tuple(STATUSES.items())),
    _own("used", "flag", "Whether its answers count"),
    _own("held_items", "whole", "Open answers that are held and do not count"),
    _own("reissues", "whole", "How often the phone asked again for the same moment"),
    _own("repeats", "whole", "Further finished answers to the same prompt, which do not count"),
    _own("practice", "flag", "A prompt to practise with; never counted"),
    _own("test_person", "flag", "A person who tries the app out; never counted"),
)
PLACES = (
    _own("wave", "text", "Wave of the study"),
    _own("site", "text", "Site of the person"),
    _own("arm", "text", "Arm of the person"),
    _own("dyad", "text", "Dyad of the person"),
    _own("role", "text", "Role of the person in the dyad"),
)
CLOCK = (
    _own("weekend", "whole", "Saturday or Sunday, by the person's own calendar", levels=((0, "no"), (1, "yes"))),
    _own("hour", "number", "Time of day, by the person's own clock", low=0, high=24, unit="hours"),
    _own("sin24", "number", "Sine of the time of day"),
    _own("cos24", "number", "Cosine of the time of day"),
    _own("sin_year", "number", "Sine of the time of year"),
    _own("cos_year", "number", "Cosine of the time of year"),
)
