"""What becomes of people's prompts, as rows and events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from ema_server.participants.models import Device
from ema_server.sampling.changes import Ahead, Changes
from ema_server.sampling.decisions import write_decisions
from ema_server.sampling.models import Planning, PromptEvent
from ema_server.sampling.plan import Draw, clocks
from ema_server.sampling.planning import Row, copy_prompts, rows_of

Kind = PromptEvent.Kind
BATCH = 2000


def rewrite(found: Sequence[tuple[Planning, Changes]], *, code: str, device: Device | None, now: datetime) -> None:
    """Write plannings of one study and what each changes: rows that move, rows that are new, an event for whatever was
    there."""
    Planning.objects.bulk_create(planning for planning, _ in found)
    moving: list[dict[str, Any]] = []
    fresh: dict[Planning, list[Row]] = {}
    events: list[PromptEvent] = []
    for planning, changes in found:
        common: dict[str, Any] = {"study_id": planning.study_id, "device": device, "received_at": now}
        told = {**common, "code": code, "reason": _why(planning)}
        zone = ZoneInfo(planning.facts["zone"])
        for kind, pairs in (
            (Kind.RESCHEDULED, [*changes.moved, *changes.altered]),
            (Kind.RESTORED, changes.restored),
        ):
            for prompt, draw in pairs:
                moving.append(_row(prompt, draw, planning, zone))
                events.append(
                    PromptEvent(prompt_id=prompt.id, kind=kind, was_at=prompt.opens, now_at=draw.opens, **told)
                )
        events += [PromptEvent(prompt_id=each.id, kind=Kind.CANCELLED, **told) for each in changes.called_off]
        close = rows_of([each for each in changes.too_close if isinstance(each, Draw)], planning)
        fresh[planning] = [*rows_of(changes.added, planning), *close]
        gap = planning.plan.document.get("gap_minutes", 0)
        why = f"closer than {gap} minutes to a prompt that stays"
        events += [
            PromptEvent(prompt_id=pk, kind=Kind.CANCELLED, code=PromptEvent.Code.TOO_CLOSE, reason=why, **common)
            for pk in [
                *(each.pk for each in close),
                *(each.id for each in changes.too_close if isinstance(each, Ahead)),
            ]
        ]
    if moving:
        _move(moving)
    if any(fresh.values()):
        copy_prompts(row for rows in fresh.values() for row in rows)
        for planning, rows in fresh.items():
            write_decisions(rows, planning)
    PromptEvent.objects.bulk_create(events, batch_size=BATCH)


def _row(prompt: Ahead, draw: Draw, planning: Planning, zone: ZoneInfo) -> dict[str, Any]:
    at = clocks(draw.opens, zone)
    return {
        "id": str(prompt.id), "planning": planning.pk, "plan": planning.plan_id, "scheduled_at": draw.opens.isoformat(),
        "expires_at": draw.closes.isoformat(), "local_date": str(at["local_date"]), "local_time": str(at["local_time"]),
        "zone": at["zone"], "utc_offset_minutes": at["utc_offset_minutes"], "questionnaire": draw.questionnaire,
        "wave": draw.wave, "practice": draw.practice, "grace_minutes": draw.grace_minutes,
    }  # fmt: skip


def _move(rows: list[dict[str, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE sampling_prompt p SET planning_id = r.planning, plan_id = r.plan, scheduled_at = r.scheduled_at,
                expires_at = r.expires_at, local_date = r.local_date, local_time = r.local_time, zone = r.zone,
                utc_offset_minutes = r.utc_offset_minutes, questionnaire = r.questionnaire, wave = r.wave,
                practice = r.practice, grace_minutes = r.grace_minutes
            FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, planning bigint, plan bigint, scheduled_at timestamptz,
                expires_at timestamptz, local_date date, local_time time, zone text, utc_offset_minutes smallint,
                questionnaire text, wave text, practice boolean, grace_minutes smallint)
            WHERE p.id = r.id
            """,
            [json.dumps(rows)],
        )


def _why(planning: Planning) -> str:
    if planning.cause == Planning.Cause.ZONE:
        return f"the person is in {planning.facts['zone']}"
    if planning.cause == Planning.Cause.PLAN:
        return f"version {planning.plan.number} of the sampling plan"
    if planning.change_id is None:
        return f"the person is in the arm {planning.facts['arm'] or 'of nobody'}"
    return "this person's schedule changed"
