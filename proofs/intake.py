"""The intake: a machine does what phones and study teams do, in many orders; answers are swallowed on their way back.

The tests of the suite, with more examples: tests/server/responses/test_intake_machine.py and tests/journeys/test_intake_cut.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from proofs import log

EXAMPLES = 1000
LOST_ANSWERS = 1000
SEEDS = (1, 2)


def prove(workers: int) -> bool:
    """Each seed draws other examples, in a process of its own after another; a line in the log. True where all held."""
    start, held = perf_counter(), True
    steps: dict[str, int] = {}
    examples = int(os.environ.get("EXAMPLES", EXAMPLES))
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            counts = Path(folder) / str(seed)
            more = {"INTAKE_EXAMPLES": str(examples), "INTAKE_SEED": str(seed), "INTAKE_COUNTS": str(counts)}
            held &= _passes("tests/server/responses/test_intake_machine.py", **more)
            for name, count in json.loads(counts.read_text() if counts.exists() else "{}").items():
                steps[name] = steps.get(name, 0) + count
    held &= _passes("tests/journeys/test_intake_cut.py", LOST_ANSWERS=str(LOST_ANSWERS))
    figures: dict[str, Any] = {
        "seeds": list(SEEDS),
        "examples": examples * len(SEEDS),
        "steps": sum(steps.values()),
        "by_kind": dict(sorted(steps.items())),
        "answers_swallowed": LOST_ANSWERS,
    }
    log.append("intake", held=held, seconds=perf_counter() - start, figures=figures)
    return held


def _passes(test: str, **more: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "--show-capture=no", test]
    return subprocess.run(command, cwd=log.ROOT, env={**os.environ, **more}).returncode == 0
