"""One spelling of a JSON value, so that equal content has an equal digest.

Two forms. The server's own documents have Python's, in which a whole number of any length stays exact. What phones send has
RFC 8785 (JCS), which JavaScript, Swift and Kotlin can compute as well: `docs/canonical-form.md`, with test vectors.
"""

from __future__ import annotations

import hashlib
import json
import re
from json.encoder import encode_basestring
from typing import Any

import msgspec

from ema_server.common.nesting import deeper_than

EXACT = 2**53  # up to here a double tells neighbouring whole numbers apart
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BLANK_BEFORE_COLON = (b" :", b"\t:", b"\n:", b"\r:")


def canonical_json(value: Any) -> bytes:
    """Keys sorted, no spaces, UTF-8, no NaN: the bytes of the server's own documents that are hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def read_item(raw: bytes, *, deepest: int) -> tuple[Any, bytes]:
    """What a phone wrote, as a value and in its canonical form. Numbers of one value are one: 1.0 is read as 1.

    Raises ValueError, in words for the phone, for what has no canonical form: no JSON, a lone surrogate, no finite number,
    a key that is there twice; and for what cannot be stored: NUL, nesting.
    """
    try:
        value = _decoder.decode(raw)
        if deeper_than(value, deepest):
            raise ValueError(f"An item may be nested {deepest} deep.")
        canonical = rfc8785(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise ValueError(_why_none(raw, error)) from error
    twice = _key_that_is_there_twice(raw, canonical)
    if twice is not None:
        raise ValueError(f"{twice[:40]}: this key is there twice in one object; send it once.")
    if b"\\u0000" in canonical and _NUL.search(canonical):
        raise ValueError("NUL characters cannot be stored; send the text without them.")
    return value, canonical


def _why_none(raw: bytes, error: Exception) -> str:
    if isinstance(error, OverflowError):
        return "A number is larger than a double can hold; send it as a text."
    half = ", or a text holds half of a surrogate pair (a broken emoji)" if _SURROGATE.search(raw) else ""
    return f"This is no JSON in UTF-8{half}: {error}"


def rfc8785(value: Any) -> bytes:
    """The JSON Canonicalization Scheme. Raises UnicodeError for a lone surrogate, OverflowError for no finite number."""
    return _spelt(value).encode()


def _spelt(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        names = sorted(value) if all(map(str.isascii, value)) else sorted(value, key=_utf16)
        return "{" + ",".join([f"{encode_basestring(name)}:{_spelt(value[name])}" for name in names]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_spelt(each) for each in value]) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -EXACT <= value <= EXACT:
        return str(value)
    return _number(float(value))


def _utf16(name: str) -> bytes:
    """What RFC 8785 sorts by: an emoji (two surrogates) comes before U+E000 and what follows it."""
    return name.encode("utf-16-be")


def _number(number: float) -> str:
    """A double as ECMAScript writes it: the fewest digits that tell it apart, an exponent below 1e-6 and from 1e21."""
    text = repr(number)
    if "e" not in text:
        if not text[-1].isdigit():
            raise OverflowError(f"{text} is no finite number.")
        return "0" if number == 0 else text.removesuffix(".0")
    mantissa, _, exponent = text.partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    digits, point = mantissa.replace(".", ""), int(exponent) + 1  # 0.DIGITS times ten to the power of `point`
    if len(digits) <= point <= 21:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    more = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{more}e{point - 1:+d}"


def _whole_if_it_is(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= EXACT else number


_decoder = msgspec.json.Decoder(float_hook=_whole_if_it_is)


def _key_that_is_there_twice(raw: bytes, canonical: bytes) -> str | None:
    """A decoder keeps the last of two equal keys and says nothing.

    `":` ends a key, or is a text's own, written `\\":` in both forms. So where the text spells neither sign otherwise, it is
    there as often in both forms, but for keys that the decoder dropped. Else the text is read again, pair by pair.
    """
    plain = b"\\u00" not in raw and not any(blank in raw for blank in _BLANK_BEFORE_COLON)
    if plain and raw.count(b'":') == canonical.count(b'":'):
        return None
    return key_twice(raw)


class _Twice(Exception):
    pass


def key_twice(raw: bytes | str) -> str | None:
    """The first key that an object of this JSON text has twice."""
    try:
        json.loads(raw, object_pairs_hook=_once_each)
    except _Twice as found:
        return str(found)
    return None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return found
