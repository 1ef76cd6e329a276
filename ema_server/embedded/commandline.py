"""The servers that a command uses: the ones named in the environment, if they answer, else the embedded ones."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import psycopg
import redis

from ema_server.common.addresses import (
    BROKER_ACCEPTED,
    DATABASE_ACCEPTED,
    AddressError,
    broker_from_url,
    database_from_url,
    shown,
    without_secrets,
)
from ema_server.embedded.attach import EmbeddedError, attach

ROOT = Path(__file__).resolve().parents[2]
ANSWER_WITHIN = 5  # seconds


class ServersUnusable(Exception):
    """What is wrong with the database or the broker, and what would be accepted."""


@contextmanager
def servers() -> Iterator[None]:
    """DATABASE_URL and BROKER_URL are set and answer while the block runs.

    An address that cannot even be read is left to the settings, which name it together with all else that is wrong.
    """
    signal.signal(signal.SIGTERM, _end)  # so that every `finally` runs
    database, broker = os.environ.get("DATABASE_URL", "").strip(), os.environ.get("BROKER_URL", "").strip()
    try:
        if database:
            database_from_url(database)
        if broker:
            broker_from_url(broker)
    except AddressError:
        yield
        return
    try:
        with ExitStack() as stack:
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
    try:
        psycopg.connect(url, connect_timeout=ANSWER_WITHIN).close()
    except (psycopg.Error, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ServersUnusable(_unusable("DATABASE_URL", url, reason, DATABASE_ACCEPTED, "PostgreSQL")) from error


def check_broker(url: str) -> None:
    try:
        redis.Redis.from_url(url, socket_connect_timeout=ANSWER_WITHIN, socket_timeout=ANSWER_WITHIN).ping()
    except (redis.RedisError, ValueError) as error:
        raise ServersUnusable(_unusable("BROKER_URL", url, str(error), BROKER_ACCEPTED, "Valkey")) from error


def _unusable(name: str, url: str, reason: str, accepted: str, embedded: str) -> str:
    return (
        f"{name}={shown(url)} cannot be used: {without_secrets(reason, url)}. "
        f"Accepted: {accepted}; unset it to use the embedded {embedded}."
    )


def _end(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)
