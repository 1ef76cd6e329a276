"""The intake against a dictionary: whatever phones and study teams do, in any order, receipts and rows are the model's.

A bounded number of examples here, the same in every run; `make prove ONLY=intake` looks at more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from ema_server.responses import services
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from tests.server.responses import intake_machine
from tests.server.responses.intake_machine import STEPS, IntakeMachine, World, canonical
from tests.world import FakePhone, live_study

EXAMPLES = int(os.environ.get("INTAKE_EXAMPLES", "30"))
SEED = int(os.environ.get("INTAKE_SEED", "1"))
STEPS_EACH = 25
QUIET = settings(
    database=None,
    deadline=None,
    stateful_step_count=STEPS_EACH,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    report_multiple_bugs=False,
)

pytestmark = pytest.mark.django_db


def run(of: World, *, examples: int, shrink: bool = True) -> None:
    machine = seed(SEED)(type("IntakeMachineHere", (IntakeMachine,), {"world": of}))
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(machine, settings=settings(QUIET, max_examples=examples, phases=phases))


@pytest.mark.timeout(60 + EXAMPLES * 5)
def test_whatever_happens_in_whatever_order_receipts_and_rows_are_the_models() -> None:
    STEPS.clear()
    run(World.made(), examples=EXAMPLES)
    print(f"\n{STEPS.total()} steps: {dict(STEPS)}")
    if counted := os.environ.get("INTAKE_COUNTS"):
        Path(counted).write_text(json.dumps(STEPS))
