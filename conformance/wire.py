"""HTTP as the checks use it: plain calls, bodies byte by byte, and connections that are cut."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from conformance.answers import Filled, fill

ZONE = "Europe/Amsterdam"
PATIENCE = 10.0  # seconds that a 503 or 429 is waited out for at most, each time


class Problematic(Exception):
    """A call that had to work did not; the text says which and how."""


@dataclass
class Api:
    """One server."""

    url: str
    insecure: bool = False

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.http = httpx.Client(
            base_url=self.url, timeout=60.0, trust_env=False, verify=not self.insecure, follow_redirects=False
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> httpx.Response:
        """One call. "Not now" (429, 503) is waited out three times: it breaks no promise."""
        content = raw if raw is not None else (None if body is None else msgspec.json.encode(body))
        sent = dict(headers)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        for _ in range(3):
            answer = self.http.request(method, f"/api/v1/{path}", content=content, headers=sent)
            if answer.status_code not in (429, 503):
                break
            asked = answer.headers.get("Retry-After", "1")
            time.sleep(min(PATIENCE, float(asked) if asked.isdigit() else 1.0))
        return answer

    def cut(
        self, method: str, path: str, body: bytes, *, token: str, send: int | None = None, after: float = 0.0
    ) -> None:
        """Send a request, or its first `send` bytes of body, wait a little and break the connection without reading."""
        url = httpx.URL(self.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        to: socket.socket = socket.create_connection((url.host, port), timeout=30)
        if url.scheme == "https":
            context = ssl.create_default_context()
            if self.insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            to = context.wrap_socket(to, server_hostname=url.host)
        head = (
            f"{method} {url.path.rstrip('/')}/api/v1/{path} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            to.sendall(head.encode() + body[: len(body) if send is None else send])
            time.sleep(after)
            to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
        finally:
            to.close()


@dataclass
class Phone:
    """One person's phone. `sent` is what the server acknowledged of it as stored, by client id."""

    api: Api
    token: str
    pseudonym: str
    sync: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def enrolled(cls, api: Api, code: str) -> Phone:
        preview = api.call("POST", "enrolments/preview", {"code": code})
        consent = preview.json().get("consent") if preview.status_code == 200 else None
        answer = api.call("POST", "enrolments", enrolment(code, consent))
        if answer.status_code != 201:
            raise Problematic(f"POST enrolments with this code: {shown(answer)}")
        said = answer.json()
        phone = cls(api, said["token"], said["participant"])
        phone.synced()
        return phone

    def synced(self) -> dict[str, Any]:
        answer = self.call("GET", "sync")
        if answer.status_code != 200:
            raise Problematic(f"GET sync: {shown(answer)}")
        self.sync = answer.json()
        return self.sync

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return self.api.call(method, path, body, token=self.token, **more)

    def filled(self, variant: int = 0) -> tuple[dict[str, Any], Filled]:
        """The first questionnaire that can be answered, and answers to it."""
        for survey in self.sync.get("surveys", []):
            answers = fill(survey["document"], variant)
            if answers.values:
                return survey, answers
        raise Problematic(
            "GET sync gives no questionnaire that can be answered; publish one with an unconditional item."
        )

    def item(self, variant: int = 0, /, **more: Any) -> dict[str, Any]:
        """A filled-in questionnaire under a fresh id, answered a minute ago, on no prompt."""
        survey, filled = self.filled(variant)
        item = {
            "client_id": str(uuid4()),
            "questionnaire": survey["questionnaire"],
            "survey_version": survey["version"],
            "answers": filled.values,
            "answered_at": moment(minutes=-1),
            "zone": ZONE,
            "complete": filled.complete,
            **more,
        }
        return {name: value for name, value in item.items() if value is not None}

    def post(self, items: Sequence[Any] | None = None, *, raw: bytes | None = None) -> httpx.Response:
        return self.call("POST", "submissions", None if items is None else {"items": list(items)}, raw=raw)

    def submit(self, *items: Any, raw: bytes | None = None) -> list[dict[str, Any]]:
        """The receipts; an answer other than 200 ends the check in words."""
        answer = self.post(items or None, raw=raw)
        if answer.status_code != 200:
            raise Problematic(f"POST submissions: {shown(answer)}")
        receipts: list[dict[str, Any]] = answer.json()["receipts"]
        for item, receipt in zip(items, receipts, strict=False):
            if receipt["status"] == "stored":
                self.sent[receipt["client_id"].lower()] = item
        return receipts

    def statuses(self, *items: Any) -> list[str]:
        return [receipt["status"] for receipt in self.submit(*items)]

    def manifest(self, ids: Sequence[str], member: str = "submissions") -> dict[str, str]:
        """What the server says of these ids: stored, conflict, quarantined or unknown."""
        answer = self.call("POST", "manifest", {member: list(ids)})
        if answer.status_code != 200:
            raise Problematic(f"POST manifest: {shown(answer)}")
        said: dict[str, str] = answer.json()[member]
        return said


def enrolment(code: str, shown_text: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"version": "1", "given_at": moment(minutes=-5)}
    if shown_text is not None:
        given |= {name: shown_text[name] for name in ("version", "digest") if name in shown_text}
    device = {"platform": "conformance", "app_version": "1.0"}
    return {"code": code, "zone": ZONE, "consent": given, "device": device, "request_id": str(uuid4())} | more


def moment(**ago: float) -> str:
    return (datetime.now(UTC) + timedelta(**ago)).isoformat(timespec="milliseconds")


def shown(answer: httpx.Response) -> str:
    """An answer as evidence: never so long that the sentence is lost."""
    words = " ".join(answer.text.split())
    return f"{answer.status_code} {words[:160]}{'…' if len(words) > 160 else ''}"
