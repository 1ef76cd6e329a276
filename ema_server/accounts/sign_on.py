"""Single sign-on opens accounts that exist, by the address that the provider vouches for. It makes none of itself."""

from __future__ import annotations

import time
from typing import Any

from allauth.account.internal.userkit import filter_users_by_email
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.http import HttpRequest
from django.shortcuts import render

from ema_server.accounts.models import User
from ema_server.accounts.services import create_account

INVITED = "invited"


def remember_invited(request: HttpRequest, *, email: str, seconds: float) -> None:
    """Whoever opened a valid invitation in this session may get an account by single sign-on, for its address alone."""
    request.session[INVITED] = {"email": email.lower(), "until": time.time() + seconds}


class SignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Nothing of the provider's is stored: each login is matched anew by its verified address."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def authenticate_by_email(self, sociallogin: SocialLogin) -> None:
        return None  # `pre_social_login` does it; allauth's own way would take the account's password away

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        email = self._verified_address(sociallogin)
        if email is None:
            raise ImmediateHttpResponse(render(request, "socialaccount/unverified.html", status=403))
        users = filter_users_by_email(email, for_login=True)
        user = users[0] if users else self._invited(request, email, sociallogin)
        if user is None:
            raise ImmediateHttpResponse(render(request, "account/signup_closed.html", {"email": email}, status=403))
        sociallogin.user = user

    def _verified_address(self, sociallogin: SocialLogin) -> str | None:
        data: dict[str, Any] = sociallogin.account.extra_data
        if sociallogin.account.provider == "oidc":
            told, signed = data.get("userinfo") or {}, data.get("id_token") or {}
            if told and signed and told.get("sub") != signed.get("sub"):
                return None
            return _address(told) or _address(signed)
        for address in sociallogin.email_addresses:
            if address.verified is True:
                return str(address.email)
        return None

    def _invited(self, request: HttpRequest, email: str, sociallogin: SocialLogin) -> User | None:
        invited = request.session.get(INVITED) or {}
        if invited.get("email") != email.lower() or invited.get("until", 0) < time.time():
            return None
        given = sociallogin.account.extra_data.get("userinfo") or {}
        name = str(given.get("name") or "").replace("\x00", "")[:150] if isinstance(given, dict) else ""
        return create_account(email=email, name=name, password=None)


def _address(claims: dict[str, Any]) -> str | None:
    email = claims.get("email")
    return email if claims.get("email_verified") is True and isinstance(email, str) else None
