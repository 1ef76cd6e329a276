"""Results as a table: in the terminal, and as the page beside the stored files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.result import Result, clock

HEADS = ("workload", "ours", "peer", "× limit", "target", "figure", "met")
WIDE = 132
"""Columns of the table where its reader is a file."""
MARKS = {True: "yes", False: "NO", None: ""}
STYLES = {True: "green", False: "bold red", None: "dim"}


def lines(result: Result) -> list[tuple[tuple[str, ...], bool | None]]:
    """One line per verdict; the workload's name and times stand on the first."""
    medians = result.medians
    peers = [clock(value) for name, value in medians.items() if name in ("mixedlm-rs", "mixedlm", "lme4")]
    limit = result.times_the_limit
    ours = clock(medians["ours"]) if "ours" in medians else ""
    first = (result.title, ours, "".join(peers), f"{limit:.3g}" if limit else "")
    blank = ("",) * len(first)
    return [
        ((*(first if j == 0 else blank), item.target, item.figure, MARKS[item.met]), item.met)
        for j, item in enumerate(result.verdicts)
    ]


def show(results: Sequence[Result], facts: dict[str, Any]) -> None:
    table = Table(title="Side by side in one run; medians", title_justify="left", expand=False)
    for head in HEADS:
        table.add_column(head, justify="right" if head in ("ours", "peer", "× limit") else "left")
    for result in results:
        for cells, met in lines(result):
            table.add_row(*cells[:-1], f"[{STYLES[met]}]{cells[-1]}[/]")
        table.add_section()
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
    console.print(about(facts), style="dim")


def about(facts: dict[str, Any]) -> str:
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB; Python {facts['python']}, numpy "
        f"{facts['numpy']}, numba {facts['numba']}; load {facts['load_before']} before the run. "
        "× limit: our time over the time to read the design matrix once from memory."
    )


def write_page(results: Sequence[Result], facts: dict[str, Any], folder: Path) -> None:
    """The same as Markdown. Written by the benchmarks, as the files that it sums up."""
    text = ["# Figures", "", "Written by `make bench`; `../README.md` says how to read them.", ""]
    text += [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    text += [f"| {' | '.join(cells)} |" for result in results for cells, _ in lines(result)]
    text += ["", about(facts), ""]
    (folder / "README.md").write_text("\n".join(text))
