"""Every error leaves as one shape: an RFC 9457 problem document with a stable `code`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from redis.exceptions import ConnectionError as CacheAway
from redis.exceptions import TimeoutError as CacheSlow
from rest_framework import exceptions

from ema_server.common.errors import DomainError

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 10


def problem(status: int, code: str, title: str, detail: str, **more: Any) -> JsonResponse:
    body = {
        "type": f"urn:ema-server:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return JsonResponse(body, status=status, content_type="application/problem+json")


def problem_response(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler: domain errors, malformed bodies, missing credentials."""
    if isinstance(error, DomainError):
        return problem(error.status, error.code, "Not possible now", error.detail)
    if isinstance(error, RequestDataTooBig):
        return too_large()
    if isinstance(error, RecursionError):
        return problem(400, "malformed", "The body is not what this call takes", "It is nested too deep.")
    if isinstance(error, Http404):
        return problem(404, "not_found", "Not found", "There is nothing at this address for this credential.")
    if isinstance(error, exceptions.ValidationError):
        return problem(
            400, "invalid_body", "The body is not what this call takes", _first_fault(error.detail), errors=error.detail
        )
    if isinstance(error, exceptions.APIException):
        response = problem(error.status_code, str(error.get_codes()), type(error).__name__, str(error.detail))
        if error.status_code == 401:
            response["WWW-Authenticate"] = 'Bearer realm="phone"'
        return response
    return None


def too_large(limit: int | None = None) -> JsonResponse:
    limit = limit or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return problem(
        413,
        "too_large",
        "The body is too large",
        f"A body may hold at most {limit} bytes; send smaller batches.",
        limit_bytes=limit,
    )


class OutageMiddleware:
    """Database or cache away means "later" (503 with Retry-After), never a 500: a phone keeps its answers and retries."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, OperationalError | InterfaceError | CacheAway | CacheSlow):
            logger.warning("database or cache away: %s", type(error).__name__)
            response: HttpResponse = problem(
                503, "unavailable", "Not available now", "Nothing was stored. Keep the answers and try again."
            )
            if not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", ""):
                response = render(None, "503.html", status=503)
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        return None


def _first_fault(detail: Any, path: str = "") -> str:
    """The first fault as one sentence that names its field."""
    if isinstance(detail, dict):
        key, value = next(iter(detail.items()))
        return _first_fault(value, f"{path}.{key}" if path else str(key))
    if isinstance(detail, list) and detail:
        return _first_fault(detail[0], path)
    return f"{path}: {detail}" if path else str(detail)
