"""The phone's own storage: what waits to be sent, what was acknowledged, and a few facts. One SQLite file.

Every method is one transaction, durable when it returns (`synchronous=FULL`). So there is nothing between two lines of the
client that could be half done: what was put is there after any crash, and what was settled is never sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["submission", "event", "report", "wish"]
State = Literal["waiting", "set_aside", "stored", "duplicate", "conflict", "rejected"]

_TABLES = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS item (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS item_by_state ON item (kind, state, position);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that waits, or was acknowledged: `body` is what is sent, byte by byte the same in every retry."""

    position: int
    id: str
    body: bytes
    state: State
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one item."""

    position: int
    state: State
    code: str = ""
    detail: str = ""


class Store:
    """`path` is a file, or ":memory:" for a phone that need not outlive its process."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(str(path), isolation_level=None)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def put(self, kind: Kind, id: str, body: bytes) -> bool:
        """Keep something to send. The same id a second time changes nothing: an app that was killed may simply say it again."""
        with self._transaction() as db:
            done = db.execute("INSERT OR IGNORE INTO item (kind, id, body) VALUES (?, ?, ?)", (kind, id, body))
            return done.rowcount == 1

    def waiting(self, kind: Kind, most: int) -> list[Kept]:
        """The oldest that wait."""
        return self._kept("kind = ? AND state = 'waiting' ORDER BY position LIMIT ?", (kind, most))

    def acknowledged(self, kind: Kind, *, after: int = 0, most: int) -> list[Kept]:
        """What the server has answered for, in order, beyond a position."""
        states = "('stored', 'duplicate', 'conflict', 'rejected')"
        return self._kept(
            f"kind = ? AND state IN {states} AND position > ? ORDER BY position LIMIT ?", (kind, after, most)
        )

    def set_aside(self) -> list[Kept]:
        """What the server would not even read: for the app's makers to look at."""
        return self._kept("state = 'set_aside' ORDER BY position", ())

    def _kept(self, where: str, values: Sequence[object]) -> list[Kept]:
        rows = self._db.execute(f"SELECT position, id, body, state, code, detail FROM item WHERE {where}", values)
        return [Kept(*row) for row in rows]

    def count(self, state: State = "waiting") -> int:
        (number,) = self._db.execute("SELECT count(*) FROM item WHERE state = ?", (state,)).fetchone()
        return int(number)

    def settle(self, settled: Sequence[Settled]) -> None:
        """All receipts of one answer, or none of them."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE item SET state = ?, code = ?, detail = ? WHERE position = ?",
                [(each.state, each.code, each.detail, each.position) for each in settled],
            )

    def drop(self, positions: Sequence[int], *, wait_again: Sequence[int] = ()) -> None:
        """Forget what a manifest has proved; what it did not hold waits again."""
        with self._transaction() as db:
            db.executemany("DELETE FROM item WHERE position = ?", [(each,) for each in positions])
            db.executemany("UPDATE item SET state = 'waiting' WHERE position = ?", [(each,) for each in wait_again])

    def fact(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, facts: Mapping[str, str | None]) -> None:
        """Several facts at once, or none of them; None removes one."""
        with self._transaction() as db:
            for name, value in facts.items():
                if value is None:
                    db.execute("DELETE FROM fact WHERE name = ?", (name,))
                else:
                    db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))

    def wipe(self) -> None:
        """The person asked to be erased: nothing of them stays on the phone."""
        with self._transaction() as db:
            db.execute("DELETE FROM item")
            db.execute("DELETE FROM fact")
