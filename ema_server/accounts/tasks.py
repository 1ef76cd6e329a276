"""Doorbells of mail about accounts. They may ring twice, or not at all: the outbox remembers."""

from __future__ import annotations

from celery import shared_task

from ema_server.accounts import mail
from ema_server.common import clock
from ema_server.ledger import services as ledger

PASSWORD_RESET = "password-reset-mail"


@shared_task
def send_password_resets() -> int:
    sent = 0
    while (job := ledger.claim(kind=PASSWORD_RESET, now=clock.now())) is not None:
        try:
            mail.send_password_reset(job.payload)
        except Exception as error:
            ledger.fail(job, error, now=clock.now())
        else:
            ledger.finish(job, now=clock.now())
            sent += 1
    return sent
