"""What the phone API's document says of the API as a whole. Knows no Django: settings.py reads it."""

from __future__ import annotations

from typing import Any, Final

DESCRIPTION: Final = """\
What a phone app sends and reads. Nothing that was acknowledged is ever lost: an answer of 200 to `POST submissions` comes after a \
durable commit, and whatever was sent twice is stored once.

**Errors** are RFC 9457 problem documents (`application/problem+json`) with a stable `code`, on which programs switch; all codes are \
in docs/problem-codes.md. Codes may be added: treat one that is new to you by its `status`. After 429 and 503 wait for `Retry-After` \
seconds, after any 5xx keep everything and try again; any other 4xx will be answered alike until the request changes.

**Times** are ISO 8601 with their offset (`2026-03-02T09:30:00+01:00`); a time without one is refused. **Zones** are IANA names. \
**Ids** of what a phone sends are its own UUIDs, kept through every retry.

**Forward compatibility**: unknown members of answers are to be ignored, and members that a call does not know are ignored by it."""


def _tag(name: str, description: str, *paths: str) -> dict[str, Any]:
    return {"name": name, "description": description, "x-paths": paths}


TAGS: Final = [
    _tag("Enrolment", "How a person and a phone come into a study, and what they agreed to.", "enrolments", "consents"),
    _tag("Phone", "What a phone says about itself, and its credential.", "device", "device-reports"),
    _tag("Schedule", "What to ask and when, and what became of it.", "sync", "prompt-events"),
    _tag("Answers", "What people answered, each acknowledged by a receipt.", "submissions", "manifest"),
    _tag("Rights", "What a person may do at any time.", "pause", "resume", "withdraw", "me"),
    _tag("Documents", "What describes this API and its questionnaires.", "schema", "survey-schema"),
]  # a path's first word below /api/v1/ says which tag its calls have

SPECTACULAR_SETTINGS: Final[dict[str, Any]] = {
    "TITLE": "EMA server: phone API",
    "DESCRIPTION": DESCRIPTION,
    "VERSION": "1",
    "LICENSE": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    "SERVERS": [{"url": "/", "description": "The server that served this document."}],
    "OAS_VERSION": "3.1.0",
    "TAGS": TAGS,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ema_server.common.openapi.named_parts",
        "ema_server.api_document.with_examples",
    ],
}
