"""A dry run on the terminal: what the rows are, what the columns are, what has no place, and what to do next."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ema_server.imports.findings import KINDS, Findings
from ema_server.imports.judging import Column, Counts, Plan

STATES = (
    ("answered", "answered"), ("late", "answered late"), ("begun", "begun, not finished"),
    ("expired with answers", "expired, begun"), ("cancelled with answers", "cancelled, begun"), ("expired", "expired"),
    ("cancelled", "cancelled"), ("no_record with answers", "no record, with answers"), ("no_record", "no record"),
    ("practice", "practice or test person"),
)  # fmt: skip


def show(console: Console, plan: Plan, findings: Findings, counts: Counts, *, imported: bool) -> None:
    """Everything that was found, in the order in which one asks for it."""
    first, last = plan.learned.days
    span = (
        f"{first.isoformat()} to {last.isoformat()}" if plan.has_clock else f"{(last - first).days + 1} days, no clock"
    )
    console.print(
        f"\n[bold]{'Imported' if imported else 'Dry run'}[/bold]  {counts.rows:,} rows · {plan.learned.people:,} people · {span} · "
        f"{escape(plan.table.described)}"
    )
    _rows(console, plan, counts)
    for form in plan.forms:
        _items(console, plan, form.name, form.columns, given=form.given)
    if plan.person_table:
        console.print(
            f"\n[bold]Person table[/bold]  {escape(', '.join(plan.person_table))}\n  the same on all rows of a person",
            soft_wrap=True,
        )
    if found := _notes(plan, counts):
        console.print("\n[bold]Notes[/bold]")
        for note in found:
            console.print(f"  {escape(note)}", soft_wrap=True)
    _unplaced(console, findings)


def next_steps(console: Console, slug: str, findings: Findings, *, imported: bool, planned: bool, plan: Plan) -> None:
    console.print("\n[bold]Next[/bold]")
    if imported and planned:
        console.print(f"  manage.py run_night --study {slug}\n  manage.py latest_report {slug}", soft_wrap=True)
    elif imported:
        console.print(
            "  The study has no analysis plan. Import it under another short name with --outcome ITEM --predictor ITEM for one.",
            soft_wrap=True,
        )
    elif findings.blocking:
        kinds = ",".join(dict.fromkeys(each.kind for each in findings.blocking))
        console.print(
            "  Mend the file or say in a map what is meant (docs/importing-studies.md), and look again. What should stay out, "
            f"with the rest imported: --leave-out {kinds}",
            soft_wrap=True,
        )
    else:
        more = "" if planned else ", with --outcome ITEM --predictor ITEM for an analysis plan"
        console.print(f"  The same command without --dry-run imports all of it{more}.", soft_wrap=True)
    console.print()


def _rows(console: Console, plan: Plan, counts: Counts) -> None:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    for state, words in STATES:
        if counts.states[state]:
            table.add_row(f"{counts.states[state]:,}", words)
    if counts.reissued:
        table.add_row(f"{counts.reissued:,}", "of these: the phone asked again for a prompt that has a row")
    if counts.left_out:
        table.add_row(f"{counts.left_out:,}", "[yellow]without a place[/yellow]")
    console.print("\n[bold]Rows[/bold]")
    console.print(table)
    if len(plan.forms) > 1:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.by_form.most_common())
        console.print(f"  by questionnaire: {escape(told)}", soft_wrap=True)


def _items(console: Console, plan: Plan, name: str, columns: tuple[Column, ...], *, given: bool) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("item", "type", "answers are", "seen in the file"):
        table.add_column(heading)
    table.add_column("filled", justify="right")
    for column in columns:
        item, header = column.item, plan.table.header[column.place]
        shown = item.name if item.name == header else f"{item.name} ← {header}"
        cells = plan.learned.cells.get(column.place)
        table.add_row(
            escape(shown),
            item.type,
            escape(_accepts(column)),
            escape(column.inferred or "given"),
            f"{cells.filled:,}" if cells else "",
        )
    console.print(f"\n[bold]{escape(name)}[/bold]  {'as given' if given else 'inferred; --survey gives another'}")
    console.print(table)


def _accepts(column: Column) -> str:
    item = column.item
    if item.range:
        return f"{item.range[0]} to {item.range[1]}"
    if item.options:
        words = ", ".join(str(option.value) for option in item.options)
        return words if len(words) <= 40 else f"{words[:39]}…"
    return {"yesno": "yes or no", "text": "sealed", "number": "any"}.get(item.type, "")


def _notes(plan: Plan, counts: Counts) -> list[str]:
    notes = [*plan.notes, *counts.cautions]
    if counts.undated:
        notes.append(
            f"{counts.undated:,} answers by a clock that cannot be believed (long before or after the study): they count, without a time."
        )
    if counts.unheld:
        notes.append(f"{counts.unheld:,} rows are said to be answered and hold no answer.")
    says = {"expires_at", "open_minutes"} & set(plan.map.cells)
    if not says:
        notes.append(
            "No column says how long a prompt was open, so an answer within a day is in time; --open-minutes says it."
        )
    return notes


def _unplaced(console: Console, findings: Findings) -> None:
    if not findings:
        console.print("\n[green]Everything has its place.[/green]")
        return
    console.print("\n[bold]Without a place[/bold]")
    for finding in findings:
        left = f"left out: {KINDS[finding.kind]}" if finding.kind in findings.allowed else "stops the import"
        console.print(
            f"  [yellow]{finding.kind}[/yellow] in {escape(repr(finding.column))}, {_times(finding.count)} ({left})",
            soft_wrap=True,
        )
        for place in finding.places:
            console.print(f"    {escape(place)}", soft_wrap=True)
        if finding.count > len(finding.places):
            console.print(f"    and {finding.count - len(finding.places):,} more")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
