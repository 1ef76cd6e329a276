"""`GET sync` and `POST submissions`: decode, call one service or query, answer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from ema_server.common import clock, counts
from ema_server.common.batch import raw_parts
from ema_server.common.openapi import problems_of, schema_of
from ema_server.common.problems import problem, too_large
from ema_server.participants.phone import PhoneView
from ema_server.responses import services, sync


class BatchOfSubmissions(msgspec.Struct, frozen=True):
    """The same body with its items spelt out: what the API's document shows."""

    items: Annotated[list[services.SubmissionIn], msgspec.Meta(min_length=1, max_length=services.MAX_ITEMS)]


class ReceiptsOut(msgspec.Struct, frozen=True):
    receipts: list[services.Receipt]


class SyncView(PhoneView):
    """All that a phone needs to go offline: questionnaires, prompts without an outcome, our clock."""

    @extend_schema(
        operation_id="sync",
        parameters=[
            OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="The last ETag."),
            OpenApiParameter("ETag", str, OpenApiParameter.HEADER, response=[200, 304], required=True),
        ],
        responses={
            200: OpenApiResponse(response=schema_of(sync.SyncOut), description="All of it."),
            304: OpenApiResponse(description="Nothing has changed since that ETag."),
        },
    )
    def get(self, request: Request) -> HttpResponse:
        now = clock.now()
        content = sync.sync_content(self.device, now=now)
        etag = sync.etag_of(content)
        if request.headers.get("If-None-Match") == etag:
            return HttpResponse(status=304, headers={"ETag": etag})
        out = sync.SyncOut(server_time=now.isoformat(), **msgspec.structs.asdict(content))
        return HttpResponse(msgspec.json.encode(out), content_type="application/json", headers={"ETag": etag})


class SubmissionsView(PhoneView):
    """What the person answered: 1 to 500 items, one receipt for each."""

    @extend_schema(
        operation_id="submit",
        request={"application/json": schema_of(BatchOfSubmissions)},
        responses={
            200: OpenApiResponse(response=schema_of(ReceiptsOut), description="Durable: one receipt for each item."),
            **problems_of("empty_batch", "batch_size", "erased"),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        try:
            items = raw_parts(request.body, "items")
        except RequestDataTooBig:
            return too_large()
        except ValueError as error:
            return problem(400, "malformed", "The body is not what this call takes", f'Send {{"items": […]}}: {error}')
        if not 1 <= len(items) <= services.MAX_ITEMS:
            detail = f"items: {len(items)} given; send 1 to {services.MAX_ITEMS}."
            if not items:
                return problem(400, "empty_batch", "Wrong size of batch", detail, limit_items=services.MAX_ITEMS)
            return problem(413, "batch_size", "Wrong size of batch", detail, limit_items=services.MAX_ITEMS)
        receipts = services.record_submissions(device=self.device, raw_items=items, now=clock.now())
        counts.intake("submission", (receipt.status for receipt in receipts))
        return HttpResponse(msgspec.json.encode(ReceiptsOut(receipts)), content_type="application/json")
