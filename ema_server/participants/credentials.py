"""A phone changes its credential: the new one is in its answer, the old one stays good until the new one is surely there."""

from __future__ import annotations

from django.db import transaction

from ema_server.ledger import audit
from ema_server.participants.models import Device
from ema_server.participants.services import CredentialUnknown, DeviceClosed, renew_credential


@transaction.atomic
def rotate_credential(*, device: Device, shown: str) -> str:
    """Give a phone a new credential; `shown` is the digest of the one that it called with. Returns the new one.

    Called again with the old one, since the answer was lost, it gives a fresh one again. The row is held and read anew: of
    two rotations at once each sees what the other left, and a phone that is closed meanwhile gets nothing.
    """
    held = Device.objects.select_for_update(of=("self",)).select_related("participant").get(pk=device.pk)
    if held.revoked_at is not None:
        raise DeviceClosed(held)
    if shown not in {held.token_digest, held.old_token_digest}:
        raise CredentialUnknown("This credential is unknown: a newer one of this phone has taken its place.")
    token = renew_credential(held, shown=shown)
    audit.record(
        action="device.credential_rotated",
        actor=held.audit_name,
        study_id=held.participant.study_id,
        about=held.audit_name,
    )
    return token
