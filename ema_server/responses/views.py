"""`GET sync`, `POST submissions` and `POST manifest`: decode, call one service or query, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated

from ema_server.common import clock, counts
from ema_server.common.batch import raw_parts
from ema_server.common.bodies import BatchTooLarge, BrokenBody, body_of
from ema_server.common.openapi import problems_of, said, schema_of
from ema_server.common.shapes import fault_of
from ema_server.participants.authentication import device_with, token_of
from ema_server.participants.models import Device
from ema_server.participants.phone import PlainPhoneView
from ema_server.participants.services import digest_of_secret
from ema_server.responses import fast_intake, manifest, services, sync, sync_tag


class BatchOfSubmissions(msgspec.Struct, frozen=True):
    """Filled-in questionnaires, each with a receipt of its own."""

    items: Annotated[list[services.SubmissionIn], msgspec.Meta(min_length=1, max_length=services.MAX_ITEMS)]


class ReceiptsOut(msgspec.Struct, frozen=True):
    receipts: list[services.Receipt]


class SyncView(PlainPhoneView):
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
    def get(self, request: HttpRequest) -> HttpResponse:
        now = clock.now()
        etag = sync_tag.tag_of(self.device, now=now)
        if etag is None:
            raise AuthenticationFailed("This credential is unknown.", code="unknown_credential")
        if sync_tag.is_among(etag, request.META.get("HTTP_IF_NONE_MATCH", "")):
            return HttpResponse(status=304, headers={"ETag": etag})
        content = sync.sync_content(self.device, now=now)
        out = sync.SyncOut(server_time=now.isoformat(), **msgspec.structs.asdict(content))
        return HttpResponse(msgspec.json.encode(out), content_type="application/json", headers={"ETag": etag})

    def answer(
        self, handler: Callable[..., HttpResponseBase], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Most calls find nothing new: then one statement finds the phone and the tag, and no row becomes an object."""
        asked, token = request.META.get("HTTP_IF_NONE_MATCH"), token_of(request)
        known = sync_tag.known_phone(digest_of_secret(token), now=clock.now()) if asked and token else None
        if asked and known and sync_tag.is_among(known.tag, asked):
            request.device_id = known.device  # type: ignore[attr-defined]  # for the request's line in the log
            return HttpResponse(status=304, headers={"ETag": known.tag})
        return super().answer(handler, request, *args, **kwargs)


class SubmissionsView(PlainPhoneView):
    """What the person answered: 1 to 500 items, one receipt for each.

    The body may be packed (`Content-Encoding: gzip`). A phone whose credential was closed is answered as well: every item is
    `rejected`, and is in quarantine.
    """

    def answer(self, handler: Callable[..., Any], request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The quick way first; `post` is the long one."""
        token = token_of(request)
        known = fast_intake.caller_of(digest_of_secret(token)) if token else None
        if known is not None:
            receipts = fast_intake.record(caller=known, raw_items=_items_of(request), now=clock.now())
            if receipts is not None:
                request.device_id = known.device  # type: ignore[attr-defined]  # the request's line in the log names it
                return _told(receipts)
        return super().answer(handler, request, *args, **kwargs)

    def caller(self, request: HttpRequest) -> Device:
        """Closed credentials included: what such a phone still holds is kept, in quarantine."""
        token = token_of(request)
        if token is None:
            raise NotAuthenticated
        device = device_with(token)
        if device is None:
            raise AuthenticationFailed("This credential is unknown.", code="unknown_credential")
        return device

    @extend_schema(
        operation_id="submit",
        request={"application/json": schema_of(BatchOfSubmissions)},
        responses={
            200: OpenApiResponse(response=schema_of(ReceiptsOut), description="Durable: one receipt for each item."),
            **problems_of("malformed", "too_large", "batch_size", "erased", "unsupported_media_type"),
        },
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        items = _items_of(request)
        receipts = services.record_submissions(device=self.device, raw_items=items, now=clock.now())
        fast_intake.remember(self.device, digest_of_secret(token_of(request) or ""))
        return _told(receipts)


def _items_of(request: HttpRequest) -> list[bytes]:
    try:
        items = raw_parts(body_of(request), "items")
    except ValueError as error:
        raise BrokenBody(f'Send {{"items": […]}}: {error}') from error
    if not items:
        nothing = BrokenBody(f"items: none given; send 1 to {services.MAX_ITEMS}.")
        nothing.more = {"limit_items": services.MAX_ITEMS}
        raise nothing
    if len(items) > services.MAX_ITEMS:
        raise BatchTooLarge(f"items: {len(items)} given; send 1 to {services.MAX_ITEMS}.", limit=services.MAX_ITEMS)
    return items


def _told(receipts: list[services.Receipt]) -> HttpResponse:
    counts.intake("submission", (receipt.status for receipt in receipts))
    return HttpResponse(msgspec.json.encode(ReceiptsOut(receipts)), content_type="application/json")


class ManifestIn(msgspec.Struct, frozen=True):
    """The ids that a phone asks about: at most 5,000 in all."""

    submissions: Annotated[list[str], said("client ids of items")] = []
    events: Annotated[list[str], said("ids of prompt events")] = []
    reports: Annotated[list[str], said("ids of device reports")] = []


class ManifestView(PlainPhoneView):
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
    def post(self, request: HttpRequest) -> HttpResponse:
        body, content = body_of(request), None
        try:
            content = msgspec.json.decode(body) if body.strip() else {}
            asked = msgspec.convert(content, ManifestIn)
        except msgspec.ValidationError as error:
            raise BrokenBody(fault_of(error, content)) from error
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BrokenBody(f'Send {{"submissions": […], "events": […], "reports": […]}}: {error}') from error
        number = len(asked.submissions) + len(asked.events) + len(asked.reports)
        if number > manifest.MOST:
            raise BatchTooLarge(f"{number} ids given; ask about at most {manifest.MOST} at once.", limit=manifest.MOST)
        found = manifest.manifest_of(
            self.device.participant, submissions=asked.submissions, events=asked.events, reports=asked.reports
        )
        return HttpResponse(msgspec.json.encode(found), content_type="application/json")
