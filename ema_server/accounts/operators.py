"""Django's admin at /admin/, for operators alone: staff who have shown a second factor in this session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from ema_server.accounts import queries
from ema_server.accounts.models import User
from ema_server.accounts.pages import second_factor_first

# unfold's Alpine evaluates its attributes, and unfold writes its colours into the page; nothing else of ours does either.
POLICY = {"script-src": [UNSAFE_EVAL], "style-src": [UNSAFE_INLINE]}


class OperatorsSite(UnfoldAdminSite):  # type: ignore[misc]
    site_title = site_header = "EMA server"

    def has_permission(self, request: HttpRequest) -> bool:
        factor = not settings.EMA_ADMIN_MFA or queries.session_has_second_factor(request)
        return super().has_permission(request) and factor

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        return csp_update(POLICY)(super().admin_view(view, cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Strangers log in at our own page; staff without a second factor are led to it; others are told no."""
        back = request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index")
        user = request.user
        if not isinstance(user, User):
            return _to("login", back)
        if not user.is_staff:
            return render(request, "account/not_an_operator.html", status=403)
        if queries.session_has_second_factor(request) or not settings.EMA_ADMIN_MFA:
            return HttpResponseRedirect(reverse("admin:index"))
        return second_factor_first(request, back, "Operators’ records need a second factor.")

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("logout"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("account_change_password"))


def _to(name: str, back: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{reverse(name)}?{urlencode({REDIRECT_FIELD_NAME: back})}")


site = OperatorsSite(name="admin")
