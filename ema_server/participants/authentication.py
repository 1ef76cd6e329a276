"""How a phone proves who it is: `Authorization: Bearer TOKEN`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.http import HttpRequest
from django_scopes import scopes_disabled
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from ema_server.common import clock
from ema_server.participants.models import Device
from ema_server.participants.services import CLOSED, digest_of_secret

OVERLAP: Final = timedelta(hours=24)  # how long the old credential is good after the first use of the new one


def device_of(request: Request) -> Device:
    """The phone that calls: what `DeviceAuthentication` found. Views look everything up from it."""
    device = request.user
    if not isinstance(device, Device):
        raise NotAuthenticated("Write Authorization: Bearer TOKEN.")
    return device


def token_of(request: Request | HttpRequest) -> str | None:
    """The credential that a call shows; None where it shows none."""
    header = get_authorization_header(request).split()  # type: ignore[arg-type]
    if not header or header[0].lower() != b"bearer":
        return None
    if len(header) != 2:
        raise AuthenticationFailed("Write Authorization: Bearer TOKEN.", code="malformed_credential")
    return header[1].decode("ascii", "replace")


def device_with(token: str) -> Device | None:
    """The phone that has this credential, a closed one (`revoked_at`) included; None where nobody has it.

    A rotation leaves the old credential good until the new one has been used, which proves that the phone received it,
    and 24 hours longer: a lost answer strands nobody, however long the phone is away.
    """
    digest, now = digest_of_secret(token), clock.now()
    with scopes_disabled():  # which study it is, is what the credential tells
        known = Device.objects.select_related("participant__study")
        device = known.filter(token_digest=digest).first()
        if device is None:
            device = known.filter(old_token_digest=digest).first()
            ended = device is not None and device.old_token_until is not None and device.old_token_until <= now
            return None if ended else device
        if device.old_token_digest is not None and device.old_token_until is None and device.revoked_at is None:
            unused = Device.objects.filter(pk=device.pk, token_digest=digest, old_token_until__isnull=True)
            unused.update(old_token_until=now + OVERLAP)
        return device


def closed_code(device: Device) -> str:
    """`replaced` or `revoked`; empty while the credential is open. Erasure closes without a word of its own."""
    return "" if device.revoked_at is None else device.closed_because or Device.Closed.REVOKED


class DeviceAuthentication(BaseAuthentication):
    """The request's user is the Device; everything is looked up from it, never from an id in the body. `request.auth` is
    the digest of the credential that was shown."""

    def authenticate(self, request: Request) -> tuple[Device, str] | None:
        token = token_of(request)
        if token is None:
            return None
        device = device_with(token)
        if device is None:
            raise AuthenticationFailed("This credential is unknown.", code="unknown_credential")
        if code := closed_code(device):
            raise AuthenticationFailed(CLOSED[Device.Closed(code)], code=code)
        return device, digest_of_secret(token)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="phone"'
