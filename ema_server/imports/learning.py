"""The first reading of a file: who is in it, when, and what its columns hold. Memory is some 30 bytes for each row."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ema_server.common.csv_rows import CsvFault, shortened
from ema_server.imports.findings import Findings
from ema_server.imports.guesses import Cells
from ema_server.imports.maps import Cell, Map
from ema_server.imports.tables import Table
from ema_server.imports.times import DAY, EPOCH, MINUTE, Clock, TimeFault, written_offset

LONGEST_NAME = 40
MOST_FORMS = 200
MOST_WAVES = 500
MOST_LABELS = 1_000
MOST_SLOTS = 32_000  # of one person's day
EVERY = 2_000  # rows between two notes of progress
FIRST_HOUR, LAST_HOUR = 9, 21  # between them lie the prompts of a file that knows no clock
OLDEST, NEWEST = -(10**15), 32_503_680_000_000_000  # 1938 to 3000: what lies outside was no study
Int = NDArray[np.int64]


@dataclass
class Person:
    """Somebody in the file, under the name by which the study will know them."""

    pseudonym: str
    test_person: bool = False
    facts: dict[str, str] = field(default_factory=dict)


@dataclass
class Learned:
    """What one reading tells. Arrays hold one value for each row; `placed` is 0 where the row has no place."""

    persons: list[Person] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    waves: list[str] = field(default_factory=list)
    cells: dict[int, Cells] = field(default_factory=dict)  # by column
    filled: dict[int, set[int]] = field(default_factory=dict)  # form → columns that hold anything in it
    steady: set[int] = field(default_factory=set)  # columns that never differ within a person
    labels: dict[int, dict[str, str]] = field(default_factory=dict)  # column → its cells' texts in another column
    placed: bytearray = field(default_factory=bytearray)
    person: Any = field(default_factory=lambda: array("i"))
    form: Any = field(default_factory=lambda: array("h"))
    wave: Any = field(default_factory=lambda: array("h"))
    zone: Any = field(default_factory=lambda: array("h"))
    utc: Any = field(default_factory=lambda: array("q"))
    offset: Any = field(default_factory=lambda: array("h"))
    day: Any = field(default_factory=lambda: array("i"))
    slot: Any = field(default_factory=lambda: array("h"))
    named: Any = field(default_factory=lambda: array("q"))  # the prompt's own name as a number, 0 where it has none
    again: bytearray = field(default_factory=bytearray)  # 1 where an earlier row is of the same prompt
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.placed)

    @property
    def people(self) -> int:
        """How many persons have a row with a place."""
        used = np.frombuffer(self.placed, np.uint8) == 1
        return len(np.unique(_array(self.person)[used]))

    @property
    def days(self) -> tuple[date, date]:
        """The first and the last local day of any prompt."""
        used = np.frombuffer(self.placed, np.uint8) == 1
        local = (_array(self.utc) + _array(self.offset).astype(np.int64) * MINUTE)[used] // DAY
        return tuple(EPOCH.date() + timedelta(days=int(day)) for day in (local.min(), local.max()))  # type: ignore[return-value]


def learn(
    table: Table,
    mapping: Map,
    clock: Clock,
    findings: Findings,
    *,
    form: str,
    candidates: list[int],
    steady: list[int],
    first_day: date,
    each: Callable[[int], None] = lambda rows: None,
) -> Learned:
    """Read everything once. `candidates` are the columns that may hold answers, `form` the questionnaire of rows that
    name none; `steady` the columns of which is asked whether they ever differ within a person."""
    reading = _Learning(table, mapping, clock, findings, form, candidates, steady)
    for nth, cells in enumerate(table.rows()):
        reading.row(nth, cells)
        if nth % EVERY == 0:
            each(nth)
    found = reading.found
    reading.judge_persons()
    if not mapping.when.columns:
        _invent_times(found, clock.zone, first_day)
    _place(found, mapping, table, findings)
    each(found.rows)
    return found


class _Learning:
    def __init__(
        self,
        table: Table,
        mapping: Map,
        clock: Clock,
        findings: Findings,
        form: str,
        candidates: list[int],
        steady: list[int],
    ) -> None:
        self.table, self.map, self.clock, self.findings = table, mapping, clock, findings
        self.found = Learned()
        self.form, self.missing = form, mapping.missing
        at = {name: place for place, name in enumerate(table.header)}
        self.at = {name: at[cell.column] for name, cell in mapping.cells.items() if cell.column is not None}
        self.planned = [at[name] for name in mapping.when.columns]
        self.offset_from = [at[name] for name in mapping.when.offset_from]
        self.offset_seconds = at[mapping.when.offset_seconds] if mapping.when.offset_seconds else None
        self.zone_column = at[mapping.when.zone_column] if mapping.when.zone_column else None
        self.columns = [(place, Cells(mapping.decimal)) for place in candidates]
        self.found.cells = dict(self.columns)
        self.pairs = [
            (at[name], at[item.label_from])
            for item in (mapping.items or {}).values()
            for name in (item.column, item.prefer)
            if item.label_from and name
        ]
        self.found.labels = {place: {} for place, _ in self.pairs}
        self._persons: dict[str, int] = {}
        self._raw: list[tuple[str, int, int]] = []  # cell, first row, how many rows
        self._forms: dict[str, int] = {}
        self._said: dict[str, str] = {}  # a questionnaire's short name → what the file or the map calls it
        self._zones: dict[str, int] = {}
        self._firsts: list[tuple[int, dict[int, str]]] = [(place, {}) for place in steady]

    def row(self, nth: int, cells: list[str]) -> None:
        found = self.found
        person = self._person(nth, cells)
        form = self._form(nth, cells)
        place = self._when(nth, cells)
        found.placed.append(person >= 0 and form >= 0 and place is not None)
        utc, offset, zone = place or (0, 0, 0)
        found.person.append(person)
        found.form.append(form)
        found.utc.append(utc)
        found.offset.append(offset)
        found.zone.append(zone)
        at = self.at
        found.wave.append(self._wave(nth, cells[at["wave"]].strip()) if "wave" in at else -1)
        found.day.append(self._whole(nth, cells, "day", -1, 100_000) if "day" in at else -1)
        found.slot.append(self._whole(nth, cells, "slot", -1, MOST_SLOTS) if "slot" in at else -1)
        found.named.append(_number(cells[at["prompt"]].strip(), self.missing) if "prompt" in at else 0)
        missing = self.missing
        filled = found.filled.get(form)
        if filled is None:
            filled = found.filled[form] = set()
        for place_of, seen in self.columns:
            text = cells[place_of]
            if text and text not in missing:
                seen.filled += 1
                filled.add(place_of)
                counts = seen.seen
                if text in counts:
                    counts[text] += 1
                else:
                    seen.first(text)
                if seen.unshared and text in seen.unshared and person >= 0 and not found.persons[person].test_person:
                    seen.given(text, found.persons[person].pseudonym)
        for place_of, other in self.pairs:
            text = cells[place_of]
            if text and text not in found.labels[place_of] and len(found.labels[place_of]) < MOST_LABELS:
                found.labels[place_of][text] = cells[other]
        if self._firsts and person >= 0:
            self._firsts = [
                (place_of, values)
                for place_of, values in self._firsts
                if values.setdefault(person, cells[place_of]) == cells[place_of]
            ]

    def _person(self, nth: int, cells: list[str]) -> int:
        text = cells[self.at["person"]] if "person" in self.at else str(self.map.cells["person"].value)
        known = self._persons.get(text)
        if known is not None:
            cell, first, rows = self._raw[known] if known >= 0 else ("", 0, 0)
            if known >= 0:
                self._raw[known] = (cell, first, rows + 1)
            else:
                self._refuse_person(nth, text)
            return known
        if self._refuse_person(nth, text):
            if len(self._persons) < 1_000_000:
                self._persons[text[:1000]] = -1
            return -1
        self._persons[text] = number = len(self._raw)
        self._raw.append((text, nth, 1))
        words = self.map.cells["person"].words or {}
        name = str(words.get(text, words.get(text.strip(), re.sub(r"\s+", " ", text.strip()))))
        test = "test_person" in self.at and _flag(self.map.cells["test_person"], cells[self.at["test_person"]])
        self.found.persons.append(Person(name, bool(test) or name in self.map.test_persons))
        return number

    def _refuse_person(self, nth: int, text: str) -> bool:
        bare, column = text.strip(), self.map.column("person") or "person"
        if not bare or bare in self.missing:
            self.findings.add("persons", column, self.table.where(nth), "is empty: whose row is this?", text)
        elif not re.sub(r"\s+", " ", bare).isprintable():
            self.findings.add(
                "persons", column, self.table.where(nth), "holds a character that nobody sees; write it without.", text
            )
        elif len(bare) > LONGEST_NAME:
            self.findings.add(
                "persons", column, self.table.where(nth), f"is longer than {LONGEST_NAME} characters.", text
            )
        elif "@" in bare:
            self.findings.add(
                "persons", column, self.table.where(nth), "looks like an address; a pseudonym is needed here.", text
            )
        else:
            return False
        return True

    def judge_persons(self) -> None:
        """Names that only differ in case or spaces are one person or two: that is asked, not guessed."""
        column = self.map.column("person") or "person"
        by_name: dict[str, int] = {}
        wrong: set[int] = set()
        for number, person in enumerate(self.found.persons):
            alike = unicodedata.normalize("NFKC", person.pseudonym).casefold()
            other = by_name.setdefault(re.sub(r"[\s_-]+", "", alike), number)
            words = self.map.cells["person"].words
            if other != number and not (words and person.pseudonym == self.found.persons[other].pseudonym):
                (text, first, rows), (before, its_first, _) = self._raw[number], self._raw[other]
                self.findings.add(
                    "persons", column, self.table.where(first),
                    f"({rows} rows) differs from {before!r} ({self.table.where(its_first)}) in case, spaces or dashes alone. One "
                    'person? Then say so in the map: "person": {"column": …, "words": {"…": "…"}}.',
                    text,
                )  # fmt: skip
                wrong.add(number)
        if wrong:
            lost = np.isin(_array(self.found.person), list(wrong))
            placed = np.frombuffer(self.found.placed, np.uint8).copy()
            placed[lost] = 0
            self.found.placed = bytearray(placed.tobytes())
        self._merge_same_names()
        rows = self.found.rows
        people = len(self.found.persons)
        if rows >= 2 * people and people >= 2:
            self.found.steady = {
                place for place, values in self._firsts
                if any(value and value not in self.missing for value in values.values())
            }  # fmt: skip
            for place, values in self._firsts:
                for number, value in values.items():
                    self.found.persons[number].facts[self.table.header[place]] = value

    def _merge_same_names(self) -> None:
        """Two cells that the map calls one person are one."""
        first: dict[str, int] = {}
        where = [first.setdefault(person.pseudonym, number) for number, person in enumerate(self.found.persons)]
        if len(first) < len(where):
            table = np.array([*where, -1], dtype=np.int32)
            person = _array(self.found.person)
            self.found.person = array("i", table[np.where(person < 0, len(where), person)].astype(np.int32).tobytes())

    def _form(self, nth: int, cells: list[str]) -> int:
        text = cells[self.at["questionnaire"]].strip() if "questionnaire" in self.at else ""
        known = self._forms.get(text)
        if known is not None and known >= 0:
            return known
        cell = self.map.cells.get("questionnaire")
        if text:
            said = str(((cell.words if cell else None) or {}).get(text, text))
        else:
            said = str(cell.value) if cell and cell.value is not None else self.form
        name = slug(said)
        column = self.map.column("questionnaire") or "questionnaire"
        if not name:
            self.findings.add(
                "questionnaires", column, self.table.where(nth),
                'has no letter or digit that a short name could keep; give it one: "words": {"…": "morning"}.', text,
            )  # fmt: skip
            return -1
        if self._said.setdefault(name, said) != said:
            self.findings.add(
                "questionnaires", column, self.table.where(nth),
                f'would be the questionnaire {name}, as {shortened(self._said[name])!r} is. One questionnaire? Then say so in the map: '
                '"questionnaire": {"column": …, "words": {"…": "…"}}; else give it another name there.', text,
            )  # fmt: skip
            return -1
        if name not in self.found.forms:
            if len(self.found.forms) >= MOST_FORMS:
                raise CsvFault(
                    f"is questionnaire {MOST_FORMS + 1}; at most {MOST_FORMS} are possible. Is it the right column?",
                    column=column, value=text,
                )  # fmt: skip
            self.found.forms.append(name)
        self._forms[text] = number = self.found.forms.index(name)
        return number

    def _when(self, nth: int, cells: list[str]) -> tuple[int, int, int] | None:
        """Moment, offset and zone of a row's planned time; zeros where the file knows no clock."""
        if not self.planned:
            return (0, 0, self._zone_number(self.clock.zone))
        empty = self.clock.is_empty
        text = next((cells[place].strip() for place in self.planned if not empty(cells[place].strip())), "")
        column = self.map.when.columns[0]
        try:
            if not text or text in self.missing:
                raise TimeFault("is empty: when was this prompt planned?")
            zone, known = self.clock.zone, False
            if self.zone_column is not None and cells[self.zone_column]:
                zone, known = cells[self.zone_column].strip(), True
            elif self.map.when.zone:
                zone = self.map.when.zone
            offset = self._offset(cells)
            utc, minutes = self.clock.read(text, zone, offset)
            if not OLDEST < utc < NEWEST or (utc < 10**14 and self.clock.style == "iso"):
                raise TimeFault("is no time at which a phone could have asked.")
            if not known and (offset is not None or minutes != self.clock.offset_at(zone, utc)):
                zone = self.clock.zone_with(zone, utc, minutes)
            return utc, minutes, self._zone_number(zone)
        except (TimeFault, OverflowError) as fault:
            why = fault.args[0] if isinstance(fault, TimeFault) else "is no time."
            self.findings.add("times", column, self.table.where(nth), why, text)
            return None

    def _offset(self, cells: list[str]) -> int | None:
        if self.offset_seconds is not None:
            try:
                return int(cells[self.offset_seconds]) // 60
            except ValueError:
                return None
        for place in self.offset_from:
            offset = written_offset(cells[place])
            if offset is not None:
                return offset
        return None

    def _zone_number(self, zone: str) -> int:
        number = self._zones.get(zone)
        if number is None:
            number = self._zones[zone] = len(self._zones)
            self.found.zones.append(zone)
        return number

    def _wave(self, nth: int, text: str) -> int:
        if not text or text in self.missing:
            return -1
        if len(text) > LONGEST_NAME or not text.isprintable():
            self.findings.add(
                "statuses",
                self.map.column("wave") or "wave",
                self.table.where(nth),
                f"is longer than {LONGEST_NAME} characters, or holds one that nobody sees.",
                text,
            )
            self.found.placed[nth : nth + 1] = b"\0"
            return -1
        if text not in self.found.waves:
            if len(self.found.waves) >= MOST_WAVES:
                raise CsvFault(
                    f"is wave {MOST_WAVES + 1}; at most {MOST_WAVES} are possible. Is it the right column?",
                    column=self.map.column("wave"), value=text,
                )  # fmt: skip
            self.found.waves.append(text)
        return self.found.waves.index(text)

    def _whole(self, nth: int, cells: list[str], name: str, absent: int, most: int) -> int:
        text = cells[self.at[name]].strip()
        if not text or text in self.missing:
            return absent
        try:
            number = int(text) if text.isdigit() else float(text)
            if number == int(number) and 0 <= number <= most:
                return int(number)
        except (ValueError, OverflowError):
            pass
        self.findings.add(
            "times", self.table.header[self.at[name]], self.table.where(nth),
            f"is no {name}; a whole number from 0 is needed.", text,
        )  # fmt: skip
        self.found.placed[nth : nth + 1] = b"\0"
        return absent


def slug(text: str) -> str:
    """A questionnaire's name as an address may hold it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-")


def _flag(cell: Cell, text: str) -> bool | None:
    found = (cell.words or {}).get(text.strip().lower(), (cell.words or {}).get(text.strip()))
    return found if isinstance(found, bool) else None


def _number(text: str, missing: frozenset[str]) -> int:
    """A prompt's own name as a number that is the same wherever it stands."""
    if not text or text in {"0", "-1"} or text in missing:
        return 0
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True) or 1


def _array(values: Any) -> NDArray[Any]:
    """The same memory as an array of numpy's; small types overflow where they are multiplied."""
    return np.frombuffer(values, dtype={"i": np.int32, "h": np.int16, "q": np.int64}[values.typecode])


def _invent_times(found: Learned, zone: str, first_day: date) -> None:
    """A clock for a file that has none: day 1 is `first_day`, a day's prompts lie evenly between nine and nine."""
    day, slot, person, form = (
        _array(each).astype(np.int64) for each in (found.day, found.slot, found.person, found.form)
    )
    order = np.lexsort((np.arange(len(day)), day, form, person))
    running = _running(person[order], form[order], day[order])
    counted = np.empty_like(running)
    counted[order] = running
    slot = np.where(slot < 0, counted, slot)
    most = max(int(slot.max(initial=1)), 1)
    step = (LAST_HOUR - FIRST_HOUR) * 60 // most
    wall = (
        ((first_day - EPOCH.date()).days + np.maximum(day, 0) - 1) * 1440
        + FIRST_HOUR * 60
        + (np.maximum(slot, 1) - 1) * step
    )
    clock = Clock("iso", zone, {})
    offsets = {int(each): clock.offset_at(zone, int(each) * MINUTE) for each in np.unique(wall)}
    offset = np.array([offsets[int(each)] for each in wall], dtype=np.int64)
    found.utc = array("q", ((wall - offset) * MINUTE).tobytes())
    found.offset = array("h", offset.astype(np.int16).tobytes())
    found.slot = array("h", slot.astype(np.int16).tobytes())
    placed = np.frombuffer(found.placed, np.uint8).copy()
    placed[day < 0] = 0
    found.placed = bytearray(placed.tobytes())
    found.notes.append(
        f"The file holds no clock time: day 1 was put on {first_day.isoformat()} and a day's prompts evenly between {FIRST_HOUR:02d}:00 "
        f"and {LAST_HOUR:02d}:00. Hours, weekdays and dates mean nothing here."
    )


def _running(*sorted_keys: NDArray[Any]) -> Int:
    """1, 2, 3 … within each group of equal keys; the keys are sorted."""
    count = len(sorted_keys[0])
    new = np.ones(count, dtype=bool)
    if count:
        new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in sorted_keys])
    starts = np.flatnonzero(new)
    return np.arange(count) - np.repeat(starts, np.diff([*starts, count])) + 1


def _place(found: Learned, mapping: Map, table: Table, findings: Findings) -> None:
    """Number days and prompts, and find the rows that speak of a prompt of which another row speaks."""
    placed = np.frombuffer(found.placed, np.uint8).copy()
    rows = np.flatnonzero(placed)
    person, form, wave, utc, offset, day, slot, named = (
        _array(each)[rows]
        for each in (found.person, found.form, found.wave, found.utc, found.offset, found.day, found.slot, found.named)
    )
    local = (utc + offset.astype(np.int64) * MINUTE) // DAY
    first = np.full(len(found.persons), np.iinfo(np.int64).max)
    np.minimum.at(first, person, local)
    day = np.where(day < 0, local - first[person] + 1, day).astype(np.int32)
    del local, offset

    numbered = (slot >= 0) & ("slot" in mapping.cells) & (named == 0)
    sort = np.where(named != 0, 2, np.where(numbered, 1, 0)).astype(np.int8)
    key = np.where(named != 0, named, np.where(numbered, day.astype(np.int64) * 100_000 + slot, utc))
    order = np.lexsort((rows, utc, key, sort, wave, form, person))
    nth = np.empty(len(rows), dtype=np.int32)
    nth[order] = _running(*(each[order] for each in (person, form, wave, sort, key)))
    again = nth > 1
    leader = np.empty(len(rows), dtype=np.int32)  # the row that stands for each row's prompt
    leader[order] = order[np.arange(len(rows)) - nth[order] + 1]
    day = day[leader]
    del key, named, nth

    heads = np.flatnonzero(~again)
    by_time = heads[np.lexsort((utc[heads], day[heads], wave[heads], form[heads], person[heads]))]
    counted = np.zeros(len(rows), dtype=np.int32)
    counted[by_time] = _running(*(each[by_time] for each in (person, form, wave, day)))
    slot = np.where(slot[leader] >= 0, slot[leader], counted[leader])
    if slot.max(initial=0) > MOST_SLOTS:
        most = int(np.argmax(slot))
        raise CsvFault(
            f"{found.persons[int(person[most])].pseudonym!r} has more than {MOST_SLOTS:,} prompts on one day; is one "
            "row a prompt here?"
        )

    if mapping.repeats == "refuse":
        for place in np.flatnonzero(again & (sort != 2))[:100_000]:
            findings.add(
                "duplicates", mapping.column("person") or "person", table.where(int(rows[place])),
                f"speaks of the same {'day and slot' if sort[place] == 1 else 'time'} as {table.where(int(rows[leader[place]]))}; if the "
                'phone asked again, say "repeats": "reissued" in the map.',
                found.persons[int(person[place])].pseudonym,
            )  # fmt: skip
        placed[rows[again & (sort != 2)]] = 0
    heads = np.flatnonzero(~again)
    order = heads[np.lexsort((rows[heads], slot[heads], day[heads], wave[heads], form[heads], person[heads]))]
    clash = order[_running(*(each[order] for each in (person, form, wave, day, slot))) > 1]
    for place in clash:
        findings.add(
            "duplicates", mapping.column("slot") or "slot", table.where(int(rows[place])),
            f"is another prompt in the same slot (day {day[place]}, slot {slot[place]}).",
            found.persons[int(person[place])].pseudonym,
        )  # fmt: skip
    placed[rows[np.isin(leader, clash)]] = 0

    for name, values, code in (("day", day, "i"), ("slot", slot, "h")):
        whole = np.zeros(found.rows, dtype={"i": np.int32, "h": np.int16}[code])
        whole[rows] = values
        setattr(found, name, array(code, whole.tobytes()))
    repeated = np.zeros(found.rows, dtype=np.uint8)
    repeated[rows[again]] = 1
    found.again = bytearray(repeated.tobytes())
    found.placed = bytearray(placed.tobytes())
