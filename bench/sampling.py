"""How long a new plan takes to reach everybody, and in how much memory: `make bench-sampling`, or `python -m bench.sampling --people N`.

People who are in, in 20 zones, get 7 days of 6 random prompts by the product's own way: a plan is published and rolled out.
A tenth of the people comes first, to see whether memory grows with them. On a PostgreSQL of its own with the server's usual
settings; the roll-out is a process of its own, whose peak is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.import_study import _database_cpu, _peak
from ema_server.embedded import attach

ROOT = Path(__file__).resolve().parents[1]
DAYS, PROMPTS = 7, 6
ZONES = (
    "Europe/Amsterdam", "Europe/London", "Europe/Helsinki", "Atlantic/Azores", "America/New_York", "America/Chicago",
    "America/Denver", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "America/Santiago", "Africa/Cairo",
    "Africa/Johannesburg", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Asia/Shanghai", "Australia/Sydney",
    "Australia/Lord_Howe", "Pacific/Auckland",
)  # fmt: skip
NOTHING = {"rules": [{"key": "button", "questionnaire": "momentary", "event": True}]}
ASKING = {
    "gap_minutes": 30,
    "rules": [
        {"key": "momentary", "questionnaire": "momentary", "open_minutes": 60, "random": {"count": PROMPTS}},
    ],
}
SURVEY = {"title": "Now", "items": [{"name": "stress", "type": "slider", "range": [0, 100], "text": "Stress?"}]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead of how long it takes")
    parser.add_argument("--roll", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.roll:
        _roll(options.roll, profile=options.profile)
        return 0
    with tempfile.TemporaryDirectory(prefix="ema-bench-sampling-") as folder:
        var = Path(folder) / "var"
        with attach(var) as urls:
            env = {**os.environ, "EMA_VAR": str(var), "DATABASE_URL": urls.database, "BROKER_URL": urls.broker}
            subprocess.run(
                [sys.executable, "manage.py", "upgrade"], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL
            )
            os.environ.update(env)
            _django()
            for people in (max(options.people // 10, 1), options.people):
                _fill(people)
                _measure(people, env, var, profile=options.profile)
    return 0


def _measure(people: int, env: dict[str, str], var: Path, *, profile: bool) -> None:
    database, busy = _database_cpu(var), os.getloadavg()[0]
    words = [sys.executable, "-m", "bench.sampling", "--roll", f"bench-{people}", *(["--profile"] if profile else [])]
    process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        time.sleep(0.05)
    said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(said)
    if profile:
        print(said)
        return
    seconds, rows = float(said.split()[0]), int(said.split()[1])
    print(
        f"{people:,} people in {len(ZONES)} zones, {DAYS} days x {PROMPTS} random prompts: {rows:,} prompts in {seconds:.1f} s "
        f"({rows / seconds:,.0f} rows/s, {seconds / people * 1e3:.1f} ms a person), peak {peak / 1024:.0f} MB (VmHWM); "
        f"processor: roll-out {float(said.split()[2]):.0f} s, database {_database_cpu(var) - database:.0f} s; load average before {busy:.2f}, {os.cpu_count()} cores",
        flush=True,
    )


def _django() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
    django.setup()


def _fill(people: int) -> None:
    """A live study whose people are in and are asked nothing yet."""
    from django_scopes import scope

    from ema_server.participants.models import Participant
    from ema_server.studies.models import Study
    from ema_server.studies.services import publish_sampling_plan, publish_survey

    first = datetime.now(UTC).date() + timedelta(days=2)  # all of it lies ahead, in every zone
    last = first + timedelta(days=DAYS - 1)
    study = Study.objects.create(slug=f"bench-{people}", title="Bench", starts_on=first, ends_on=last, state="live")
    with scope(study=study):
        publish_survey(study=study, questionnaire="momentary", document=SURVEY)
        publish_sampling_plan(study=study, document=NOTHING)
        Participant.objects.bulk_create(_person(study, number, first, last) for number in range(people))


def _person(study: Any, number: int, first: date, last: date) -> Any:
    from ema_server.participants.models import Participant

    return Participant(
        study=study, pseudonym=f"P{number:06d}", state="active", zone=ZONES[number % len(ZONES)], first_day=first, last_day=last,
        enrolled_at=datetime.now(UTC),
    )  # fmt: skip


def _roll(slug: str, *, profile: bool) -> None:
    _django()
    from django_scopes import scope

    from ema_server.sampling.plan_edits import publish_plan, roll_out
    from ema_server.studies.models import Study

    study = Study.objects.get(slug=slug)
    with scope(study=study):
        started, used = time.perf_counter(), time.process_time()
        _, change = publish_plan(
            study=study, document=ASKING, based_on=1, effect="next_day", reason="a bench", actor="server", now=datetime.now(UTC)
        )  # fmt: skip
        assert change is not None
        if profile:
            import cProfile
            import pstats

            profiler = cProfile.Profile()
            profiler.runcall(roll_out, change)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
            return
        roll_out(change)
        print(time.perf_counter() - started, study.prompts.count(), time.process_time() - used)


if __name__ == "__main__":
    sys.exit(main())
