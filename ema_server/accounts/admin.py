"""Operators' records of accounts: closed and opened through the services; a password is never seen or set here."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action

from ema_server.accounts import queries, services
from ema_server.accounts.models import User
from ema_server.accounts.operators import site


class UserAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("email", "name", "is_active", "is_staff", "second_factor", "last_login", "created_at")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("email",)
    fields = ("email", "name", "is_active", "is_staff", "is_superuser", "last_login", "created_at")
    readonly_fields: ClassVar[tuple[str, ...]] = ("email", "is_active", "last_login", "created_at")
    actions: ClassVar[list[str]] = ["disable", "enable", "remove_second_factor"]

    def second_factor(self, user: User) -> bool:
        return queries.has_second_factor(user)

    second_factor.boolean = True  # type: ignore[attr-defined]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        more = () if getattr(request.user, "is_superuser", False) else ("is_staff", "is_superuser")
        return (*self.readonly_fields, *more)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """No search by a password's digest, which would tell it letter by letter."""
        return not lookup.startswith("password") and bool(super().lookup_allowed(lookup, value, request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # by invitation, or by `manage.py createsuperuser`

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # what somebody did stays theirs; their account is closed instead

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        changed = {name: getattr(obj, name) for name in form.changed_data if name in {"is_staff", "is_superuser"}}
        services.change_account(user=obj, actor=_actor(request), changes=changed)

    @action(  # type: ignore[untyped-decorator]
        description="Close the accounts and end their sessions",
        permissions=["change"],
    )
    def disable(self, request: HttpRequest, users: QuerySet[User]) -> None:
        for user in _within_reach(request, users).exclude(pk=_me(request).pk):
            services.disable_account(user=user, actor=_actor(request), reason="by an operator, at /admin/")
        if users.filter(pk=_me(request).pk).exists():
            messages.warning(request, "Your own account stays open: another operator can close it.")

    @action(  # type: ignore[untyped-decorator]
        description="Open the accounts again",
        permissions=["change"],
    )
    def enable(self, request: HttpRequest, users: QuerySet[User]) -> None:
        for user in _within_reach(request, users):
            services.enable_account(user=user, actor=_actor(request), reason="by an operator, at /admin/")

    @action(  # type: ignore[untyped-decorator]
        description="Take the second factor away (phone and recovery codes lost)",
        permissions=["change"],
    )
    def remove_second_factor(self, request: HttpRequest, users: QuerySet[User]) -> None:
        for user in _within_reach(request, users).exclude(pk=_me(request).pk):
            services.remove_second_factor(user=user, actor=_actor(request))


def _me(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _within_reach(request: HttpRequest, users: QuerySet[User]) -> QuerySet[User]:
    """Superusers are for superusers to close, open and strip of their second factor."""
    return users if _me(request).is_superuser else users.filter(is_superuser=False)


def _actor(request: HttpRequest) -> str:
    return _me(request).audit_name


site.register(User, UserAdmin)
