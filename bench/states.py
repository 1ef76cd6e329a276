"""Nights: a fit from the state alone, and a day added to it."""

from __future__ import annotations

from statistics import median

from bench.data import PER_DAY, SIZES, cached
from bench.duel import Side, duel
from bench.engines import Engine
from bench.result import Result, Verdict, clock

FORMULA = "y ~ within(x) + between(x) + t + (1 + within(x) | id)"
WIDTH = 7
PERSONS = SIZES["10m"].persons
LAST_DAY = SIZES["10m"].prompts - PER_DAY
COLLECT = f'analysis.collect("{FORMULA}", frame)'
COLD, WARM = "state.fit()", "state.fit(start=last_night)"


def refit(quick: bool) -> Result:
    """Fits of 20,000 persons, from nothing and from last night's fit, with few and with many rows behind the state."""
    behind = {"100,000 rows": f"frame = one_day({PERSONS})"}
    if not quick:
        behind["9.7 million rows"] = f"frame = load({str(cached('10m'))!r}, ['id', 'obs', 't', 'x', 'y'])"
    calls: dict[str, str] = {}
    seconds: dict[str, list[float]] = {}
    verdicts = []
    with Engine("ours") as ours:
        for rows, read in behind.items():
            ours.run(read)
            if "obs" in read:  # last night has all but the last day
                ours.run(f"whole = frame; frame = whole[whole['obs'] < {LAST_DAY}]")
                ours.run(f"state = {COLLECT}; last_night = state.fit()")
                ours.run(f"state = state.add(whole[whole['obs'] >= {LAST_DAY}])")
            else:
                ours.run(f"state = {COLLECT}; last_night = state.fit()")
                ours.run(f"state = state.add(one_day({PERSONS}, day=2))")
            sides = [Side(f"{how}, {rows}", ours, call) for how, call in (("cold", COLD), ("warm", WARM))]
            seconds |= duel(sides, 15)
            for side in sides:
                calls[side.name] = side.call
                middle = median(seconds[side.name])
                verdicts.append(Verdict("at most 30 ms", f"{side.name}: {clock(middle)}", middle <= 0.030))
    return Result("refit", f"Refit from state, {PERSONS:,} persons", calls, seconds, verdicts)


def add_day(quick: bool) -> Result:
    """One day of everyone added to the state, beside the full pass from the frame at 10 million rows."""
    calls = {"ours": "state.add(day)"}
    with Engine("ours") as ours:
        ours.run(f"day = one_day({PERSONS})")
        if quick:
            ours.run(f"frame = day; state = {COLLECT}")
            rows, seconds = PERSONS * PER_DAY, duel([Side("ours", ours, calls["ours"])], 9)
        else:
            ours.run(f"frame = load({str(cached('10m'))!r}, ['id', 't', 'x', 'y']); state = {COLLECT}")
            rows, calls["full pass"] = int(ours.value("len(frame)")), COLLECT
            seconds = duel([Side(name, ours, call) for name, call in calls.items()], 9)
    middle = median(seconds["ours"])
    verdicts = [Verdict("at most 50 ms", clock(middle), middle <= 0.050)]
    if not quick:
        share = middle / median(seconds["full pass"])
        figure = f"{share:.1%} of {clock(median(seconds['full pass']))}"
        verdicts.append(Verdict("at most 5 % of the full pass at 10m", figure, share <= 0.05))
    return Result("add-day", "One day, 100,000 rows, added", calls, seconds, verdicts, rows=rows, columns=WIDTH)
