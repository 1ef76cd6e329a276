"""What every call of a phone shares: who calls, and the scope of their study."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django_scopes import scope
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from ema_server.common.problems import problem_response
from ema_server.participants.authentication import DeviceAuthentication, device_of
from ema_server.participants.models import Device


class PhoneView(APIView):
    """A call with a credential. From the moment it is known, queries see the phone's own study and no other."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with ExitStack() as self._scopes:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.device: Device = device_of(request)
        self._scopes.enter_context(scope(study=self.device.study))


class PlainPhoneView(PhoneView):
    """The same promises without DRF's machinery, for the calls that phones make all day: who calls is known, queries see
    their study alone, errors are problem documents. Whatever is unusual (another method, a form of answer that we do not
    have) still goes DRF's way, so that both say the same.

    A handler is called with Django's request, or with DRF's round it: it reads `headers`, `body` and `META` alone.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        handler = getattr(self, str(request.method).lower(), None) if request.method in _PLAIN_METHODS else None
        if handler is None or not _takes_json(request):
            return super().dispatch(request, *args, **kwargs)
        try:
            response: HttpResponseBase = self.answer(handler, request, *args, **kwargs)
        except Exception as error:
            told = problem_response(error, {"request": request})
            if told is None:
                raise
            response = told
        response["Allow"] = ", ".join(self.allowed_methods)
        return response

    def answer(
        self, handler: Callable[..., HttpResponseBase], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Call the handler in the scope of whoever calls; a view that can answer before it knows them well overrides it."""
        self.device = self.caller(request)
        request.user = self.device  # type: ignore[assignment]  # the request's line in the log names it
        with scope(study=self.device.study):
            return handler(request, *args, **kwargs)

    def caller(self, request: HttpRequest) -> Device:
        """The phone that calls, or an error of 401."""
        found = DeviceAuthentication().authenticate(request)  # type: ignore[arg-type]  # it reads META alone
        if found is None:
            raise NotAuthenticated
        return found[0]


_PLAIN_METHODS = {"GET", "HEAD", "POST", "PUT"}


def _takes_json(request: HttpRequest) -> bool:
    accepted = request.META.get("HTTP_ACCEPT", "*/*")
    return "*/*" in accepted or "application/json" in accepted
