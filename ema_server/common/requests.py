"""Around every request: its id, one line in the log, and its place in the counts."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse
from django.utils.functional import LazyObject

from ema_server.common import counts
from ema_server.common.logs import request_id

logger = logging.getLogger("ema_server.access")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUIET = {"live", "ready", "metrics", "static"}  # asked all the time; their lines are for who debugs them
READ_ON = 16 * 1024 * 1024  # bytes of a body that is too large
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


class RequestLog:
    """The outermost middleware. A route goes by its name in the code: path, query, body and headers stay unsaid."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        token = request_id.set(given if _UUID.fullmatch(given) else str(uuid4()))
        began = time.perf_counter()
        try:
            response = self.get_response(request)
            if response.status_code == 413:
                _read_on(request)
            if request.path_info.startswith("/api/"):  # what is of one phone stays out of every cache between
                response.headers.setdefault("Cache-Control", "no-store")
            response["X-Request-ID"] = request_id.get()
            self._note(request, response, time.perf_counter() - began)
            return response
        finally:
            request_id.reset(token)

    def _note(self, request: HttpRequest, response: HttpResponse, seconds: float) -> None:
        route = _route_of(request)
        method = request.method if request.method in METHODS else "OTHER"
        counts.REQUESTS.labels(route, method, str(response.status_code)).inc()
        counts.SECONDS.labels(route).observe(seconds)
        said = {"route": route, "method": method, "status": response.status_code, "ms": round(seconds * 1000, 1)}
        level = logging.DEBUG if route in QUIET else logging.INFO
        logger.log(level, "request", extra={**said, **_who(request)})


def _read_on(request: HttpRequest) -> None:
    """Take what is left of a body that was refused, within reason: closing on a sender would cost it the answer."""
    stream = getattr(request, "_stream", None)  # Django's own, which ends where the body does
    left = READ_ON
    try:
        while stream is not None and left > 0 and (part := stream.read(65536)):
            left -= len(part)
    except (OSError, ValueError):
        pass  # it has gone


def _route_of(request: HttpRequest) -> str:
    if request.resolver_match is not None:
        return request.resolver_match.view_name or "unnamed"
    return "static" if request.path_info.startswith("/static/") else "none"


def _who(request: HttpRequest) -> dict[str, int]:
    """The number of the researcher or phone, if the request has looked it up by itself; nothing is looked up for a log."""
    known = getattr(request, "_cached_user", None) or request.__dict__.get("user")
    if isinstance(known, LazyObject):  # not looked up yet; asking it for its number would
        return {}
    meta, number = getattr(known, "_meta", None), getattr(known, "pk", None)
    if meta is None or not isinstance(number, int):
        return {"device": request.device_id} if hasattr(request, "device_id") else {}
    return {"device" if meta.model_name == "device" else "user": number}
