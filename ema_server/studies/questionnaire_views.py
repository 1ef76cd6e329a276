"""Pages where questionnaires are written: the list, the editor with its preview, publishing, two drafts side by side."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.openapi import any_object
from ema_server.studies import drafts, queries
from ema_server.studies.drafts import DraftMoved
from ema_server.studies.models import SurveyDraft, SurveyVersion
from ema_server.studies.pages import StudyPage
from ema_server.surveys import examples, preview
from ema_server.surveys.document import read
from ema_server.surveys.schema import JSON_SCHEMA
from ema_server.surveys.typed import read_typed, written

REVISIONS_SHOWN = 20
UNSAVED = "unsaved_questionnaire"  # in the session: what was typed when the login had run out
PROOF = "questionnaire-editor"
PROOF_LASTS = 30 * 24 * 60 * 60  # seconds
MOVES: dict[str, preview.Move] = {"next": "next", "back": "back", "start": "start"}


class EditorPage(StudyPage):
    """What the pages about one questionnaire share."""

    permission = "studies.edit_surveys"

    @property
    def questionnaire(self) -> str:
        name: str = self.kwargs["questionnaire"]
        return name

    @property
    def who(self) -> dict[str, Any]:
        return {"editor": self.researcher, "actor": self.researcher.audit_name, "now": clock.now()}

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(**{**more, "questionnaire": self.kwargs.get("questionnaire")})

    def revision(self, number: int | None) -> SurveyDraft:
        found = queries.survey_draft(self.study, self.questionnaire, number)
        if found is None:
            raise Http404
        return found

    def version(self, number: int | None) -> SurveyVersion:
        found = queries.survey_version(self.study, self.questionnaire, number)
        if found is None:
            raise Http404
        return found


class QuestionnairesView(EditorPage):
    """Every questionnaire of a study, with its version in use and its draft; and how to begin one."""

    template_name = "studies/questionnaires.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(rows=queries.questionnaires(self.study), **more)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            made = self._begin(request)
        except DomainError as error:
            context = self.get_context_data(fault=error.detail, given=request.POST, **kwargs)
            return self.render_to_response(context, status=error.status)
        if len(made) == 1:
            return redirect("questionnaire", self.study.slug, made[0].questionnaire)
        messages.info(request, f"{len(made)} questionnaires were read from the file, each into its draft.")
        return redirect("questionnaires", self.study.slug)

    def _begin(self, request: HttpRequest) -> list[SurveyDraft]:
        name, do = request.POST.get("name", "").strip(), request.POST.get("do")
        if do == "upload":
            upload = _upload(request)
            if name:
                drafts.check_name(name)
            newest = drafts.newest_draft(self.study, name) if name else None
            return drafts.import_file(
                study=self.study, questionnaire=name, name=upload[0], content=upload[1],
                based_on=newest.number if newest else None, **self.who,
            )  # fmt: skip
        if do not in {"example", "empty"}:
            raise Http404
        text = examples.MOMENTARY if do == "example" else examples.EMPTY
        return [drafts.begin_draft(study=self.study, questionnaire=name, text=text, **self.who)]


class QuestionnaireView(EditorPage):
    """The editor. The whole page is one form: whatever button is pressed, what was typed comes along and stays."""

    template_name = "studies/questionnaire.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not isinstance(request.user, User):
            self._remember_typing(request)
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        typed = request.session.get(UNSAVED)
        if typed and typed["at"] == request.path and typed["user"] == self.researcher.pk:
            del request.session[UNSAVED]
            return self._page(text=typed["text"], based_on=_number(typed["based_on"]), restored=True)
        draft = drafts.newest_draft(self.study, self.questionnaire)
        if draft is not None:
            return self._page(text=draft.text, based_on=draft.number)
        return self._page(text=written(self.version(None).document), based_on=None)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        text, based_on = request.POST.get("text", "").replace("\r\n", "\n"), _number(request.POST.get("based_on"))
        if not queries.has_questionnaire(self.study, self.questionnaire):
            raise Http404
        do, _, number = request.POST.get("do", "").partition(":")
        if do in {"check", *MOVES}:
            return self._page(text=text, based_on=based_on, move=MOVES.get(do, "stay"))
        try:
            said = self._do(do, _number(number), text, based_on)
        except DraftMoved as moved:
            if moved.mine is None:
                raise
            return DraftBesideView.answer(self, moved.mine, status=moved.status)
        except DomainError as error:
            return self._page(text=text, based_on=based_on, status=error.status, fault=error.detail)
        if do == "review":
            return redirect("publish-questionnaire", self.study.slug, self.questionnaire)
        messages.info(request, said)
        return redirect("questionnaire", self.study.slug, self.questionnaire)

    def _do(self, do: str, number: int | None, text: str, based_on: int | None) -> str:
        upload = _upload(self.request) if do == "upload" else None
        about: dict[str, Any] = {"study": self.study, "questionnaire": self.questionnaire}
        saved = drafts.save_draft(text=text, based_on=based_on, **about, **self.who)
        if do in {"save", "review"}:
            return f"Saved as revision {saved.number}."
        if upload is not None:
            made = drafts.import_file(name=upload[0], content=upload[1], based_on=saved.number, **about, **self.who)
            names = ", ".join(draft.questionnaire for draft in made)
            return f"{upload[0]} was read into the draft of {names}. What was here before is kept as revision {saved.number}."
        if do == "copy":
            draft = drafts.copy_version(version=self.version(number), based_on=saved.number, **self.who)
            return f"Version {number} is in the draft now, as revision {draft.number}."
        if do == "again":
            draft = drafts.go_back(draft=self.revision(number), based_on=saved.number, **self.who)
            return f"Revision {number} is the draft again, as revision {draft.number}."
        raise Http404

    def _page(
        self, *, text: str, based_on: int | None, move: preview.Move = "start", status: int = 200, **more: Any
    ) -> HttpResponse:
        posted = self.request.POST
        newest = drafts.newest_draft(self.study, self.questionnaire)
        current = queries.survey_version(self.study, self.questionnaire, None)
        typed = read_typed(text)
        faults = drafts.faults_of(self.study, self.questionnaire, text, typed=typed, current=current)
        lines = text.split("\n")
        screen = survey = None
        if typed.sound and typed.document is not None:
            survey = read(typed.document)
            screen = preview.screen(
                survey, dict(posted.lists()), at=posted.get("at", ""), move=move if posted else "start",
                language=posted.get("language", ""), seed=_number(posted.get("seed")) or 1,
            )  # fmt: skip
        context = self.get_context_data(
            text=text,
            based_on=based_on,
            draft=newest,
            current=current,
            saved=newest is not None and newest.text == text,
            in_use=current is not None and typed.document == current.document,
            faults=[
                (fault, lines[fault.line - 1].strip()[:80] if fault.line <= len(lines) else "") for fault in faults
            ],
            imported=queries.newest_import(self.study, self.questionnaire),
            screen=screen,
            survey=survey,
            versions=self.study.survey_versions.filter(questionnaire=self.questionnaire).order_by("-number"),
            revisions=queries.revisions(self.study, self.questionnaire, REVISIONS_SHOWN),
            proof=signing.dumps(self.researcher.pk, salt=PROOF),
            **more,
        )
        return self.render_to_response(context, status=status)

    def _remember_typing(self, request: HttpRequest) -> None:
        """The login has run out while somebody typed: their text waits in the session for their next one. Only who was
        served the editor can show its proof, so nobody else fills the session store."""
        try:
            user = signing.loads(request.POST.get("proof", ""), salt=PROOF, max_age=PROOF_LASTS)
        except signing.BadSignature:
            return
        text = request.POST.get("text", "").replace("\r\n", "\n")
        if len(text.encode("utf-8", "replace")) <= drafts.LARGEST:
            based_on = request.POST.get("based_on", "")
            request.session[UNSAVED] = {"at": request.path, "user": user, "text": text, "based_on": based_on}


class DraftBesideView(EditorPage):
    """A revision that was kept beside the main line, next to the one that somebody else saved meanwhile."""

    template_name = "studies/draft_beside.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.answer(self, self.revision(kwargs["number"]))

    @staticmethod
    def answer(page: EditorPage, mine: SurveyDraft, status: int = 200) -> HttpResponse:
        newest = drafts.newest_draft(page.study, page.questionnaire)
        if newest is None:
            raise Http404
        base = queries.survey_draft(page.study, page.questionnaire, mine.based_on)
        context = page.get_context_data(
            mine=mine,
            newest=newest,
            lines=drafts.side_by_side(mine.text, newest.text),
            merged=drafts.merged(base.text, mine.text, newest.text) if base else None,
        )
        page.template_name = DraftBesideView.template_name
        response: HttpResponse = page.render_to_response(context, status=status)
        return response


class PublishView(EditorPage):
    """What publishing the draft would change, in words; then publishing it."""

    template_name = "studies/publish_questionnaire.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        draft = drafts.newest_draft(self.study, self.questionnaire)
        if draft is None:
            raise Http404
        no_card = queries.current_crisis_card(self.study) is None
        return super().get_context_data(review=drafts.review(draft), no_card=no_card, **more)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        number = _number(request.POST.get("number")) or 0
        actor = self.researcher.audit_name
        try:
            version = drafts.publish_draft(
                study=self.study, questionnaire=self.questionnaire, number=number, actor=actor
            )
        except drafts.NoDraft as error:
            raise Http404 from error
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail, **kwargs), status=error.status)
        messages.info(request, f"Version {version.number} of {version.questionnaire} is published.")
        return redirect("questionnaire", self.study.slug, self.questionnaire)


class DocumentView(EditorPage):
    """The JSON of a draft as it was typed (`?draft=3`), or of a version (`?version=2`); the newest draft where none is named."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        draft, number = request.GET.get("draft"), request.GET.get("version")
        if draft is not None or (number is None and drafts.newest_draft(self.study, self.questionnaire)):
            revision = self.revision(_number(draft)) if draft else drafts.newest_draft(self.study, self.questionnaire)
            assert revision is not None
            text, name = revision.text, f"draft-{revision.number}"
        else:
            version = self.version(_number(number) if number else None)
            text, name = written(version.document), f"v{version.number}"
        file = f"{self.study.slug}-{self.questionnaire}-{name}.json"
        return HttpResponse(
            text,
            content_type="application/json; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{quote(file)}"'},
        )


class SurveySchemaView(APIView):
    """The JSON schema of questionnaires, for editors that complete and check while one types."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="survey_schema",
        responses={200: OpenApiResponse(any_object("SurveySchema", "A JSON schema."), description="The schema.")},
        auth=[],
    )
    def get(self, request: Request) -> Response:
        return Response(JSON_SCHEMA)


def _number(given: str | None) -> int | None:
    return int(given) if given and given.isdecimal() and len(given) < 10 else None


def _upload(request: HttpRequest) -> tuple[str, bytes]:
    file = request.FILES.get("file")
    if file is None or isinstance(file, list):
        raise drafts.FileRefused("file: choose a file first: an XLSForm, a REDCap data dictionary or JSON.")
    if (file.size or 0) > drafts.LARGEST_FILE:
        raise drafts.DraftTooLarge(f"file: {file.size:,} bytes; a file may have at most {drafts.LARGEST_FILE:,}.")
    return file.name or "file", file.read()
