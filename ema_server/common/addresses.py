"""Addresses of servers, as in DATABASE_URL and BROKER_URL: read, checked, and shown without their passwords."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

DATABASE_ACCEPTED = "postgresql://user:password@host:5432/name"
BROKER_ACCEPTED = "redis://:password@host:6379/0"
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_UNENCODED = (
    "has a character that must be percent-encoded in its user or password (/ is %2F, @ is %40, # is %23, ? is %3F)"
)


class AddressError(ValueError):
    """What is wrong with an address, without its secrets."""


def shown(url: str) -> str:
    """The address without user, password or an option's value, however badly it is written."""
    if "://" not in url:
        return "…"
    url = re.sub(r"//.*@", "//…@", url, flags=re.DOTALL)
    return re.sub(r"([?&][^=&]*=)[^&]*", r"\1…", url)


def without_secrets(text: str, url: str) -> str:
    """What another program says about an address, without any part of what stands before the host."""
    secret = re.search(r"//(.*)@", url, flags=re.DOTALL)
    for part in re.split(r"[:@/?#]", secret.group(1)) if secret else ():
        for spelling in {part, unquote(part)}:
            if len(spelling) > 2:
                text = text.replace(spelling, "…")
    return text


def database_from_url(url: str) -> dict[str, Any]:
    """Django's database settings. Options of libpq (sslmode, sslrootcert, …) go in the query, a socket folder in `?host=`."""
    _check_scheme(url, {"postgres", "postgresql"}, "PostgreSQL")
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise AddressError(f"cannot be read ({without_secrets(str(error).strip(), url)})") from error
    name, host, port = (str(parts.pop(key, None) or "") for key in ("dbname", "host", "port"))
    if not name:
        raise AddressError("names no database")
    if not all(each.isdigit() and 0 < int(each) < 65536 for each in port.split(",") if each):
        raise AddressError("has a port that is no number from 1 to 65535")
    mode, root = parts.get("sslmode"), parts.get("sslrootcert")
    if mode is not None and mode not in _SSL_MODES:
        raise AddressError(f"has sslmode={mode}, which is none of {', '.join(_SSL_MODES)}")
    if root and root != "system" and not os.access(str(root), os.R_OK):
        raise AddressError(f"has sslrootcert={root}, which is no file that can be read")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": str(parts.pop("user", None) or ""),
        "PASSWORD": str(parts.pop("password", None) or ""),
        "HOST": host,
        "PORT": port,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5, **parts},
    }


def broker_from_url(url: str) -> str:
    """The address itself, once it is one of Valkey or Redis."""
    _check_scheme(url, {"redis", "rediss"}, "Valkey or Redis")
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good = False
    if not port_is_good:
        raise AddressError("has a port that is no number from 1 to 65535")
    if not parts.hostname:
        raise AddressError("names no host")
    if not re.fullmatch(r"/?\d*", parts.path):
        raise AddressError("names a database that is no number")
    return url


def _check_scheme(url: str, schemes: set[str], of: str) -> None:
    scheme, separator, rest = url.partition("://")
    if scheme not in schemes or not separator:
        raise AddressError(f"is no {of} address")
    tail = re.split(r"[/?#]", rest, maxsplit=1)[1:]
    if tail and re.match(r"[^=]*@", tail[0], flags=re.DOTALL):
        raise AddressError(_UNENCODED)
