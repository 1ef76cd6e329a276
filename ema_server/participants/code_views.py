"""Pages about the codes that let phones in: inviting one person, a code for many, closing one, and what a link leads to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants import codes, queries, services
from ema_server.participants.links import app_link, in_groups, qr_image, web_link
from ema_server.participants.models import Participant
from ema_server.studies import states
from ema_server.studies.models import Study
from ema_server.studies.pages import StudyPage

SHEET = "participants/code_sheet.html"
LONGEST_DAYS = services.LONGEST_LIFETIME.days - 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """A code as it is shown, once: on paper or on the screen."""

    code: str
    until: str
    person: Participant | None
    uses: int = 1
    site: str = ""

    @property
    def groups(self) -> str:
        return in_groups(self.code)

    @property
    def link(self) -> str:
        return web_link(self.code)

    @property
    def app_link(self) -> str:
        return app_link(self.code)

    @property
    def picture(self) -> str:
        return qr_image(self.link)

    @property
    def server(self) -> str:
        return settings.EMA_PUBLIC_URL


def last_day_said(text: str, study: Study) -> datetime:
    """The end of a day, in the study's zone; by itself the code's usual lifetime."""
    zone = ZoneInfo(study.zone)
    today = clock.now().astimezone(zone).date()
    try:
        day = date.fromisoformat(text) if text.strip() else today + services.CODE_LIFETIME
    except ValueError:
        raise services.InvalidCode(f"last day: {text[:20]!r} is no day; write one like {today}.") from None
    last = today + timedelta(days=LONGEST_DAYS)
    if not today <= day <= last:
        raise services.InvalidCode(f"last day: {day} is out of range; a code lasts from today, {today}, to {last}.")
    return datetime.combine(day + timedelta(days=1), time(0), zone)


def until_in_words(until: datetime, study: Study) -> str:
    """To the last minute in which a code is good."""
    local = (until - timedelta(seconds=1)).astimezone(ZoneInfo(study.zone))
    return f"{local:%A} {local.day} {local:%B %Y, %H:%M} ({study.zone})"


class CodePage(StudyPage):
    """A page that makes codes. What it made is in the answer to its form and nowhere else: the server keeps a digest."""

    permission = "studies.add_participants"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        today = clock.now().astimezone(ZoneInfo(self.study.zone)).date()
        return super().get_context_data(
            given=self.request.POST,
            today=today,
            usual_day=today + services.CODE_LIFETIME,
            latest_day=today + timedelta(days=LONGEST_DAYS),
            most_uses=services.MOST_USES,
            not_now=states.refusal(self.study.state, "invite"),
            **more,
        )

    def site_said(self) -> str:
        """A coordinator of one site brings people into it and into no other."""
        return self.member.site or self.request.POST.get("site", "").strip()


class InviteView(CodePage):
    """Expect one person: a pseudonym, where they belong, and a sheet with their code."""

    template_name = "participants/invite.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(structure=self.study.structure, **more)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        given = request.POST
        try:
            until = last_day_said(given.get("until", ""), self.study)
            person, code = services.invite(
                study=self.study,
                pseudonym=given.get("pseudonym", "").strip(),
                arm=given.get("arm", ""),
                site=self.site_said(),
                dyad=given.get("dyad", "").strip(),
                role=given.get("role", ""),
                test_person="test" in given,
                expires_at=until,
                now=clock.now(),
                actor=self.researcher.audit_name,
            )
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        self.template_name = SHEET
        sheet = Sheet(code, until_in_words(until, self.study), person)
        return self.render_to_response(self.get_context_data(sheet=sheet))


class CodesView(CodePage):
    """The codes that researchers made, with how often each was used; opening one for many, and closing one."""

    template_name = "participants/codes.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        now = clock.now()
        found = list(queries.codes_for(self.member))
        names = queries.names_of({code.made_by for code in found if code.made_by})
        lines = [
            (code, until_in_words(code.expires_at, self.study), names.get(code.made_by, ""), code.open_at(now))
            for code in found
        ]
        return super().get_context_data(
            open_codes=[line for line in lines if line[3]],
            over=[line for line in lines if not line[3]][: queries.SHOWN_CODES],
            now=now,
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.POST.get("do") == "close":
            return self._close(request)
        uses = request.POST.get("uses", "").strip()
        try:
            if not (uses.isdecimal() and len(uses) < 10):
                raise services.InvalidCode(f"uses: {uses[:20]!r} is no number from 1 to {services.MOST_USES:,}.")
            until, site = last_day_said(request.POST.get("until", ""), self.study), self.site_said()
            code = services.open_study_code(
                study=self.study,
                max_uses=int(uses),
                site=site,
                expires_at=until,
                now=clock.now(),
                actor=self.researcher.audit_name,
            )
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        self.template_name = SHEET
        sheet = Sheet(code, until_in_words(until, self.study), None, int(uses), site)
        return self.render_to_response(self.get_context_data(sheet=sheet))

    def _close(self, request: HttpRequest) -> HttpResponseBase:
        number = request.POST.get("code", "")
        code = queries.codes_for(self.member).filter(pk=number).first() if number[:18].isdecimal() else None
        if code is None:
            raise Http404
        closed = codes.close_code(code=code, actor=self.researcher.audit_name, now=clock.now())
        messages.success(request, "The code is closed." if closed else "The code was over already.")
        return redirect("codes", slug=self.study.slug)


@method_decorator(never_cache, name="dispatch")
class JoinView(TemplateView):
    """What the link of a QR code shows in a browser. The code is in the fragment, which no server is told: the page can
    only say what to do with it."""

    template_name = "participants/join.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(server=settings.EMA_PUBLIC_URL, **more)
