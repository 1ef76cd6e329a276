"""Our own documents as files: one spelling for one document, and faults of broken JSON with their place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ema_server.surveys.exchange.carried import CannotRead, Carried, Lost
from ema_server.surveys.exchange.wording import slug
from ema_server.surveys.faults import faults

MAX_BYTES = 5_000_000
MAX_DEPTH = 20
_ORDER = (
    "schema", "key", "name", "title", "languages", "pages", "items", "scales", "alerts", "when", "card", "type", "kind", "page", "show_if", "text",
    "hint", "required", "sensitive", "ambient", "range", "step", "unit", "labels", "options", "value", "label", "exclusive",
    "at_least", "at_most", "max_length", "order", "reversed", "score", "minimum_answered", "source", "citation", "doi",
    "url", "licence", "item",
)  # fmt: skip
_RANKS = {key: rank for rank, key in enumerate(_ORDER)}


def write(document: Mapping[str, Any]) -> str:
    """The document as JSON for people, in the order of the reference."""
    return json.dumps(in_order(document), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def in_order(document: Mapping[str, Any]) -> Any:
    """The document with its keys in the order of the reference, languages in the document's own. A database keeps none."""
    languages = document.get("languages")
    ranks = {
        **_RANKS,
        **{code: len(_ORDER) + at for at, code in enumerate(languages if isinstance(languages, list) else ())},
    }
    return _in_order(document, ranks)


def read(name: str, content: bytes) -> Carried:
    """The document in a file, with what `faults` says of it; `CannotRead` where the file is no JSON object."""
    document = parse(content)
    lost = [Lost(fault.place, fault.message, "still there: mend it before publishing") for fault in faults(document)]
    return Carried({slug(name.rsplit(".", 1)[0], "questionnaire"): document}, lost)


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object in a file. `CannotRead` names line and column, the doubled key, or the limit."""
    if len(content) > MAX_BYTES:
        raise CannotRead(
            f"The file has {len(content) / 1e6:.1f} MB; a questionnaire has at most {MAX_BYTES / 1e6:.0f} MB."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CannotRead(f"Line {line}: byte {error.start + 1} is no UTF-8; save the file as UTF-8.") from error
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_float, parse_int=_whole
        )
    except json.JSONDecodeError as error:
        raise CannotRead(f"Line {error.lineno}, column {error.colno}: {_mended(error, text)}") from error
    except RecursionError as error:
        raise CannotRead(f"The JSON is nested too deeply; at most {MAX_DEPTH} levels are read.") from error
    if not isinstance(document, dict):
        raise CannotRead('A questionnaire is a JSON object, {"title": …, "items": […]}.')
    for place, text in _strings(document, "", 0):
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            raise CannotRead(
                f"{place}: {text[:40]!r} holds a character (NUL or half a surrogate pair) that no text has."
            )
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        doubled = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        called = next((f" of {made[key]!r}" for key in ("name", "key") if isinstance(made.get(key), str)), "")
        raise CannotRead(f"The key {doubled[:60]!r} is there twice in the object{called}; one of them would be lost.")
    return made


def _no_constant(text: str) -> None:
    raise CannotRead(f"{text} is no JSON value; write a number, or leave the key out.")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise CannotRead(f"{text[:40]} is too large a number.")
    return value


def _whole(text: str) -> int:
    if len(text) > 20:
        raise CannotRead(f"{text[:40]} is too large a number.")
    return int(text)


def _mended(error: json.JSONDecodeError, text: str) -> str:
    """What is wrong, with what stands there."""
    here = text[error.pos : error.pos + 20].split("\n")[0]
    found = f"found {here!r}" if here else ("the file ends" if error.pos >= len(text) else "the line ends")
    return f"{error.msg[0].lower()}{error.msg[1:]} – {found}. The file is no valid JSON there."


def _strings(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every text with its place, keys too."""
    if depth > MAX_DEPTH:
        raise CannotRead(f"{place}: the JSON is nested too deeply; at most {MAX_DEPTH} levels are read.")
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            at = f"{place}.{key[:40]}" if place else key[:40]
            yield at, key
            yield from _strings(inner, at, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _strings(inner, f"{place}[{number}]", depth + 1)


def _in_order(value: Any, ranks: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: _rank(key, ranks))
        return {key: _in_order(value[key], ranks) for key in keys}
    if isinstance(value, list | tuple):
        return [_in_order(each, ranks) for each in value]
    return value


def _rank(key: str, ranks: Mapping[str, int]) -> tuple[float, str]:
    """Known keys first, then the values that have labels, by size, then others by name."""
    if key in ranks:
        return ranks[key], ""
    try:
        return len(ranks) + 1e6 + float(key), key
    except ValueError:
        return math.inf, key
