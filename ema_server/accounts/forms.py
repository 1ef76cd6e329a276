"""Where our forms differ from allauth's."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm, ResetPasswordForm
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from django.core.cache import cache
from django.http import HttpRequest

from ema_server.accounts.services import ask_for_password_reset


class AskForReset(ResetPasswordForm):  # type: ignore[misc]
    """Writes down that a link is to be mailed; the link itself is made when the mail is sent."""

    def save(self, request: HttpRequest, **more: Any) -> str:
        users = self.users or [None]
        for user in users:
            ask_for_password_reset(user=user)
        return str(self.cleaned_data["email"])


class LogIn(LoginForm):  # type: ignore[misc]
    """The address is named `username`, as password managers expect it."""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


class OnceOnly:
    """A code works once for as long as it could work; allauth forgets it after one step, before its tolerance ends."""

    user: Any

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        steps = 2 * app_settings.TOTP_TOLERANCE + 1
        key = f"used-code:{self.user.pk}:{normalize_user_code(code)}"
        if not cache.add(key, 1, timeout=steps * app_settings.TOTP_PERIOD):
            raise get_adapter().validation_error("incorrect_code")
        return code


class Code(OnceOnly, AuthenticateForm):  # type: ignore[misc]
    pass


class CodeAgain(OnceOnly, ReauthenticateForm):  # type: ignore[misc]
    pass
