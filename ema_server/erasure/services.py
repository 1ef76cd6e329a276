"""Erasing a person: asked for once, certain to happen, provable afterwards, and repeated on every restored backup."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django_scopes import scope, scopes_disabled

from ema_server.common import clock
from ema_server.common.canonical import digest
from ema_server.erasure.models import Certificate
from ema_server.erasure.purging import purge
from ema_server.ledger import audit, outbox
from ema_server.ledger import services as ledger
from ema_server.ledger.models import Job
from ema_server.participants.models import Device, Participant
from ema_server.vault import services as vault

ERASURE = "erasure"


@transaction.atomic
def ask_for_erasure(*, participant: Participant, actor: str, now: datetime, reason: str = "") -> Job:
    """Close the person's phones at once and write down that they are to be erased. Nothing takes that back."""
    person = Participant.objects.select_for_update().get(pk=participant.pk)
    person.state = Participant.State.ERASED
    person.save(update_fields=["state"])
    Device.objects.filter(participant=person, revoked_at__isnull=True).update(revoked_at=now)
    if not Job.objects.filter(kind=ERASURE, key=str(person.key_id)).exists():
        audit.record(
            action="participant.erasure_asked",
            actor=actor,
            study_id=person.study_id,
            about=person.audit_name,
            reason=reason,
            person=person.key_id,
        )
    job = ledger.ask_for(  # asked again, one that was given up is begun again
        kind=ERASURE, key=str(person.key_id), payload={"participant": person.pk}, again=True
    )
    outbox.ring(ERASURE)
    return job


def carry_out(job: Job) -> None:
    """What the outbox calls: the key first, so that whatever happens next nothing can be read any more."""
    with scopes_disabled():
        participant = Participant.objects.select_related("study").get(pk=job.payload["participant"])
    erase(participant=participant, now=clock.now())


def erase(*, participant: Participant, now: datetime) -> Certificate:
    """Destroy the person's key, purge what they left and what was derived, certify it. Done twice it is done once."""
    vault.destroy_key(owner=participant.key_id, now=now)
    return _certify(participant, erased_at=now)


@transaction.atomic
def replay_register() -> int:
    """Erase again whoever the register names: a restored backup knows them still. Returns how many there were.

    Runs in the transaction of the restore, before anybody can read what was restored.
    """
    replayed = 0
    for owner, erased_at in vault.erased_owners().items():
        with scopes_disabled():
            participant = Participant.objects.select_related("study").filter(key_id=owner).first()
            certified = Certificate.objects.filter(key_id=owner).exists()
        if participant is not None and not (certified and participant.state == Participant.State.ERASED):
            vault.destroy_key(owner=owner, now=erased_at)
            _certify(participant, erased_at=erased_at)
            replayed += 1
    return replayed


def text_of(certificate: Certificate) -> str:
    """The certificate as the person may have it."""
    lines = [
        "CERTIFICATE OF ERASURE",
        f"Study: {certificate.study.title}",
        f"Participant: {certificate.pseudonym}",
        f"Erased: {certificate.erased_at:%Y-%m-%d %H:%M:%S} UTC",
        f"Key destroyed: {certificate.key_id}",
        "Removed:",
        *(f"  {count} {kind}" for kind, count in certificate.removed.items()),
        "What was sealed under the key cannot be read any more, and in backups not after those of the keys have run out",
        "(7 days, unless the operator chose otherwise). Statistics over all participants that were issued before stay",
        "as issued.",
        f"SHA-256: {certificate.digest}",
    ]
    return "\n".join(lines) + "\n"


@transaction.atomic
def _certify(participant: Participant, *, erased_at: datetime) -> Certificate:
    with scope(study=participant.study):
        Participant.objects.select_for_update().get(pk=participant.pk)
        known = Certificate.objects.filter(key_id=participant.key_id).first()
        removed = purge(participant)
        if known is not None:
            return known
        content: dict[str, Any] = {
            "study": participant.study_id,
            "pseudonym": participant.pseudonym,
            "key_id": str(participant.key_id),
            "erased_at": erased_at.isoformat(),
            "removed": removed,
        }
        certificate = Certificate.objects.create(
            study=participant.study,
            pseudonym=participant.pseudonym,
            key_id=participant.key_id,
            erased_at=erased_at,
            removed=removed,
            digest=digest(content),
        )
        audit.record(
            action="participant.erased",
            actor="server",
            study_id=participant.study_id,
            about=participant.audit_name,
            changes={"removed": removed, "certificate": certificate.digest},
        )
    return certificate
