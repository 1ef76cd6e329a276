"""Enrolment, prompt events and the device: parse, call one service, answer."""

from __future__ import annotations

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ema_server.common import clock, counts
from ema_server.common.batch import raw_parts
from ema_server.common.openapi import problems_of, schema_of
from ema_server.common.problems import problem, too_large
from ema_server.participants.phone import PhoneView
from ema_server.participants.serializers import DeviceIn, EnrolmentIn, EnrolmentOut
from ema_server.participants.throttle import counting_wrong_codes
from ema_server.sampling import services

MAX_EVENTS = 2000


class EventsIn(msgspec.Struct, frozen=True):
    events: list[services.EventIn]


class EventReceiptsOut(msgspec.Struct, frozen=True):
    receipts: list[services.EventReceipt]


class DeviceChanged(msgspec.Struct, frozen=True):
    """What the phone's new facts changed."""

    prompts_moved: int


class EnrolmentsView(APIView):
    """Enter a study with a code. Needs no credential: it gives one. A person who has a phone already keeps all that is
    theirs, and that phone's credential is closed."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="enrol",
        request=EnrolmentIn,
        responses={
            201: EnrolmentOut,
            **problems_of(
                "malformed", "invalid_body", "code_not_valid", "consent_outdated", "study_closed", "no_sampling_plan",
                "too_large", "unsupported_media_type", "throttled", "unavailable",
            ),
        },
        auth=[],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = EnrolmentIn(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        with counting_wrong_codes(request._request, data["code"]):
            enrolment = services.start_participation(
                code=data["code"],
                zone=data["zone"],
                consent_version=data["consent"]["version"],
                consent_digest=data["consent"]["digest"],
                consented_at=data["consent"]["given_at"],
                request_id=data.get("request_id"),
                device=dict(data.get("device") or {}),
                now=clock.now(),
            )
        study = enrolment.participant.study
        return Response(
            {
                "participant": enrolment.participant.pseudonym,
                "token": enrolment.token,
                "study": {"slug": study.slug, "title": study.title},
            },
            status=201,
        )


class PromptEventsView(PhoneView):
    """What the phone saw happen to its prompts: delivered, opened, dismissed, expired … One receipt for each."""

    @extend_schema(
        operation_id="report_prompt_events",
        request={"application/json": schema_of(EventsIn)},
        responses={
            200: OpenApiResponse(response=schema_of(EventReceiptsOut), description="One receipt for each event."),
            **problems_of("batch_size", "erased"),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        try:
            events = raw_parts(request.body, "events")
        except RequestDataTooBig:
            return too_large()
        except ValueError as error:
            return problem(400, "malformed", "The body is not what this call takes", f'Send {{"events": […]}}: {error}')
        if len(events) > MAX_EVENTS:
            detail = f"events: {len(events)} given; send at most {MAX_EVENTS}."
            return problem(413, "batch_size", "Wrong size of batch", detail, limit_items=MAX_EVENTS)
        receipts = services.record_events(device=self.device, raw_events=events, now=clock.now())
        counts.intake("event", (receipt.status for receipt in receipts))
        return HttpResponse(msgspec.json.encode(EventReceiptsOut(receipts)), content_type="application/json")


class DeviceView(PhoneView):
    """What the phone says about itself. A new zone moves later prompts to the same wall time there."""

    @extend_schema(
        operation_id="update_device",
        request=DeviceIn,
        responses={200: schema_of(DeviceChanged), **problems_of("invalid_body", "study_closed", "erased")},
    )
    def put(self, request: Request) -> Response:
        body = DeviceIn(data=request.data)
        body.is_valid(raise_exception=True)
        facts = {name: value for name, value in body.validated_data.items() if name != "zone_since"}
        moved = services.change_device(
            device=self.device, facts=facts, zone_since=body.validated_data.get("zone_since"), now=clock.now()
        )
        return Response(msgspec.structs.asdict(DeviceChanged(moved)))
