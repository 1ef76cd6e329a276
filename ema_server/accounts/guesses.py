"""At most ten guesses at one account in fifteen minutes reach the password hash, however many addresses they come from."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

from allauth.account.adapter import get_adapter
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_failure_limit
from axes.models import AccessAttempt
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import F, Max, Sum
from django.http import HttpRequest

AxesRequest = Any  # an HttpRequest on which axes has written attributes of its own


class CountFirst(AxesDatabaseHandler):  # type: ignore[misc]
    """Counts a guess before its password is hashed, one at a time for each account: guesses in parallel gain nothing.

    A right password takes its own count back; a finished login forgets them all.
    """

    def is_allowed(self, request: AxesRequest, credentials: dict[str, Any] | None = None) -> bool:
        account = account_of(request, credentials)
        since = request.axes_attempt_time - settings.AXES_COOLOFF_TIME
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 42))", [account])
            AccessAttempt.objects.filter(attempt_time__lte=since).delete()
            counted = AccessAttempt.objects.filter(username=account).aggregate(n=Sum("failures_since_start"))["n"] or 0
            if counted >= get_failure_limit(request, credentials):
                return False
            attempt, first = AccessAttempt.objects.get_or_create(
                username=account,
                ip_address=request.axes_ip_address,
                user_agent=request.axes_user_agent,
                defaults={"failures_since_start": 1, "attempt_time": request.axes_attempt_time},
            )
            if not first:
                AccessAttempt.objects.filter(pk=attempt.pk).update(
                    failures_since_start=F("failures_since_start") + 1, attempt_time=request.axes_attempt_time
                )
        request.guess = attempt.pk
        return True

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: AxesRequest | None = None, **more: Any
    ) -> None:
        """The guess is counted already; the last that was free is answered like those that follow."""
        if request is None:
            return
        request.axes_credentials = credentials
        if self.get_failures(request, credentials) >= get_failure_limit(request, credentials):
            request.axes_locked_out = True


def forgive(request: AxesRequest) -> None:
    """The password was right: this was no guess."""
    if guess := getattr(request, "guess", None):
        AccessAttempt.objects.filter(pk=guess).update(failures_since_start=F("failures_since_start") - 1)
        request.guess = None
        request.axes_locked_out = False


def free_again_at(account: str) -> datetime | None:
    last = AccessAttempt.objects.filter(username=account).aggregate(at=Max("attempt_time"))["at"]
    return last + settings.AXES_COOLOFF_TIME if last else None


def account_of(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """One name for all spellings of an address that lead to one account."""
    given = credentials or {}
    name = given.get("email") or given.get("username") or request.POST.get("username") or ""
    return unicodedata.normalize("NFKC", str(name)).upper().casefold().strip()[:255]


def by_account(request: HttpRequest, credentials: dict[str, Any] | None) -> list[str]:
    """What axes counts by: the account alone, since other addresses give no more guesses."""
    return ["username"]


def address_of(request: HttpRequest) -> str | None:
    """Who asks: the proxy's word for it where a proxy speaks TLS (EMA_TLS), the connection's other end elsewhere."""
    try:
        return str(get_adapter(request).get_client_ip(request))
    except PermissionDenied:
        return None
