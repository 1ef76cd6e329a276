"""How long importing a finished study takes, and how much memory its process: `make bench-import`, or `python -m bench.import_study --rows N`.

The whole command is timed, from its start to its end, on a PostgreSQL of its own with the server's usual settings.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from ema_server.embedded import attach

ROOT = Path(__file__).resolve().parents[1]
ITEMS = ("stress", "support", "happy", "sad", "tense", "tired", "alone", "busy")
SEED = 20260302


def write_rows(path: Path, rows: int, prompts: int = 500) -> None:
    """A long CSV like a lab's: five prompts a day, a fifth of them missed, eight items from 0 to 100."""
    rng = Random(SEED)
    start = datetime(2024, 1, 1, 8, tzinfo=UTC)
    with path.open("w") as file:
        file.write(f"person,scheduled_at,status,answered_at,{','.join(ITEMS)}\n")
        for number in range(rows):
            person, prompt = divmod(number, prompts)
            at = start + timedelta(days=prompt // 5, minutes=150 * (prompt % 5) + rng.randrange(90))
            if rng.random() < 0.2:
                file.write(f"P{person:04d},{at.isoformat()},expired,{',' * len(ITEMS)}\n")
                continue
            answered = at + timedelta(seconds=rng.randrange(1800))
            values = ",".join(str(rng.randrange(101)) for _ in ITEMS)
            file.write(f"P{person:04d},{at.isoformat()},answered,{answered.isoformat()},{values}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="ema-bench-import-") as folder:
        file = Path(folder) / "rows.csv"
        write_rows(file, rows)
        var = Path(folder) / "var"
        with attach(var) as urls:
            env = {**os.environ, "EMA_VAR": str(var), "DATABASE_URL": urls.database, "BROKER_URL": urls.broker}
            _manage(env, "upgrade")
            _manage(
                env,
                "shell",
                "-c",
                "from ema_server.accounts.models import User; User.objects.create_user('r@example.org', 'x')",
            )
            busy, others = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            before = _database_cpu(var)
            seconds, peak = _timed(env, "import_study", str(file), "--slug", "bench", "--zone", "Europe/Amsterdam")
            database = _database_cpu(var) - before
    megabytes, own = peak / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - others
    print(
        f"{rows:,} rows, {len(ITEMS)} items: {seconds:.1f} s ({seconds / rows * 1e6:.0f} µs a row), peak {megabytes:.0f} MB "
        f"(VmHWM); processor: command {own:.0f} s, database {database:.0f} s; load average before {busy:.2f}, after {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores"
    )
    return 0


def _manage(env: dict[str, str], *words: str) -> None:
    subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)


def _timed(env: dict[str, str], *words: str) -> tuple[float, int]:
    """Seconds, and the peak of the process's own memory in kB."""
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "manage.py", *words], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"the import ended with {process.returncode}")
    return time.perf_counter() - started, peak


def _database_cpu(var: Path) -> float:
    """Seconds of processor that PostgreSQL's ended sessions took: they run at the same time as the command."""
    for file in var.rglob("postmaster.pid"):
        fields = Path(f"/proc/{file.read_text().split()[0]}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    sys.exit(main())
