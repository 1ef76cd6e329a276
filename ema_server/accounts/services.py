"""What happens to accounts: they are made, closed and opened again."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import transaction

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.ledger import audit, outbox
from ema_server.ledger.services import ask_for


class PasswordTooWeak(DomainError):
    code = "password_too_weak"


class NameUnusable(DomainError):
    code = "name_unusable"
    status = 400


class AccountExists(DomainError):
    code = "account_exists"


class NoReason(DomainError):
    code = "no_reason"


@transaction.atomic
def create_account(*, email: str, name: str, password: str | None) -> User:
    """An account for an address that its owner has proved; without a password it is opened by single sign-on."""
    if User.objects.filter(email__iexact=email).exists():
        raise AccountExists(f"There is an account for {email} already. Log in with it.")
    if "\x00" in name:
        raise NameUnusable(f"name: {name!r} has a character of code 0; write it in letters.")
    if password is not None and "\x00" in password:
        raise PasswordTooWeak("The password has a character of code 0, which no form can send. Choose another one.")
    if password is not None:
        try:
            validate_password(password, User(email=email, name=name))
        except ValidationError as error:
            raise PasswordTooWeak(" ".join(error.messages)) from error
    user = User.objects.create_user(email, password, name=name)
    audit.record(action="account.created", actor="server", study_id=None, about=user.audit_name)
    return user


@transaction.atomic
def disable_account(*, user: User, actor: str, reason: str) -> None:
    """Close the account and end its sessions: its next request is a stranger's."""
    _with_reason(reason)
    User.objects.select_for_update().filter(pk=user.pk).update(is_active=False)
    user.is_active = False
    ended = end_sessions(user=user)
    audit.record(
        action="account.disabled",
        actor=actor,
        study_id=None,
        about=user.audit_name,
        changes={"sessions_ended": ended},
        reason=reason,
    )


@transaction.atomic
def enable_account(*, user: User, actor: str, reason: str) -> None:
    """Open the account again; whoever it belongs to logs in anew."""
    _with_reason(reason)
    User.objects.select_for_update().filter(pk=user.pk).update(is_active=True)
    user.is_active = True
    audit.record(action="account.enabled", actor=actor, study_id=None, about=user.audit_name, reason=reason)


@transaction.atomic
def change_account(*, user: User, actor: str, changes: dict[str, bool]) -> None:
    """Store a changed name, and who becomes or stops being an operator."""
    user.save()
    audit.record(action="account.changed", actor=actor, study_id=None, about=user.audit_name, changes=changes)


@transaction.atomic
def remove_second_factor(*, user: User, actor: str) -> None:
    """Take app, keys and recovery codes away and end all sessions: for who has lost them and has proved who they are."""
    removed, _ = Authenticator.objects.filter(user=user).delete()
    end_sessions(user=user)
    audit.record(
        action="account.second_factor_removed",
        actor=actor,
        study_id=None,
        about=user.audit_name,
        changes={"removed": removed},
    )


def end_sessions(*, user: User) -> int:
    """Delete every session of this account, also such as no list names; returns how many there were."""
    keys = set(UserSession.objects.filter(user=user).values_list("session_key", flat=True))
    for session in Session.objects.filter(expire_date__gt=clock.now()).iterator():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            keys.add(session.session_key)
    UserSession.objects.filter(user=user).delete()
    Session.objects.filter(session_key__in=keys).delete()
    return len(keys)


def end_session(*, user: User, session_id: int) -> bool:
    """End one of this user's own sessions; false where there is none of that number."""
    session = UserSession.objects.filter(user=user, pk=session_id).first()
    if session is None:
        return False
    session.end()
    return True


@transaction.atomic
def ask_for_password_reset(*, user: User | None) -> None:
    """Have a link mailed. Without an account the same row is written, so that nobody can tell by the time it takes."""
    now = clock.now()
    ask_for(
        kind="password-reset-mail",
        key=f"password-reset:{uuid4()}",
        payload={"user": user.pk if user else None, "until": (now + timedelta(hours=2)).isoformat()},
    )
    outbox.ring("password-reset-mail")


def _with_reason(reason: str) -> None:
    if not reason.strip():
        raise NoReason("A reason is needed, such as “left the university”; it is kept in the record of changes.")
