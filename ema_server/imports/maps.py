"""Which column is what: the map of an import, read from JSON, every fault named. `docs/importing-studies.md` is its reference."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ema_server.common.errors import DomainError
from ema_server.common.zones import is_zone
from ema_server.participants.person_columns import NO, YES

STATES = ("answered", "expired", "cancelled", "begun", "no_record")
FLAG_WORDS = {**dict.fromkeys((*YES, "t"), True), **dict.fromkeys((*NO, "f"), False)}
STYLES = ("iso", "dmy", "mdy", "unix", "unix_local")
MOMENTS = ("answered_at", "started_at", "expires_at", "delivered_at")
CELLS = (
    "person", "day", "slot", "prompt", "questionnaire", "status", *MOMENTS, "open_minutes", "practice", "test_person", "wave",
)  # fmt: skip
FIELDS = (*CELLS, "scheduled_at", "zone")
ITEM_KEYS = {"column", "prefer", "label_from", "words", "separator", "json", "type", "range", "step", "options", "text"}
ITEM_KEYS |= {"unit", "ambient", "sensitive", "labels", "hint", "required", "source", "kind", "max_length"}
OTHERS = {"test_persons", "repeats", "unanswered", "items", "person_table", "ignore", "missing", "decimal", "zones"}


class InvalidMap(DomainError):
    code = "invalid_map"
    status = 400


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a fact stands: in a column, or one value for all rows. `words` translates what stands there."""

    column: str | None = None
    value: Any = None
    words: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class When:
    """How times are written. The first filled of `columns` is the planned time of a row."""

    columns: tuple[str, ...] = ()
    style: str = "iso"
    zone: str | None = None
    zone_column: str | None = None
    offset_from: tuple[str, ...] = ()
    offset_seconds: str | None = None


@dataclass(frozen=True, slots=True)
class ItemCell:
    """Where an item's answers stand, and how; `facts` are what the map says of the item itself."""

    column: str
    prefer: str | None = None
    label_from: str | None = None
    words: Mapping[str, Any] = field(default_factory=dict)
    separator: str | None = None
    json: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Map:
    cells: Mapping[str, Cell]
    when: When
    items: Mapping[str, ItemCell] | None = None  # None: every column that is nothing else
    person_table: tuple[str, ...] | None = None  # None: columns that never differ within a person
    ignore: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset({"NA"})
    decimal: str = "."
    repeats: str = "refuse"
    unanswered: str = "no_record"
    test_persons: frozenset[str] = frozenset()
    zones: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str | None:
        cell = self.cells.get(name)
        return cell.column if cell else None

    @property
    def used(self) -> set[str]:
        """The columns that hold facts about a prompt, or are left out on purpose."""
        when = self.when
        more = (*when.columns, when.zone_column, when.offset_seconds, *when.offset_from)
        return {name for name in (*more, *(cell.column for cell in self.cells.values())) if name} | self.ignore


def read_map(document: Any, header: Sequence[str]) -> Map:
    """The map for a file of this header. What it does not say is found under our own names. Raises InvalidMap with every fault."""
    reading = _Reading(document, header)
    if reading.faults:
        raise InvalidMap("\n".join(reading.faults))
    return reading.map


class _Reading:
    def __init__(self, document: Any, header: Sequence[str]) -> None:
        self.faults: list[str] = []
        self.header = list(header)
        if not isinstance(document, Mapping):
            self.faults.append('map: a JSON object is needed, like {"person": "id", "scheduled_at": "time"}.')
            return
        for key in document:
            if key not in FIELDS and key not in OTHERS:
                self.faults.append(f"{key}: is no part of a map; there are {', '.join([*FIELDS, *sorted(OTHERS)])}.")
        ignore = frozenset(self._columns(document, "ignore") or ())
        cells = {}
        for name in CELLS:
            cell = self._cell(name, document[name]) if name in document else None
            if name not in document and name in self.header and name not in ignore:
                cell = Cell(name, words=_usual_words(name))
            if cell is not None:
                cells[name] = cell
        when = self._when(document.get("scheduled_at"), document.get("zone"), ignore)
        self._enough(cells, when)
        self.map = Map(
            cells=cells,
            when=when,
            items=self._items(document.get("items")),
            person_table=self._columns(document, "person_table"),
            ignore=ignore,
            missing=frozenset({"NA", *self._texts(document, "missing")}),
            decimal=self._one_of(document, "decimal", (".", ",")),
            repeats=self._one_of(document, "repeats", ("refuse", "reissued")),
            unanswered=self._one_of(document, "unanswered", ("no_record", "expired")),
            test_persons=frozenset(self._texts(document, "test_persons")),
            zones=self._zones(document.get("zones", {})),
        )

    def _enough(self, cells: Mapping[str, Cell], when: When) -> None:
        if "person" not in cells:
            self.faults.append(
                f"person: the file has no column 'person'; it has {_listed(self.header)}. Say which one it is in a map: "
                '{"person": "…"}.'
            )
        if not when.columns and "day" not in cells:
            self.faults.append(
                "scheduled_at: the file has neither 'scheduled_at' (when the prompt was planned) nor 'day'; it has "
                f"{_listed(self.header)}. Say in a map which column it is."
            )

    def _cell(self, name: str, given: Any) -> Cell | None:
        if isinstance(given, str):
            return Cell(self._known(name, given), words=_usual_words(name))
        if not isinstance(given, Mapping) or not ({"column", "value"} & set(given)):
            self.faults.append(
                f'{name}: write a column\'s name, or {{"column": …, "words": {{…}}}}, or {{"value": …}} for all rows.'
            )
            return None
        for key in set(given) - {"column", "value", "words"}:
            self.faults.append(f"{name}.{key}: is unknown; there are column, value and words.")
        words = given.get("words")
        if words is not None and not isinstance(words, Mapping):
            self.faults.append(f"{name}.words: an object from the file's words to ours is needed.")
            words = None
        if name == "status":
            for word, state in (words or {}).items():
                if state not in STATES:
                    self.faults.append(f"status.words[{word!r}]: {state!r} is none of {', '.join(STATES)}.")
        if name in {"practice", "test_person"}:
            for word, flag in (words or {}).items():
                if not isinstance(flag, bool):
                    self.faults.append(f"{name}.words[{word!r}]: {flag!r} is neither true nor false.")
        if name == "open_minutes" and "value" in given and not _is_minutes(given["value"]):
            self.faults.append(f"open_minutes.value: {given['value']!r} is no number of minutes above 0.")
        column = self._known(name, given["column"]) if "column" in given else None
        return Cell(column, given.get("value"), words if words is not None else _usual_words(name))

    def _when(self, given: Any, zone: Any, ignore: frozenset[str]) -> When:
        zone_column = None
        if isinstance(zone, str):
            zone_column = self._known("zone", zone)
        elif zone is None and "zone" in self.header and "zone" not in ignore:
            zone_column = "zone"
        elif zone is not None:
            self.faults.append("zone: write the name of the column that holds each row's zone.")
        if given is None:
            has_own = "scheduled_at" in self.header and "scheduled_at" not in ignore
            return When(("scheduled_at",) if has_own else (), zone_column=zone_column)
        if isinstance(given, str | list):
            given = {"column": given}
        if not isinstance(given, Mapping) or "column" not in given:
            self.faults.append('scheduled_at: write a column\'s name, or {"column": …, "style": …, "zone": …}.')
            return When()
        allowed = {"column", "style", "zone", "zone_column", "offset_from", "offset_seconds"}
        for key in set(given) - allowed:
            self.faults.append(f"scheduled_at.{key}: is unknown; there are {', '.join(sorted(allowed))}.")
        style = given.get("style", "iso")
        if style not in STYLES:
            self.faults.append(f"scheduled_at.style: {style!r} is none of {', '.join(STYLES)}.")
        if given.get("zone") is not None:
            self._zone("scheduled_at.zone", given["zone"])
        return When(
            columns=tuple(self._known("scheduled_at.column", each) for each in _as_list(given["column"])),
            style=style,
            zone=given.get("zone"),
            zone_column=self._known("scheduled_at.zone_column", given["zone_column"])
            if "zone_column" in given
            else zone_column,
            offset_from=tuple(
                self._known("scheduled_at.offset_from", each) for each in _as_list(given.get("offset_from", []))
            ),
            offset_seconds=self._known("scheduled_at.offset_seconds", given["offset_seconds"])
            if "offset_seconds" in given
            else None,
        )

    def _items(self, given: Any) -> dict[str, ItemCell] | None:
        if given is None:
            return None
        if not isinstance(given, Mapping):
            self.faults.append(
                'items: an object from an item\'s name to its column is needed, like {"stress": "STRESS_1"}.'
            )
            return None
        found = {}
        for name, where in given.items():
            where = {"column": where} if isinstance(where, str) else where
            if not isinstance(where, Mapping) or not isinstance(where.get("column"), str):
                self.faults.append(f'items.{name}: write a column\'s name, or {{"column": …, …}}.')
                continue
            for key in set(where) - ITEM_KEYS:
                self.faults.append(f"items.{name}.{key}: is unknown; there are {', '.join(sorted(ITEM_KEYS))}.")
            words = where.get("words", {})
            if not isinstance(words, Mapping):
                self.faults.append(f"items.{name}.words: an object from the file's words to answers is needed.")
                words = {}
            at = f"items.{name}"
            found[str(name)] = ItemCell(
                column=self._known(f"{at}.column", where["column"]),
                prefer=self._known(f"{at}.prefer", where["prefer"]) if "prefer" in where else None,
                label_from=self._known(f"{at}.label_from", where["label_from"]) if "label_from" in where else None,
                words=words,
                separator=where.get("separator"),
                json=bool(where.get("json", False)),
                facts={
                    key: value
                    for key, value in where.items()
                    if key in ITEM_KEYS - {"column", "prefer", "label_from", "words", "separator", "json"}
                },
            )
        return found

    def _columns(self, document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
        if name not in document:
            return None
        return tuple(self._known(name, each) for each in self._texts(document, name))

    def _texts(self, document: Mapping[str, Any], name: str) -> list[str]:
        given = document.get(name, [])
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            self.faults.append(f"{name}: a list of texts is needed.")
            return []
        return given

    def _one_of(self, document: Mapping[str, Any], name: str, values: tuple[str, ...]) -> str:
        given = document.get(name, values[0])
        if given not in values:
            self.faults.append(f"{name}: {given!r} is none of {', '.join(map(repr, values))}.")
            return values[0]
        return str(given)

    def _zones(self, given: Any) -> dict[str, str]:
        if not isinstance(given, Mapping):
            self.faults.append('zones: an object from offsets to zones is needed, like {"+02:00": "Europe/Helsinki"}.')
            return {}
        for offset, zone in given.items():
            self._zone(f"zones[{offset!r}]", zone)
        return dict(given)

    def _zone(self, at: str, name: Any) -> None:
        if not is_zone(name):
            self.faults.append(f"{at}: {name!r} is no time zone; write one like Europe/Amsterdam.")

    def _known(self, at: str, column: Any) -> str:
        if column not in self.header:
            near = difflib.get_close_matches(str(column), self.header, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {_listed(self.header)}."
            self.faults.append(f"{at}: the file has no column {column!r}{hint}")
        return str(column)


def _usual_words(name: str) -> Mapping[str, Any] | None:
    if name == "status":
        return {**{state: state for state in STATES}, "late": "answered", "canceled": "cancelled", "missed": "expired"}
    return FLAG_WORDS if name in {"practice", "test_person"} else None


def _is_minutes(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 525_600


def _as_list(given: Any) -> Iterator[Any]:
    return iter(given if isinstance(given, list) else [given])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
