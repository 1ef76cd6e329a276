"""One small shared cast: a live study, its researcher, and phones that speak the API."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from django.test import Client
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.participants.services import invite
from ema_server.reports.services import publish_plan
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import add_member, publish_sampling_plan, publish_survey

NOW = datetime.now(UTC)
MONDAY = date(2026, 3, 2)
SECRET = b"drawn alike in every run of the test"[:32]
SURVEY = {
    "title": "Right now",
    "items": [
        {"name": "support", "type": "slider", "range": [0, 100], "text": "Support?"},
        {"name": "stress", "type": "slider", "range": [0, 100], "text": "Stress?"},
        {"name": "alone", "type": "yesno", "text": "Alone?", "required": False},
    ],
}
SAMPLING = {
    "rules": [
        {
            "key": "momentary",
            "questionnaire": "momentary",
            "open_minutes": 60,
            "times": ["10:00", "13:00", "16:00", "19:00"],
        }
    ]
}
PLAN: dict[str, Any] = {
    "schema": "ema-plan/1",
    "mode": "final",
    "questionnaire": "momentary",
    "occasion": "moment",
    "prompts_per_day": 4,
    "late_cutoff_minutes": 30,
    "columns": {},
    "notes": [],
    "models": [
        {
            "key": "main",
            "title": "Stress on support",
            "role": "primary",
            "formula": "stress ~ within(support) + between(support) + day + (1 | person)",
            "family": "gaussian",
            "reml": True,
            "df": "satterthwaite",
            "outcome": {"name": "stress", "label": "stress", "unit": "points", "range": [0, 100], "axis": "stress"},
            "predictor": {
                "name": "support",
                "label": "support",
                "unit": "points",
                "range": [0, 100],
                "axis": "support",
            },
        }
    ],
}
_numbers = itertools.count(1)


def researcher(email: str = "") -> User:
    return User.objects.create_user(email or f"researcher{next(_numbers)}@example.org", "correct horse battery")


def live_study(
    owner: User | None = None,
    *,
    slug: str = "",
    plan: dict[str, Any] | None = None,
    survey: dict[str, Any] | None = None,
    **more: Any,
) -> Study:
    """A study that collects, from Monday 2 March 2026 for two weeks, with questionnaire, sampling and analysis plan."""
    study = Study.objects.create(
        slug=slug or f"study-{next(_numbers)}",
        title="A study",
        state=Study.State.LIVE,
        zone="Europe/Amsterdam",
        starts_on=MONDAY,
        ends_on=MONDAY + timedelta(days=13),
        **{"secret": SECRET, **more},
    )
    with scope(study=study):
        if owner:
            add_member(study=study, user=owner, role=Membership.Role.OWNER)
        publish_survey(study=study, questionnaire="momentary", document=survey or SURVEY)
        publish_sampling_plan(study=study, document=SAMPLING)
        publish_plan(study=study, document=plan or PLAN)
    return study


@dataclass
class FakePhone:
    """A phone over Django's test client."""

    study: Study
    pseudonym: str = "P1"
    first_day: date | None = MONDAY
    last_day: date | None = MONDAY + timedelta(days=6)
    zone: str = "Europe/Amsterdam"
    token: str = ""
    prompts: list[dict[str, Any]] = field(default_factory=list)

    def enrolled(self) -> FakePhone:
        _, code = invite(
            study=self.study, pseudonym=self.pseudonym, now=NOW, first_day=self.first_day, last_day=self.last_day
        )
        answer = self.call("POST", "enrolments", self.enrolment(code))
        assert answer.status_code == 201, answer.content
        self.token = answer.json()["token"]
        self._in_before_the_first_day()
        self.prompts = self.call("GET", "sync").json()["prompts"]
        return self

    def _in_before_the_first_day(self) -> None:
        """Whoever enrols today for a study of last spring has been in since before it: else all had come before they were in."""
        person = self.study.participants.get(pseudonym=self.pseudonym)
        since = datetime.combine(person.first_day, time(0), ZoneInfo(self.zone))
        if person.enrolled_at > since and self.first_day is not None:
            self.study.participants.filter(pk=person.pk).update(enrolled_at=since)

    def enrolment(self, with_code: str, /, **more: Any) -> dict[str, Any]:
        return {
            "code": with_code,
            "zone": self.zone,
            "consent": {"version": "1", "given_at": "2026-03-01T09:00:00+01:00"},
            "device": {"platform": "android"},
            **more,
        }

    def call(self, method: str, path: str, body: Any = None, raw: bytes | None = None, **headers: str) -> Any:
        if self.token:
            headers = {"Authorization": f"Bearer {self.token}", **headers}
        data = raw if raw is not None else (json.dumps(body) if body is not None else "")
        return Client(raise_request_exception=False).generic(
            method, f"/api/v1/{path}", data, content_type="application/json", headers=headers
        )

    def item(self, prompt: int | None = 0, *, minutes: float = 5, **more: Any) -> dict[str, Any]:
        """A filled-in questionnaire for the n-th prompt, answered some minutes after it came."""
        planned = self.prompts[prompt or 0]
        answered = datetime.fromisoformat(planned["scheduled_at"]) + timedelta(minutes=minutes)
        return {
            "client_id": str(uuid4()),
            "prompt": planned["id"] if prompt is not None else None,
            "questionnaire": "momentary",
            "survey_version": 1,
            "answers": {"support": 60, "stress": 30},
            "answered_at": answered.isoformat(),
            **more,
        }

    def submit(self, *items: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.call("POST", "submissions", {"items": list(items)})
        assert answer.status_code == 200, answer.content
        receipts: list[dict[str, Any]] = answer.json()["receipts"]
        return receipts

    def report(self, place: int, outcome: str, /, **more: Any) -> list[dict[str, Any]]:
        event = {
            "id": str(uuid4()),
            "prompt": self.prompts[place]["id"],
            "kind": outcome,
            "at": "2026-03-02T11:00:00+01:00",
            **more,
        }
        answer = self.call("POST", "prompt-events", {"events": [event]})
        assert answer.status_code == 200, answer.content
        receipts: list[dict[str, Any]] = answer.json()["receipts"]
        return receipts
