"""Pages about the people of a study: look them up from the member who asks, call one service, render."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants import queries, services
from ema_server.participants.models import Identity, Participant
from ema_server.studies import states
from ema_server.studies.pages import StudyPage
from ema_server.studies.queries import current_consent_text


class ParticipantsView(StudyPage):
    """Everybody whom this member may see, and the way to try the app out: test participants."""

    permission = "studies.view_participants"
    template_name = "participants/participants.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        people = queries.participants_for(self.member)
        shown = [person for person in people if not (person.test_person and person.state == Participant.State.ERASED)]
        text, agreed = current_consent_text(self.study), queries.consented_versions(self.study)
        return super().get_context_data(
            participants=[(person, agreed.get(person.pk, 0)) for person in shown],
            people=sum(not person.test_person for person in shown),
            tests=sum(person.test_person for person in shown),
            consent_text=text,
            not_agreed=sum(
                text is not None
                and person.state == Participant.State.ACTIVE
                and not person.test_person
                and agreed.get(person.pk, 0) < text.number
                for person in shown
            ),
            no_tests=states.refusal(self.study.state, "enrol_test"),
            structure=self.study.structure,
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not self.researcher.has_perm("studies.add_participants", self.study):
            raise PermissionDenied
        try:
            person, code = services.add_test_person(
                study=self.study, now=clock.now(), actor=self.researcher.audit_name, site=self.member.site
            )
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        return self.render_to_response(self.get_context_data(added=person, code=code))


class PersonPage(StudyPage):
    """A page about one participant. Somebody of another site answers like a missing one."""

    @property
    def participant(self) -> Participant:
        found = queries.participant_for(self.member, self.kwargs["pk"])
        if found is None:
            raise Http404
        return found


class ParticipantView(PersonPage):
    """One participant. Who they are is shown when it is asked for, and that is written down."""

    permission = "studies.view_participants"
    template_name = "participants/participant.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        participant = self.participant
        asked = queries.consent_asked_of(participant)
        return super().get_context_data(participant=participant, consent=asked, **more)


class IdentityView(PersonPage):
    """Who a participant is. Opening it leaves an event in the audit trail; so does every change."""

    permission = "studies.view_identity"
    template_name = "participants/identity.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        participant = self.participant
        if not self.researcher.has_perm(self.permission, participant):
            raise PermissionDenied
        identity = services.see_identity(participant=participant, actor=self.researcher.audit_name)
        fields = [(name, getattr(identity, name, None) or "") for name in Identity.FIELDS]
        return super().get_context_data(participant=participant, fields=fields, **more)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        participant = self.participant
        if not self.researcher.has_perm("studies.change_identity", participant):
            raise PermissionDenied
        facts = {name: request.POST[name][:2000] for name in Identity.FIELDS if name in request.POST}
        try:
            services.record_identity(
                participant=participant,
                facts=facts,
                actor=self.researcher.audit_name,
                reason=request.POST.get("reason", "")[:2000],
            )
        except DomainError as error:
            typed = [(name, facts.get(name, "")) for name in Identity.FIELDS]  # nothing that was typed is lost
            context = {**super().get_context_data(participant=participant), "fields": typed, "fault": error.detail}
            return self.render_to_response(context, status=error.status)
        messages.success(request, "Saved. The change is in the audit trail.")
        return redirect("participant", slug=self.study.slug, pk=participant.pk)
