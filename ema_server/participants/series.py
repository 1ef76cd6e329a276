"""Measurements of a sensor or of the surroundings from a CSV: person, time, numbers. Values in, values out.

Times carry an offset, or a zone is said; a time that a clock change skips or repeats is told, not guessed. What is kept
of a million rows is three numbers each.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np

from ema_server.common.csv_rows import CsvFault, CsvRows, Dates, Numbers, Order, one_decimal
from ema_server.participants.person_columns import MISSING

PERSON_NAMES = ("person", "participant", "pseudonym", "participant_id", "person_id", "record_id", "subject", "id")
TIME_NAMES = ("time", "timestamp", "datetime", "date_time", "at", "measured_at")
EPOCH = datetime(1970, 1, 1)
EPOCH_UTC = EPOCH.replace(tzinfo=UTC)
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class SeriesReading:
    """What whoever imports has said."""

    person: str | None = None
    time: str | None = None
    zone: str | None = None
    columns: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    dates: Order | None = None
    repeated: Literal["first", "second"] | None = None


@dataclass(slots=True)
class PersonSeries:
    """One person's measurements, in order of time: microseconds since 1970 UTC, rows of the file, values by column."""

    at: np.ndarray
    rows: np.ndarray
    values: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class ReadSeries:
    columns: tuple[dict[str, str], ...]
    people: Mapping[str, PersonSeries]
    unknown: Mapping[str, tuple[int, int]]  # pseudonym of nobody here → how many rows, and the first
    rows: int
    missing: int
    described: str
    person: str
    time: str
    repeated: int

    def report(self) -> dict[str, Any]:
        """What is kept with the version: counts and row numbers, nobody's pseudonym."""
        return {
            "read": self.described,
            "rows": self.rows,
            "matched": len(self.people),
            "unknown": len(self.unknown),
            "unknown_rows": sorted(first for _, first in self.unknown.values())[:100],
            "missing": self.missing,
            "repeated_hour": self.repeated,
        }


@dataclass(slots=True)
class _Gathered:
    at: array[int]
    rows: array[int]
    values: list[array[float]]


def read_series(rows: CsvRows, known: Collection[str], said: SeriesReading) -> ReadSeries:
    """The rows of people who take part; those of others are counted. Two values of one person and moment are refused."""
    person_at = rows.column(_named(rows, said.person, PERSON_NAMES, "--person"))
    time_at = rows.column(_named(rows, said.time, TIME_NAMES, "--time"))
    names = said.columns or tuple(name for n, name in enumerate(rows.header) if n not in {person_at, time_at})
    if not names:
        raise CsvFault("there is no column of values beside the person and the time.", row=1)
    places = [rows.column(name) for name in names]
    for name in said.units:
        rows.column(name)
    clock = _clock(rows, time_at, said)
    missing = MISSING | set(said.missing)
    numbers = [Numbers(name, rows.decimal) for name in names]
    gathered: dict[str, _Gathered] = {}
    unknown: dict[str, tuple[int, int]] = {}
    total = gone = 0
    readers = list(enumerate(zip(places, numbers, strict=True)))
    for row, cells in rows:
        total += 1
        pseudonym = cells[person_at]
        found = gathered.get(pseudonym)
        if found is None:
            if pseudonym not in known:
                if not pseudonym.strip():
                    raise CsvFault("has no person.", row=row, column=rows.header[person_at])
                count, first = unknown.get(pseudonym, (0, row))
                unknown[pseudonym] = (count + 1, first)
                continue
            found = gathered[pseudonym] = _Gathered(array("q"), array("I"), [array("d") for _ in names])
        found.at.append(clock(row, cells[time_at]))
        found.rows.append(row)
        for place, (column_at, number) in readers:
            text = cells[column_at]
            if text in missing:
                found.values[place].append(np.nan)
                gone += 1
            else:
                found.values[place].append(number.read(row, text))
    one_decimal(numbers)
    return ReadSeries(
        columns=tuple({"name": name, "unit": said.units.get(name, "")} for name in names),
        people=_in_order(gathered, rows.header[time_at]),
        unknown=unknown,
        rows=total,
        missing=gone,
        described=rows.described(),
        person=rows.header[person_at],
        time=rows.header[time_at],
        repeated=clock.repeated,
    )


def _named(rows: CsvRows, said: str | None, usual: tuple[str, ...], option: str) -> str:
    if said is not None:
        return said
    here = {name.lower(): name for name in rows.header}
    for name in usual:
        if name in here:
            return here[name]
    raise CsvFault(f"which column is it? Say {option} with one of {', '.join(rows.header)}.", row=1)


def _in_order(gathered: Mapping[str, _Gathered], time: str) -> dict[str, PersonSeries]:
    people: dict[str, PersonSeries] = {}
    twice: tuple[int, int, str] | None = None
    for pseudonym, found in gathered.items():
        at, rows = np.frombuffer(found.at, np.int64), np.frombuffer(found.rows, np.uint32)
        order = np.argsort(at, kind="stable")
        at, rows = at[order], rows[order]
        same = np.flatnonzero(at[1:] == at[:-1])
        if same.size:
            place = same[np.argmin(rows[same + 1])]
            pair = (int(rows[place + 1]), int(rows[place]), pseudonym)
            twice = min(twice or pair, pair)
        people[pseudonym] = PersonSeries(at, rows, [np.frombuffer(each, np.float64)[order] for each in found.values])
    if twice is not None:
        row, before, pseudonym = twice
        raise CsvFault(
            f"is a second row of {pseudonym!r} at the same moment as row {before}; one is accepted.",
            row=row,
            column=time,
        )
    return people


# Times


def _clock(rows: CsvRows, at: int, said: SeriesReading) -> _Clock:
    """How this file's times are read. Where they are not written year first, all are looked at before the first is read."""
    column = rows.header[at]
    dates = Dates(column, said.dates)
    _, first = next(iter(rows))
    if said.dates is None and not (len(first[at]) > 4 and first[at][4] == "-"):
        for row, cells in rows:
            dates.see(row, cells[at])
        dates.settled()
    elif said.dates is None:
        dates.order = "ymd"
    return _Clock(column, dates, ZoneInfo(said.zone) if said.zone else None, said.repeated)


class _Clock:
    """A text of the time column to microseconds since 1970 UTC. Offsets of a zone are looked up once for ten minutes."""

    def __init__(self, column: str, dates: Dates, zone: ZoneInfo | None, repeated: str | None) -> None:
        self.column, self.dates, self.zone, self.said = column, dates, zone, repeated
        self.repeated = 0
        self._offsets: dict[datetime, tuple[int, ...]] = {}
        self._read: Callable[[int, str], datetime] = dates.read_moment

    def __call__(self, row: int, text: str) -> int:
        moment = self._read(row, text)
        if not 1900 <= moment.year <= 2200:
            raise CsvFault(
                "is out of reach; years from 1900 to 2200 are accepted.", row=row, column=self.column, value=text
            )
        if moment.tzinfo is not None:
            return _microseconds(moment - EPOCH_UTC)
        if self.zone is None:
            raise CsvFault(
                "has no offset, so it could be anywhere; say in which zone the clock stood: --zone Europe/Amsterdam.",
                row=row,
                column=self.column,
                value=text,
            )
        slot = moment.replace(minute=moment.minute // 10 * 10, second=0, microsecond=0)
        offsets = self._offsets.get(slot)
        if offsets is None:
            offsets = self._offsets[slot] = self._offsets_at(slot)
        if len(offsets) != 1:
            return _microseconds(moment - EPOCH) - self._doubtful(offsets, row, text)
        return _microseconds(moment - EPOCH) - offsets[0]

    def _offsets_at(self, slot: datetime) -> tuple[int, ...]:
        """None where the clock skips this time, two where it shows it twice."""
        offsets = []
        for fold in (0, 1):
            aware = slot.replace(tzinfo=self.zone, fold=fold)
            if aware.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) == slot:
                offsets.append(_microseconds(aware.utcoffset() or timedelta()))
        return tuple(dict.fromkeys(offsets))

    def _doubtful(self, offsets: tuple[int, ...], row: int, text: str) -> int:
        if not offsets:
            raise CsvFault(
                f"did not happen in {self.zone}: the clocks went forward over it. Write times with an offset.",
                row=row,
                column=self.column,
                value=text,
            )
        if self.said is None:
            raise CsvFault(
                f"happened twice in {self.zone}, as the clocks went back. Write times with an offset, or say which is "
                "meant: --repeated-hour first or second.",
                row=row,
                column=self.column,
                value=text,
            )
        self.repeated += 1
        return offsets[0 if self.said == "first" else 1]


def _microseconds(span: timedelta) -> int:
    return (span.days * 86_400 + span.seconds) * MICROSECONDS + span.microseconds
