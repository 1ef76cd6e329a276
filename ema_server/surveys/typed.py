"""A questionnaire as somebody types it: JSON that may be faulty, and the line of everything that is wrong with it."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ema_server.surveys import faults as rules
from ema_server.surveys.exchange.as_json import in_order

DEEPEST = 20
Path = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t\r\n]*")
_NAME_IN_PLACE = re.compile(r" \(.*?\)(?=[.\[]|$)")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]|\[['\"](.*?)['\"]\]")


@dataclass(frozen=True, slots=True)
class TypedFault:
    """One fault, in the line where its mending begins."""

    line: int
    place: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed, read. `document` is None where it is no JSON object; it can be published where nothing is wrong."""

    document: dict[str, Any] | None
    faults: tuple[TypedFault, ...]

    @property
    def sound(self) -> bool:
        return self.document is not None and not self.faults


def read_typed(text: str) -> Typed:
    """The document in a text, with every fault of the text and of the document. Never raises."""
    reader = _Reader(text)
    try:
        value = reader.whole()
    except _NoJson as fault:
        return Typed(None, (fault.told,))
    found = reader.with_lines(rules.faults(value))
    document = value if isinstance(value, dict) else None
    return Typed(document, tuple(sorted([*reader.told, *found], key=lambda each: each.line)))


def with_lines(text: str, found: Sequence[rules.Fault]) -> list[TypedFault]:
    """Faults with the lines of their places in a text that is JSON."""
    reader = _Reader(text)
    if found:
        reader.whole()
    return reader.with_lines(found)


def written(document: Mapping[str, Any]) -> str:
    """A document as a text that people can go on typing in: keys in the order of the reference, short lists and objects in one line."""
    return _block(in_order(document), 0) + "\n"


def path_of(place: str) -> Path:
    """A fault's place as the steps that lead there: `items[3] (stress).range` is ("items", 3, "range")."""
    steps: list[str | int] = []
    for key, number, quoted in _STEP.findall(_NAME_IN_PLACE.sub("", place)):
        steps.append(int(number) if number else key or quoted)
    return tuple(steps)


class _NoJson(Exception):
    def __init__(self, told: TypedFault) -> None:
        super().__init__(str(told))
        self.told = told


class _Reader:
    """JSON read by hand where it branches, so that each value's place in the text is known and a key that stands twice
    is told; the standard decoder reads strings and numbers."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts: dict[Path, int] = {}
        self.told: list[TypedFault] = []  # keys that stand twice
        self.line_ends = [end.start() for end in re.finditer("\n", text)]
        self.scalars = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)

    def whole(self) -> Any:
        if not self.text.strip():
            self._fault(0, (), "nothing is written here yet; a questionnaire is a JSON object with title and items.")
        value, at = self._value(0, ())
        if (at := self._past_space(at)) < len(self.text):
            self._fault(at, (), "the questionnaire has ended here, but something follows; take it out.")
        return value

    def start_of(self, path: Path) -> int:
        """Where the value at this path begins, or the nearest one round it that is there."""
        while path and path not in self.starts:
            path = path[:-1]
        return self.starts.get(path, 0)

    def line_of(self, at: int) -> int:
        return bisect_left(self.line_ends, at) + 1

    def with_lines(self, found: Sequence[rules.Fault]) -> list[TypedFault]:
        return [
            TypedFault(self.line_of(self.start_of(path_of(each.place))), each.place, each.message) for each in found
        ]

    def _value(self, at: int, path: Path) -> tuple[Any, int]:
        at = self._past_space(at)
        self.starts.setdefault(path, at)
        if len(path) > DEEPEST:
            self._fault(at, path[:3], f"this is nested more than {DEEPEST} levels deep.")
        opening = self.text[at : at + 1]
        if opening == "{":
            return self._object(at + 1, path)
        if opening == "[":
            return self._list(at + 1, path)
        return self._scalar(at, path)

    def _object(self, at: int, path: Path) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._past_space(at)
        if self.text[at : at + 1] == "}":
            return found, at + 1
        while True:
            at = self._past_space(at)
            if self.text[at : at + 1] != '"':
                self._fault(at, path, f'a key in double quotes is meant, like "name"; here is {self._seen(at)}.')
            key, after = self._scalar(at, path)
            after = self._past_space(after)
            if self.text[after : after + 1] != ":":
                self._fault(after, path, f'a colon is missing after "{key}".')
            if key in found and len(self.told) < rules.MOST_TOLD:
                first = self.line_of(self.starts[(*path, key)])
                self.told.append(self._told(at, (*path, key), f"this key stands here twice; first in line {first}."))
            elif key not in found:
                self.starts[(*path, key)] = at
            found[key], at = self._value(after + 1, (*path, key))
            at, ended = self._after_part(at, path, "}")
            if ended:
                return found, at

    def _list(self, at: int, path: Path) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self._past_space(at)
        if self.text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self._value(at, (*path, len(found)))
            found.append(value)
            at, ended = self._after_part(at, path, "]")
            if ended:
                return found, at

    def _after_part(self, at: int, path: Path, closing: str) -> tuple[int, bool]:
        at = self._past_space(at)
        sign = self.text[at : at + 1]
        if sign == closing:
            return at + 1, True
        if sign != ",":
            self._fault(at, path, f"a comma or {closing} is missing before {self._seen(at)}.")
        following = self._past_space(at + 1)
        if self.text[following : following + 1] == closing:
            self._fault(at, path, f"a comma stands before {closing} with nothing behind it; take it out.")
        return at + 1, False

    def _scalar(self, at: int, path: Path) -> tuple[Any, int]:
        try:
            value, end = self.scalars.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            what = (
                f"a value is missing before {self._seen(at)}; texts stand in double quotes."
                if error.msg.startswith("Expecting value")
                else f"{error.msg[0].lower()}{error.msg[1:].removesuffix(' at')}."
            )
            self._fault(min(error.pos, len(self.text)), path, what)
        except ValueError:
            self._fault(at, path, "this is no number that can be stored; write one like 7 or 0.5.")
        if isinstance(value, str) and ("\x00" in value or any("\ud800" <= sign <= "\udfff" for sign in value)):
            self._fault(at, path, "this text holds a character that cannot be stored.")
        return value, end

    def _past_space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def _seen(self, at: int) -> str:
        seen = self.text[at : at + 12].split("\n")[0].strip()
        return f"‘{seen}’" if seen else "the end" if at >= len(self.text) else "the line’s end"

    def _told(self, at: int, path: Path, message: str) -> TypedFault:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:40]}" for step in path).lstrip(".")
        return TypedFault(self.line_of(at), place or "document", message)

    def _fault(self, at: int, path: Path, message: str) -> NoReturn:
        # What is missing at a line's end is missing there, not where the next thing begins.
        at = len(self.text[:at].rstrip()) if "missing" in message else at
        raise _NoJson(self._told(at, path, message))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _block(value: Any, depth: int, width: int = 100) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (depth and len(flat) + 2 * depth <= width):
        return flat
    inside = "  " * (depth + 1)
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {_block(each, depth + 1, width)}" for key, each in value.items()
        ]
    else:
        parts = [_block(each, depth + 1, width) for each in value]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return opening + "\n" + ",\n".join(inside + part for part in parts) + "\n" + "  " * depth + closing
