"""The pages on which somebody leaves a study, or is asked nothing for a while."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants.views import PersonPage
from ema_server.sampling.pausing import pause_participant, resume_participant
from ema_server.sampling.queries import open_pause_of
from ema_server.sampling.services import withdraw_participant

SHOWN = 20  # pauses of one person


class WithdrawView(PersonPage):
    """Says what withdrawing does; asks for a reason and a tick."""

    permission = "studies.withdraw_participant"
    template_name = "sampling/withdraw.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(participant=self.participant, **more)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        participant = self.participant
        if not self.researcher.has_perm(self.permission, participant):
            raise PermissionDenied
        if "sure" not in request.POST:
            fault = "Nothing was changed: tick the box to confirm."
            return self.render_to_response(self.get_context_data(fault=fault), status=400)
        try:
            called_off = withdraw_participant(
                participant=participant,
                now=clock.now(),
                actor=self.researcher.audit_name,
                reason=request.POST.get("reason", "")[:2000],
            )
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        messages.success(request, f"{participant.pseudonym} has withdrawn. Prompts called off: {called_off}.")
        return redirect("participant", slug=self.study.slug, pk=participant.pk)


class PauseView(PersonPage):
    """Pauses somebody who asked the study team for it, or goes on; says until when they have paused."""

    permission = "studies.withdraw_participant"
    template_name = "sampling/pause.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        person = self.participant
        pauses = list(person.pauses.order_by("-since", "-pk")[:SHOWN])
        return super().get_context_data(
            participant=person, pause=open_pause_of(person, now=clock.now()), pauses=pauses, **more
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        participant = self.participant
        if not self.researcher.has_perm(self.permission, participant):
            raise PermissionDenied
        change = resume_participant if request.POST.get("do") == "resume" else pause_participant
        try:
            change(
                participant=participant,
                now=clock.now(),
                actor=self.researcher.audit_name,
                reason=request.POST.get("reason", "")[:2000],
            )
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        done = "is asked again" if change is resume_participant else "is asked nothing until they go on"
        messages.success(request, f"{participant.pseudonym} {done}.")
        return redirect("participant", slug=self.study.slug, pk=participant.pk)
