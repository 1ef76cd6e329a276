"""The shape of what a phone asks in its person's name."""

from __future__ import annotations

from rest_framework import serializers

from ema_server.participants.serializers import AwareDateTimeField


class Words(serializers.CharField):
    """A text; a number is none."""

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError(f"{str(data)[:40]!r} is no text; send a string.")
        return super().to_internal_value(data)


class PauseIn(serializers.Serializer[dict[str, object]]):
    until = AwareDateTimeField(
        required=False,
        allow_null=True,
        help_text="When the pause ends by itself; null: it is open. Left out of a later call, the end stays as it is.",
    )


class WithdrawIn(serializers.Serializer[dict[str, object]]):
    data = serializers.ChoiceField(  # type: ignore[assignment]  # DRF takes fields out of the class
        choices=["keep", "erase"], help_text="`erase` cannot be taken back, and closes the credential at once."
    )
    reason = Words(
        max_length=2000, required=False, allow_blank=True, default="", help_text="Free words, which are sealed."
    )
