"""Sampling plans by chance, most of which say something that can be done."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

DAYS = 9
MINUTES = st.integers(0, 95).map(lambda quarter: 15 * quarter)


def at(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


@st.composite
def spans(draw: st.DrawFn) -> dict[str, str]:
    first, last = sorted(draw(st.tuples(st.integers(0, 1300), st.integers(20, 1439))))
    word = draw(st.sampled_from(["none", "none", "wake", "clock"]))
    if word == "none":
        return {}
    return {"from": "wake+30", "to": "sleep-30"} if word == "wake" else {"from": at(first), "to": at(last)}


@st.composite
def windows(draw: st.DrawFn) -> list[list[str]]:
    edges = sorted(draw(st.lists(MINUTES, min_size=2, max_size=8, unique=True)))
    return [[at(low), at(high)] for low, high in zip(edges[::2], edges[1::2], strict=False)]


WAYS = st.one_of(
    st.lists(MINUTES, min_size=1, max_size=5, unique=True).map(lambda times: {"times": [at(each) for each in times]}),
    windows().map(lambda found: {"windows": found}),
    st.tuples(spans(), st.integers(1, 8), st.sampled_from(["strata", "anywhere"])).map(
        lambda parts: {"random": {**parts[0], "count": parts[1], "spread": parts[2]}}
    ),
    st.tuples(spans(), st.integers(30, 300), st.integers(0, 20)).map(
        lambda parts: {"every": {**parts[0], "minutes": parts[1], "jitter_minutes": parts[2]}}
    ),
    st.sampled_from([{"once": "end", "at": "18:00"}, {"once": {"day": 3}}]),
)


@st.composite
def rules(draw: st.DrawFn, key: str) -> dict[str, Any]:
    way = draw(WAYS)
    narrow = {} if "once" in way else draw(
        st.sampled_from([{}, {}, {"weekdays": [1, 3, 6]}, {"days": [2, 4]}, {"waves": ["w"]}, {"from_event": "quit", "days": [-1, 2]}])
    )  # fmt: skip
    arms = draw(st.sampled_from([{}, {}, {"arms": ["a"]}, {"arms": ["b"]}]))
    return {"key": key, "questionnaire": "q", "open_minutes": 30, **way, **narrow, **arms}


@st.composite
def plans(draw: st.DrawFn, most_rules: int = 4) -> dict[str, Any]:
    count = draw(st.integers(1, most_rules))
    waking = draw(st.sampled_from([{}, {}, {"waking": ["08:00", "22:00"]}, {"waking": ["00:00", "23:59"]}]))
    return {
        "gap_minutes": draw(st.sampled_from([0, 1, 10, 15, 30, 45, 60, 90, 120])),
        **waking,
        "own_events": [{"key": "quit"}],
        "waves": [{"key": "w", "days": [5, 7]}],
        "rules": [draw(rules(f"r{place}")) for place in range(count)],
    }
