"""What of a submission may lie open, and what must be sealed: pure rules, and the way back.

Open: what the server itself gave out (ids, versions, names of items), checked times and zones, and answers that are numbers, yes
or no, dates and times, or offered options. Everything else that a phone sent, free text above all, can say who somebody is; so
can an item that the questionnaire calls sensitive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from ema_server.surveys.document import Survey

OPEN = (
    "client_id", "prompt", "questionnaire", "survey_version", "answered_at", "started_at", "complete", "shown", "response_ms",
)  # fmt: skip


def split(payload: Mapping[str, Any], survey: Survey) -> tuple[dict[str, Any], str | None]:
    """The open part and the JSON of the part to seal (None where there is nothing), from a payload that was checked."""
    shown = {name: payload[name] for name in OPEN if name in payload}
    if "zone" in payload and _is_zone(payload["zone"]):
        shown["zone"] = payload["zone"]
    hidden = {name: value for name, value in payload.items() if name not in shown and name != "answers"}
    words = {
        name: value for name, value in payload["answers"].items() if value is not None and survey.by_name[name].sealed
    }
    shown["answers"] = {name: value for name, value in payload["answers"].items() if name not in words}
    if words:
        hidden["answers"] = words
    return shown, json.dumps(hidden, ensure_ascii=False) if hidden else None


def merge(shown: Mapping[str, Any], hidden: str | None) -> dict[str, Any]:
    """The payload as it was sent."""
    more: dict[str, Any] = json.loads(hidden) if hidden else {}
    return {**shown, **more, "answers": {**shown["answers"], **more.get("answers", {})}}


def _is_zone(text: Any) -> bool:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError, TypeError):
        return False
    return True
