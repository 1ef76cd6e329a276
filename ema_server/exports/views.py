"""The page of a study's data: what is there, taking it along, who took it; and the codebook to read.

What reads the data is imported where it is used: pandas and its company are 90 MB and a second that a web process does
without until somebody exports.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.exports import queries
from ema_server.exports.models import Export
from ema_server.reports.queries import latest_report
from ema_server.studies.pages import StudyPage


class UnknownChoice(DomainError):
    code = "unknown_choice"
    status = 400


class DataView(StudyPage):
    """For who may take data along; free text is for owners alone."""

    permission = "studies.export_data"
    template_name = "exports/data.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        now = clock.now()
        report = latest_report(self.study)
        return super().get_context_data(
            held=queries.held(self.study, now=now),
            report=report,
            sealed=queries.sealed(self.study),
            shapes=Export.Shape.choices,
            formats=Export.Format.choices,
            may_text=self._may_text,
            history=queries.history(self.study),
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with_text = request.POST.get("with_text") == "yes"
        if with_text and not self._may_text:
            raise PermissionDenied
        from ema_server.exports.delivery import Delivery

        now = clock.now()
        try:
            delivery = Delivery(
                study=self.study,
                shape=_chosen(request, "shape", Export.Shape.values),
                format=_chosen(request, "format", Export.Format.values),
                state=queries.state_of(self.study, now=now, cutoff=now if request.POST.get("as_of") == "now" else None),
                with_text=with_text,
                by=self.researcher,
                actor=self.researcher.audit_name,
            )
        except DomainError as error:
            return self.render_to_response(
                self.get_context_data(fault=error.detail, given=request.POST), status=error.status
            )
        return StreamingHttpResponse(
            iter(delivery),
            content_type=delivery.content_type,
            headers={"Content-Disposition": f'attachment; filename="{delivery.name}"'},
        )

    @property
    def _may_text(self) -> bool:
        return self.researcher.has_perm("studies.export_text", self.study)


class CodebookView(StudyPage):
    """Every column, in the browser. Nothing is counted here: the bundle's codebook has the counts."""

    permission = "studies.export_data"
    template_name = "exports/codebook.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        from ema_server.exports import codebook
        from ema_server.exports.contents import contents

        shape = Export.Shape.ANSWERS if self.request.GET.get("shape") == "answers" else Export.Shape.PROMPTS
        state = queries.state_of(self.study, now=clock.now())
        book = codebook.as_dict(contents(self.study, shape=shape, cutoff=state.cutoff, plan=state.plan))
        return super().get_context_data(
            shape=shape, shapes=Export.Shape.choices, rows=codebook.readable(book), book=book, **more
        )


def _chosen(request: HttpRequest, name: str, known: list[str]) -> str:
    value = request.POST.get(name, "")
    if value not in known:
        raise UnknownChoice(f"{name}: {value[:40]!r} is unknown; there are {', '.join(known)}.")
    return value
