"""A server of the phone API in memory, as small as its promises: what the client's tests speak with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx


@dataclass
class FakeServer:
    """`before` and `after` are called round each call and may raise, as a network does."""

    submissions: dict[str, Any] = field(default_factory=dict)
    conflicts: list[Any] = field(default_factory=list)
    quarantine: list[Any] = field(default_factory=list)
    events: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, Any] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)  # by the enrolment's request id
    tokens: dict[str, str] = field(default_factory=dict)  # each good credential, and whose it is
    wishes: list[str] = field(default_factory=list)
    calls: list[tuple[str, int]] = field(default_factory=list)
    limit_items: int = 500
    limit_bytes: int = 1_000_000
    version: int = 1
    answer_next: list[httpx.Response] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    pending: tuple[str, str] | None = None  # the token that was rotated away, and its successor

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.before()
        path = request.url.path.removeprefix("/api/v1/")
        answer = self.answer_next.pop(0) if self.answer_next else self._answer(path, request)
        self.calls.append((path, answer.status_code))
        self.after()
        return answer

    def _answer(self, path: str, request: httpx.Request) -> httpx.Response:
        if len(request.content) > self.limit_bytes:
            return problem(413, "too_large", limit_bytes=self.limit_bytes)
        body = json.loads(request.content) if request.content else {}
        if path == "enrolments/preview":
            consent = {"version": "2", "digest": "d1", "texts": {"en": "We ask you …"}}
            return httpx.Response(
                200, json={"study": {"slug": "s", "title": "S", "languages": ["en"]}, "consent": consent}
            )
        if path == "enrolments":
            return self._enrol(body)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return problem(401, "unknown_credential")
        if self.pending and token == self.pending[1]:
            self.tokens.pop(self.pending[0], None)
            self.pending = None
        return self._of_a_phone(path, body, request, token)

    def _enrol(self, body: dict[str, Any]) -> httpx.Response:
        if self.people and body["request_id"] not in self.people:
            return problem(409, "code_not_valid")
        self.people.setdefault(body["request_id"], "P1")
        token = uuid4().hex
        self.tokens = {token: "P1"}
        return httpx.Response(201, json={"participant": "P1", "token": token, "study": {"slug": "s", "title": "S"}})

    def _of_a_phone(self, path: str, body: Any, request: httpx.Request, token: str) -> httpx.Response:
        if path == "sync":
            etag = f'"{self.version}"'
            if request.headers.get("If-None-Match") == etag:
                return httpx.Response(304, headers={"ETag": etag})
            survey = {"questionnaire": "momentary", "version": self.version, "document": {}, "from_tomorrow": True}
            return httpx.Response(200, json={"surveys": [survey], "prompts": []}, headers={"ETag": etag})
        if path == "submissions":
            return self._batch(body["items"], self._submission)
        if path == "prompt-events":
            return self._batch(body["events"], lambda each: _once(self.events, each))
        if path == "device-reports":
            return self._batch(body["reports"], lambda each: _once(self.reports, each))
        if path == "manifest":
            return httpx.Response(200, json=self._manifest(body))
        if path == "device/credential":
            fresh = uuid4().hex
            if self.pending:
                self.tokens.pop(self.pending[1], None)
            self.tokens[fresh], self.pending = "P1", (token, fresh)
            return httpx.Response(200, json={"token": fresh, "overlap_seconds": 86400})
        if path in ("pause", "resume", "withdraw"):
            self.wishes.append(path if "data" not in body else f"{path} {body['data']}")
            return httpx.Response(200, json={})
        return problem(404, "not_found")

    def _manifest(self, asked: dict[str, list[str]]) -> dict[str, dict[str, str]]:
        held = {"submissions": self.submissions, "events": self.events, "reports": self.reports}
        quarantine = {each["client_id"] for each in self.quarantine}
        return {
            kind: {
                each: "stored" if each in held[kind] else "quarantined" if each in quarantine else "unknown"
                for each in asked.get(kind, [])
            }
            for kind in held
        }

    def _batch(self, items: list[Any], one: Callable[[Any], dict[str, Any]]) -> httpx.Response:
        if not 1 <= len(items) <= self.limit_items:
            return problem(413, "batch_size", limit_items=self.limit_items)
        return httpx.Response(200, json={"receipts": [one(each) for each in items]})

    def _submission(self, item: Any) -> dict[str, Any]:
        name = item["client_id"]
        if item["answers"].get("stress", 0) > 100:
            self.quarantine.append(item)
            detail = f"stress: {item['answers']['stress']} is outside 0 to 100."
            return {"client_id": name, "status": "rejected", "code": "invalid_answer", "detail": detail}
        if name not in self.submissions:
            self.submissions[name] = item
            return {"client_id": name, "status": "stored"}
        if self.submissions[name] == item:
            return {"client_id": name, "status": "duplicate"}
        self.conflicts.append(item)
        return {"client_id": name, "status": "conflict", "code": "other_content"}


def _once(held: dict[str, Any], each: Any) -> dict[str, Any]:
    status = "duplicate" if each["id"] in held else "stored"
    held[each["id"]] = each
    return {"id": each["id"], "status": status}


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    retry = {"Retry-After": "10"} if status in (429, 503) else {}
    return httpx.Response(status, json={"code": code, "status": status, "detail": code, **more}, headers=retry)
