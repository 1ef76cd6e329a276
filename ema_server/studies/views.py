"""Pages of a study itself."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator

from ema_server.ledger import audit
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
