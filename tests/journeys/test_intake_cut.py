"""What a bad connection does to an upload: cut off after any byte nothing or whole items are stored, and an answer that gets
lost on its way back costs nothing: sent again, it is a duplicate.

LOST_ANSWERS=n changes how many answers are swallowed (`make prove ONLY=intake`: 1,000).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.journeys.intake_chaos import Chaos, Phone, Servers

LOST_ANSWERS = int(os.environ.get("LOST_ANSWERS", "200"))
AT_ONCE = 40  # cut connections whose outcome is waited for together

pytestmark = pytest.mark.timeout(120 + LOST_ANSWERS)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    found = Servers(tmp_path_factory.mktemp("cut"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def phone(servers: Servers) -> Phone:
    return Chaos(servers, seed=1)._cast()[0]


def item(number: int) -> dict[str, Any]:
    return {
        "client_id": str(uuid4()),
        "questionnaire": "momentary",
        "survey_version": 1,
        "answers": {"support": number, "stress": 30},
        "answered_at": "2026-03-02T11:00:00+01:00",
    }


def request(phone: Phone, items: list[dict[str, Any]]) -> bytes:
    body = json.dumps({"items": items}, separators=(",", ":")).encode()
    head = (
        f"POST /api/v1/submissions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {phone.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def cut(port: int, sent: bytes, *, hard: bool) -> None:
    """A connection that ends in the middle: by a reset, as when a mobile network drops it, or by an orderly end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as to:
        if hard:
            to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        to.sendall(sent)


def rows(servers: Servers) -> dict[str, dict[str, Any]]:
    with psycopg.connect(servers.postgres.url) as connection:
        found = connection.execute("SELECT client_id::text, payload FROM responses_submission").fetchall()
        assert connection.execute("SELECT count(*) FROM responses_conflict").fetchone() == (0,)
    return dict(found)


def test_cut_off_after_any_byte_nothing_or_whole_items_are_stored(servers: Servers, phone: Phone) -> None:
    whole = request(phone, [item(n) for n in range(3)])
    before = len(rows(servers))
    for offset in range(len(whole)):
        cut(servers.port, whole[:offset], hard=offset % 2 == 0)
    alive(servers, phone)
    assert len(rows(servers)) == before  # of a body that is not whole nothing is read

    last = []  # all but nobody listens to the answer: each may be stored or not, but whole
    for n in range(30):
        items = [item(n) for _ in range(3)]
        last.append(items)
        cut(servers.port, request(phone, items), hard=n % 2 == 0)
    alive(servers, phone)
    held = rows(servers)
    for items in last:
        assert len({each["client_id"] for each in items} & held.keys()) in (0, 3)
        for each in items:
            assert each["client_id"] not in held or held[each["client_id"]] == each
        receipts = send(servers.port, request(phone, items))
        assert {each["status"] for each in receipts} <= {"stored", "duplicate"}
    assert len(rows(servers)) == len(held) + 3 * sum(items[0]["client_id"] not in held for items in last)


def alive(servers: Servers, phone: Phone) -> None:
    """Every thread of every worker has dealt with what came before: as many requests at once are all served."""
    give_up = time.monotonic() + 30
    while True:
        try:
            for _ in range(16):
                to = http.client.HTTPConnection("127.0.0.1", servers.port, timeout=10)
                to.request("GET", "/livez")
                assert to.getresponse().status == 200
                to.close()
            if not servers.ports_open_on(servers.workers()):
                return
        except OSError:
            pass
        assert time.monotonic() < give_up
        time.sleep(0.1)


def send(port: int, raw: bytes) -> list[dict[str, Any]]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as to:
        to.sendall(raw)
        answer = http.client.HTTPResponse(to)
        answer.begin()
        text = answer.read()
        assert answer.status == 200, text
        receipts: list[dict[str, Any]] = json.loads(text)["receipts"]
        return receipts


class Swallowing:
    """A proxy that passes requests on and lets answers fall, but for one in so many."""

    def __init__(self, to: int, *, swallow: set[int]) -> None:
        self.to, self.swallow, self.swallowed, self.count = to, swallow, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                phone, _ = self.listener.accept()
            except OSError:
                return
            with phone, socket.create_connection(("127.0.0.1", self.to)) as server:
                raw = self._read(phone)
                server.sendall(raw)
                answer = b"".join(iter(lambda: server.recv(65536), b""))  # until the end: it is stored by now
                self.count += 1
                if self.count in self.swallow:
                    assert answer.startswith(b"HTTP/1.1 200")
                    self.swallowed += 1
                else:
                    phone.sendall(answer)

    @staticmethod
    def _read(phone: socket.socket) -> bytes:
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += phone.recv(65536)
        head, _, body = raw.partition(b"\r\n\r\n")
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split(b":")[1])
        while len(body) < length:
            body += phone.recv(65536)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self.listener.close()


def test_an_answer_that_gets_lost_costs_nothing(servers: Servers, phone: Phone) -> None:
    """Every first answer is swallowed; at times the second one, too."""
    swallow, requests = set(), 0
    plan = []
    for n in range(LOST_ANSWERS):
        lost = 2 if n % 10 == 9 else 1
        swallow.update(range(requests + 1, requests + 1 + lost))
        requests += lost + 1
        plan.append(lost)
    proxy, before = Swallowing(servers.port, swallow=swallow), len(rows(servers))
    sent: dict[str, dict[str, Any]] = {}
    try:
        for n, lost in enumerate(plan):
            items = [item(n % 100) for _ in range(1 + n % 3)]
            sent |= {each["client_id"]: each for each in items}
            for _ in range(lost):
                with pytest.raises((ConnectionError, http.client.HTTPException)):
                    send(proxy.port, request(phone, items))
            statuses = [each["status"] for each in send(proxy.port, request(phone, items))]
            assert statuses == ["duplicate"] * len(items)
    finally:
        proxy.close()
    assert proxy.swallowed == sum(plan) >= LOST_ANSWERS
    held = rows(servers)
    assert len(held) == before + len(sent)
    assert {name: held[name] for name in sent} == sent
