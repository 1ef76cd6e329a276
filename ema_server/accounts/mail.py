"""Mail about one's own account. What carries a secret makes it when it is sent, so that none lies in a queue."""

from __future__ import annotations

from datetime import datetime

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.ledger.models import Job


def send_password_reset(job: Job) -> None:
    """Mail the link that was asked for, to an account that is open, while there is still sense in it."""
    payload = job.payload
    user = User.objects.filter(pk=payload["user"], is_active=True).first() if payload["user"] else None
    if user is None or clock.now() > datetime.fromisoformat(payload["until"]):
        return
    key = default_token_generator.make_token(user)
    place = reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(user), "key": key})
    text = render_to_string(
        "account/email/password_reset.txt", {"user": user, "address": f"{settings.EMA_PUBLIC_URL}{place}"}
    )
    send_mail("Set a new password for EMA server", text, None, [user.email])
