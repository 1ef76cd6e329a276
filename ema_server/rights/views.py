"""What people may do about their own data, by their phone: pause, go on, leave, take it with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.openapi import any_object, named, problems_of, said, schema_of
from ema_server.participants.models import Pause
from ema_server.participants.phone import PhoneView
from ema_server.rights import files, own_data, services
from ema_server.rights.delivery import Delivery
from ema_server.rights.serializers import PauseIn, WithdrawIn
from ema_server.sampling.pausing import pause_participant, resume_participant

CALLS = (
    "malformed", "malformed_credential", "not_authenticated", "unknown_credential", "revoked", "replaced", "method_not_allowed",
    "not_acceptable", "erased", "unavailable",
)  # fmt: skip
POSTS = (*CALLS, "invalid_body", "too_large", "unsupported_media_type")


class PauseOut(msgspec.Struct, frozen=True):
    """How the person stands, and their last pause."""

    state: Annotated[str, said("active or paused")]
    since: Annotated[str | None, said("null: they never paused")]
    until: Annotated[str | None, said("null: open; else when it ended, or ends by itself")]


class WithdrawOut(msgspec.Struct, frozen=True):
    """What has happened, and what will."""

    state: Annotated[str, said("withdrawn, or erased: then nothing of the person can be read any more within minutes")]
    data: Annotated[str, said("kept or erased")]
    status: Annotated[str, said("stored, or duplicate: the person had withdrawn before")]
    prompts_called_off: int
    credential: Annotated[str, said("open: sync, export and erasing go on; closed: every further call is a 401")]
    detail: Annotated[str, said("the same in words, for the person")]


class PauseView(PhoneView):
    """The person wishes to be asked nothing for a while. Sent twice it is one pause; another `until` changes its end."""

    @extend_schema(
        operation_id="pause",
        request=PauseIn,
        responses={
            200: OpenApiResponse(response=schema_of(PauseOut)),
            **problems_of(*POSTS, "invalid_until", "withdrawn", "study_closed"),
        },
    )
    def post(self, request: Request) -> Response:
        body = PauseIn(data=request.data)
        body.is_valid(raise_exception=True)
        pause = pause_participant(
            participant=self.device.participant,
            now=clock.now(),
            actor=self.device.audit_name,
            until=body.validated_data.get("until", msgspec.UNSET),
        )
        return Response(_out("paused", pause))


class ResumeView(PhoneView):
    """The person wishes to be asked again. What fell into the pause stays called off; what lies ahead is asked as planned."""

    @extend_schema(
        operation_id="resume",
        request=None,
        responses={200: OpenApiResponse(response=schema_of(PauseOut)), **problems_of(*POSTS, "withdrawn")},
    )
    def post(self, request: Request) -> Response:
        pause = resume_participant(participant=self.device.participant, now=clock.now(), actor=self.device.audit_name)
        return Response(_out("active", pause))


def _out(state: str, pause: Pause | None) -> dict[str, Any]:
    def at(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return msgspec.structs.asdict(
        PauseOut(state, at(pause.since), at(pause.until)) if pause else PauseOut(state, None, None)
    )


class WithdrawView(PhoneView):
    """The person leaves. `keep`: what they gave stays, and a second call changes nothing. `erase`, at once or later: their key is
    destroyed and all rows go, within minutes; this phone's credential is closed with this answer."""

    @extend_schema(
        operation_id="withdraw",
        request=WithdrawIn,
        responses={
            200: OpenApiResponse(response=schema_of(WithdrawOut), description="Withdrawn; the data are kept."),
            202: OpenApiResponse(response=schema_of(WithdrawOut), description="Withdrawn; the erasure is certain."),
            **problems_of(*POSTS),
        },
    )
    def post(self, request: Request) -> Response:
        body = WithdrawIn(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        left = services.leave_study(device=self.device, data=given["data"], reason=given["reason"], now=clock.now())
        erase = given["data"] == "erase"
        out = WithdrawOut(
            state="erased" if erase else "withdrawn",
            data="erased" if erase else "kept",
            status="stored" if left.new else "duplicate",
            prompts_called_off=left.prompts_called_off,
            credential="closed" if erase else "open",
            detail=ERASED if erase else KEPT,
        )
        return Response(msgspec.structs.asdict(out), status=202 if erase else 200)


KEPT = (
    "You have left the study and are asked nothing more, but for a last questionnaire if the study has one. What you gave is "
    "kept. You can still take your data along, and have them erased."
)
ERASED = (
    "You have left the study. What you gave is being erased: this cannot be stopped, and is done within minutes. The study team "
    "can give you a certificate of it. This phone cannot read or send anything any more."
)


class _AsJson(BaseRenderer):
    media_type, format, charset = "application/json", "json", None


class _AsZip(BaseRenderer):
    media_type, format, charset = "application/zip", "csv", None


class UnknownForm(DomainError):
    code = "unknown_form"
    status = 400


def own_data_schema() -> dict[str, Any]:
    """The document's shape: a list for each kind of thing, its rows with their columns."""

    def rows(section: own_data.Section) -> dict[str, Any]:
        name = f"OwnData{section.name.title().replace('_', '')}Row"
        row = {
            "type": "object",
            "properties": {each: {} for each in section.columns},
            "required": list(section.columns),
        }
        return {"type": "array", "description": section.about, "items": named(name, row)}

    properties = {
        "schema": {"type": "string", "const": files.SCHEMA},
        "made_at": {"type": "string", "format": "date-time"},
        "study": any_object("OwnDataStudy", "The study, and when it is."),
        "participant": any_object("OwnDataParticipant", "What the study knows the person by."),
        "identity": {
            "anyOf": [any_object("OwnDataIdentity", "Name and contacts."), {"type": "null"}],
            "description": "Null where the study keeps none.",
        },
        **{each.name: rows(each) for each in own_data.SECTIONS},
    }
    return named("OwnData", {"type": "object", "properties": properties, "required": list(properties)})


class OwnDataView(PhoneView):
    """All that the server holds of the person: one JSON document, or by `?form=csv` (or `Accept: application/zip`) a ZIP of CSV
    files. It stays open to whoever has withdrawn."""

    renderer_classes = (_AsJson, _AsZip)

    @extend_schema(
        operation_id="export_own_data",
        parameters=[
            OpenApiParameter("form", str, enum=["json", "csv"], description="What Accept says, if left out; else json.")
        ],
        responses={
            (200, "application/json"): OpenApiResponse(
                response=own_data_schema(),
                description="Streamed: a document that does not end was cut off, and is to be asked for again.",
            ),
            (200, "application/zip"): OpenApiResponse(response=OpenApiTypes.BINARY, description="A ZIP of CSV files."),
            **problems_of(*CALLS, "unknown_form"),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        asked = request.query_params.get("form", request.accepted_renderer.format)
        if asked not in files.TYPES:
            raise UnknownForm(f"form: {asked[:40]!r} is unknown; there are json and csv.")
        form: files.Form = "csv" if asked == "csv" else "json"
        delivery = Delivery(device=self.device, form=form, now=clock.now())
        return StreamingHttpResponse(
            iter(delivery),
            content_type=files.TYPES[form],
            headers={
                "Content-Disposition": f'attachment; filename="{delivery.name}"',
                "Cache-Control": "no-store",
            },
        )
