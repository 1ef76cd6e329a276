"""What other rooms' pages show about accounts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ema_server.accounts import queries
from ema_server.accounts.models import User


def second_factor_first(request: HttpRequest, back: str, why: str) -> HttpResponse:
    """Lead who is logged in to their second factor, with a sentence why, and from there back."""
    user = request.user
    assert isinstance(user, User)
    app, keys = queries.has_app(user), queries.has_key(user)
    context = {"why": why, "ready": app or keys, "app": app, "keys": keys, "back": back}
    return render(request, "account/second_factor_first.html", context, status=403)
