"""Where mail goes, read from one address: `smtp://user:password@host:587?tls=starttls` or `smtps://user:password@host`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ACCEPTED = "smtp://user:password@host:587?tls=starttls, smtps://user:password@host:465 or smtp://localhost:25?tls=none"


def mail_settings(url: str) -> tuple[dict[str, Any], str]:
    """Django's EMAIL_* settings, and what is wrong with the address (its password is never in it)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return {}, "has a port that is no number"
    query = dict(parse_qsl(parts.query))
    tls = query.pop("tls", "implicit" if parts.scheme == "smtps" else "starttls")
    if parts.scheme not in {"smtp", "smtps"}:
        return {}, f"has the scheme {parts.scheme!r}"
    if not parts.hostname:
        return {}, "names no host"
    if query:
        return {}, f"has the option {sorted(query)[0]!r}"
    if tls not in ({"implicit"} if parts.scheme == "smtps" else {"starttls", "none"}):
        return {}, f"has tls={tls!r}"
    if bool(parts.username) != bool(parts.password):
        return {}, "has a user without a password, or a password without a user"
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or {"implicit": 465, "starttls": 587, "none": 25}[tls],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": tls == "starttls",
        "EMAIL_USE_SSL": tls == "implicit",
        "EMAIL_TIMEOUT": 20,
    }, ""
