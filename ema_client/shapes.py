"""What goes over the wire, as far as this client reads it. Members that it does not know are ignored, and those that an older
server leaves out have a default: that is how both sides may be renewed one after the other."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Status = Literal["stored", "duplicate", "conflict", "rejected"]


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One JSON object."""


class ConsentText(Wire, frozen=True):
    version: str
    digest: str = ""
    texts: dict[str, str] = {}


class StudyShown(Wire, frozen=True):
    slug: str = ""
    title: str = ""
    description: str = ""
    languages: list[str] = []


class Preview(Wire, frozen=True):
    """What a code leads to. Show `consent` before `enrol`; where it is None the study keeps its text elsewhere."""

    study: StudyShown
    consent: ConsentText | None = None
    test: bool = False
    replaces_phone: bool = False


class Enrolment(Wire, frozen=True):
    participant: str
    token: str
    study: StudyShown = StudyShown()


class SurveyVersion(Wire, frozen=True):
    questionnaire: str
    version: int
    document: dict[str, Any]


class Decision(Wire, frozen=True):
    option: str
    probability: float = 1.0
    options: dict[str, float] = {}
    rest_minutes: int = 0


class Prompt(Wire, frozen=True):
    id: str
    questionnaire: str
    survey_version: int
    day: int
    slot: int
    scheduled_at: str
    expires_at: str
    grace_minutes: int = 0
    remind_at: list[str] = []
    local: str = ""
    zone: str = ""
    practice: bool = False
    wave: str = ""
    decision: Decision | None = None


class Sync(Wire, frozen=True):
    """All that a phone needs to go offline. `events`, `follow_ups`, `messages` and `consent` are as docs/phone-api.md says."""

    surveys: list[SurveyVersion] = []
    prompts: list[Prompt] = []
    events: list[dict[str, Any]] = []
    follow_ups: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    consent: dict[str, Any] | None = None
    travel: str = ""
    server_time: str = ""


class Submission(Wire, frozen=True):
    """One filled-in questionnaire. What is not said is left out."""

    client_id: str
    questionnaire: str
    survey_version: int
    answers: dict[str, Any]
    answered_at: str
    prompt: str | None = None
    started_at: str | None = None
    zone: str | None = None
    complete: bool = True
    shown: list[str] | None = None
    response_ms: dict[str, int] | None = None


class PromptEvent(Wire, frozen=True):
    id: str
    prompt: str
    kind: str
    at: str
    reason: str = ""
    code: str = ""


class DeviceReport(Wire, frozen=True):
    id: str
    at: str
    battery: float | None = None
    charging: bool | None = None
    platform: str = ""
    os_version: str = ""
    app_version: str = ""
    zone: str = ""
    permissions: dict[str, bool] = {}
    queue: int | None = None
    clock_ahead_ms: int | None = None


class Receipt(Wire, frozen=True):
    """What became of one item: `client_id` of a submission, `id` of anything else; empty where the server could read none."""

    status: Status
    client_id: str = ""
    id: str = ""
    code: str = ""
    detail: str = ""


class Receipts(Wire, frozen=True):
    receipts: list[Receipt]


class Problem(Wire, frozen=True):
    """An RFC 9457 problem document. Switch on `code`; `detail` is for people."""

    code: str = ""
    detail: str = ""
    title: str = ""
    limit_items: int | None = None
    limit_bytes: int | None = None
