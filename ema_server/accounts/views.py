"""Pages about one's own account that allauth does not have, and the page for too many guesses."""

from __future__ import annotations

from math import ceil
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST
from django.views.generic import TemplateView

from ema_server.accounts import guesses, queries, services
from ema_server.accounts.models import User
from ema_server.common import clock


class AccountView(LoginRequiredMixin, TemplateView):
    """My account: how I log in, my second factor, where I am logged in."""

    template_name = "account/account.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        user = self.request.user
        assert isinstance(user, User)
        return super().get_context_data(
            second_factor=queries.has_second_factor(user),
            sessions=len(UserSession.objects.purge_and_list(user)),
            **more,
        )


@login_required
@require_POST
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    user = request.user
    if not isinstance(user, User) or not services.end_session(user=user, session_id=session_id):
        raise Http404
    messages.info(request, "That session has ended.")
    return redirect("usersessions_list")


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    """What a guess too many is answered, alike for accounts that exist and such that do not."""
    free_at = guesses.free_again_at(guesses.account_of(request, credentials))
    seconds = max(1, ceil((free_at - clock.now()).total_seconds())) if free_at else 15 * 60
    page = render(request, "account/locked_out.html", {"minutes": ceil(seconds / 60)}, status=429)
    page["Retry-After"] = str(seconds)
    page["Cache-Control"] = "no-store"
    return page
