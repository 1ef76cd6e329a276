"""Web workers, the web tree, PostgreSQL's backends and its postmaster are killed while phones upload: nothing that was
acknowledged is lost, doubled or partial, and whoever could not be served was told "later".

A kill counts only if it cut off work that was under way. KILLS=n changes their number (make chaos KILLS=n), CHAOS_SEED
repeats a run's choices, LOG=docs/chaos.jsonl keeps its lines for good.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofs import chaos as chaos_log
from tests.journeys.intake_chaos import Chaos, Servers

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / (os.environ.get("LOG") or "var/chaos.jsonl")
KILLS = int(os.environ.get("KILLS", "30"))
SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
PATIENCE = 60.0 + 8.0 * KILLS  # seconds for all the kills; about one is needed for each

pytestmark = pytest.mark.timeout(PATIENCE + 180)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    found = Servers(tmp_path_factory.mktemp("chaos"))
    yield found
    found.close()


def test_killing_at_random_loses_doubles_and_tears_nothing_that_was_acknowledged(servers: Servers) -> None:
    print(f"\nchaos: {KILLS} kills, CHAOS_SEED={SEED}")
    found = Chaos(servers, seed=SEED).run(kills=KILLS, patience=PATIENCE, log=LOG)
    print(found)
    assert (found.lost, found.doubled, found.partial) == (0, 0, 0)
    assert found.faults == []  # every answer was 200 with one receipt for each item, 503 with Retry-After, or cut off
    assert found.kills == KILLS
    assert found.acknowledged == found.stored == found.made  # in the end everything arrives


def test_an_intake_that_acknowledges_before_it_has_stored_is_found_out(servers: Servers, tmp_path: Path) -> None:
    careless = Chaos(servers, seed=SEED, application="tests.journeys.careless_intake")
    found = careless.run(kills=2, patience=60.0, log=tmp_path / "log", kinds=["worker", "web"])
    assert found.lost > 0


def test_the_page_says_what_the_log_says() -> None:
    assert chaos_log.PAGE.read_text() == chaos_log.page(chaos_log.read(chaos_log.LOG))


def test_a_kill_that_hit_nothing_and_a_run_without_its_end_count_for_nothing() -> None:
    kill = {"proof": "intake", "kind": "worker", "in_flight": [{"phone": "P1"}], "hit": 1}
    end = {"proof": "intake", "end": {"acknowledged": 7, "lost": 0, "doubled": 0, "partial": 0}}
    lines = [
        {**kill, "run": "a"},
        {**kill, "run": "a", "hit": 0},
        {**kill, "run": "a", "in_flight": []},
        {**end, "run": "a"},
        {**kill, "run": "b"},
    ]
    found = chaos_log.totals(lines)["intake"]
    assert (found.kills.total(), found.not_counted, found.runs, found.unfinished) == (1, 2, 1, 1)
    assert found.found["acknowledged"] == 7
