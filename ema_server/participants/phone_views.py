"""What a phone tells about its person."""

from __future__ import annotations

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from ema_server.common import clock
from ema_server.common.openapi import schema_of
from ema_server.participants.phone import PhoneView
from ema_server.participants.serializers import ConsentIn
from ema_server.participants.services import give_consent


class ConsentKept(msgspec.Struct, frozen=True):
    version: str
    digest: str
    status: str  # stored | duplicate


class ConsentsView(PhoneView):
    """The person agreed to the current consent text (`GET sync` has it). Sent twice it is kept once."""

    @extend_schema(operation_id="give_consent", request=ConsentIn, responses={200: schema_of(ConsentKept)})
    def post(self, request: Request) -> Response:
        body = ConsentIn(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        consent, new = give_consent(
            device=self.device, version=data["version"], consented_at=data["given_at"], now=clock.now()
        )
        kept = ConsentKept(consent.version, consent.digest, "stored" if new else "duplicate")
        return Response(msgspec.structs.asdict(kept))
