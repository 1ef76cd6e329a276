"""Secrets of second factors, sealed with the server's own key."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from ema_server.vault.services import seal, unseal

CONTEXT = "mfa"


def sealed(text: str) -> str:
    return urlsafe_b64encode(seal(text.encode(), owner=None, context=CONTEXT)).decode()


def unsealed(text: str) -> str:
    return unseal(urlsafe_b64decode(text), context=CONTEXT).decode()
