"""How a phone proves who it is: `Authorization: Bearer TOKEN`."""

from __future__ import annotations

from django_scopes import scopes_disabled
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from ema_server.participants.models import Device
from ema_server.participants.services import digest_of_secret


def device_of(request: Request) -> Device:
    """The phone that calls: what `DeviceAuthentication` found. Views look everything up from it."""
    device = request.user
    if not isinstance(device, Device):
        raise NotAuthenticated("Write Authorization: Bearer TOKEN.")
    return device


class DeviceAuthentication(BaseAuthentication):
    """The request's user is the Device; everything is looked up from it, never from an id in the body."""

    def authenticate(self, request: Request) -> tuple[Device, None] | None:
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"bearer":
            return None
        if len(header) != 2:
            raise AuthenticationFailed("Write Authorization: Bearer TOKEN.", code="malformed_credential")
        with scopes_disabled():  # which study it is, is what the credential tells
            device = (
                Device.objects.select_related("participant__study")
                .filter(token_digest=digest_of_secret(header[1].decode("ascii", "replace")))
                .first()
            )
        if device is None:
            raise AuthenticationFailed("This credential is unknown.", code="unknown_credential")
        if device.revoked_at is not None:
            raise AuthenticationFailed("This phone's credential was revoked. Enrol again.", code="revoked")
        return device, None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="phone"'
