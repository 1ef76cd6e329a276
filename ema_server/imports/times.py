"""Times as files write them, as UTC and the offset of the wall clock: with an offset, in a zone, or as UNIX seconds.

Moments are microseconds since 1970 in UTC, offsets are minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ema_server.common.csv_rows import CsvFault, Dates
from ema_server.common.zones import is_zone

MINUTE = 60_000_000
DAY = 1440 * MINUTE
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 40
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_OFFSET = re.compile(r"(?:Z|([+-])(\d{2}):?(\d{2}))(?::\d{2})?$")
_NUMBER = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)
_DAY_ALONE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", re.ASCII)


class TimeFault(Exception):
    """Why a cell is no time that can be placed."""


class Clock:
    """Reads the times of one file. `style` is how they are written, `zone` where nothing else says it."""

    def __init__(self, style: str, zone: str, zones: Mapping[str, str]) -> None:
        self.style = style
        self.zone = zone
        self.zones = zones
        self._known: dict[str, ZoneInfo] = {}
        self._offsets: dict[tuple[str, int], int | None] = {}  # zone and local day → its offset, None where it changes
        self._dates = Dates("", order=style) if style in {"dmy", "mdy"} else None  # type: ignore[arg-type]
        self._empty = {"", "0"} if style.startswith("unix") else {""}

    def is_empty(self, text: str) -> bool:
        return text in self._empty

    def read(self, text: str, zone: str, offset: int | None = None) -> tuple[int, int]:
        """The moment and the wall's offset; a time without an offset is by `offset`, else by the zone's rules."""
        if self._dates is None and self.style != "iso":
            return self._unix(text, zone, offset)
        moment = self._parsed(text)
        wall = (
            (moment.toordinal() - _EPOCH_DAY) * DAY
            + (moment.hour * 60 + moment.minute) * MINUTE
            + moment.second * 1_000_000
            + moment.microsecond
        )
        if moment.tzinfo is not None:
            own = moment.utcoffset()
            minutes = 0 if own is None else own.days * 1440 + own.seconds // 60
            utc = wall - minutes * MINUTE
            return utc, minutes or self.offset_at(zone, utc)
        if offset is None:
            offset = self._offset_on(zone, moment)
        return wall - offset * MINUTE, offset

    def offset_at(self, zone: str, utc: int) -> int:
        """A zone's offset at a moment."""
        span = (EPOCH + timedelta(microseconds=utc)).astimezone(self._zone(zone)).utcoffset()
        return 0 if span is None else span.days * 1440 + span.seconds // 60

    def zone_with(self, zone: str, utc: int, offset: int) -> str:
        """A zone that has this offset then: the given one if it has, else one from the map, else a fixed one."""
        if self.offset_at(zone, utc) == offset:
            return zone
        written = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
        if written in self.zones:
            return self.zones[written]
        if offset % 60 == 0 and -840 <= offset <= 720:
            return f"Etc/GMT{-offset // 60:+d}"  # POSIX counts westward
        return zone

    def _parsed(self, text: str) -> datetime:
        if len(text) > LONGEST:
            raise TimeFault("is too long for a time.")
        if self._dates is not None:
            try:
                return self._dates.read_moment(1, text)
            except CsvFault as fault:
                raise TimeFault(fault.detail.split("'", 2)[-1].strip()) from None
        if len(text) < 12:
            raise TimeFault(_no_iso(text))
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise TimeFault(_no_iso(text)) from None

    def _unix(self, text: str, zone: str, offset: int | None) -> tuple[int, int]:
        if not _NUMBER.fullmatch(text):
            raise TimeFault("is no number of seconds since 1970.")
        seconds = float(text)
        if seconds > 32_503_680_000:
            raise TimeFault("is after the year 3000; are these milliseconds? Seconds since 1970 are read.")
        moment = round(seconds * 1_000_000)
        if self.style == "unix":
            return moment, self.offset_at(zone, moment) if offset is None else offset
        if offset is None:
            offset = self._offset_on(zone, EPOCH.replace(tzinfo=None) + timedelta(microseconds=moment))
        return moment - offset * MINUTE, offset

    def _offset_on(self, zone: str, wall: datetime) -> int:
        """A wall time's offset. A time that the clocks skipped is refused; of one that came twice, the first is taken."""
        key = (zone, wall.toordinal())
        if key not in self._offsets:
            rules = self._zone(zone)
            midnight = datetime(wall.year, wall.month, wall.day)
            spans = {rules.utcoffset(midnight + timedelta(hours=hours)) for hours in range(0, 50, 1)}
            one = next(iter(spans))
            steady = len(spans) == 1 and one is not None and one.seconds % 60 == 0
            self._offsets[key] = one.days * 1440 + one.seconds // 60 if steady and one is not None else None
        known = self._offsets[key]
        if known is not None:
            return known
        aware = wall.replace(tzinfo=self._zone(zone))
        back = aware.astimezone(UTC).astimezone(aware.tzinfo)
        if back.replace(tzinfo=None) != wall:
            raise TimeFault(f"never was in {zone}: the clocks were put forward over it.")
        span = aware.utcoffset() or timedelta()
        return span.days * 1440 + span.seconds // 60

    def _zone(self, name: str) -> ZoneInfo:
        found = self._known.get(name)
        if found is None:
            if not is_zone(name):
                raise TimeFault(f"{name!r} is no time zone; write one like Europe/Amsterdam.")
            found = self._known[name] = ZoneInfo(name)
        return found


def written_offset(text: str) -> int | None:
    """The offset at the end of an ISO time, in minutes; None where none is written."""
    match = _OFFSET.search(text)
    if match is None:
        return None
    if match[1] is None:
        return 0
    minutes = int(match[2]) * 60 + int(match[3])
    return -minutes if match[1] == "-" else minutes


def _no_iso(text: str) -> str:
    if _DAY_ALONE.fullmatch(text):
        return "is a day without a time; where no clock time is known, give 'day' (and 'slot') instead."
    if re.match(r"\d{1,2}[./-]\d{1,2}[./-]\d{4}", text):
        return (
            'is not written like 2026-03-09 14:05; for day first say "style": "dmy" in the map, for month first "mdy".'
        )
    if _NUMBER.fullmatch(text):
        return 'is not written like 2026-03-09 14:05; for seconds since 1970 say "style": "unix" in the map.'
    return "is no time; 2026-03-09 14:05 is accepted, with an offset (+01:00, Z) or without."
