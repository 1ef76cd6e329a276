"""The person table: one row of baseline covariates for each participant, read from a CSV. Values in, values out.

Nothing about people who do not take part is kept, and nothing that says who somebody is, unless it is allowed by name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ema_server.common.csv_rows import CsvFault, CsvRows, Order, one_decimal, shortened
from ema_server.participants import redcap
from ema_server.participants.person_columns import (
    CATEGORY_LEVELS,
    KINDS,
    MISSING,
    NUMERIC,
    Kind,
    Known,
    TableColumn,
    Typed,
    Value,
    identifying,
    typed,
    without_unused_levels,
)

Rows = dict[str, dict[str, Value]]
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Reading:
    """What whoever imports has said. Columns are named as in the file."""

    person: str | None = None
    event: str | None = None
    types: Mapping[str, Kind] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    dates: Order | None = None
    without: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReadTable:
    """A file as it was understood: typed columns, a row for each pseudonym, and what was done on the way."""

    columns: tuple[TableColumn, ...]
    rows: Rows
    row_numbers: Mapping[str, int]
    person: str = "person"
    described: str = ""
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """A row of somebody who does not take part, and who may be meant."""

    row: int
    pseudonym: str
    meant: str | None


@dataclass(frozen=True, slots=True)
class Match:
    matched: tuple[str, ...]
    unknown: tuple[Unknown, ...]
    without_row: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new version changes against the one before."""

    number: int
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    types_changed: tuple[str, ...]
    people_added: int
    people_removed: int
    cells_changed: int

    @property
    def nothing(self) -> bool:
        return not (
            self.columns_added or self.columns_removed or self.types_changed or self.people_added
            or self.people_removed or self.cells_changed
        )  # fmt: skip

    def in_words(self) -> str:
        if self.nothing:
            return f"The same as version {self.number}."
        parts = [
            f"columns added: {', '.join(self.columns_added)}" if self.columns_added else "",
            f"columns gone: {', '.join(self.columns_removed)}" if self.columns_removed else "",
            f"types changed: {', '.join(self.types_changed)}" if self.types_changed else "",
            f"{self.people_added} people more" if self.people_added else "",
            f"{self.people_removed} people fewer" if self.people_removed else "",
            f"{self.cells_changed} cells changed" if self.cells_changed else "",
        ]
        return f"Against version {self.number}: {'; '.join(part for part in parts if part)}."


def read_table(
    rows: CsvRows,
    said: Reading,
    *,
    dictionary: Mapping[str, Known] | None = None,
    taken: Mapping[str, str] | None = None,
) -> ReadTable:
    """The file's columns and rows. `taken` are names that the data have already, with what they are."""
    dictionary, taken = dictionary or {}, taken or {}
    _all_there(rows, said)
    person = said.person or rows.header[0]
    kept, notes = _one_row_each(rows, rows.column(person), said)
    missing = MISSING | set(said.missing)
    columns: list[Typed] = []
    left_out: dict[str, str] = {}
    asked: list[str] = []
    for place, header in enumerate(rows.header):
        if place == rows.column(person) or header in redcap.EVENT_COLUMNS | redcap.REPEAT_COLUMNS:
            continue
        cells = [(number, line[place]) for number, line in kept.values()]
        known = _known(header, said, dictionary)
        why = _not_wanted(header, [text.strip() for _, text in cells], said, missing)
        if why:
            left_out[header] = why
            continue
        telling = identifying(header, cells, known)
        if telling and header not in said.allow:
            asked.append(f"{header!r} ({telling})")
            continue
        found = typed(header, cells, known, missing=missing, decimal=rows.decimal, dates=said.dates)
        if found.column.type == "text" and known.type is None and header not in said.allow:
            asked.append(f"{header!r} (more than {CATEGORY_LEVELS} different texts: somebody wrote them freely?)")
            continue
        columns.append(replace(found, column=replace(found.column, name=_name(header, taken))))
    if asked:
        raise CsvFault(
            f"may say who somebody is: {', '.join(asked)}. Names and contacts belong to a participant's identity, which "
            "is sealed. Leave them out (--without NAME), or, if they identify nobody, say --allow NAME.",
            row=1,
            column=None,
        )
    _names_differ(columns, rows.header)
    one_decimal(each.numbers for each in columns if each.numbers is not None)
    notes += [note for each in columns for note in each.notes]
    return ReadTable(
        columns=tuple(each.column for each in columns),
        rows={
            pseudonym: {each.column.name: each.values[place] for each in columns}
            for place, pseudonym in enumerate(kept)
        },
        row_numbers={pseudonym: number for pseudonym, (number, _) in kept.items()},
        person=person,
        described=rows.described(),
        missing={each.column.name: each.missing for each in columns if each.missing},
        left_out=left_out,
        notes=tuple(notes),
    )


def from_rows(rows: Mapping[str, Mapping[str, Any]]) -> ReadTable:
    """A table of values that are typed already, by pseudonym: a script's, or one that is older than types."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows.values() if row.get(name) is not None]
        kind = _kind_of(values)
        levels = (
            tuple((str(value), "") for value in sorted({str(value) for value in values})) if kind == "category" else ()
        )
        columns.append(TableColumn(name, kind, levels=levels))
    numbers = {pseudonym: number for number, pseudonym in enumerate(rows, start=2)}
    return ReadTable(tuple(columns), {each: dict(row) for each, row in rows.items()}, numbers)


def matched(table: ReadTable, participants: Collection[str]) -> Match:
    """Whose rows these are. A pseudonym counts as it is written; one that is nearly somebody's is suggested."""
    near: dict[str, list[str]] = {}
    for pseudonym in participants:
        near.setdefault(_nearly(pseudonym), []).append(pseudonym)
    known = set(participants)
    unknown = []
    for pseudonym, row in table.row_numbers.items():
        if pseudonym not in known:
            alike = near.get(_nearly(pseudonym), [])
            meant = alike[0] if len(alike) == 1 and alike[0] not in table.rows else None
            unknown.append(Unknown(row, pseudonym, meant))
    return Match(
        tuple(pseudonym for pseudonym in table.rows if pseudonym in known),
        tuple(unknown),
        tuple(sorted(known - set(table.rows))),
    )


def of_participants(table: ReadTable, match: Match) -> tuple[list[dict[str, Any]], Rows]:
    """What is stored: the rows of those who take part, and the columns with the levels that they have."""
    rows = {pseudonym: table.rows[pseudonym] for pseudonym in match.matched}
    return pruned([each.as_json() for each in table.columns], rows), rows


def pruned(columns: Iterable[Mapping[str, Any]], rows: Rows) -> list[dict[str, Any]]:
    """Columns whose levels are those that somebody has."""
    return [
        without_unused_levels(TableColumn.of(each), [row.get(each["name"]) for row in rows.values()]).as_json()
        for each in columns
    ]


def changes(
    number: int, before: tuple[Iterable[Mapping[str, Any]], Rows], after: tuple[Iterable[Mapping[str, Any]], Rows]
) -> Changes:
    """What differs between two versions; cells are compared where both have the person and the column."""
    old, new = ({each["name"]: each["type"] for each in columns} for columns, _ in (before, after))
    both = [name for name in new if name in old]
    people = [pseudonym for pseudonym in after[1] if pseudonym in before[1]]
    return Changes(
        number=number,
        columns_added=tuple(name for name in new if name not in old),
        columns_removed=tuple(name for name in old if name not in new),
        types_changed=tuple(f"{name} ({old[name]} → {new[name]})" for name in both if old[name] != new[name]),
        people_added=len(after[1]) - len(people),
        people_removed=len(before[1]) - len(people),
        cells_changed=sum(before[1][each].get(name) != after[1][each].get(name) for each in people for name in both),
    )


def typed_frame_columns(
    columns: Iterable[Mapping[str, Any]], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[bool, dict[str, float | str | None]]]:
    """For each column: whether it is numeric, and its value by pseudonym. The type follows from the column and from no
    row, so that a chunk of the people is typed as all are."""
    known = [TableColumn.of(each) for each in columns] or list(from_rows(rows).columns)
    return {
        each.name: (each.type in NUMERIC, {person: _in_frame(each, row.get(each.name)) for person, row in rows.items()})
        for each in known
    }


def kinds_said(texts: Iterable[str]) -> dict[str, Kind]:
    """`age=number` as it is said on the command line or the page."""
    found: dict[str, Kind] = {}
    for text in texts:
        name, _, kind = text.rpartition("=")
        if not name or kind not in KINDS:
            raise CsvFault(f"--type {text!r}: write COLUMN=TYPE with a type of {', '.join(KINDS)}.")
        found[name.strip()] = kind  # type: ignore[assignment]
    return found


def refuse_taken(names: Iterable[str], taken: Mapping[str, str], header: str | None = None) -> None:
    """A column of a name that the data have would take its place, or lose its own."""
    for name in names:
        what = taken.get(name) or taken.get(name.lower())
        if what:
            raise CsvFault(
                f"the data have {what} of the name {name!r}; name the column otherwise, or leave it out (--without).",
                row=1,
                column=header or name,
            )


def _in_frame(column: TableColumn, value: Any) -> float | str | None:
    if value is None:
        return None
    return float(value) if column.type in NUMERIC else str(value)


def _all_there(rows: CsvRows, said: Reading) -> None:
    for name in [*said.types, *said.without, *said.allow]:
        rows.column(name)


def _one_row_each(rows: CsvRows, at: int, said: Reading) -> tuple[dict[str, tuple[int, list[str]]], list[str]]:
    """Each person's row. Of several events one must be chosen; repeated forms are no row of a person."""
    header = {name: place for place, name in enumerate(rows.header)}
    event_at = next((header[name] for name in header if name in redcap.EVENT_COLUMNS), None)
    repeat_at = next((header[name] for name in header if name in redcap.REPEAT_COLUMNS), None)
    kept: dict[str, tuple[int, list[str]]] = {}
    events: Counter[str] = Counter()
    repeated: Counter[str] = Counter()
    twice: tuple[int, str] | None = None
    for number, cells in rows:
        pseudonym = cells[at]
        if not pseudonym.strip():
            raise CsvFault("has no pseudonym; every row belongs to one person.", row=number, column=rows.header[at])
        if repeat_at is not None and cells[repeat_at]:
            repeated[cells[repeat_at]] += 1
            continue
        if event_at is not None:
            events[cells[event_at]] += 1
            if said.event is not None and cells[event_at] != said.event:
                continue
        if pseudonym in kept:
            twice = twice or (number, pseudonym)
            continue
        kept[pseudonym] = (number, cells)
    if said.event is not None and said.event not in events:
        there = f"there are {', '.join(events)}" if events else "the file has no column redcap_event_name"
        raise CsvFault(f"--event {said.event!r}: is not in the file; {there}.")
    if said.event is None and len(events) > 1:
        counted = ", ".join(f"{event} ({count} rows)" for event, count in events.items())
        raise CsvFault(f"a person has a row for each event: {counted}. Say which one holds the baseline: --event NAME.")
    if twice is not None:
        raise CsvFault(
            f"has a row already, row {kept[twice[1]][0]}; one row for each person is accepted.",
            row=twice[0],
            column=rows.header[at],
            value=twice[1],
        )
    if not kept:
        raise CsvFault("no row is left: all belong to repeated forms.")
    notes = []
    if repeated:
        forms = ", ".join(f"{form} ({count})" for form, count in repeated.items())
        notes.append(f"Rows of repeated forms were left out, since a person has one row: {forms}.")
    return kept, notes


def _known(header: str, said: Reading, dictionary: Mapping[str, Known]) -> Known:
    known = dictionary.get(header, Known())
    label = known.label or ("" if NAME.fullmatch(header) else header)
    kind = said.types.get(header, known.type)
    return Known(kind, label, known.levels if kind == "category" else (), known.identifies)


def _not_wanted(header: str, texts: list[str], said: Reading, missing: Collection[str]) -> str | None:
    if header in said.without:
        return "you left it out"
    if header in said.types or header in said.allow:
        return None
    if all(text in missing for text in texts):
        return "it is empty"
    return redcap.of_the_form(header, texts)


def _name(header: str, taken: Mapping[str, str]) -> str:
    """A name that formulas can use; what was written stays the label."""
    name = header if NAME.fullmatch(header) else re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")[:LONGEST_NAME]
    if not NAME.fullmatch(name):
        raise CsvFault(
            "cannot be a column's name; letters, digits and _ are accepted, a letter first.", row=1, column=header
        )
    refuse_taken([name], taken, header)
    return name


def _names_differ(columns: list[Typed], header: list[str]) -> None:
    for name, count in Counter(each.column.name for each in columns).items():
        if count > 1:
            raise CsvFault(f"{count} columns would be named {name!r}; name them so that they differ.", row=1)


def _kind_of(values: list[Any]) -> Kind:
    if all(isinstance(value, bool) for value in values):
        return "yesno"
    if all(isinstance(value, int | float) for value in values):
        return "integer" if all(isinstance(value, int) for value in values) else "number"
    texts = [str(value) for value in values]
    return "date" if all(re.fullmatch(r"\d{4}-\d\d-\d\d", text) for text in texts) else "category"


def _nearly(pseudonym: str) -> str:
    """P01, p1 and ' P 1' are nearly the same."""
    alike = unicodedata.normalize("NFKC", pseudonym).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]", "", alike))


def told(unknown: Unknown) -> str:
    """One row without a participant, in words."""
    meant = f"; {unknown.meant} is meant?" if unknown.meant else ""
    return f"row {unknown.row}: {shortened(unknown.pseudonym)!r}{meant}"
