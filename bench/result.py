"""What a workload gives: times, figures, verdicts; one JSON file each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine


@dataclass(frozen=True)
class Verdict:
    """One target and whether it was reached; None where it is reported only."""

    target: str
    figure: str
    met: bool | None


@dataclass(frozen=True)
class Result:
    """One workload's outcome.

    calls, seconds : engine → the call as it was run, and all its times
    gap : log-likelihood of the peer's answer minus that of ours, by the referee; above 0 the peer's is better
    limit_seconds : time to stream a design matrix of `rows` × `columns` from memory once
    """

    name: str
    title: str
    calls: Mapping[str, str]
    seconds: Mapping[str, list[float]]
    verdicts: list[Verdict]
    rows: int | None = None
    columns: int | None = None
    gap: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        return {name: median(times) for name, times in self.seconds.items()}

    @property
    def limit_seconds(self) -> float | None:
        if self.rows is None or self.columns is None:
            return None
        return machine.stream_seconds(self.rows, self.columns)

    @property
    def times_the_limit(self) -> float | None:
        """Our time over the machine's limit."""
        limit, medians = self.limit_seconds, self.medians
        return medians["ours"] / limit if limit and "ours" in medians else None

    @classmethod
    def read(cls, path: Path) -> Result:
        """A stored result."""
        stored = json.loads(path.read_text())
        kept = {field.name: stored[field.name] for field in fields(cls)}
        return cls(**kept | {"verdicts": [Verdict(**verdict) for verdict in stored["verdicts"]]})

    def write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        out = asdict(self) | {
            "median_seconds": self.medians,
            "limit_seconds": self.limit_seconds,
            "times_the_limit": self.times_the_limit,
            "machine": facts,
            "commit": machine.commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (folder / f"{self.name}.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")


GAP = 1e-6
"""A log-likelihood further than this below the peer's is a worse answer."""


def gap_verdict(gap: float) -> Verdict:
    """Was the peer's optimum reached? Says by how much ours is better where it is."""
    if gap < -GAP:
        return Verdict("gap below 1e-6", f"ours is better by {-gap:.2g}", True)
    return Verdict("gap below 1e-6", f"gap {gap:.1e}", gap < GAP)


def clock(seconds: float) -> str:
    """Seconds in words of a fitting unit."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
