"""What machines ask of a process: whether it lives, whether it can serve, what it counted."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse
from django.utils.crypto import constant_time_compare

from ema_server.operations import health, metrics

LOOPBACK = {"127.0.0.1", "::1", ""}  # "" over a socket file


def live(request: HttpRequest) -> HttpResponse:
    """200 while this process answers at all. It touches nothing else: restarting would not mend a database."""
    return HttpResponse("alive\n", content_type="text/plain")


def ready(request: HttpRequest) -> HttpResponse:
    """200 while requests can be served here, else 503; each check by name."""
    checks = health.checks()
    good = all(check.holds for check in checks)
    body = {
        "status": "ready" if good else "not ready",
        "checks": {
            check.name: "ok" if check.holds else f"failed: {check.detail}" if check.detail else "failed"
            for check in checks
        },
    }
    return JsonResponse(body, status=200 if good else 503, headers={"Cache-Control": "no-store"})


def measurements(request: HttpRequest) -> HttpResponse:
    """Prometheus's page, for who has the token, or without one for this machine alone; for all others it is not there."""
    if not _may_measure(request):
        return HttpResponseNotFound("There is nothing at this address.\n", content_type="text/plain")
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


def _may_measure(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}")
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    return request.META.get("REMOTE_ADDR", "") in LOOPBACK and not forwarded
