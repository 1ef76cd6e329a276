"""What is due among five million prompts, and compliance of a thousand people over four weeks: `python -m bench.ledger`.

On a PostgreSQL of its own with the server's usual settings, warm. Beside each time stands the processor time of the
database's session: on a machine that others use too, that is the figure to compare.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import django
import psycopg

from bench.ledger_fill import SLOTS, fill, settle
from ema_server.embedded import attach

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
DAYS, PEOPLE = 84, 200  # of a study among many
ROUNDS = 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--prompts", type=int, default=5_000_000, help="in the whole ledger, beside the study of a thousand"
    )
    wanted = parser.parse_args().prompts
    with tempfile.TemporaryDirectory(prefix="ema-bench-ledger-") as folder, attach(Path(folder)) as urls:
        os.environ.update(EMA_VAR=folder, DATABASE_URL=urls.database, BROKER_URL=urls.broker)
        os.environ["DJANGO_SETTINGS_MODULE"] = "ema_server.settings"
        subprocess.run([sys.executable, "manage.py", "upgrade", "-v0"], cwd=ROOT, check=True)
        start = perf_counter()
        with psycopg.connect(urls.database, autocommit=True) as found:
            among = fill(
                found, "among", studies=max(round(wanted / (PEOPLE * DAYS * SLOTS)), 1), people=PEOPLE, days=DAYS,
                starts=NOW - timedelta(days=DAYS // 2), now=NOW - timedelta(minutes=1), since=NOW - timedelta(days=2),
            )  # fmt: skip
            one = fill(found, "one", studies=1, people=1000, days=28, starts=NOW - timedelta(days=30), now=NOW)
            settle(found)
        print(f"{among + one:,} prompts filled in {perf_counter() - start:.0f} s; {_load()}")
        django.setup()
        measure()
    return 0


def measure() -> None:
    from django_scopes import scopes_disabled

    from ema_server.responses.compliance import compliance
    from ema_server.sampling.due import due
    from ema_server.studies.models import Study

    with scopes_disabled():
        study = Study.objects.get(slug="one1")
        found = len(due(NOW))
        _timed(f"due ({found} of them)", lambda: due(NOW))
        _timed("due, looked at two minutes ago", lambda: due(NOW, since=NOW - timedelta(minutes=2)))
        with _explained():
            due(NOW)
        scheduled = compliance(study, cutoff=NOW).overall.scheduled
        _timed(f"compliance ({scheduled:,} scheduled), all groupings", lambda: compliance(study, cutoff=NOW))
        with _explained():
            compliance(study, cutoff=NOW)


def _timed(what: str, call: Callable[[], object]) -> None:
    from django.db import connection

    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    call()
    before, seconds = _processor(pid), []
    for _ in range(ROUNDS):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    used = (_processor(pid) - before) / ROUNDS
    low, high = min(seconds), max(seconds)
    print(
        f"{what}: median {median(seconds) * 1e3:.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f}, {ROUNDS} rounds); processor of the "
        f"database {used * 1e3:.0f} ms; {_load()}"
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Prints the plans of the statements about prompts that are made inside."""
    from django.db import connection

    def explain(
        execute: Callable[..., object], sql: str, params: object, many: bool, context: dict[str, object]
    ) -> object:
        if "sampling_prompt" not in sql:
            return execute(sql, params, many, context)
        with connection.connection.cursor() as plain:
            for (line,) in plain.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params):
                print(f"    {line}"[:160])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield


def _processor(pid: int) -> float:
    """Seconds that a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
