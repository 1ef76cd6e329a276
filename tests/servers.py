"""Servers for the suite: a PostgreSQL and a Valkey of its own, started before Django reads its settings.

Loaded as a plugin (`-p tests.servers`). With DATABASE_URL and BROKER_URL set, those are used instead; Django makes a
database of its own beside the one that is named. Where the suite runs in several processes (`-n 2`), each has servers of its own.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from ema_server.embedded import EmbeddedError, attach

ROOT = Path(__file__).resolve().parents[1]
SHARED_OUT = any(argument.startswith(("-n", "--numprocesses")) for argument in sys.argv[1:])
_held = ExitStack()


def pytest_unconfigure(config: pytest.Config) -> None:
    _held.close()


def _attach() -> None:
    if os.environ.get("DATABASE_URL") and os.environ.get("BROKER_URL"):
        return
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker and SHARED_OUT:
        return  # this process hands the tests out and runs none
    os.environ["EMA_VAR"] = str(ROOT / "var" / f"test{worker and '-'}{worker}")
    try:
        urls = _held.enter_context(attach(Path(os.environ["EMA_VAR"])))
    except EmbeddedError as error:
        raise pytest.UsageError(str(error)) from error
    os.environ.setdefault("DATABASE_URL", urls.database)
    os.environ.setdefault("BROKER_URL", urls.broker)


_attach()
