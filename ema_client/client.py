"""The client itself: each method is one sentence that an app says, and may be said again after any crash."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import msgspec

from ema_client.calls import Calls, Closed, Later, NotUnderstood, Refused, read
from ema_client.shapes import (
    ConsentText,
    DeviceReport,
    Enrolment,
    Preview,
    PromptEvent,
    Receipts,
    Submission,
    Sync,
    Wire,
)
from ema_client.store import Kept, Kind, Settled, Store

MANIFEST_ITEMS = 500
HELD = frozenset({"stored", "conflict", "quarantined"})


class _Way(NamedTuple):
    """Where a kind of item goes."""

    kind: Kind
    path: str
    member: str
    manifest: str
    most: int


_WAYS = (
    _Way("submission", "submissions", "items", "submissions", 500),
    _Way("event", "prompt-events", "events", "events", 2000),
    _Way("report", "device-reports", "reports", "reports", 500),
)


class _Manifest(Wire, frozen=True):
    submissions: dict[str, str] = {}
    events: dict[str, str] = {}
    reports: dict[str, str] = {}


class _NewToken(Wire, frozen=True):
    token: str


class SuccessorCode(Wire, frozen=True):
    """What the person's new phone enrols with, to show as a QR code."""

    code: str
    expires_at: str = ""
    link: str = ""
    app_link: str = ""


class Client:
    """One phone of one person. `batch` is how many items one upload holds at most."""

    def __init__(
        self,
        server: str,
        store: Store,
        *,
        http: httpx.Client | None = None,
        batch: int = 50,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        rng: Random | None = None,
        tries: int = 6,
    ) -> None:
        self.store = store
        self._batch, self._now = batch, now
        self._http = http or httpx.Client(base_url=server, timeout=30.0)
        self._calls = Calls(self._http, sleep=sleep, now=now, rng=rng or Random(), tries=tries)

    # Coming in ------------------------------------------------------------------------------------------------------------

    def preview(self, code: str) -> Preview:
        """What a code leads to, with the consent text to show. Spends nothing."""
        return read(self._calls.send("POST", "enrolments/preview", _json({"code": code})), Preview)

    def enrol(
        self,
        code: str,
        *,
        zone: str,
        agreed_at: str,
        consent: ConsentText | None,
        device: Mapping[str, str] | None = None,
    ) -> str:
        """Enter the study after the person agreed to the text that was shown; returns the participant's pseudonym.

        The request's own id is kept before it is sent: if the answer is lost, the same call gets this phone in, not an error.
        """
        if self.token is not None:
            return self.store.fact("participant") or ""
        begun = _object(self.store.fact("enrolling"))
        if begun.get("code") != code:
            begun = {"code": code, "request_id": str(uuid4())}
            self.store.note({"enrolling": _json(begun).decode()})
        shown = consent or ConsentText(version="1")
        given: dict[str, Any] = {"version": shown.version, "given_at": agreed_at}
        if shown.digest:
            given["digest"] = shown.digest
        body = {**begun, "zone": zone, "consent": given, "device": dict(device or {})}
        enrolled = read(self._calls.send("POST", "enrolments", _json(body)), Enrolment)
        self.store.note({"token": enrolled.token, "participant": enrolled.participant, "enrolling": None})
        return enrolled.participant

    @property
    def token(self) -> str | None:
        return self.store.fact("token")

    # Knowing what to ask --------------------------------------------------------------------------------------------------

    def sync(self) -> Sync:
        """What to ask, and when. Unchanged since the last time it costs the server next to nothing (304)."""
        etag, kept = self.store.fact("etag"), self.store.fact("sync")
        headers = {"If-None-Match": etag} if etag and kept else {}
        answer = self._send("GET", "sync", headers=headers)
        if answer.status_code == 304 and kept is not None:
            return msgspec.json.decode(kept, type=Sync)
        found = read(answer, Sync)
        self.store.note({"etag": answer.headers.get("ETag"), "sync": answer.text})
        return found

    def kept_sync(self) -> Sync | None:
        """The last sync, without a network."""
        kept = self.store.fact("sync")
        return None if kept is None else msgspec.json.decode(kept, type=Sync)

    # Keeping what happened ------------------------------------------------------------------------------------------------

    def keep(self, submission: Submission) -> None:
        """Keep a filled-in questionnaire, durably, before the app says "thank you". Give it the `client_id` that it got when
        its first item was answered: then an app that is killed and says it again has not said it twice."""
        self.store.put("submission", submission.client_id, msgspec.json.encode(submission))

    def keep_event(self, event: PromptEvent) -> None:
        self.store.put("event", event.id, msgspec.json.encode(event))

    def keep_report(self, report: DeviceReport) -> None:
        self.store.put("report", report.id, msgspec.json.encode(report))

    # Sending it -----------------------------------------------------------------------------------------------------------

    def upload(self) -> Counter[str]:
        """Send all that waits, oldest first, and then what the person wished; how many receipts of each kind came.

        An item leaves the queue with its receipt, whatever that says: `stored` and `duplicate` are held, of a `conflict` both are
        held, what is `rejected` lies in quarantine. Without a receipt it stays, and is sent again with the same id.
        """
        told: Counter[str] = Counter()
        for way in _WAYS:
            try:
                self._upload(way, told)
            except Refused as no:
                if way.kind != "report" or no.status != 404:  # an older server takes no reports: they wait
                    raise
        for wish in self.store.waiting("wish", 1000):
            self._carry_out(wish)
        return told

    def _upload(self, way: _Way, told: Counter[str]) -> None:
        size = most = min(self._batch, way.most)
        while waiting := self.store.waiting(way.kind, size):
            body = b'{"%s":[%s]}' % (way.member.encode(), b",".join(item.body for item in waiting))
            try:
                answer = self._send("POST", way.path, body)
            except Refused as no:
                if no.status not in (400, 413, 422):
                    raise
                if len(waiting) == 1:  # it can never be sent; the others can
                    self.store.settle([Settled(waiting[0].position, "set_aside", no.code, no.problem.detail)])
                    size = most
                    continue
                if no.problem.limit_items:
                    most = min(most, no.problem.limit_items)
                size = max(1, min(most, len(waiting) // 2))
                continue
            settled = _matched(waiting, read(answer, Receipts), way)
            self.store.settle(settled)
            told.update(each.state for each in settled)

    def verify(self) -> Counter[str]:
        """Ask the server which of the acknowledged items it holds; only what it does hold is forgotten here. Anything of which it
        knows nothing, against its word, waits again. So a phone never gives up what is not proved to have arrived."""
        told: Counter[str] = Counter()
        for way in _WAYS:
            after = 0
            while kept := self.store.acknowledged(way.kind, after=after, most=MANIFEST_ITEMS):
                after = kept[-1].position
                asked = _json({way.manifest: [item.id for item in kept]})
                states = getattr(read(self._send("POST", "manifest", asked), _Manifest), way.manifest)
                unknown = [item for item in kept if states.get(item.id, "unknown") not in HELD]
                lost = [item.position for item in unknown if item.state != "rejected"]
                # What was refused and is not in quarantine would be refused again: it stays here, for the app's makers.
                aside = [
                    Settled(item.position, "set_aside", item.code, item.detail)
                    for item in unknown
                    if item.state == "rejected"
                ]
                self.store.settle(aside if way.kind == "submission" else [])
                gone = (
                    {item.position for item in kept}
                    - set(lost)
                    - {each.position for each in aside if way.kind == "submission"}
                )
                self.store.drop(sorted(gone), wait_again=lost)
                told.update(proved=len(gone), missing=len(lost))
        return told

    # The credential -------------------------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Take a new credential. The old one is kept until the new one has served once: whichever answer is lost, one works."""
        fresh = read(self._send("POST", "device/credential"), _NewToken).token
        self.store.note({"token": fresh, "old_token": self.token})

    def successor_code(self) -> SuccessorCode:
        """A code for the person's new phone. Upload first: this phone is closed when the new one enrols."""
        return read(self._send("POST", "device/successor-code"), SuccessorCode)

    def change_device(self, **facts: str) -> None:
        """Tell a new zone (`zone`, `zone_since`), push token or version. Telling it twice changes nothing."""
        self._send("PUT", "device", _json(facts))

    # The person's rights --------------------------------------------------------------------------------------------------

    def pause(self, **body: str) -> Counter[str]:
        return self._wish("pause", body)

    def resume(self) -> Counter[str]:
        return self._wish("resume", {})

    def withdraw(self, *, erase: bool = False) -> Counter[str]:
        """Leave. What waits is handed over first; with `erase` nothing stays, here or there."""
        return self._wish("withdraw", {"data": "erase" if erase else "keep"})

    def export(self) -> Any:
        """All that the server holds of this person."""
        return msgspec.json.decode(self._send("GET", "me/export").content)

    def _wish(self, verb: str, body: Mapping[str, str]) -> Counter[str]:
        """A wish is kept like an answer: said offline, it is carried out by the first upload that gets through."""
        self.store.put("wish", str(uuid4()), _json({"verb": verb, "body": body}))
        return self.upload()

    def _carry_out(self, wish: Kept) -> None:
        said = _object(wish.body)
        try:
            self._send("POST", said["verb"], _json(said["body"]))
        except Closed:
            raise
        except Refused as no:
            self.store.settle([Settled(wish.position, "rejected", no.code, no.problem.detail)])
            return
        if said["body"].get("data") == "erase":
            self.store.wipe()
        else:
            self.store.settle([Settled(wish.position, "stored")])

    # --------------------------------------------------------------------------------------------------------------------

    def _send(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] = {}
    ) -> httpx.Response:
        """A call with the credential, or with the one before it where a rotation was cut in the middle."""
        token, old = self.token, self.store.fact("old_token")
        if token is None:
            raise NotUnderstood("This phone has not enrolled.")
        try:
            answer = self._calls.send(method, path, body, token=token, headers=headers)
        except Closed as closed:
            if closed.code != "unknown_credential" or old is None:
                raise
            answer = self._calls.send(method, path, body, token=old, headers=headers)
            self.store.note({"token": old, "old_token": None})
            return answer
        if old is not None:
            self.store.note({"old_token": None})
        return answer


def notifications(sync: Sync, *, now: datetime, most: int = 64) -> list[tuple[datetime, str]]:
    """The next moments at which a phone should ring, each with its prompt's id: prompts and their reminders until they expire.
    iOS keeps 64 for an app, so the nearest come first, and the app plans again at each sync and each opening."""
    moments = [
        (datetime.fromisoformat(moment), prompt.id)
        for prompt in sync.prompts
        for moment in (prompt.scheduled_at, *prompt.remind_at)
        if now < datetime.fromisoformat(moment) < datetime.fromisoformat(prompt.expires_at)
    ]
    return sorted(moments)[:most]


def _matched(waiting: Sequence[Kept], answer: Receipts, way: _Way) -> list[Settled]:
    """Receipts come in the items' order; an answer that does not match settles nothing."""
    if len(answer.receipts) != len(waiting):
        raise NotUnderstood(f"{way.path}: {len(waiting)} items were sent and {len(answer.receipts)} receipts came.")
    settled = []
    for item, receipt in zip(waiting, answer.receipts, strict=True):
        named = receipt.client_id or receipt.id
        if named.lower() != item.id.lower() and not (receipt.status == "rejected" and not named):
            raise NotUnderstood(f"{way.path}: the receipt for {item.id} names {named or 'nothing'}.")
        settled.append(Settled(item.position, receipt.status, receipt.code, receipt.detail))
    return settled


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _object(text: str | bytes | None) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}


__all__ = ["Client", "Later", "SuccessorCode", "notifications"]
