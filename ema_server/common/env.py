"""Readers of the environment: the settings' only door to it.

A value that cannot be used does not stop the reading: each reader notes the fault and goes on with something that is
never served, and `refuse_faults()` at the end of the settings names all of them at once. No secret is ever shown.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ema_server.common.addresses import AddressError, shown

_T = TypeVar("_T")
_faults: list[str] = []


class SettingError(Exception):
    """Values in the environment that cannot be used: one line for each, with what would be accepted."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        count = "One setting" if len(self.faults) == 1 else f"{len(self.faults)} settings"
        super().__init__("\n".join([f"{count} of the environment cannot be used:", *(f"  {each}" for each in faults)]))


def refuse_faults() -> None:
    """Raise SettingError with every fault that was noted since the last call."""
    found = list(_faults)
    _faults.clear()
    if found:
        raise SettingError(found)


def fault(name: str, wrong: str, accepted: str) -> None:
    """Note that this variable cannot be used as it is."""
    _faults.append(f"{name} {wrong}. Accepted: {accepted}.")


def is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())


def env_text(name: str, default: str, *, pattern: str = "", accepted: str = "", required: bool = False) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        if required:
            fault(name, "is not set", accepted)
        return default
    if pattern and not re.fullmatch(pattern, value):
        fault(f"{name}={value!r}", "cannot be used", accepted)
        return default
    return value


def env_choice(name: str, default: str, choices: Sequence[str]) -> str:
    value = os.environ.get(name, "").strip().lower() or default
    if value not in choices:
        fault(f"{name}={value!r}", "is none of the choices", " or ".join(choices))
        return default
    return value


def env_bool(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    fault(f"{name}={value!r}", "is neither true nor false", "1 or 0")
    return default


def env_int(name: str, default: int, *, at_least: int, at_most: int) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if re.fullmatch(r"-?[0-9]{1,18}", value) and at_least <= int(value) <= at_most:
        return int(value)
    fault(f"{name}={value!r}", "is no such whole number", f"{at_least} to {at_most}")
    return default


def env_list(name: str, default: list[str], *, required: bool = False, accepted: str = "") -> list[str]:
    found = [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
    if not found and required:
        fault(name, "is not set", accepted)
    return found or default


def env_address(name: str, default: str, read: Callable[[str], _T], *, accepted: str, required: bool = False) -> _T:
    """A server's address, read by one of `common.addresses`; what is wrong with it is told without its password."""
    value = os.environ.get(name, "").strip()
    if value:
        try:
            return read(value)
        except AddressError as error:
            fault(f"{name}={shown(value)}", str(error), accepted)
    elif required:
        fault(name, "is not set", accepted)
    return read(default)


def env_secret(name: str, kept_in: Path | None, *, at_least: int = 0, required: bool = False) -> str:
    """The secret from the environment, or one made once and kept in a file that only its owner may read; with no file
    to keep one in, it is empty where it is not set."""
    value = os.environ.get(name, "").strip()
    accepted = f"{at_least} or more random characters" if at_least else "random characters"
    if value and len(value) < at_least:
        fault(name, f"has {len(value)} characters (not shown)", accepted)
    elif value and at_least and len(set(value)) < 10:
        fault(name, f"has only {len(set(value))} different characters (not shown)", accepted)
    if value:
        return value
    if required:
        fault(name, "is not set", accepted)
        return "not-set-" + secrets.token_urlsafe(48)
    if kept_in is None:
        return ""
    return _kept(name, kept_in, lambda: secrets.token_urlsafe(48))


def env_keys(name: str, kept_in: Path, *, required: bool = False) -> dict[int, bytes]:
    """Numbered keys of 32 bytes, newest first: the base64 of one key, or `2:…,1:…` while an older one is still in use."""
    accepted = "the base64 of 32 random bytes (openssl rand -base64 32), or 2:NEW,1:OLD, newest first"
    value = os.environ.get(name, "").strip()
    if not value and required:
        fault(name, "is not set", accepted)
        return {1: bytes(32)}
    if not value:
        value = _kept(name, kept_in, lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    keys: dict[int, bytes] = {}
    for place, part in enumerate((each.strip() for each in value.split(",")), start=1):
        number, separator, text = part.rpartition(":")
        key = _key(text)
        if key is None or (separator and not re.fullmatch(r"[1-9][0-9]{0,3}", number)):
            fault(name, f"has as its part {place} no key of 32 bytes (not shown)", accepted)
        elif (wanted := int(number or 1)) in keys:
            fault(name, f"has two keys with the number {wanted} (not shown)", accepted)
        elif keys and wanted > min(keys):
            fault(name, f"has key {wanted} after an older one", accepted)
        else:
            keys[wanted] = key
    return keys or {1: bytes(32)}


def _key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == 32 else None


def _kept(name: str, file: Path, make: Callable[[], str]) -> str:
    """What the file holds; made once, whole, and readable by its owner alone."""
    try:
        if value := file.read_text().strip():
            return value
        fault(name, f"is not set and {file} is empty", f"a value of {name}, or {file} restored from a backup")
        return make()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        fault(
            name, f"is not set and {file} cannot be read ({reason})", f"a value of {name}, or a file that can be read"
        )
        return make()
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(make())
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(unfinished, file)  # fails where another process was faster; then its value is the one
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
        return file.read_text().strip()
    except OSError as error:
        fault(
            name,
            f"is not set and {file} cannot be written ({error.strerror})",
            f"a value of {name}, or a writable folder",
        )
        return make()
