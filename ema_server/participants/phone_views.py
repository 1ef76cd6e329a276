"""What a phone tells about its person and itself, and how it keeps and hands on its place in the study."""

from __future__ import annotations

from typing import Annotated

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ema_server.common import clock, counts
from ema_server.common.batch import raw_parts
from ema_server.common.openapi import one_of, problems_of, said, schema_of
from ema_server.common.problems import problem, too_large
from ema_server.participants.authentication import OVERLAP
from ema_server.participants.codes import successor_code
from ema_server.participants.credentials import rotate_credential
from ema_server.participants.device_reports import ReportIn, ReportReceipt, record_device_reports
from ema_server.participants.links import app_link, web_link
from ema_server.participants.phone import PhoneView
from ema_server.participants.preview import EnrolmentPreview, preview_enrolment
from ema_server.participants.serializers import ConsentIn, PreviewIn
from ema_server.participants.services import give_consent
from ema_server.participants.throttle import counting_wrong_codes

MAX_REPORTS = 500
CREDENTIAL = ("malformed_credential", "not_authenticated", "unknown_credential", "revoked", "replaced")
BODY = ("malformed", "invalid_body", "too_large", "unsupported_media_type")


class ConsentKept(msgspec.Struct, frozen=True):
    version: str
    digest: str
    status: Annotated[str, one_of("stored", "duplicate")]


class NewCredential(msgspec.Struct, frozen=True):
    token: Annotated[str, said("shown once; put it into the key store before it is used")]
    overlap_seconds: Annotated[int, said("how long the old one is good after the first use of the new one")]


class SuccessorCode(msgspec.Struct, frozen=True):
    """What the person's new phone enrols with."""

    code: str
    expires_at: Annotated[str, said("UTC, ten minutes from now")]
    link: Annotated[str, said("the content of the QR code to show")]
    app_link: Annotated[str, said("the same for an app that is installed")]


class ReportsIn(msgspec.Struct, frozen=True):
    reports: list[ReportIn]


class ReportReceiptsOut(msgspec.Struct, frozen=True):
    receipts: list[ReportReceipt]


class ConsentsView(PhoneView):
    """The person agreed to the current consent text (`GET sync` has it). Sent twice it is kept once."""

    @extend_schema(
        operation_id="give_consent",
        request=ConsentIn,
        responses={
            200: schema_of(ConsentKept),
            **problems_of(*BODY, *CREDENTIAL, "consent_outdated", "erased", "unavailable"),
        },
    )
    def post(self, request: Request) -> Response:
        body = ConsentIn(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        consent, new = give_consent(
            device=self.device,
            version=data["version"],
            digest=data["digest"],
            consented_at=data["given_at"],
            now=clock.now(),
        )
        kept = ConsentKept(consent.version, consent.digest, "stored" if new else "duplicate")
        return Response(msgspec.structs.asdict(kept))


class PreviewView(APIView):
    """What a code leads to: the study, its languages and the consent text, to be shown before enrolling. Spends nothing.
    Unknown, used up, expired and closed codes get one answer."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="preview_enrolment",
        request=PreviewIn,
        responses={
            200: schema_of(EnrolmentPreview),
            **problems_of(*BODY, "code_not_valid", "study_closed", "throttled", "unavailable"),
        },
        auth=[],
    )
    def post(self, request: Request) -> Response:
        body = PreviewIn(data=request.data)
        body.is_valid(raise_exception=True)
        code = body.validated_data["code"]
        with counting_wrong_codes(request._request, code):
            found = preview_enrolment(code=code, now=clock.now())
        return Response(msgspec.to_builtins(found))


class CredentialView(PhoneView):
    """A new credential for this phone. The old one stays good until the new one has been used and 24 hours longer, so an
    answer that was lost is asked for again with the old one. Keep the old one until a call with the new one succeeded."""

    @extend_schema(
        operation_id="rotate_credential",
        request=None,
        responses={200: schema_of(NewCredential), **problems_of(*CREDENTIAL, "unavailable")},
    )
    def post(self, request: Request) -> Response:
        token = rotate_credential(device=self.device, shown=str(request.auth))
        return Response(msgspec.to_builtins(NewCredential(token, int(OVERLAP.total_seconds()))))


class SuccessorCodeView(PhoneView):
    """A code for the person's new phone, good for ten minutes and one use. When the new phone enrols with it, this phone's
    credential is closed (`replaced`): upload everything first. Asking again makes the earlier one worthless."""

    @extend_schema(
        operation_id="make_successor_code",
        request=None,
        responses={
            200: schema_of(SuccessorCode),
            **problems_of(*CREDENTIAL, "study_closed", "erased", "unavailable"),
        },
    )
    def post(self, request: Request) -> Response:
        code, until = successor_code(device=self.device, now=clock.now())
        return Response(
            msgspec.to_builtins(SuccessorCode(code, until.isoformat(), link=web_link(code), app_link=app_link(code)))
        )


class DeviceReportsView(PhoneView):
    """How the phone was: battery, versions, permissions, what waits in it. One receipt for each report, in their order."""

    @extend_schema(
        operation_id="report_device",
        request={"application/json": schema_of(ReportsIn)},
        responses={
            200: OpenApiResponse(response=schema_of(ReportReceiptsOut)),
            **problems_of("malformed", "too_large", "batch_size", *CREDENTIAL, "erased", "unavailable"),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        try:
            reports = raw_parts(request.body, "reports")
        except RequestDataTooBig:
            return too_large()
        except ValueError as error:
            return problem(
                400, "malformed", "The body is not what this call takes", f'Send {{"reports": […]}}: {error}'
            )
        if len(reports) > MAX_REPORTS:
            detail = f"reports: {len(reports)} given; send at most {MAX_REPORTS}."
            return problem(413, "batch_size", "Wrong size of batch", detail, limit_items=MAX_REPORTS)
        receipts = record_device_reports(device=self.device, raw_reports=reports, now=clock.now())
        counts.intake("device_report", (receipt.status for receipt in receipts))
        return HttpResponse(msgspec.json.encode(ReportReceiptsOut(receipts)), content_type="application/json")
