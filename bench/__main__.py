"""`make bench`: QUICK=1 for a short run that is not kept in bench/results, ONLY="a-100k refit" for some workloads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

from rich.console import Console

from bench import beginning, beyond, fits, inference, machine, states, surveys, table
from bench.data import CACHE
from bench.engines import EngineError, r_versions
from bench.result import Result

RESULTS = Path(__file__).resolve().parent / "results"
BUSY = 0.5
"""A load average above this before the run makes its figures doubtful."""


def workloads(quick: bool) -> dict[str, Callable[[], Result]]:
    """Name → what runs it, in the order of the table. Quick: nothing above 100,000 rows, fewer rounds of what is slow."""
    rounds, slow_rounds = (5, 2) if quick else (11, 5)
    fit, memory = fits.fit_beside_mixedlm_rs, fits.memory_beside_mixedlm_rs
    out: dict[str, Callable[[], Result]] = {
        "a-100k": lambda: fit("a-100k", "100k", fits.A, rounds, 1.0),
        "b-100k": lambda: fit("b-100k", "100k", fits.B, rounds, 1.0),
    }
    if not quick:
        out |= {
            "a-1m": lambda: fit("a-1m", "1m", fits.A, 9, 3.0),
            "a-10m": lambda: fit("a-10m", "10m", fits.A, 4, 5.0),
            "memory-a-1m": lambda: memory("memory-a-1m", "1m", fits.A, 0.5),
            "memory-a-10m": lambda: memory("memory-a-10m", "10m", fits.A, None),
        }
    return out | {
        "refit": lambda: states.refit(quick),
        "add-day": lambda: states.add_day(quick),
        "kenward-roger": lambda: inference.beside_r(inference.KENWARD_ROGER, slow_rounds),
        "profile": lambda: inference.beside_r(inference.PROFILE, slow_rounds),
        "bootstrap": lambda: inference.beside_r(inference.BOOTSTRAP, slow_rounds),
        "first-fit": lambda: beginning.first_fit(rounds),
        **{work.name: partial(beyond.beside, work, quick) for work in beyond.WORKLOADS},
        "d-100k": beyond.serial_100k,
        "f-insteval": lambda: beyond.crossed(quick),
        **({} if quick else {"three-levels-1m": beyond.three_levels}),
        "survey-60": lambda: surveys.survey_60(quick),
    }


def main() -> int:
    quick, only = os.environ.get("QUICK", "") not in ("", "0"), os.environ.get("ONLY", "").split()
    chosen = workloads(quick)
    unknown = [name for name in only if name not in chosen]
    if unknown:
        print(f"ONLY={' '.join(unknown)} is no workload of this run; there are {', '.join(chosen)}.", file=sys.stderr)
        return 2
    console, facts = Console(), machine.facts()
    folder = CACHE / "results" if quick else RESULTS
    if float(facts["load_before"]) > BUSY:
        console.print(f"The machine is busy (load {facts['load_before']}): read ratios, not seconds.", style="yellow")
    if not r_versions():
        console.print("R with lme4, lmerTest and pbkrtest is not here: their times are quoted.", style="yellow")
    results, failed = [], []
    for name in only or chosen:
        start = perf_counter()
        try:
            result = chosen[name]()
        except EngineError as error:
            console.print(f"{name} failed: {error}", style="bold red", markup=False)
            failed.append(name)
            continue
        result.write(folder, facts)
        results.append(result)
        console.print(f"{result.title}: done in {perf_counter() - start:.0f} s", style="dim")
    table.show(results, facts)
    stored = [Result.read(path) for name in workloads(quick) if (path := folder / f"{name}.json").exists()]
    table.write_page(stored, facts, folder)  # of every workload its last run
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
