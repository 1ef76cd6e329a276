"""A batch as its parts, each still the bytes that came, so that one that cannot be read costs no other."""

from __future__ import annotations

import json
import re

import msgspec

from ema_server.common.canonical import key_twice

_SIGN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
_CLOSES = {b"]": b"[", b"}": b"{"}
_BEGINS = b'{["-0123456789tfnNI'  # a JSON value, or what decoders of some phones take for one (NaN, Infinity)


def raw_parts(body: bytes, name: str) -> list[bytes]:
    """The members of the list `name` in a JSON object. Raises ValueError where there is no such list.

    A strict decoder refuses a whole body for one broken emoji, one NaN, or one item that is nested without end. Then brackets
    and texts alone tell the members apart, so that each can be judged by itself.
    """
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(name)
        parts = None if members is None else msgspec.json.decode(members, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        found, outside = _told_apart(body, name, str(error))
    else:
        if members is None or parts is None:
            raise ValueError(f"there is no {name!r}.")
        found, outside = [bytes(part) for part in parts], body.replace(bytes(members), b"0", 1)
    _look_at_the_rest(outside)
    return found


def _look_at_the_rest(outside: bytes) -> None:
    """The body without its members: an object, no key of which is there twice."""
    try:
        text = outside.decode()  # from bytes, a byte order mark would pass
        twice, whole = key_twice(text), json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error)[:200]) from error
    if twice is not None:
        raise ValueError(f"{twice[:40]!r} is there twice; send it once.")
    if not isinstance(whole, dict):
        raise ValueError("the body is no object.")


def _told_apart(body: bytes, name: str, fault: str) -> tuple[list[bytes], bytes]:
    """The members by brackets and texts alone, and the body without them."""
    wanted, opened, key = json.dumps(name).encode(), list[bytes](), b""
    first = begins = -1
    parts: list[bytes] = []
    for sign in _SIGN.finditer(body):
        text = sign[0]
        inside = first >= 0 and len(opened) == 2
        if text == b'"':
            raise ValueError(f"a text does not end: {fault}")
        if text[:1] == b'"':
            key = text if len(opened) == 1 else key
        elif text in (b"[", b"{"):
            if text == b"[" and opened == [b"{"] and key == wanted and first < 0:
                first = begins = sign.start() + 1
            opened.append(text)
        elif text == b",":
            if inside:
                parts.append(body[begins : sign.start()].strip())
                begins = sign.end()
        else:
            if not opened or opened.pop() != _CLOSES[text]:
                raise ValueError(f"brackets do not match: {fault}")
            if inside:
                last = body[begins : sign.start()].strip()
                parts += [last] if last or parts else []
                if any(part[:1] not in _BEGINS or not part for part in parts):
                    raise ValueError(fault)
                return parts, body[: first - 1] + b"0" + body[sign.end() :]
    raise ValueError(fault)
