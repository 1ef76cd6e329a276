"""Reads of participants, always from the member who asks: a coordinator of one site sees its people alone."""

from __future__ import annotations

from django.db.models import Count, Max, QuerySet

from ema_server.participants.models import Participant
from ema_server.studies.models import Membership


def participants_for(member: Membership) -> QuerySet[Participant]:
    """The people whom this member may see, with their number of phones and the newest of them."""
    found = Participant.objects.filter(study=member.study_id)
    if member.site:
        found = found.filter(site=member.site)
    return found.annotate(phones=Count("devices"), newest_phone=Max("devices__created_at")).order_by("pseudonym")


def participant_for(member: Membership, pk: int) -> Participant | None:
    """One of them; None for anybody else, of another site or of nowhere."""
    return participants_for(member).filter(pk=pk).first()
