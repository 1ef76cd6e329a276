"""Pages about the people of a study: look them up from the member who asks, call one service, render."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from ema_server.common import clock
from ema_server.common.canonical import digest
from ema_server.common.csv_rows import open_csv
from ema_server.common.errors import DomainError
from ema_server.participants import codes, person_data, person_table, queries, redcap, services
from ema_server.participants.code_views import LONGEST_DAYS, SHEET, Sheet, last_day_said, until_in_words
from ema_server.participants.models import Identity, Participant
from ema_server.participants.person_columns import KINDS
from ema_server.participants.person_table import Reading, ReadTable
from ema_server.studies import states
from ema_server.studies.pages import StudyPage
from ema_server.studies.queries import current_consent_text

LARGEST_FILE = 4 * 1024 * 1024  # bytes; the proxy takes no body above five

SAID = {"person", "event", "types", "missing", "without", "allow", "dates", "decimal", "encoding"}


class AnotherFile(DomainError):
    code = "another_file"
    status = 400


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


class PersonTableView(StudyPage):
    """Upload the person table: first it is read and told, then it is stored. The server keeps no file in between; the
    browser sends it again, and what was checked is what is stored or nothing is."""

    permission = "studies.import_data"
    template_name = "participants/person_table.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        tables = list(self.study.person_tables.order_by("-number").defer("rows"))
        series = list(self.study.series.order_by("name", "-number"))
        names = queries.names_of({each.imported_by for each in tables} | {each.imported_by for each in series})
        return super().get_context_data(
            versions=[(each, names[each.imported_by]) for each in tables],
            series=[(each, names[each.imported_by]) for each in series],
            people=self.study.participants.exclude(state=Participant.State.ERASED).count(),
            given=self.request.POST,
            kinds=KINDS,
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            table, source = self._read()
            checked = self._checked(source)
            if request.POST.get("do") != "store":
                found = queries.preview_person_table(self.study, table)
                return self.render_to_response(self.get_context_data(preview=found, checked=checked, **kwargs))
            if request.POST.get("checked") != checked:
                raise AnotherFile("The file, or what is said about it, is not what was checked. Check it again.")
            stored = person_data.import_person_table(
                study=self.study, table=table, source=source, actor=self.researcher.audit_name
            )
        except DomainError as error:
            context = self.get_context_data(fault=error.detail, **kwargs)
            return self.render_to_response(context, status=error.status)
        messages.success(request, f"Version {stored.number} is stored. The next night reads it.")
        return redirect("people-data", slug=self.study.slug)

    def _checked(self, source: str) -> str:
        """What was checked: the file and all that was said about it."""
        said = {name: text for name, text in self.request.POST.items() if name in SAID}
        return digest([source, said])

    def _read(self) -> tuple[ReadTable, str]:
        given, file, about = self.request.POST, self.request.FILES.get("file"), self.request.FILES.get("dictionary")
        if file is None or file.file is None:
            raise AnotherFile("Choose the CSV file.")
        if max(file.size or 0, (about.size or 0) if about else 0) > LARGEST_FILE:
            raise AnotherFile(
                "The file is larger than 4 MB; whoever runs the server can import it with manage.py import_person_table."
            )
        dictionary = None
        if about is not None and about.file is not None:
            dictionary = redcap.read_dictionary(open_csv(about.file))
        said = Reading(
            person=given.get("person", "").strip() or None,
            event=given.get("event", "").strip() or None,
            types=person_table.kinds_said(_listed(given.get("types", ""))),
            missing=tuple(_listed(given.get("missing", ""))),
            dates={"dmy": "dmy", "mdy": "mdy"}.get(given.get("dates", "")),  # type: ignore[arg-type]
            without=frozenset(_listed(given.get("without", ""))),
            allow=frozenset(_listed(given.get("allow", ""))),
        )
        rows = open_csv(file.file, encoding=given.get("encoding") or None, decimal=given.get("decimal") or None)
        table = person_table.read_table(rows, said, dictionary=dictionary, taken=queries.taken_names(self.study))
        file.file.seek(0)
        return table, hashlib.sha256(file.file.read()).hexdigest()


def _listed(text: str) -> list[str]:
    """What is written in lines, or with commas."""
    return [each.strip() for line in text.splitlines() for each in line.split(",") if each.strip()]


class PersonPage(StudyPage):
    """A page about one participant. Somebody of another site answers like a missing one."""

    @property
    def participant(self) -> Participant:
        found = queries.participant_for(self.member, self.kwargs["pk"])
        if found is None:
            raise Http404
        return found


class ParticipantView(PersonPage):
    """One participant and their phones. Who they are is shown when it is asked for, and that is written down."""

    permission = "studies.view_participants"
    template_name = "participants/participant.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        participant, study = self.participant, self.study
        asked = queries.consent_asked_of(participant)
        today = clock.now().astimezone(ZoneInfo(study.zone)).date()
        return super().get_context_data(
            participant=participant,
            consent=asked,
            phones=queries.phones_of(participant),
            usual_day=today + services.CODE_LIFETIME,
            today=today,
            latest_day=today + timedelta(days=LONGEST_DAYS),
            no_code=states.refusal(study.state, "invite"),
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        participant = self.participant
        if not self.researcher.has_perm("studies.add_participants", participant):
            raise PermissionDenied
        try:
            if request.POST.get("do") == "revoke":
                return self._revoke(participant)
            until = last_day_said(request.POST.get("until", ""), self.study)
            code = codes.code_for_new_phone(
                participant=participant, actor=self.researcher.audit_name, expires_at=until, now=clock.now()
            )
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        self.template_name = SHEET
        sheet = Sheet(code, until_in_words(until, self.study), participant)
        return self.render_to_response(self.get_context_data(sheet=sheet))

    def _revoke(self, participant: Participant) -> HttpResponseBase:
        number, reason = self.request.POST.get("phone", ""), self.request.POST.get("reason", "").strip()[:2000]
        phones = {str(phone.pk): phone for phone in participant.devices.filter(revoked_at__isnull=True)}
        if number not in phones:
            raise Http404
        if not reason:
            raise services.ReasonNeeded("reason: say why this phone is closed; it is kept in the audit trail.")
        services.revoke_device(device=phones[number], actor=self.researcher.audit_name, reason=reason, now=clock.now())
        messages.success(self.request, "The phone is closed: its next call is refused.")
        return redirect("participant", slug=self.study.slug, pk=participant.pk)


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
