"""What every call of a phone shares: who calls, and the scope of their study."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django_scopes import scope
from rest_framework.request import Request
from rest_framework.views import APIView

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
