"""Readers of the environment that fail loudly: the settings' only door to it."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit


class SettingError(Exception):
    """A value in the environment that cannot be used; the message says which one and what would be accepted."""


def env_text(name: str, default: str) -> str:
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingError(f"{name}={value!r} is neither true nor false; write 1 or 0.")


def env_list(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name, "")
    return [part.strip() for part in value.split(",") if part.strip()] or default


def env_secret(name: str, kept_in: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
    """The secret from the environment, or one made once and kept in a file that only its owner may read."""
    value = os.environ.get(name, "")
    if value:
        return value
    try:
        return kept_in.read_text().strip()
    except FileNotFoundError:
        pass
    try:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(kept_in, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:  # another process was faster
        return kept_in.read_text().strip()
    except OSError as error:
        raise SettingError(
            f"{name} is not set and {kept_in} cannot be written ({error.strerror}). Set {name}, or make it writable."
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(make())
    return kept_in.read_text().strip()


def env_master_keys(name: str, kept_in: Path) -> dict[int, bytes]:
    """`2:BASE64,1:BASE64`, newest first, or one BASE64 alone, which is number 1. Each is 32 random bytes."""
    accepted = f"{name} takes the base64 of 32 random bytes, or several with their numbers, newest first: 2:…,1:…"
    keys: dict[int, bytes] = {}
    for part in env_secret(name, kept_in, make=_new_master_key).split(","):
        number, _, text = part.strip().rpartition(":")
        try:
            key = base64.b64decode(text, validate=True)
            place = int(number or 1)
        except ValueError as error:
            raise SettingError(accepted) from error
        if len(key) != 32 or place < 1 or place in keys:
            raise SettingError(accepted)
        keys[place] = key
    return keys


def _new_master_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def keys_database_url(url: str) -> str:
    """Where the key store is unless KEYS_DATABASE_URL says so: beside the database, with `_keys` after its name."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + "_keys"))


def database_from_url(url: str) -> dict[str, object]:
    """Django's database settings from `postgresql://user:password@host:port/name`; a socket folder goes in `?host=`."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SettingError(
            f"DATABASE_URL has the scheme {parts.scheme!r}; only PostgreSQL is served: postgresql://user:password@host:5432/name."
        )
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise SettingError("DATABASE_URL names no database; write postgresql://user:password@host:5432/name.")
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    try:
        port = parts.port
    except ValueError as error:
        raise SettingError(
            "DATABASE_URL has a port that is no number; write postgresql://user:password@host:5432/name."
        ) from error
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(query.get("host", "")) or parts.hostname or "",
        "PORT": str(port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5},
    }
