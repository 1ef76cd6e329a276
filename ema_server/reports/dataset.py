"""The rows that a night reads: one per prompt that was due, missed ones included."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from django.db.models import Exists, OuterRef

from ema_server.participants.models import Participant
from ema_server.participants.person_table import typed_frame_columns
from ema_server.participants.queries import current_person_table, series_values
from ema_server.reports.columns import derive
from ema_server.responses.models import Submission
from ema_server.sampling import queries
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.models import Study
from ema_server.surveys.columns import Column, columns, values
from ema_server.surveys.document import Survey

USED = ("answered", "late")
SUBMISSION_FIELDS = ("id", "prompt_id", "payload", "complete", "answered_at", "received_at", "survey_version_id")
PROMPT_FIELDS = (
    "participant__pseudonym", "questionnaire", "day", "slot", "scheduled_at", "local_date", "local_time", "zone",
    "utc_offset_minutes", "expires_at", "practice", "participant__test_person", "id", "wave", "participant__site",
    "participant__arm", "participant__dyad", "participant__dyad_role",
)  # fmt: skip
PLACE = {"wave": "wave", "site": "participant__site", "arm": "participant__arm", "dyad": "participant__dyad",
         "role": "participant__dyad_role"}  # fmt: skip


def load(study: Study, cutoff: datetime, plan: Mapping[str, Any]) -> pd.DataFrame:
    """Everything known at `cutoff`, one row per prompt due by then, ordered by person and time.

    An answer counts where it was finished inside its window (`answered`) or at most the plan's
    `late_cutoff_minutes` after it (`late`; null: however late). The first finished answer to a prompt is the one that
    counts; further ones are counted in `repeats`. Answers that do not count stay stored; here their items are empty
    and `held_items` says how many open (not sealed) values the server holds. Times are UTC; `scheduled_local` is wall time.
    """
    prompts = list(
        Prompt.objects.filter(study=study, scheduled_at__lte=cutoff, participant__enrolled_at__lte=cutoff)
        .exclude(
            participant__state=Participant.State.ERASED
        )  # asked to be erased: read no more, even before it is done
        .exclude(queries.not_asked(study, cutoff=cutoff) & ~Exists(Submission.objects.filter(prompt=OuterRef("pk"))))
        .order_by("participant__pseudonym", "scheduled_at", "rule")
        .values_list(*PROMPT_FIELDS)
    )
    answers = _answers_by_prompt(study, cutoff)
    events = _events_by_prompt(study, cutoff)
    surveys = {version.pk: version.survey for version in study.survey_versions.all()}
    late = plan.get("late_cutoff_minutes")
    asked = asked_columns(study, questionnaire=plan.get("questionnaire"))
    rows = [_row(dict(zip(PROMPT_FIELDS, prompt, strict=True)), answers, events, surveys, late) for prompt in prompts]
    frame = _typed(pd.DataFrame(rows, columns=[*_COLUMNS, *asked]), asked)
    frame = _with_clock_terms(frame)
    series = partial(series_values, study, cutoff=cutoff)
    return derive(_with_person_table(frame, study, cutoff), plan.get("columns", {}), series)


def as_csv(frame: pd.DataFrame) -> bytes:
    """The frame as the file that is exported; its SHA-256 is the data hash of the report that read it."""
    shown = frame.copy()
    for name in ("scheduled_at", "expires_at", "answered_at", "received_at"):
        shown[name] = shown[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    shown["scheduled_local"] = shown["scheduled_local"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    for name in shown.select_dtypes(bool).columns:
        shown[name] = shown[name].astype(int)
    return shown.to_csv(index=False, lineterminator="\n").encode()


def data_hash(frame: pd.DataFrame) -> str:
    return hashlib.sha256(as_csv(frame)).hexdigest()


_COLUMNS = (
    "person", "questionnaire", "day", "slot", "scheduled_at", "scheduled_local", "zone", "utc_offset_minutes",
    "expires_at", "answered_at", "received_at", "latency_minutes", "status", "used", "held_items", "reissues",
    "repeats", "practice", "test_person", *PLACE,
)  # fmt: skip


def _row(
    prompt: dict[str, Any],
    answers: Mapping[Any, list[dict[str, Any]]],
    events: Mapping[Any, dict[str, int]],
    surveys: Mapping[int, Survey],
    late_cutoff: float | None,
) -> dict[str, Any]:
    """One prompt and what became of it."""
    sent = answers.get(prompt["id"], [])
    seen = events.get(prompt["id"], {})
    finished = [each for each in sent if each["complete"]]
    answer = finished[0] if finished else None
    status = _status(answer, sent, seen, prompt["expires_at"], late_cutoff)
    used = status in USED
    given = sum(value is not None for each in sent for value in each["payload"]["answers"].values())
    row = {
        "person": prompt["participant__pseudonym"],
        "questionnaire": prompt["questionnaire"],
        "day": prompt["day"],
        "slot": prompt["slot"],
        "scheduled_at": prompt["scheduled_at"],
        "scheduled_local": datetime.combine(prompt["local_date"], prompt["local_time"]),
        "zone": prompt["zone"],
        "utc_offset_minutes": prompt["utc_offset_minutes"],
        "expires_at": prompt["expires_at"],
        "answered_at": answer["answered_at"] if answer else None,
        "received_at": answer["received_at"] if answer else None,
        "latency_minutes": _minutes(answer["answered_at"] - prompt["scheduled_at"])
        if answer and answer["answered_at"]
        else np.nan,
        "status": status,
        "used": used,
        "held_items": 0 if used else given,
        "reissues": seen.get("reissued", 0),
        "repeats": max(len(finished) - 1, 0),
        "practice": prompt["practice"],
        "test_person": prompt["participant__test_person"],
        **{column: prompt[field] for column, field in PLACE.items()},
    }
    if used and answer:
        row.update(values(surveys[answer["survey_version_id"]], answer["payload"]["answers"]))
    return row


def _status(
    answer: dict[str, Any] | None,
    sent: list[dict[str, Any]],
    seen: Mapping[str, int],
    expires_at: datetime,
    late_cutoff: float | None,
) -> str:
    """What became of a prompt. A finished answer decides, whatever else a confused phone reported beside it."""
    if answer is not None:
        if answer["answered_at"] is None or answer["answered_at"] <= expires_at:
            return "answered"
        if late_cutoff is None or _minutes(answer["answered_at"] - expires_at) <= late_cutoff:
            return "late"
        return "too_late"
    if seen.get("cancelled") and not seen.get("expired"):
        return "cancelled_with_answers" if sent else "cancelled"
    if seen.get("expired") or sent:
        return "expired_with_answers" if sent else "expired"
    return "no_record"


def _answers_by_prompt(study: Study, cutoff: datetime) -> dict[Any, list[dict[str, Any]]]:
    """Each prompt's submissions in the order in which they were answered; one without a believable time comes last."""
    found: dict[Any, list[dict[str, Any]]] = {}
    sent = Submission.objects.filter(study=study, received_at__lte=cutoff, prompt__isnull=False)
    for each in sent.values(*SUBMISSION_FIELDS):
        found.setdefault(each["prompt_id"], []).append(dict(each))
    for each_list in found.values():
        each_list.sort(
            key=lambda each: (each["answered_at"] is None, each["answered_at"] or each["received_at"], each["id"])
        )
    return found


def _events_by_prompt(study: Study, cutoff: datetime) -> dict[Any, dict[str, int]]:
    found: dict[Any, dict[str, int]] = {}
    for prompt, kind in PromptEvent.objects.filter(study=study, received_at__lte=cutoff).values_list(
        "prompt_id", "kind"
    ):
        counts = found.setdefault(prompt, {})
        counts[kind] = counts.get(kind, 0) + 1
    return found


def asked_columns(study: Study, *, questionnaire: str | None) -> dict[str, Column]:
    """The columns of the plan's questionnaire over all its versions, in the order in which they are asked; where versions
    differ in a column, the newest one describes it."""
    found: dict[str, Column] = {}
    for version in study.survey_versions.order_by("questionnaire", "number"):
        if questionnaire in (None, version.questionnaire):
            found.update({column.name: column for column in columns(version.survey)})
    return found


def _typed(frame: pd.DataFrame, asked: Mapping[str, Column]) -> pd.DataFrame:
    for name in ("scheduled_at", "expires_at", "answered_at", "received_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    frame["scheduled_local"] = pd.to_datetime(frame["scheduled_local"]).astype("datetime64[us]")
    for name in ("used", "practice", "test_person"):
        frame[name] = frame[name].astype(bool)
    for name in ("day", "slot", "utc_offset_minutes", "held_items", "reissues", "repeats"):
        frame[name] = frame[name].astype("int64")
    for name, column in asked.items():
        frame[name] = frame[name].astype(str if column.kind in {"category", "date"} else float)
    return frame


def _with_clock_terms(frame: pd.DataFrame) -> pd.DataFrame:
    """Weekend, time of day and time of year, by the person's own wall clock and calendar."""
    local = frame["scheduled_local"].dt
    frame["weekend"] = (local.day_of_week >= 5).astype("int64")
    frame["hour"] = local.hour + local.minute / 60 + local.second / 3600
    frame["sin24"], frame["cos24"] = np.sin(2 * np.pi * frame["hour"] / 24), np.cos(2 * np.pi * frame["hour"] / 24)
    turn = 2 * np.pi * (local.day_of_year - 1) / 365.25
    frame["sin_year"], frame["cos_year"] = np.sin(turn), np.cos(turn)
    return frame


def _with_person_table(frame: pd.DataFrame, study: Study, cutoff: datetime) -> pd.DataFrame:
    table = current_person_table(study, cutoff)
    for name, (numeric, by_person) in typed_frame_columns(table.columns, table.rows).items() if table else ():
        if name in PLACE and name in frame and frame[name].any():  # where the study has none, the table's stands for it
            continue
        found = frame["person"].map(by_person)
        frame[name] = found.astype(float) if numeric else found.astype(object).where(found.notna(), None)
    return frame


def _minutes(span: timedelta) -> float:
    return span.total_seconds() / 60
