"""The servers that a command uses: the ones named in the environment, if they answer, else the embedded ones."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import psycopg
import redis

from ema_server.embedded.attach import EmbeddedError, attach

ROOT = Path(__file__).resolve().parents[2]
ANSWER_WITHIN = 5  # seconds


class ServersUnusable(Exception):
    """What is wrong with the database or the broker, and what would be accepted."""


@contextmanager
def servers() -> Iterator[None]:
    """DATABASE_URL and BROKER_URL are set and answer while the block runs."""
    signal.signal(signal.SIGTERM, _end)  # so that every `finally` runs
    try:
        with ExitStack() as stack:
            database, broker = os.environ.get("DATABASE_URL"), os.environ.get("BROKER_URL")
            if database:
                check_database(database)
            if broker:
                check_broker(broker)
            if not (database and broker):
                urls = stack.enter_context(attach(Path(os.environ.get("EMA_VAR") or ROOT / "var")))
                os.environ["DATABASE_URL"] = database or urls.database
                os.environ["BROKER_URL"] = broker or urls.broker
            yield
    except EmbeddedError as error:
        raise ServersUnusable(str(error)) from error


def check_database(url: str) -> None:
    accepted = "Accepted: postgresql://user:password@host:5432/name; unset it to use the embedded PostgreSQL."
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise ServersUnusable(f"DATABASE_URL={_shown(url)} is no PostgreSQL address. {accepted}")
    try:
        psycopg.connect(url, connect_timeout=ANSWER_WITHIN).close()
    except (psycopg.Error, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ServersUnusable(f"DATABASE_URL={_shown(url)} cannot be used: {reason}. {accepted}") from error


def check_broker(url: str) -> None:
    accepted = "Accepted: redis://:password@host:6379/0; unset it to use the embedded Valkey."
    if urlsplit(url).scheme not in {"redis", "rediss"}:
        raise ServersUnusable(f"BROKER_URL={_shown(url)} is no Valkey or Redis address. {accepted}")
    try:
        redis.Redis.from_url(url, socket_connect_timeout=ANSWER_WITHIN, socket_timeout=ANSWER_WITHIN).ping()
    except (redis.RedisError, ValueError) as error:
        raise ServersUnusable(f"BROKER_URL={_shown(url)} cannot be used: {error}. {accepted}") from error


def _shown(url: str) -> str:
    """The address without its password."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return "(not shown: it cannot be read)"
    return url.replace(f":{password}@", ":…@") if password else url


def _end(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)
