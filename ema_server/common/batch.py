"""A batch as its parts, each still bytes, so that one that cannot be read costs no other."""

from __future__ import annotations

import json

import msgspec


def raw_parts(body: bytes, name: str) -> list[bytes]:
    """The members of the list `name` in a JSON object. Raises ValueError where there is no such list.

    The strict decoder refuses a body for one broken emoji (a lone surrogate, which JavaScript sends); the lenient one
    of the standard library then tells the members apart, so that the strict one can judge each by itself.
    """
    try:
        parts = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(name)
        if parts is None:
            raise ValueError(f"there is no {name!r}")
        return [bytes(part) for part in msgspec.json.decode(parts, type=list[msgspec.Raw])]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError(str(error)) from error
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(str(error)) from error
        return [json.dumps(part).encode() for part in content[name]]
