"""Where our forms differ from allauth's."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm, ResetPasswordForm
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
