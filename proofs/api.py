"""The phone API: schemathesis calls every operation with what its document allows and forbids; no answer is a 5xx.

The test of the suite, with more cases: tests/journeys/test_api_cases.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from proofs import log

CASES = 2_000
TEST = "tests/journeys/test_api_cases.py"


def prove(workers: int) -> bool:
    """A line in the log; true where every answer was as the document says."""
    start = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "figures.json"
        more = {"API_CASES": os.environ.get("CASES", str(CASES)), "API_RECORD": str(record)}
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--show-capture=no", TEST],
            cwd=log.ROOT,
            env={**os.environ, **more},
            check=False,
        )
        figures = json.loads(record.read_text()) if record.exists() else {}
    held = ran.returncode == 0 and figures.get("server_errors") == 0
    figures["schemathesis"] = version("schemathesis")
    log.append("api", held=held, seconds=perf_counter() - start, figures=figures)
    return held
