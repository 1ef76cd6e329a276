"""Calls of phones and programs pass by what pages need: sessions, forms, logins, messages. It would cost more than most calls do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse

PREFIX: Final = "/api/"
HEADERS: Final = {  # an answer that is no page loads nothing and is shown in no frame
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
}


class ApiCalls:
    """Comes after what is for everybody: the request's line in the log, and TLS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.pages = get_response
        bare: Any = BaseHandler()
        bare._view_middleware = bare._template_response_middleware = bare._exception_middleware = []
        self.calls: Callable[[HttpRequest], Any] = convert_exception_to_response(bare._get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(PREFIX):
            return self.pages(request)
        request.get_host()  # raises DisallowedHost for a host that is not ours
        response: HttpResponse = self.calls(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if not response.streaming:
            response.headers["Content-Length"] = str(len(response.content))
        return response
