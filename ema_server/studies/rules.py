"""Who may do what in a study: one line a permission, and nobody may what has no line.

Ask with `user.has_perm("studies.view_report", study)`, or about one person `("studies.view_identity", participant)`. There
is no way round it for operators: being a superuser gives no role in a study.
"""

from __future__ import annotations

from typing import Any, Protocol

import rules

from ema_server.accounts.models import User
from ema_server.studies.models import Membership, Study
from ema_server.studies.queries import role_in

Role = Membership.Role


class OfStudy(Protocol):
    """Something of a study that belongs to a site, such as a participant."""

    study: Study
    site: str


def _member(user: User, about: Study | OfStudy) -> Membership | None:
    """The membership by which this may be asked: none where its site is another one."""
    study = about if isinstance(about, Study) else about.study
    member = role_in(user, study)
    if member is not None and member.site and not isinstance(about, Study) and about.site != member.site:
        return None
    return member


def _has(*roles: str, whole_study: bool = False) -> Any:
    def test(user: User, about: Study | OfStudy | None = None) -> bool:
        member = _member(user, about) if about is not None and user.is_active else None
        return member is not None and member.role in roles and not (whole_study and member.site)

    return rules.predicate(test, name=" or ".join(roles))


PERMISSIONS = {
    "studies.view_study": _has(Role.OWNER, Role.ANALYST, Role.COORDINATOR, Role.VIEWER),
    "studies.view_report": _has(Role.OWNER, Role.ANALYST, Role.COORDINATOR, Role.VIEWER, whole_study=True),
    "studies.edit_surveys": _has(Role.OWNER, Role.COORDINATOR, whole_study=True),
    "studies.view_participants": _has(Role.OWNER, Role.COORDINATOR),
    "studies.view_identity": _has(Role.OWNER, Role.COORDINATOR),
    "studies.change_identity": _has(Role.OWNER, Role.COORDINATOR),
    "studies.add_participants": _has(Role.OWNER, Role.COORDINATOR),
    "studies.withdraw_participant": _has(Role.OWNER, Role.COORDINATOR),
    "studies.change_schedule": _has(Role.OWNER, Role.COORDINATOR),
    "studies.erase_participant": _has(Role.OWNER),
    "studies.export_data": _has(Role.OWNER, Role.ANALYST),
    "studies.export_text": _has(Role.OWNER),
    "studies.manage_study": _has(Role.OWNER),
    "studies.manage_team": _has(Role.OWNER),
    "studies.import_data": _has(Role.OWNER, Role.COORDINATOR, whole_study=True),
    "studies.view_audit": _has(Role.OWNER),
}

for name, predicate in PERMISSIONS.items():
    rules.add_perm(name, predicate)
