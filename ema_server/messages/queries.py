"""Reads of messages, always from the person to whom they were written."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet

from ema_server.messages.models import Message
from ema_server.participants.models import Participant

MOST_ON_A_PHONE = 50


def messages_of(participant: Participant) -> QuerySet[Message]:
    """Everything that was ever written to somebody, newest first: what has expired or was taken back as well."""
    return Message.objects.filter(participant=participant).select_related("participant").order_by("-written_at", "-pk")


def messages_for_phone(participant: Participant, *, now: datetime) -> list[Message]:
    """What their phone shows: the newest of those that hold."""
    holds = Q(expires_at=None) | Q(expires_at__gt=now)
    return list(messages_of(participant).filter(holds, withdrawn_at=None)[:MOST_ON_A_PHONE])
