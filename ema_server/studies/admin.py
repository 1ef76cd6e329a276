"""Operators see who works where; teams are changed by the owners of a study alone."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest
from django_scopes import scopes_disabled
from unfold.admin import ModelAdmin

from ema_server.accounts.operators import site
from ema_server.studies.models import Membership


class MembershipAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("user", "study", "role", "site")
    list_filter = ("role",)
    search_fields = ("user__email", "study__slug")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        with scopes_disabled():
            return Membership.objects.select_related("user", "study").order_by("study__slug", "user__email")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        return False


site.register(Membership, MembershipAdmin)
