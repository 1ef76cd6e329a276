"""What a column of a person table holds: its type, found from its values or said, and each value in it.

A type is never found against the values: where most of a column are numbers and some are not, that is asked about with
the row, not turned into text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ema_server.common.csv_rows import CsvFault, Dates, Numbers, Order

Kind = Literal["number", "integer", "yesno", "category", "date", "text"]
Value = float | int | bool | str | None
Cells = Sequence[tuple[int, str]]  # row number and text

KINDS: tuple[str, ...] = get_args(Kind)
NUMERIC = frozenset({"number", "integer", "yesno"})
MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", ".", "NaN", "nan", "NULL", "null"})
YES = frozenset({"1", "yes", "true", "y", "checked", "ja", "oui"})
NO = frozenset({"0", "no", "false", "n", "unchecked", "nee", "nein", "non"})
SENTINELS = frozenset({"-9", "-66", "-77", "-88", "-99", "-999", "-9999", "999", "9999"})
CATEGORY_LEVELS = 50  # more different texts than this are no category, unless it is said
MOST = 0.8  # from here on a type holds for "most" values, and the others are asked about

_NUMBERLIKE = re.compile(r"[+-]?[.,]?\d[\d.,'’ \u00a0\u202f]*([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_CODE = re.compile(r"[+-]?(0\d+|\d{16,})", re.ASCII)  # would change as a number
_DATELIKE = re.compile(r"(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}([/.-])\d{1,2}\2(\d{2}|\d{4}))([ T]\d{1,2}:.*)?", re.ASCII)
_CONTACT = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\+\d[\d ()-]{7,}")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column. `levels` are a category's values with their names; `declared` says that a dictionary lists them."""

    name: str
    type: Kind
    label: str = ""
    levels: tuple[tuple[str, str], ...] = ()
    declared: bool = False

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "type": self.type, "label": self.label}
        if self.type == "category":
            found["levels"] = [{"value": value, "label": label} for value, label in self.levels]
            found["declared"] = self.declared
        return found

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TableColumn:
        levels = tuple((each["value"], each["label"]) for each in document.get("levels", ()))
        return cls(
            document["name"], document["type"], document.get("label", ""), levels, document.get("declared", False)
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What a dictionary, or whoever imports, says about a column."""

    type: Kind | None = None
    label: str = ""
    levels: tuple[tuple[str, str], ...] = ()
    identifies: bool = False


@dataclass(frozen=True, slots=True)
class Typed:
    column: TableColumn
    values: list[Value]
    missing: Mapping[str, int]  # the words that were read as missing, and how often
    numbers: Numbers | None
    notes: tuple[str, ...]


def typed(
    name: str, cells: Cells, known: Known, *, missing: frozenset[str], decimal: str | None, dates: Order | None
) -> Typed:
    """A column's type and values. CsvFault where a value does not fit the type, or the type is not clear."""
    texts = [(row, text.strip()) for row, text in cells]
    gone = Counter(text for _, text in texts if text in missing)
    held = [(row, text) for row, text in texts if text not in missing]
    notes: list[str] = []
    kind = known.type or _found(name, held)
    numbers = Numbers(name, decimal)
    style = Dates(name, dates)
    levels = known.levels
    try:
        if kind == "date":
            for row, text in held:
                style.see(row, text)
            style.settled()
            if any(len(text) > 10 for _, text in held):
                notes.append(f"{name}: only the day of each date is kept, not the time.")
        elif kind == "category":
            levels = levels or tuple((text, "") for text in sorted({text for _, text in held}))
            notes += _near_alike(name, levels)
        read = _Reader(name, kind, numbers, style, levels)
        values = [None if text in missing else read.value(row, text) for row, text in texts]
    except CsvFault as fault:
        if known.type is not None or kind == "category":
            raise
        raise CsvFault(f"{fault.detail} If it is a code and no {kind}, say --type {name}=category.") from None
    if kind in {"number", "integer"}:
        notes += _sentinels(name, held)
    column = TableColumn(name, kind, known.label, levels if kind == "category" else (), declared=bool(known.levels))
    return Typed(column, values, dict(gone), numbers if numbers.first else None, tuple(notes))


@dataclass(slots=True)
class _Reader:
    name: str
    kind: Kind
    numbers: Numbers
    dates: Dates
    levels: tuple[tuple[str, str], ...]

    def value(self, row: int, text: str) -> Value:
        if self.kind == "number":
            return self.numbers.read(row, text)
        if self.kind == "integer":
            number = self.numbers.read(row, text)
            if not number.is_integer() or abs(number) > 2**53:
                raise CsvFault("is no whole number.", row=row, column=self.name, value=text)
            return int(number)
        if self.kind == "yesno":
            word = text.casefold()
            if word not in YES | NO:
                raise CsvFault("is neither yes nor no (1, 0, true, false).", row=row, column=self.name, value=text)
            return word in YES
        if self.kind == "date":
            return self.dates.read(row, text).isoformat()
        if self.kind == "category":
            return self._level(row, text)
        return text

    def _level(self, row: int, text: str) -> str:
        for value, label in self.levels:
            if text == value or (label and text == label):  # an export of labels holds these
                return value
        accepted = ", ".join(value if not label else f"{value} ({label})" for value, label in self.levels[:12])
        raise CsvFault(f"is not among the dictionary's choices: {accepted}.", row=row, column=self.name, value=text)


def _found(name: str, held: Cells) -> Kind:
    words = {text.casefold() for _, text in held}
    if words <= {"0", "1"} or words <= (YES | NO) - {"0", "1"}:
        return "yesno"
    if any(_CODE.fullmatch(text) for _, text in held):
        return _words(held)
    for kind, like in (("date", _DATELIKE), ("number", _NUMBERLIKE)):
        others = [(row, text) for row, text in held if like.fullmatch(text) is None]
        if not others:
            if kind == "date":
                return "date"
            return "integer" if all(_WHOLE.fullmatch(text) for _, text in held) else "number"
        fitting = len(held) - len(others)
        if len(held) >= 5 and fitting >= MOST * len(held):
            row, text = others[0]
            raise CsvFault(
                f"is no {kind}, while {fitting} of {len(held)} values are. Correct it, say --missing {text!r} if that "
                f"means missing, or --type {name}=category.",
                row=row,
                column=name,
                value=text,
            )
    return _words(held)


def _words(held: Cells) -> Kind:
    return "category" if len({text for _, text in held}) <= CATEGORY_LEVELS else "text"


def _near_alike(name: str, levels: tuple[tuple[str, str], ...]) -> list[str]:
    """Levels that are likely one: 'Male' and 'male'."""
    groups: dict[str, list[str]] = {}
    for value, _ in levels:
        groups.setdefault(" ".join(value.casefold().split()), []).append(value)
    return [
        f"{name}: {' and '.join(repr(each) for each in group)} are different levels; are they meant to be one?"
        for group in groups.values()
        if len(group) > 1
    ]


def _sentinels(name: str, held: Cells) -> list[str]:
    """Numbers that often stand for a missing value, and lie far from the others."""
    seen: dict[str, list[int]] = {}
    for row, text in held:
        if text in SENTINELS:
            seen.setdefault(text, []).append(row)
    others = [abs(float(text.replace(",", "."))) for _, text in held if text not in SENTINELS]
    negative = any(text.startswith("-") for _, text in held if text not in SENTINELS)
    largest = max(others, default=0.0)
    return [
        f"{name}: {text} stands in {len(rows)} {'row' if len(rows) == 1 else 'rows'} (the first is row {rows[0]}) and "
        f"is read as a number; if it means missing, say --missing {text}."
        for text, rows in seen.items()
        if (text.startswith("-") and not negative) or (not text.startswith("-") and largest < abs(float(text)) / 2)
    ]


# Who somebody is

_TELLING = frozenset(
    [
        "surname",
        "lastname",
        "firstname",
        "fullname",
        "forename",
        "email",
        "mail",
        "phone",
        "telephone",
        "tel",
        "mobile",
        "cell",
        "whatsapp",
        "address",
        "street",
        "postcode",
        "postal",
        "zip",
        "zipcode",
        "dob",
        "birthdate",
        "birthday",
        "birthdatum",
        "ssn",
        "bsn",
        "nhs",
        "mrn",
        "iban",
        "passport",
        "naam",
        "voornaam",
        "achternaam",
        "geboortedatum",
        "adres",
        "telefoon",
        "vorname",
        "nachname",
        "geburtsdatum",
        "adresse",
        "telefon",
        "nom",
        "prenom",
    ]
)
_TELLING_PAIRS = (
    {"first", "name"}, {"last", "name"}, {"full", "name"}, {"family", "name"}, {"participant", "name"},
    {"patient", "name"}, {"birth", "date"}, {"date", "birth"}, {"e", "mail"}, {"social", "security"},
    {"national", "id"}, {"medical", "record"}, {"house", "number"},
)  # fmt: skip
FREE_TEXT = 80  # characters


def identifying(name: str, cells: Cells, known: Known) -> str | None:
    """Why this column may say who somebody is, or nothing."""
    if known.identifies:
        return "the dictionary marks it as an identifier"
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    if name.lower() == "name" or words & _TELLING or any(pair <= words for pair in _TELLING_PAIRS):
        return "its name says so"
    for row, text in cells:
        if len(text) > FREE_TEXT:
            return f"row {row} holds free text of {len(text)} characters"
        if _CONTACT.search(text):  # on short texts alone: it costs their length squared
            return f"row {row} holds an e-mail address or a telephone number"
    return None


def without_unused_levels(column: TableColumn, values: Sequence[Any]) -> TableColumn:
    """The column with the levels that these values have: one that only somebody else had would tell of them."""
    if column.declared or not column.levels:
        return column
    used = set(values)
    return replace(column, levels=tuple(level for level in column.levels if level[0] in used))
