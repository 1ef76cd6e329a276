"""What every page of a researcher shares: who asks, in which study, and whether their role allows it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.accounts.pages import second_factor_first
from ema_server.accounts.queries import session_has_second_factor
from ema_server.studies import queries
from ema_server.studies.models import Membership, Study


@method_decorator(never_cache, name="dispatch")
class ResearcherPage(LoginRequiredMixin, TemplateView):
    """A page for who is logged in. No browser keeps it: the next person at the same computer does not see it."""

    @property
    def researcher(self) -> User:
        user = self.request.user
        if not isinstance(user, User):
            raise PermissionDenied
        return user


class StudyPage(ResearcherPage):
    """A page of one study. A study of others answers like a missing one; queries inside see this study alone."""

    permission: ClassVar[str]
    study: Study
    member: Membership

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return self.handle_no_permission()
        member = queries.membership(request.user, kwargs["slug"])
        if member is None:
            raise Http404
        self.member, self.study = member, member.study
        if not request.user.has_perm(self.permission, self.study):
            raise PermissionDenied
        if self.study.require_mfa and not session_has_second_factor(request):
            why = f"“{self.study.title}” opens to people who have shown a second factor: its owners require it."
            return second_factor_first(request, request.get_full_path(), why)
        with scope(study=self.study):
            response = super().dispatch(request, *args, **kwargs)
            if isinstance(response, SimpleTemplateResponse):
                response.render()  # templates query lazily: they need the scope too
        return response

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(study=self.study, member=self.member, **more)
