"""`GET sync`, `POST submissions` and `POST manifest`: decode, call one service or query, answer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from django.http import HttpRequest, HttpResponse
from django_scopes import scope
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from ema_server.common import clock, counts
from ema_server.common.batch import raw_parts
from ema_server.common.bodies import body_of
from ema_server.common.openapi import problems_of, said, schema_of
from ema_server.common.problems import problem
from ema_server.common.shapes import fault_of
from ema_server.participants.authentication import device_with, token_of
from ema_server.participants.phone import PhoneView, plain_post
from ema_server.participants.services import digest_of_secret
from ema_server.responses import fast_intake, manifest, services, sync


class BatchOfSubmissions(msgspec.Struct, frozen=True):
    """The same body with its items spelt out: what the API's document shows."""

    items: Annotated[list[services.SubmissionIn], msgspec.Meta(min_length=1, max_length=services.MAX_ITEMS)]


class ReceiptsOut(msgspec.Struct, frozen=True):
    receipts: list[services.Receipt]


class SyncView(PhoneView):
    """All that a phone needs to go offline: questionnaires, prompts without an outcome, our clock."""

    @extend_schema(
        operation_id="sync",
        parameters=[OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="The last ETag.")],
        responses={200: OpenApiResponse(response=schema_of(sync.SyncOut)), 304: None},
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
    """What the person answered: 1 to 500 items, one receipt for each.

    The body may be packed (`Content-Encoding: gzip`). A phone whose credential was closed is answered as well: every item is
    `rejected`, and is in quarantine.
    """

    @extend_schema(
        operation_id="submit",
        request={"application/json": schema_of(BatchOfSubmissions)},
        responses={
            200: OpenApiResponse(response=schema_of(ReceiptsOut), description="Durable: one receipt for each item."),
            **problems_of("malformed", "too_large", "batch_size", "erased", "unsupported_media_type"),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        raise NotImplementedError("It is described here, and answered by `submissions`.")


def _submit(request: HttpRequest) -> HttpResponse:
    credential = token_of(request)
    if credential is None:
        raise NotAuthenticated("Write Authorization: Bearer TOKEN.")
    token = digest_of_secret(credential)
    caller = fast_intake.caller_of(token)
    device = None if caller else device_with(credential)
    if caller is None and device is None:
        raise AuthenticationFailed("This credential is unknown.", code="unknown_credential")
    try:
        items = raw_parts(body_of(request), "items")
    except ValueError as error:
        return problem(400, "malformed", "The body is not what this call takes", f'Send {{"items": […]}}: {error}')
    if not 1 <= len(items) <= services.MAX_ITEMS:
        detail = f"items: {len(items)} given; send 1 to {services.MAX_ITEMS}."
        status, code = (413, "batch_size") if items else (400, "malformed")
        return problem(status, code, "Wrong size of batch", detail, limit_items=services.MAX_ITEMS)
    now = clock.now()
    receipts = fast_intake.record(caller=caller, raw_items=items, now=now) if caller else None
    if caller is not None and receipts is not None:
        request.device_id = caller.device  # type: ignore[attr-defined]
    else:
        device = device or device_with(credential)
        if device is None:
            raise AuthenticationFailed("This credential is unknown.", code="unknown_credential")
        request.user = device  # type: ignore[assignment]
        with scope(study=device.study):
            receipts = services.record_submissions(device=device, raw_items=items, now=now)
            fast_intake.remember(device, token)
    counts.intake("submission", (receipt.status for receipt in receipts))
    return HttpResponse(msgspec.json.encode(ReceiptsOut(receipts)), content_type="application/json")


submissions = plain_post(_submit, described=SubmissionsView)


class ManifestIn(msgspec.Struct, frozen=True):
    """The ids that a phone asks about: at most 5,000 in all."""

    submissions: Annotated[list[str], said("client ids of items")] = []
    events: Annotated[list[str], said("ids of prompt events")] = []
    reports: Annotated[list[str], said("ids of device reports")] = []


class ManifestView(PhoneView):
    """What the server holds of this person: an answer for each id that is asked about, so that a phone can prove that
    everything arrived before it deletes its copies; without ids how much there is, and since when nothing came."""

    @extend_schema(
        operation_id="manifest",
        request={"application/json": schema_of(ManifestIn)},
        responses={
            200: OpenApiResponse(response=schema_of(manifest.ManifestOut)),
            **problems_of("malformed", "too_large", "batch_size"),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        body = body_of(request._request)
        try:
            content = msgspec.json.decode(body) if body.strip() else {}
            asked = msgspec.convert(content, ManifestIn)
        except msgspec.ValidationError as error:
            return problem(400, "malformed", "The body is not what this call takes", fault_of(error, content))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            detail = f'Send {{"submissions": […], "events": […]}}: {error}'
            return problem(400, "malformed", "The body is not what this call takes", detail)
        number = len(asked.submissions) + len(asked.events) + len(asked.reports)
        if number > manifest.MOST:
            detail = f"{number} ids given; ask about at most {manifest.MOST} at once."
            return problem(413, "batch_size", "Wrong size of batch", detail, limit_items=manifest.MOST)
        found = manifest.manifest_of(
            self.device.participant, submissions=asked.submissions, events=asked.events, reports=asked.reports
        )
        return HttpResponse(msgspec.json.encode(found), content_type="application/json")
