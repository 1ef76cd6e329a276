"""Every error leaves here. Below /api/ it is an RFC 9457 problem document with a stable `code`, elsewhere a plain page."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from rest_framework import exceptions
from rest_framework.views import set_rollback

from ema_server.common.errors import DomainError
from ema_server.common.outage import is_outage
from ema_server.common.problem_codes import title_of

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 10
LONG = 200  # characters that nobody wants to type a second time: they are given back, to copy


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
    """DRF's exception handler: domain errors, malformed bodies, missing credentials, an outage. A fault of
    ours goes on to `server_error`."""
    response = _problem_of(error)
    if response is None and is_outage(error):
        response = unavailable(context["request"])
    if response is not None:
        set_rollback()
    return response


def _problem_of(error: Exception) -> HttpResponse | None:
    if isinstance(error, DomainError):
        response = _with_patience(problem(error.status, error.code, "Not possible now", error.detail, **error.more))
        if error.status == 401:
            response["WWW-Authenticate"] = 'Bearer realm="phone"'
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, RequestDataTooBig):
        return too_large()
    if isinstance(error, RecursionError):
        return problem(400, "malformed", "The body is not what this call takes", "It is nested too deep.")
    if isinstance(error, Http404):
        return problem(404, "not_found", "Not found", "There is nothing at this address for this credential.")
    if isinstance(error, exceptions.ParseError):
        return problem(400, "malformed", "The body is not what this call takes", str(error.detail))
    if isinstance(error, exceptions.ValidationError):
        return problem(
            400, "invalid_body", "The body is not what this call takes", _first_fault(error.detail), errors=error.detail
        )
    if isinstance(error, exceptions.APIException):
        response = problem(error.status_code, str(error.get_codes()), title_of(error.status_code), str(error.detail))
        if error.status_code == 401:
            response["WWW-Authenticate"] = 'Bearer realm="phone"'
        if wait := getattr(error, "wait", None):
            response["Retry-After"] = str(int(wait) + 1)
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


def unavailable(request: HttpRequest) -> HttpResponse:
    """The database away means "later", never 500: a phone keeps its answers and sends them again."""
    logger.warning("the database cannot serve", exc_info=True)
    response = _answer(
        request,
        503,
        "unavailable",
        "Not available now",
        "Nothing was stored. Keep the answers and try again."
        if _for_a_program(request)
        else "The database does not answer. Nothing was changed; please try again in a minute.",
    )
    return _with_patience(response)


def _with_patience(response: HttpResponse) -> HttpResponse:
    """Whoever is told "not now" is told when to ask again."""
    if response.status_code == 503:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: what Django refuses before a view sees it, such as a host that is not ours."""
    if isinstance(exception, RequestDataTooBig):
        return (
            too_large()
            if _for_a_program(request)
            else _answer(request, 413, "too_large", "Too large", "Send less at once.")
        )
    return _answer(
        request, 400, "bad_request", "Bad request", "This request cannot be read, or its host is not served here."
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, "permission_denied", "Not allowed", "Your role in this study does not allow this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """`CSRF_FAILURE_VIEW`: a form that was left open too long, or came from another site."""
    return _answer(
        request,
        403,
        "csrf_failed",
        "This form has expired",
        "Nothing was changed. Go back, load the page again and repeat.",
        typed=[
            text
            for name, text in request.POST.items()
            if isinstance(text, str) and len(text) >= LONG and "password" not in name
        ],
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, "not_found", "Not found", "There is nothing at this address for you.")


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`, called while the exception is handled, wherever it struck: middleware, view or template."""
    error = sys.exc_info()[1]
    if is_outage(error):
        return unavailable(request)
    if isinstance(error, DomainError):
        return _with_patience(_answer(request, error.status, error.code, "Not possible now", error.detail))
    return _answer(request, 500, "server_error", "This is our fault", "It was noted. Please try again later.")


def _answer(
    request: HttpRequest, status: int, code: str, title: str, detail: str, *, typed: Sequence[str] = ()
) -> HttpResponse:
    if _for_a_program(request):
        return problem(status, code, title, detail)
    # Without the request: a page about an outage must not ask the database who is logged in.
    page = render_to_string("problem.html", {"status": status, "title": title, "detail": detail, "typed": typed})
    return HttpResponse(page, status=status)


def _for_a_program(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def _first_fault(detail: Any, path: str = "") -> str:
    """The first fault as one sentence that names its field."""
    if isinstance(detail, dict):
        key, value = next(iter(detail.items()))
        return _first_fault(value, f"{path}.{key}" if path else str(key))
    if isinstance(detail, list) and detail:
        return _first_fault(detail[0], path)
    return f"{path}: {detail}" if path else str(detail)
