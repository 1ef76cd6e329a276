"""Pages of a study itself: its trail, its team; and the page behind an invitation's link."""

from __future__ import annotations

from typing import Any

from allauth.account.utils import perform_login
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import View
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.accounts.queries import session_has_second_factor
from ema_server.accounts.services import create_account
from ema_server.accounts.sign_on import remember_invited
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.studies import queries, team
from ema_server.studies.models import Invitation, Membership
from ema_server.studies.pages import StudyPage
from ema_server.studies.queries import audit_events, trail_lines

EVENTS_A_PAGE = 50


class AuditView(StudyPage):
    """Who changed what, newest first, and whether the chain holds."""

    permission = "studies.view_audit"
    template_name = "studies/audit.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        page = Paginator(audit_events(self.study), EVENTS_A_PAGE).get_page(self.request.GET.get("page"))
        verify = "verify" in self.request.GET
        return super().get_context_data(
            page=page,
            lines=trail_lines(page),
            verified=verify,
            faults=audit.verify(audit.chain_name(self.study.pk)) if verify else [],
            **more,
        )


class TeamView(StudyPage):
    """Who works in this study, who is invited, and what may be changed about it. For owners."""

    permission = "studies.manage_team"
    template_name = "studies/team.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(
            members=queries.team(self.study),
            invitations=queries.waiting_invitations(self.study),
            roles=Membership.Role.choices,
            now=clock.now(),
            own_factor=session_has_second_factor(self.request),
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            said = self._do(request.POST.get("do", ""))
        except DomainError as error:
            self.study.refresh_from_db()
            context = self.get_context_data(fault=error.detail, given=request.POST, **kwargs)
            return self.render_to_response(context, status=error.status)
        messages.info(request, said)
        still_owner = self.researcher.has_perm(self.permission, self.study)
        return redirect("team", self.study.slug) if still_owner else redirect("home")

    def _do(self, what: str) -> str:
        given, actor, now = self.request.POST, self.researcher.audit_name, clock.now()
        role, site = given.get("role", ""), given.get("site", "")
        if what == "invite":
            invited = team.invite_member(
                study=self.study,
                email=given.get("email", ""),
                role=role,
                site=site,
                invited_by=self.researcher,
                now=now,
            )
            return f"An invitation is on its way to {invited.email}. It can be accepted for seven days."
        if what == "resend":
            invited = team.resend_invitation(invitation=self._invitation(), actor=actor, now=now)
            return f"A new invitation is on its way to {invited.email}."
        if what == "revoke":
            invited = self._invitation()
            team.revoke_invitation(invitation=invited, actor=actor, now=now)
            return f"The invitation of {invited.email} is withdrawn."
        if what == "change":
            member = team.change_role(member=self._member(), role=role, site=site, actor=actor)
            return f"{member.user} is {member.get_role_display().lower()} now."
        if what == "remove":
            member = self._member()
            team.remove_member(member=member, actor=actor)
            return f"{member.user} is no member any more."
        if what in {"require", "release"}:
            factor = session_has_second_factor(self.request)
            team.require_second_factor(study=self.study, required=what == "require", own_factor=factor, actor=actor)
            return "A second factor is required now." if what == "require" else "A second factor is not required."
        raise Http404

    def _member(self) -> Membership:
        member = self.study.memberships.select_related("user").filter(pk=_number(self.request)).first()
        if member is None:
            raise Http404
        return member

    def _invitation(self) -> Invitation:
        invitation = self.study.invitations.filter(pk=_number(self.request)).first()
        if invitation is None:
            raise Http404
        return invitation


@method_decorator(never_cache, name="dispatch")
class InvitationView(View):
    """Accepting: with the account that is there, with a new one, or by the institution's login."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.invitation = queries.open_invitation(kwargs["token"], now=clock.now())
        if self.invitation is None:
            return render(request, "studies/invitation_over.html", status=410)
        with scope(study=self.invitation.study):
            return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        remember_invited(request, email=self._open.email, seconds=15 * 60)
        return self._page(request)

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        try:
            if isinstance(request.user, User):
                team.accept_invitation(invitation=self._open, user=request.user, now=clock.now())
                return self._joined(request)
            user = self._join_as_new(request)
        except DomainError as error:
            return self._page(request, status=error.status, fault=error.detail, given=request.POST)
        self._joined(request)
        login: HttpResponse = perform_login(request, user, email_verification="none", redirect_url="/")
        return login

    @property
    def _open(self) -> Invitation:
        assert self.invitation is not None
        return self.invitation

    @transaction.atomic
    def _join_as_new(self, request: HttpRequest) -> User:
        given = request.POST
        name, password = given.get("name", "").strip()[:150], given.get("password", "")
        user = create_account(email=self._open.email, name=name, password=password)
        team.accept_invitation(invitation=self._open, user=user, now=clock.now())
        return user

    def _joined(self, request: HttpRequest) -> HttpResponse:
        messages.info(request, f"You are a member of “{self._open.study.title}” now.")
        return redirect("home")

    def _page(self, request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
        account = User.objects.filter(email__iexact=self._open.email).first()
        context = {"invitation": self._open, "account": account, "here": request.path, **more}
        return render(request, "studies/invitation.html", context, status=status)


def _number(request: HttpRequest) -> int:
    given = request.POST.get("id", "")
    return int(given) if given.isdecimal() and len(given) < 19 else 0
