"""One call, with the patience that the server asks for, and its refusals as exceptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import TypeVar

import httpx
import msgspec

from ema_client.shapes import Problem

T = TypeVar("T")

LATER = frozenset({408, 425, 429, 500, 502, 503, 504})  # nothing is wrong with what was sent
CLOSED = frozenset({"revoked", "replaced", "unknown_credential", "erased"})


class Later(Exception):
    """No answer, or "not now", after all tries. Nothing is lost: call again in `after` seconds or when there is a network."""

    def __init__(self, why: str, after: float) -> None:
        super().__init__(f"{why}; again in {after:.0f} s")
        self.after = after


class Refused(Exception):
    """The server said no in a way that trying again does not mend."""

    def __init__(self, call: str, status: int, problem: Problem) -> None:
        super().__init__(f"{call}: {status} {problem.code}: {problem.detail}")
        self.status, self.code, self.problem = status, problem.code, problem


class Closed(Refused):
    """This phone's credential is closed: stop. `code` says why (`revoked`, `replaced`, `unknown_credential`, `erased`)."""


class NotUnderstood(Exception):
    """The answer is not one that this API gives. Everything is kept."""


class Calls:
    """`sleep`, `now` and `rng` are passed in, so that tests need no time and no luck."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
        rng: Random,
        tries: int = 6,
        first_wait: float = 0.5,
        longest_wait: float = 60.0,
    ) -> None:
        self._http, self._sleep, self._now, self._rng = http, sleep, now, rng
        self._tries, self._first_wait, self._longest_wait = tries, first_wait, longest_wait

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> httpx.Response:
        """The answer, 2xx or 304. A cut connection and "not now" are waited out; more than `longest_wait` is the app's to wait."""
        sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        why, wait = "", 0.0
        for attempt in range(self._tries):
            if attempt:
                if wait > self._longest_wait:
                    break
                self._sleep(wait)
            try:
                answer = self._http.request(method, f"/api/v1/{path}", content=body, headers=sent)
            except httpx.TransportError as error:
                why, wait = f"{method} {path}: {type(error).__name__}", self._backoff(attempt)
                continue
            if answer.is_success or answer.status_code == 304:
                return answer
            if answer.status_code not in LATER:
                raise _refusal(f"{method} {path}", answer)
            why = f"{method} {path}: {answer.status_code}"
            wait = max(self._backoff(attempt), self._asked_for(answer))
        raise Later(why, wait)

    def _backoff(self, attempt: int) -> float:
        """Doubling, and never two phones in step: a server that comes back is not met by all of them at once."""
        return min(self._longest_wait, self._first_wait * 2.0**attempt) * self._rng.uniform(0.5, 1.0)

    def _asked_for(self, answer: httpx.Response) -> float:
        """`Retry-After`: seconds, or a date."""
        text = answer.headers.get("Retry-After", "").strip()
        if text.isdigit():
            return float(text)
        try:
            return max(0.0, (parsedate_to_datetime(text).astimezone(UTC) - self._now()).total_seconds())
        except (ValueError, TypeError):
            return 0.0


def read(answer: httpx.Response, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except msgspec.MsgspecError as error:
        raise NotUnderstood(f"{answer.request.method} {answer.request.url.path}: {error}") from error


def _refusal(call: str, answer: httpx.Response) -> Refused:
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:  # a proxy's page, say
        problem = Problem(detail=answer.text[:300])
    closed = answer.status_code in (401, 410) and problem.code in CLOSED
    return (Closed if closed else Refused)(call, answer.status_code, problem)
