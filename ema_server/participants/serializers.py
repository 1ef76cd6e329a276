"""The shape of what a phone says about itself."""

from __future__ import annotations

from datetime import datetime

from rest_framework import serializers

from ema_server.common.phone_time import EARLIEST, LATEST, parse_phone_time
from ema_server.common.zones import is_zone


class ZoneField(serializers.CharField):
    """An IANA time zone."""

    def to_internal_value(self, data: str) -> str:
        text = super().to_internal_value(data)
        if not is_zone(text):
            raise serializers.ValidationError(f"{text!r} is no IANA time zone; send one like Europe/Amsterdam.")
        return text


class AwareDateTimeField(serializers.DateTimeField):
    """A time with its offset. A time without one would be a guess."""

    def to_internal_value(self, value: str | datetime) -> datetime:
        moment = parse_phone_time(str(value))
        if moment is None or not EARLIEST <= moment <= LATEST:
            raise serializers.ValidationError(
                f"{value!r} is no time of our days with an offset; send one like 2026-03-02T09:30:00+01:00."
            )
        return super().to_internal_value(value)


class DeviceFactsIn(serializers.Serializer[dict[str, str]]):
    platform = serializers.CharField(max_length=40, required=False, default="")
    os_version = serializers.CharField(max_length=40, required=False, default="")
    app_version = serializers.CharField(max_length=40, required=False, default="")


class ConsentIn(serializers.Serializer[dict[str, object]]):
    version = serializers.CharField(max_length=40)
    digest = serializers.CharField(
        max_length=64,
        required=False,
        default="",
        allow_blank=True,
        help_text="Of the text that was shown; checked if sent.",
    )
    given_at = AwareDateTimeField()


CODE_HELP = "In capitals or not, with or without blanks and hyphens."


class PreviewIn(serializers.Serializer[dict[str, object]]):
    code = serializers.CharField(max_length=40, help_text=CODE_HELP)


class EnrolmentIn(serializers.Serializer[dict[str, object]]):
    code = serializers.CharField(max_length=40, help_text=CODE_HELP)
    request_id = serializers.UUIDField(
        required=False,
        help_text="The phone's own, made for this enrolment. Sent again with it within 24 hours, since the answer was "
        "lost, the enrolment spends nothing and gets the same phone a fresh token.",
    )
    zone = ZoneField(max_length=64)
    consent = ConsentIn()
    device = DeviceFactsIn(required=False)


class StudyOut(serializers.Serializer[dict[str, object]]):
    slug = serializers.CharField()
    title = serializers.CharField()


class EnrolmentOut(serializers.Serializer[dict[str, object]]):
    participant = serializers.CharField()
    token = serializers.CharField(help_text="Shown once. Keep it in the phone's key store.")
    study = StudyOut()


class DeviceIn(serializers.Serializer[dict[str, object]]):
    platform = serializers.CharField(max_length=40, required=False)
    os_version = serializers.CharField(max_length=40, required=False)
    app_version = serializers.CharField(max_length=40, required=False)
    zone = ZoneField(max_length=64, required=False)
    zone_since = AwareDateTimeField(required=False, help_text="From when on the phone is in `zone`; now, if absent.")
