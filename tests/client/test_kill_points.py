"""The app is killed at each of its steps, is started again, and says the same things again: nothing lost, nothing doubled.

A step is whatever reaches beyond the process: before and after each transaction of the phone's storage, before a request leaves,
and after the server has done its work but before its answer is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ema_client import DeviceReport, PromptEvent, Store
from tests.client.fake_server import FakeServer
from tests.client.phones import NOW, answer, phone_of

ANSWERS = 7


class Killed(BaseException):
    """SIGKILL, as far as a test in one process can have it: nothing of ours catches it."""


class Fate:
    """Kills at the n-th step; None lets live and counts."""

    def __init__(self, at: int | None) -> None:
        self.at, self.step = at, 0

    def __call__(self) -> None:
        self.step += 1
        if self.step == self.at:
            raise Killed


class MortalStore(Store):
    def __init__(self, path: Path, fate: Fate) -> None:
        self._fate = fate
        super().__init__(path)
        self._db.execute(
            "PRAGMA synchronous = OFF"
        )  # nobody pulls the plug here, and waiting for the disk is most of the time

    @contextmanager
    def _transaction(self) -> Iterator[object]:  # type: ignore[override]
        self._fate()
        with super()._transaction() as db:
            yield db
            self._fate()  # all is said, nothing is committed
        self._fate()


def live(server: FakeServer, path: Path, fate: Fate) -> None:
    """An app from its first start to its last: it knows only what its storage holds."""
    server.before = server.after = fate
    store = MortalStore(path, fate)
    phone = phone_of(server, store, batch=3)
    try:
        if phone.token is None:
            consent = phone.preview("CODE").consent
            phone.enrol("CODE", zone="Europe/Amsterdam", agreed_at=NOW.isoformat(), consent=consent)
        phone.sync()
        for number in range(ANSWERS):
            if store.fact(f"answered {number}") is None:
                phone.keep(answer(number))
                store.note({f"answered {number}": "yes"})
            if number == 3 and store.fact("rotated") is None:
                phone.rotate()
                store.note({"rotated": "yes"})
        if store.fact("reported") is None:
            phone.keep_event(PromptEvent(id="e1", prompt="p", kind="opened", at=NOW.isoformat()))
            phone.keep_report(DeviceReport(id="r1", at=NOW.isoformat()))
            store.note({"reported": "yes"})
        phone.upload()
        phone.verify()
        if store.fact("left") is None:
            phone.withdraw()
            store.note({"left": "yes"})
    finally:
        store.close()


def arrived(server: FakeServer) -> None:
    assert sorted(server.submissions) == sorted(answer(number).client_id for number in range(ANSWERS))
    assert server.conflicts == server.quarantine == []
    assert (list(server.events), list(server.reports)) == (["e1"], ["r1"])
    assert len(server.people) == 1
    assert set(server.wishes) == {"withdraw keep"}


def steps() -> int:
    fate = Fate(None)
    live(FakeServer(), Path(":memory:"), fate)
    return fate.step


STEPS = steps()


def test_there_are_steps_to_be_killed_at() -> None:
    assert STEPS > 60


@pytest.mark.parametrize("at", range(1, STEPS + 1))
def test_killed_at_any_step_nothing_is_lost_or_doubled(at: int, tmp_path: Path) -> None:
    server = FakeServer()
    with pytest.raises(Killed):
        live(server, tmp_path / "phone.db", Fate(at))
    live(server, tmp_path / "phone.db", Fate(None))
    arrived(server)
    left = Store(tmp_path / "phone.db")
    assert left.count() == 0


@pytest.mark.parametrize("every", [3, 5, 7, 11, 13])
def test_killed_again_and_again_it_gets_there(every: int, tmp_path: Path) -> None:
    """Each life is a little longer than the one before; killed in each but the last."""
    server, lives = FakeServer(), 0
    while True:
        lives += 1
        try:
            live(server, tmp_path / "phone.db", Fate(every + lives))
        except Killed:
            continue
        break
    arrived(server)
