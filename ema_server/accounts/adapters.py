"""How allauth behaves here: nobody signs up, addresses are never told apart, secrets are sealed."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ema_server.accounts import guesses
from ema_server.accounts.sealing import sealed, unsealed


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "This e-mail address and password do not belong together. Check both and try again.",
        "incorrect_password": "This is not the password of your account.",
        "too_many_login_attempts": "Too many wrong codes. Wait fifteen minutes and try again.",
        "rate_limited": "Too many attempts. Wait a few minutes and try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False  # accounts arise by an invitation or by `manage.py createsuperuser`

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Nothing: `guesses` counts passwords, in the database, so that an absent cache opens no door."""

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        user: AbstractBaseUser | None = super().authenticate(request, **credentials)
        if user is not None:
            guesses.forgive(request)
        return user

    def reauthenticate(self, user: AbstractBaseUser, password: str) -> bool:
        same = self.authenticate(context.request, email=user.get_username(), password=password)
        return same is not None and same.pk == user.pk

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        return HttpResponseRedirect(reverse("account_inactive"))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is not right. Codes change every 30 seconds and work once; take the newest.",
    }

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:
        return f"Key {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"

    def encrypt(self, text: str) -> str:
        return sealed(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unsealed(encrypted_text)
