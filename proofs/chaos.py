"""The log of what was killed while it worked, and what it cost: docs/chaos.jsonl, and the page that adds it up.

`make chaos KILLS=1000 LOG=docs/chaos.jsonl` appends; `python -m proofs.chaos` prints the totals and writes docs/chaos.md.
Nothing here is typed by hand: a run counts only with its last line, which says what was found at its end, and a kill only
if it says what it hit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "docs" / "chaos.jsonl"
PAGE = ROOT / "docs" / "chaos.md"
FOUND = ("acknowledged", "lost", "doubled", "partial", "unheard")
PROOFS = {
    "intake": "phones upload answers; what is acknowledged is compared with the database at the end",
    "outbox": "workers do what the outbox holds; effects are counted at the end",
}
KINDS = {
    "worker": "a web worker",
    "web": "the whole web tree",
    "backend": "a PostgreSQL backend (all others go down with it)",
    "postmaster": "PostgreSQL's postmaster",
}


@dataclass
class Totals:
    """Of all runs of one proof that came to their end."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    not_counted: int = 0
    hit: int = 0
    found: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    healthy_after: float = 0.0
    unfinished: int = 0


def append(line: Mapping[str, Any], log: Path) -> None:
    log.parent.mkdir(exist_ok=True)
    with log.open("a") as out:
        out.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def commit() -> str:
    """The commit that was tried, with a + where the service differs from it."""
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "ema_server"], cwd=ROOT)
    return said.stdout.strip() + ("+" if changed.returncode else "") if said.returncode == 0 else "unknown"


def counts(line: Mapping[str, Any]) -> bool:
    """Whether a kill hit work: something under way at the kill that did not end well because of it."""
    return bool(line["in_flight"]) and line["hit"] > 0


def totals(lines: Iterable[Mapping[str, Any]]) -> dict[str, Totals]:
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        runs[line["proof"], line["run"]].append(line)
    found: dict[str, Totals] = {}
    for (proof, _), run in runs.items():
        of = found.setdefault(proof, Totals())
        ends = [line for line in run if "end" in line]
        if len(ends) != 1:
            of.unfinished += 1
            continue
        of.runs += 1
        for line in run:
            if "kind" not in line:
                continue
            if not counts(line):
                of.not_counted += 1
                continue
            of.kills[line["kind"]] += 1
            of.hit += line["hit"]
            if line["kind"] in ("backend", "postmaster"):
                of.healthy_after = max(of.healthy_after, line["healthy_after"])
        of.found.update({name: ends[0]["end"].get(name, 0) for name in FOUND})
        of.answers.update(ends[0]["end"].get("answers", {}))
    return found


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    text = [
        "# Killed while at work",
        "",
        "Written by `python -m proofs.chaos` from `chaos.jsonl`, which `make chaos KILLS=n LOG=docs/chaos.jsonl` appends to: a line for",
        "each SIGKILL with time, seed, pid, the work in flight at that moment and what was acknowledged until then, and a line for what",
        "was found at the end of each run. A kill counts only if something was under way and was cut off by it; a run only if",
        "it came to its end. Seeds repeat a run's choices, not its moments.",
    ]
    for proof, of in sorted(totals(lines).items()):
        found = of.found
        text += [
            "",
            f"## {proof}: {PROOFS[proof]}",
            "",
            f"**{of.kills.total():,} kills that counted, in {of.runs} runs: {found['lost']} lost, {found['doubled']} doubled, "
            f"{found['partial']} partial** of {found['acknowledged']:,} acknowledged.",
            "",
            "| killed | times |",
            "|---|---|",
            *(f"| {KINDS.get(kind, kind)} | {count:,} |" for kind, count in sorted(of.kills.items())),
            "",
            f"They cut off {of.hit:,} pieces of work. {of.not_counted} more kills hit nothing and count as none; "
            f"{of.unfinished} runs did not come to their end and count for nothing.",
        ]
        if of.answers:
            answers = ", ".join(f"{kind} {count:,}" for kind, count in sorted(of.answers.items()))
            text.append(f"Answers to all requests: {answers}.")
        if found["unheard"]:
            text.append(
                f"{found['unheard']:,} items were stored and their answer was lost: sent again, they were `duplicate`."
            )
        if of.healthy_after:
            text.append(
                f"The longest from a kill in PostgreSQL until answers sent after it were stored: {of.healthy_after:.1f} s."
            )
    return "\n".join(text) + "\n"


def main() -> int:
    lines = read(LOG)
    PAGE.write_text(page(lines))
    for proof, of in sorted(totals(lines).items()):
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(of.kills.items()))
        found = ", ".join(f"{name} {of.found[name]}" for name in FOUND)
        print(f"{proof}: {of.kills.total()} kills counted ({kinds}) in {of.runs} runs; {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
