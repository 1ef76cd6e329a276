"""Erasing a participant, and the proof of it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from ema_server.common import clock
from ema_server.erasure import services
from ema_server.erasure.models import Certificate
from ema_server.participants.views import PersonPage


class EraseView(PersonPage):
    """Says what will go; the pseudonym must be typed, since nothing brings a person back."""

    permission = "studies.erase_participant"
    template_name = "erasure/erase.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        certificate = Certificate.objects.filter(key_id=self.participant.key_id).first()
        return super().get_context_data(participant=self.participant, certificate=certificate, **more)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        participant = self.participant
        if not self.researcher.has_perm(self.permission, participant):
            raise PermissionDenied
        if request.POST.get("pseudonym", "").strip() != participant.pseudonym:
            fault = f"Nothing was erased: type {participant.pseudonym} to confirm."
            return self.render_to_response(self.get_context_data(fault=fault), status=400)
        services.ask_for_erasure(
            participant=participant,
            actor=self.researcher.audit_name,
            now=clock.now(),
            reason=request.POST.get("reason", "")[:2000],
        )
        messages.success(request, "The erasure has begun and cannot be stopped; the certificate will be here shortly.")
        return redirect("erase", slug=self.study.slug, pk=participant.pk)


class CertificateView(PersonPage):
    """The certificate as a text file."""

    permission = "studies.erase_participant"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        certificate = Certificate.objects.filter(key_id=self.participant.key_id).select_related("study").first()
        if certificate is None:
            raise Http404
        name = f"erasure-{self.study.slug}-{certificate.pk}.txt"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(services.text_of(certificate), content_type="text/plain; charset=utf-8", headers=headers)
