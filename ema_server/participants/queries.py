"""Reads of participants, always from the member who asks: a coordinator of one site sees its people alone."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Max, QuerySet

from ema_server.participants.models import Consent, Participant
from ema_server.studies.models import ConsentText, Membership, Study
from ema_server.studies.queries import consent_texts


def participants_for(member: Membership) -> QuerySet[Participant]:
    """The people whom this member may see, with their number of phones and the newest of them."""
    found = Participant.objects.filter(study=member.study_id)
    if member.site:
        found = found.filter(site=member.site)
    return found.annotate(phones=Count("devices"), newest_phone=Max("devices__created_at")).order_by("pseudonym")


def participant_for(member: Membership, pk: int) -> Participant | None:
    """One of them; None for anybody else, of another site or of nowhere."""
    return participants_for(member).filter(pk=pk).first()


@dataclass(frozen=True, slots=True)
class ConsentAsked:
    """The study's current consent text, as one person stands to it."""

    text: ConsentText
    given: bool
    anew: bool  # they agreed to an earlier one, or to none here, and must be asked again


def consent_asked_of(participant: Participant) -> ConsentAsked | None:
    """None where the study has no consent text."""
    texts = list(consent_texts(participant.study))
    if not texts:
        return None
    agreed = set(Consent.objects.filter(participant=participant).values_list("digest", flat=True))
    newer = []
    for text in texts:
        if text.digest in agreed:
            break
        newer.append(text)
    return ConsentAsked(texts[0], given=not newer, anew=any(text.must_consent_anew for text in newer))


def consented_versions(study: Study) -> dict[int, int]:
    """The newest version of the study's texts that each person agreed to, by their row; 0 for none of them."""
    numbers = {text.digest: text.number for text in consent_texts(study)}
    found: dict[int, int] = {}
    for person, digest in Consent.objects.filter(participant__study=study).values_list("participant_id", "digest"):
        found[person] = max(found.get(person, 0), numbers.get(digest, 0))
    return found
