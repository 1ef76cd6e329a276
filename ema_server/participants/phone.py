"""What every call of a phone shares: who calls, and the scope of their study."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django_scopes import scope
from rest_framework.request import Request
from rest_framework.views import APIView

from ema_server.common.problems import problem, problem_response
from ema_server.participants.authentication import device_of
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


def plain_post(
    answer: Callable[[HttpRequest], HttpResponse], *, described: type[APIView]
) -> Callable[..., HttpResponse]:
    """A call that phones make all day, without the framework around it: it authenticates by itself. Its errors are the same
    problem documents, and the API's document describes it by the `post` of a view that is never called."""

    def view(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            refused = problem(
                405, "method_not_allowed", "Method not allowed", f'Method "{request.method}" not allowed.'
            )
            refused["Allow"] = "POST"
            return refused
        try:
            return answer(request)
        except Exception as error:
            response = problem_response(error, {"request": request})
            if response is None:
                raise
            return response

    view.cls, view.initkwargs, view.csrf_exempt = described, {}, True  # type: ignore[attr-defined]
    return view
