"""Use the embedded servers: start their supervisor where none runs, and be counted as a user until the end."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN = 60.0  # seconds: a first start makes the database cluster; a busy disk may take its time
STOPS_WITHIN = 60.0
OWNED_BY_ANOTHER = 75  # a supervisor's exit status: the folder has one already


class EmbeddedError(Exception):
    """The embedded servers cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the two servers listen, passwords included."""

    database: str
    broker: str


@dataclass(frozen=True, slots=True)
class Folder:
    """The places in one state folder."""

    var: Path

    @property
    def users_lock(self) -> Path:
        return self.var / "users.lock"

    @property
    def supervisor_lock(self) -> Path:
        return self.var / "supervisor.lock"

    @property
    def urls(self) -> Path:
        return self.var / "servers.json"

    @property
    def trouble(self) -> Path:
        return self.var / "servers.error"

    @property
    def logs(self) -> Path:
        return self.var / "logs"


@contextmanager
def attach(var: Path) -> Iterator[Urls]:
    """The servers of this folder, running, until the block ends. Any number of processes may do this at once."""
    folder = Folder(var.resolve())
    _make(folder)
    try:
        with _shared_lock(folder):
            yield _running(folder)
    finally:
        _wait_for_the_end(folder)


def _wait_for_the_end(folder: Folder) -> None:
    """The last one out waits until the servers have stopped, so that nothing outlives a command that has ended."""
    give_up = time.monotonic() + STOPS_WITHIN
    while _held(folder.supervisor_lock) and not _used_by_others(folder) and time.monotonic() < give_up:
        time.sleep(0.02)


def _used_by_others(folder: Folder) -> bool:
    """Whether somebody shares the users' lock. A supervisor that is stopping holds it alone, which is no user."""
    descriptor = os.open(folder.users_lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _make(folder: Folder) -> None:
    try:
        folder.var.mkdir(parents=True, exist_ok=True)
        folder.logs.mkdir(exist_ok=True)
        folder.users_lock.touch()
    except OSError as error:
        raise EmbeddedError(
            f"{folder.var} cannot be written ({error.strerror}). The embedded servers keep their state there: "
            "make it writable, set EMA_VAR to another folder, or set DATABASE_URL and BROKER_URL."
        ) from error


@contextmanager
def _shared_lock(folder: Folder) -> Iterator[None]:
    """Be a user. While the supervisor is stopping it holds the lock alone: then wait for the next one's turn."""
    descriptor = os.open(folder.users_lock, os.O_RDWR)
    try:
        give_up = time.monotonic() + STOPS_WITHIN
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise EmbeddedError(f"The servers of {folder.var} have been stopping for a minute.") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)  # releases the lock; so does the kernel if this process is killed


def _running(folder: Folder) -> Urls:
    """The addresses, once both servers answer. Interrupted while they start, it stops the start."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        return _wait_for_the_addresses(folder, started)
    except BaseException:
        for supervisor in started:
            supervisor.terminate()
            supervisor.wait(timeout=STOPS_WITHIN)
        raise


def _wait_for_the_addresses(folder: Folder, started: list[subprocess.Popen[bytes]]) -> Urls:
    give_up = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < give_up:
        if _held(folder.urls):  # by the living supervisor that wrote it: one left by a killed supervisor is not held
            return Urls(**json.loads(folder.urls.read_text()))
        if _held(folder.supervisor_lock):
            pass  # it is starting
        elif not started or started[-1].returncode in (
            0,
            OWNED_BY_ANOTHER,
        ):  # none yet; or another's was, and has ended
            started.append(_start_supervisor(folder))
        elif started[-1].poll() not in (None, 0, OWNED_BY_ANOTHER):
            if folder.trouble.exists():
                raise EmbeddedError(folder.trouble.read_text().strip())
            raise EmbeddedError(f"The embedded servers did not start; see {folder.logs / 'supervisor.log'}.")
        time.sleep(0.02)
    raise EmbeddedError(f"The embedded servers did not answer within {STARTS_WITHIN:.0f} s; see {folder.logs}.")


def _start_supervisor(folder: Folder) -> subprocess.Popen[bytes]:
    if not (folder.var / "postgres").exists():
        print(f"Starting PostgreSQL 18 and Valkey 9 for the first time, in {folder.var} …", file=sys.stderr)
    folder.trouble.unlink(missing_ok=True)
    with (folder.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ema_server.embedded.supervisor", str(folder.var)],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is for its users
        )


def _held(lock: Path) -> bool:
    """Whether some process holds this lock alone."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise EmbeddedError(_not_yours(lock.parent)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _not_yours(var: Path) -> str:
    return f"{var} belongs to another user. Run as that user, delete the folder, or set EMA_VAR to another one."
