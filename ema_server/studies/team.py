"""Who works in a study: inviting, joining, changing roles, leaving. A study never loses its last owner."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django_scopes import scopes_disabled

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.ledger import audit, outbox
from ema_server.ledger.models import Job
from ema_server.ledger.services import ask_for
from ema_server.studies.models import Invitation, Membership, Study
from ema_server.studies.services import SiteNotForRole, add_member

VALID_FOR = timedelta(days=7)
INVITATION_MAIL = "invitation-mail"
LONGEST_ADDRESS = 254


class NotAnAddress(DomainError):
    code = "not_an_address"
    status = 400


class UnknownRole(DomainError):
    code = "unknown_role"
    status = 400


class MemberAlready(DomainError):
    code = "member_already"


class InvitationOver(DomainError):
    """Used, withdrawn, run out, or never there: one answer for all."""

    code = "invitation_over"
    status = 410


class InvitedAnother(DomainError):
    code = "invited_another"
    status = 403


class LastOwner(DomainError):
    code = "last_owner"


class NoMember(DomainError):
    code = "no_member"


class OwnSecondFactorFirst(DomainError):
    code = "own_second_factor_first"


@transaction.atomic
def invite_member(
    *, study: Study, email: str, role: str, site: str = "", invited_by: User, now: datetime
) -> Invitation:
    """Ask somebody by mail to join. Who has an open invitation gets it anew, with the role given now."""
    email, role, site = email.strip().lower(), _role(role), site.strip()
    try:
        validate_email(email)
    except ValidationError as error:
        raise NotAnAddress(f"email: {email!r} is no e-mail address; write one like name@university.edu.") from error
    if len(email) > LONGEST_ADDRESS:
        raise NotAnAddress(f"email: at most {LONGEST_ADDRESS} characters; this address has {len(email)}.")
    _site_fits(role, site)
    _locked(study)
    if study.memberships.filter(user__email__iexact=email).exists():
        raise MemberAlready(f"{email} is a member already. Change their role in the list of members.")
    waiting = study.invitations.filter(email__iexact=email, accepted_at__isnull=True, revoked_at__isnull=True).first()
    if waiting is not None:
        waiting.role, waiting.site = role, site
        waiting.save(update_fields=["role", "site"])
        return resend_invitation(invitation=waiting, actor=invited_by.audit_name, now=now)
    invitation = Invitation.objects.create(
        study=study, email=email, role=role, site=site, invited_by=invited_by, expires_at=now + VALID_FOR
    )
    _ask_for_mail(invitation)
    _note("member.invited", invitation, invited_by.audit_name, {"role": role, "site": site})
    return invitation


@transaction.atomic
def resend_invitation(*, invitation: Invitation, actor: str, now: datetime) -> Invitation:
    """Mail a new link, for another seven days; earlier links end once it is sent."""
    waiting = _waiting(invitation)
    waiting.expires_at = now + VALID_FOR
    waiting.save(update_fields=["expires_at"])
    _ask_for_mail(waiting)
    _note("invitation.sent_again", waiting, actor, {"role": waiting.role, "site": waiting.site})
    return waiting


@transaction.atomic
def revoke_invitation(*, invitation: Invitation, actor: str, now: datetime) -> None:
    waiting = _waiting(invitation)
    waiting.revoked_at = now
    waiting.save(update_fields=["revoked_at"])
    _note("invitation.revoked", waiting, actor)


def mail_invitation(job: Job) -> None:
    """What the outbox calls. Done twice, a second mail replaces the first one's link."""
    with scopes_disabled():
        send_invitation(invitation_id=job.payload["invitation"], now=clock.now())


def send_invitation(*, invitation_id: int, now: datetime) -> bool:
    """Mail the link. Its token is made here and kept nowhere but in the mail; false if nobody is waiting for it."""
    invitation = Invitation.objects.select_related("study", "invited_by").get(pk=invitation_id)
    if invitation.accepted_at or invitation.revoked_at or invitation.expires_at <= now:
        return False
    token = secrets.token_urlsafe(32)
    Invitation.objects.filter(pk=invitation.pk).update(token_digest=sha256(token.encode()).hexdigest(), sent_at=now)
    place = reverse("invitation", kwargs={"token": token})
    text = render_to_string(
        "studies/invitation.txt", {"invitation": invitation, "address": f"{settings.EMA_PUBLIC_URL}{place}"}
    )
    subject = " ".join(f"Invitation to the study {invitation.study.title}".split())
    send_mail(subject, text, None, [invitation.email])
    return True


@transaction.atomic
def accept_invitation(*, invitation: Invitation, user: User, now: datetime) -> Membership:
    """Join the study as the one who was invited. An invitation is used once."""
    waiting = _waiting(invitation)
    if waiting.expires_at <= now:
        raise InvitationOver("This invitation has run out. Ask for a new one.")
    if user.email.lower() != waiting.email.lower():
        raise InvitedAnother(
            f"This invitation is for {waiting.email}, and you are logged in as {user.email}. Log out and open the link "
            f"again, or ask to have {user.email} invited."
        )
    waiting.accepted_at = now
    waiting.save(update_fields=["accepted_at"])
    member = waiting.study.memberships.filter(user=user).first()
    if member is None:
        role = Membership.Role(waiting.role)
        member = add_member(study=waiting.study, user=user, role=role, site=waiting.site, actor=user.audit_name)
    _note("invitation.accepted", waiting, user.audit_name, {"role": waiting.role, "site": waiting.site})
    return member


@transaction.atomic
def change_role(*, member: Membership, role: str, site: str = "", actor: str) -> Membership:
    role, site = _role(role), site.strip()
    _site_fits(role, site)
    _locked(member.study)
    current = _still(member)
    if role != Membership.Role.OWNER:
        _keep_an_owner(current)
    before = {"role": current.role, "site": current.site}
    current.role, current.site = role, site
    current.save(update_fields=["role", "site"])
    audit.record(
        action="member.changed",
        actor=actor,
        study_id=current.study_id,
        about=f"user:{current.user_id}",
        changes={"role": [before["role"], role], "site": [before["site"], site]},
    )
    return current


@transaction.atomic
def remove_member(*, member: Membership, actor: str) -> None:
    """Take somebody out of the study. What they did stays recorded; their account stays."""
    _locked(member.study)
    current = _still(member)
    _keep_an_owner(current)
    current.delete()
    audit.record(
        action="member.removed",
        actor=actor,
        study_id=current.study_id,
        about=f"user:{current.user_id}",
        changes={"role": current.role, "site": current.site},
    )


@transaction.atomic
def require_second_factor(*, study: Study, required: bool, own_factor: bool, actor: str) -> None:
    """Open this study's pages to sessions with a second factor alone, or to all again."""
    if required and not own_factor:
        raise OwnSecondFactorFirst(
            "Set up your own second factor and log in with it first; otherwise this page would close to you as well."
        )
    Study.objects.filter(pk=study.pk).update(require_mfa=required)
    study.require_mfa = required
    audit.record(
        action="study.second_factor_required" if required else "study.second_factor_not_required",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
    )


def _role(role: str) -> str:
    if role not in Membership.Role.values:
        raise UnknownRole(f"role: {role!r} is none of {', '.join(Membership.Role.values)}.")
    return str(role)


def _site_fits(role: str, site: str) -> None:
    if site and role != Membership.Role.COORDINATOR:
        raise SiteNotForRole(f"site: only a coordinator can be of one site; {role} sees the whole study.")
    if len(site) > 40 or not site.isprintable():
        raise SiteNotForRole("site: at most 40 characters, and no control characters.")


def _locked(study: Study) -> None:
    """One change of a study's team at a time: two owners cannot remove each other at once."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)


def _still(member: Membership) -> Membership:
    """The membership as it is now: another owner may have been faster."""
    current = Membership.objects.filter(pk=member.pk).first()
    if current is None:
        raise NoMember("This person is no member any more. Load the page again.")
    return current


def _waiting(invitation: Invitation) -> Invitation:
    waiting = Invitation.objects.select_for_update().filter(pk=invitation.pk).first()
    if waiting is None or waiting.accepted_at or waiting.revoked_at:
        raise InvitationOver("This invitation was used or withdrawn. Ask for a new one.")
    return waiting


def _keep_an_owner(member: Membership) -> None:
    owners = Membership.objects.filter(study_id=member.study_id, role=Membership.Role.OWNER, user__is_active=True)
    if member.role == Membership.Role.OWNER and not owners.exclude(pk=member.pk).exists():
        raise LastOwner("A study needs an owner. Make somebody else an owner first.")


def _ask_for_mail(invitation: Invitation) -> None:
    key = f"invitation:{invitation.pk}:{invitation.expires_at.isoformat()}"
    ask_for(kind=INVITATION_MAIL, key=key, payload={"invitation": invitation.pk})
    outbox.ring(INVITATION_MAIL)


def _note(action: str, invitation: Invitation, actor: str, changes: dict[str, str] | None = None) -> None:
    audit.record(action=action, actor=actor, study_id=invitation.study_id, about=invitation.audit_name, changes=changes)
