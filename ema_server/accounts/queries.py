"""Reads of accounts."""

from __future__ import annotations

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest

from ema_server.accounts.models import User

SECOND_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_second_factor(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type__in=SECOND_FACTORS).exists()


def with_second_factor(users: QuerySet[User]) -> QuerySet[User]:
    """Each user with `second_factor`: whether an authenticator app or a security key is set up."""
    factors = Authenticator.objects.filter(user=OuterRef("pk"), type__in=SECOND_FACTORS)
    return users.annotate(second_factor=Exists(factors))


def session_has_second_factor(request: HttpRequest) -> bool:
    """Whether who is logged in has shown a second factor (or a passkey) in this session."""
    user = request.user
    return isinstance(user, User) and any(
        record.get("method") == "mfa" for record in get_authentication_records(request, user)
    )


def has_app(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()


def has_key(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).exists()
