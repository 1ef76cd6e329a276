"""What a change of one's second factor entails: whoever has just proved a new one has shown it in this session."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from ema_server.accounts.models import User
from ema_server.accounts.queries import SECOND_FACTORS
from ema_server.ledger import audit


@receiver(authenticator_added)
def shown(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **more: Any) -> None:
    if authenticator.type in SECOND_FACTORS:
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)
    _note("account.second_factor_added", user, authenticator)


@receiver(authenticator_removed)
def removed(sender: Any, user: User, authenticator: Authenticator, **more: Any) -> None:
    _note("account.second_factor_removed", user, authenticator)


@receiver(authenticator_reset)
def renewed(sender: Any, user: User, authenticator: Authenticator, **more: Any) -> None:
    _note("account.recovery_codes_renewed", user, authenticator)


def _note(action: str, user: User, authenticator: Authenticator) -> None:
    with transaction.atomic():
        audit.record(
            action=action,
            actor=user.audit_name,
            study_id=None,
            about=user.audit_name,
            changes={"type": str(authenticator.type)},
        )
