"""From planned prompts to rows in a model: the flow, its oddities, compliance and latency (METHODS §3, items 4 to 8).

Pure counting on the frame that a night reads, one row per prompt. Nothing is dropped without a row that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.words import counted, joined, number, share

ANSWERED = ("answered", "late")
"""Statuses whose answers count."""
HISTOGRAM_MINUTES = 60
HISTOGRAM_BIN = 2


def scheduled_prompts(frame: pd.DataFrame, plan: Mapping[str, Any]) -> pd.DataFrame:
    """The prompts that the study is about: the plan's questionnaire, without practice and without test persons."""
    about = plan.get("questionnaire")
    ours = ~frame["practice"].astype(bool) & ~frame["test_person"].astype(bool)
    if about is not None:
        ours &= frame["questionnaire"] == about
    return frame[ours]


def flow(prompts: pd.DataFrame, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Planned → recorded → answered → used in each model: rows of key, label, count, of (the denominator) and note.

    `models` holds key, title, status, n_rows and rows_dropped of each model, in the plan's order.
    """
    n = _counts(prompts)
    rows = [
        _row("planned", "planned", n["planned"], None, _design_note(prompts)),
        _row("recorded", "recorded", n["recorded"], n["planned"], f"{n['no_record']:,} planned prompts have no record"),
        _row(
            "answered",
            "answered",
            n["answered"],
            n["planned"],
            f"{share(n['answered'], n['planned'])} of planned, {share(n['answered'], n['recorded'])} of recorded",
        ),
    ]
    for place, model in enumerate(models, start=1):
        label = f"in model {place}"
        if model["status"] == "failed":
            rows.append(_row(f"model:{model['key']}", label, 0, n["answered"], "the model could not be fitted"))
            continue
        dropped = model["rows_dropped"]
        note = (
            f"{model['title']}: every answer"
            if not dropped
            else f"{model['title']}: {dropped:,} without outcome or predictor"
        )
        rows.append(_row(f"model:{model['key']}", label, model["n_rows"], n["answered"], note))
    return rows


def oddities(frame: pd.DataFrame, plan: Mapping[str, Any], uploads: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What was unusual in these data and what was done about it; only what occurred.

    Rows of key, label, count and sentence. `uploads` counts batches, stored, duplicate, conflict and rejected submissions.
    """
    prompts = scheduled_prompts(frame, plan)
    status = prompts["status"]
    cutoff = plan.get("late_cutoff_minutes")
    within = f"within {cutoff:g} minutes" if cutoff is not None else "at any time"
    counted_rows = ~frame["practice"].astype(bool) & ~frame["test_person"].astype(bool)
    other = counted_rows & (frame["questionnaire"] != plan.get("questionnaire", frame["questionnaire"]))
    zones = sorted(str(zone) for zone in prompts["zone"].unique())
    held = int(prompts.loc[status.isin(["expired_with_answers", "cancelled_with_answers"]), "held_items"].sum())
    found = [
        ("no_record", "planned, no record", _n(status == "no_record"), "Nothing ever came from the phone for these prompts; the picture leaves them blank."),
        ("expired", "expired", _n(status == "expired"), "Prompts that ran out without an answer."),
        ("expired_with_answers", "expired, hold answers", _n(status == "expired_with_answers"), "Prompts that ran out with some items answered: the answers are kept and not used."),
        ("cancelled", "cancelled", _n(status == "cancelled"), "Prompts that the person cancelled."),
        ("cancelled_with_answers", "cancelled, hold answers", _n(status == "cancelled_with_answers"), f"Prompts that were cancelled after some items: kept and not used ({held:,} item values with those of expired prompts)."),
        ("late", "answered late, used", _n(status == "late"), f"Answered {within} after the window closed; the plan counts them as answers."),
        ("too_late", "answered too late", _n(status == "too_late"), f"Answered later than the plan's {cutoff:g} minutes after the window: kept and not used." if cutoff is not None else "Kept and not used."),
        ("reissued", "re-issued prompts", _n(prompts["reissues"] > 0), "The phone issued the same prompt again; each counts as one prompt."),
        ("repeats", "repeated answers", int(prompts["repeats"].sum()), "Further answers to a prompt that was already answered: the first one counts, the others are kept and not used."),
        ("answer_before_prompt", "answered before the prompt", _n(prompts["latency_minutes"] < 0), "By the phone's clock the answer came before its prompt: used, and not counted in the time to answer."),
        ("zones", "time zones", len(zones) if len(zones) > 1 else 0, f"People answered in {joined(zones)}; days and hours are each person's own local time." if zones else ""),
        ("moved", "changed zone", _n(prompts.groupby("person")["zone"].nunique() > 1), "People who changed time zone during the study; each prompt keeps the zone it was planned in."),
        ("clock_change", "clock changes", _clock_changes(prompts), "People whose clock was put forward or back during the study; intervals are computed in UTC."),
        ("practice", "practice prompts", _n(frame["practice"].astype(bool)), "Left out of every count and model."),
        ("test_person", "test persons' prompts", _n(frame["test_person"].astype(bool)), "Left out of every count and model."),
        ("other_questionnaire", "other questionnaires", _n(other), "Prompts of questionnaires that this plan does not analyse."),
    ]  # fmt: skip
    sent = uploads or {}
    found += [
        ("upload_duplicate", "uploads sent again", int(sent.get("duplicate", 0)), "Phones sent these answers more than once; each is stored once."),
        ("upload_conflict", "uploads in conflict", int(sent.get("conflict", 0)), "The same answer came with different content: both are kept, the first one counts."),
        ("upload_rejected", "uploads refused", int(sent.get("rejected", 0)), "Could not be read as an answer; the bytes are kept for a person to look at."),
    ]  # fmt: skip
    return [
        {"key": key, "label": label, "count": count, "sentence": sentence}
        for key, label, count, sentence in found
        if count
    ]


def compliance(prompts: pd.DataFrame) -> dict[str, Any]:
    """Answers of planned and of recorded prompts: overall, of the median person, per day, and per person × day.

    `persons` are sorted by answers, most first; each has `days`: [answered, recorded, planned] for day 1, 2, …
    """
    n = _counts(prompts)
    last = int(prompts["day"].max()) if len(prompts) else 0
    marks = pd.DataFrame(
        {
            "person": prompts["person"],
            "day": prompts["day"],
            "answered": prompts["status"].isin(ANSWERED),
            "recorded": prompts["status"] != "no_record",
            "planned": True,
        }
    )
    names = ["answered", "recorded", "planned"]
    cells = marks.groupby(["person", "day"], sort=True)[names].sum().astype(int)
    cube = {person: np.zeros((last, 3), dtype=int) for person in prompts["person"].unique()}
    places = zip(cells.index.get_level_values("person"), cells.index.get_level_values("day"), strict=True)
    for (person, day), row in zip(places, cells.to_numpy(), strict=True):
        cube[person][int(day) - 1] = row
    persons: list[dict[str, Any]] = [
        {
            "person": str(person),
            "planned": int(days[:, 2].sum()),
            "answered": int(days[:, 0].sum()),
            "days": days.tolist(),
        }
        for person, days in cube.items()
    ]
    persons.sort(key=lambda each: (-each["answered"], each["person"]))
    per_day = marks.groupby("day", sort=True)[names].sum().astype(int).reindex(range(1, last + 1), fill_value=0)
    rates = [each["answered"] / each["planned"] for each in persons if each["planned"]]
    counts = [each["answered"] for each in persons]
    return {
        "planned": n["planned"],
        "recorded": n["recorded"],
        "answered": n["answered"],
        "of_planned": n["answered"] / n["planned"] if n["planned"] else None,
        "of_recorded": n["answered"] / n["recorded"] if n["recorded"] else None,
        "median_person": float(np.median(rates)) if rates else None,
        "median_answers": float(np.median(counts)) if counts else None,
        "prompts_per_day": int(cells["planned"].max()) if len(cells) else 0,
        "per_day": [
            {"day": day, **dict(zip(names, sums, strict=True))}
            for day, sums in enumerate(per_day.to_numpy().tolist(), 1)
        ],
        "persons": persons,
    }


def latency(prompts: pd.DataFrame) -> dict[str, Any] | None:
    """Minutes from prompt to answer of the answers that count: median, shares over 15 and 30, and a histogram.

    The histogram has bins of 2 minutes up to 60 and one for what is later. None where no prompt has a sensible time.
    """
    minutes = prompts.loc[prompts["status"].isin(ANSWERED), "latency_minutes"].to_numpy(dtype=float)
    minutes = minutes[np.isfinite(minutes) & (minutes >= 0)]
    if not len(minutes) or not minutes.any():
        return None
    edges = np.append(np.arange(0, HISTOGRAM_MINUTES + 1, HISTOGRAM_BIN), np.inf)
    counts, _ = np.histogram(minutes, edges)
    median = float(np.median(minutes))
    late = float(np.mean(minutes > 30))
    return {
        "n": len(minutes),
        "median": median,
        "share_over_15": float(np.mean(minutes > 15)),
        "share_over_30": late,
        "histogram": [
            {"from": float(low), "to": None if np.isinf(high) else float(high), "count": int(count)}
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ],
        "sentence": f"Half within {number(median, 0 if median >= 10 else 1)} minutes; {share(late, 1)} later than 30.",
    }


def _counts(prompts: pd.DataFrame) -> dict[str, int]:
    status = prompts["status"]
    return {
        "planned": len(prompts),
        "recorded": _n(status != "no_record"),
        "no_record": _n(status == "no_record"),
        "answered": _n(status.isin(ANSWERED)),
    }


def _design_note(prompts: pd.DataFrame) -> str:
    if prompts.empty:
        return "nobody was prompted yet"
    per_day = int(prompts.groupby(["person", "day"]).size().max())
    people, days = prompts["person"].nunique(), int(prompts["day"].max())
    return f"{counted(people, 'person', 'people')}, {counted(days, 'day')}, {counted(per_day, 'prompt')} a day"


def _clock_changes(prompts: pd.DataFrame) -> int:
    """Persons whose offset from UTC changed while they stayed in one zone."""
    offsets = prompts.groupby(["person", "zone"])["utc_offset_minutes"].nunique()
    return int(offsets[offsets > 1].index.get_level_values("person").nunique())


def _row(key: str, label: str, count: int, of: int | None, note: str) -> dict[str, Any]:
    return {"key": key, "label": label, "count": int(count), "of": of, "note": note}


def _n(mask: pd.Series) -> int:
    return int(mask.sum())
