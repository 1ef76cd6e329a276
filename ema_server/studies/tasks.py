"""The doorbell of invitations. It may ring twice, or not at all: the outbox remembers."""

from __future__ import annotations

from celery import shared_task
from django_scopes import scopes_disabled

from ema_server.common import clock
from ema_server.ledger import services as ledger
from ema_server.studies import team


@shared_task
def send_invitations() -> int:
    sent = 0
    while (job := ledger.claim(kind=team.INVITATION_MAIL, now=clock.now())) is not None:
        try:
            with scopes_disabled():
                team.send_invitation(invitation_id=job.payload["invitation"], now=clock.now())
        except Exception as error:
            ledger.fail(job, error, now=clock.now())
        else:
            ledger.finish(job, now=clock.now())
            sent += 1
    return sent
