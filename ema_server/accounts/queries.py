"""Reads of accounts."""

from __future__ import annotations

from collections.abc import Iterable

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from django.http import HttpRequest

from ema_server.accounts.models import User

SECOND_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_second_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type__in=SECOND_FACTORS).exists())


def with_second_factor(user_ids: Iterable[int]) -> set[int]:
    """Those of them who have set up an authenticator app or a security key."""
    factors = Authenticator.objects.filter(user__in=list(user_ids), type__in=SECOND_FACTORS)
    return set(factors.values_list("user", flat=True))


def session_has_second_factor(request: HttpRequest) -> bool:
    """Whether who is logged in has shown a second factor (or a passkey) in this session."""
    user = request.user
    return isinstance(user, User) and any(
        record.get("method") == "mfa" for record in get_authentication_records(request, user)
    )


def has_app(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists())


def has_key(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).exists())
