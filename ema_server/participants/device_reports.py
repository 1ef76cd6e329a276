"""What phones report about themselves: battery, versions, permissions, what waits in them. Kept as it came, one receipt each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from django.db import transaction

from ema_server.common.canonical import digest
from ema_server.common.openapi import said
from ema_server.common.phone_time import believable, parse_phone_time
from ema_server.common.zones import is_zone
from ema_server.participants.models import Device, DeviceReport
from ema_server.participants.queries import newest_report
from ema_server.participants.services import hold
from ema_server.studies import states
from ema_server.studies.models import Study

MOST_PERMISSIONS = 20
PERMISSION = re.compile(r"[A-Za-z0-9_.\-]{1,40}")
YEARS = range(1900, 2200)  # of a time that the database takes
CODES = ("malformed", "malformed_time", "malformed_text", "unknown_zone", "id_taken", "study_locked")

Text = Annotated[str, msgspec.Meta(max_length=40)]
Queue = Annotated[int, msgspec.Meta(ge=0, le=DeviceReport.LARGEST_QUEUE, description="answers not yet uploaded")]
Clock = Annotated[
    int,
    msgspec.Meta(
        ge=-DeviceReport.FARTHEST_CLOCK_MS,
        le=DeviceReport.FARTHEST_CLOCK_MS,
        description="milliseconds by which the phone's clock is ahead of `server_time`; negative where it is behind",
    ),
]


class ReportIn(msgspec.Struct, frozen=True):
    """How a phone was at one moment. `id` is the phone's own UUID: sent twice it is one report. What it does not know it
    leaves out."""

    id: UUID
    at: Annotated[str, said("by the phone's clock, with its offset")]
    battery: Annotated[float, msgspec.Meta(ge=0, le=1, description="from 0, empty, to 1, full")] | None = None
    charging: bool | None = None
    platform: Text = ""
    os_version: Text = ""
    app_version: Text = ""
    zone: Annotated[str, msgspec.Meta(max_length=64, description="IANA; what moves prompts is `PUT device`")] = ""
    permissions: Annotated[
        dict[str, bool], msgspec.Meta(max_length=MOST_PERMISSIONS, description="such as notifications, exact_alarms")
    ] = {}
    queue: Queue | None = None
    clock_ahead_ms: Clock | None = None


class ReportReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    id: Annotated[str, said("empty where none could be read")]
    status: Annotated[str, said("stored, duplicate or rejected; a rejected report need not be sent again")]
    code: Annotated[str, said(f"of a rejected one: {', '.join(CODES)}")] = ""
    detail: str = ""


class _Named(msgspec.Struct):
    id: UUID


@transaction.atomic
def record_device_reports(*, device: Device, raw_reports: Sequence[bytes], now: datetime) -> list[ReportReceipt]:
    """Keep what a phone says of itself. Each report gets its own receipt; sent twice it is stored once. The newest one
    that is held becomes the phone's facts, in whatever order they arrive."""
    person = hold(device.participant)
    reports = [_decoded(raw) for raw in raw_reports]
    ids = [report.id for report in reports if isinstance(report, ReportIn)]
    known = DeviceReport.objects.filter(participant=person, client_id__in=ids)
    held: dict[UUID, str] = dict(known.values_list("client_id", "digest"))
    receipts, rows = [], []
    for report in reports:
        if isinstance(report, ReportReceipt):
            receipts.append(report)
            continue
        content = digest(msgspec.to_builtins(report))
        if held.get(report.id) == content:
            receipts.append(ReportReceipt(str(report.id), "duplicate"))
        elif refused := _refusal(report, taken=report.id in held, study=person.study):
            receipts.append(refused)
        else:
            held[report.id] = content
            receipts.append(ReportReceipt(str(report.id), "stored"))
            rows.append(_row(report, device=device, content=content, study=person.study, now=now))
    DeviceReport.objects.bulk_create(rows)  # the person is held: nobody else stores any of theirs meanwhile
    if rows:
        _keep_facts(device)
    return receipts


def _decoded(raw: bytes) -> ReportIn | ReportReceipt:
    try:
        return msgspec.json.decode(raw, type=ReportIn)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return ReportReceipt(_id_of(raw), "rejected", "malformed", str(error)[:300])


def _id_of(raw: bytes) -> str:
    try:
        return str(msgspec.json.decode(raw, type=_Named).id)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""


def _refusal(report: ReportIn, *, taken: bool, study: Study) -> ReportReceipt | None:
    """Why a report cannot be kept; None if it can."""

    def refuse(code: str, detail: str) -> ReportReceipt:
        return ReportReceipt(str(report.id), "rejected", code, detail)

    for name in ("platform", "os_version", "app_version"):
        if not getattr(report, name).isprintable():
            return refuse("malformed_text", f"{name}: must be printable characters, at most 40.")
    for name in report.permissions:
        if not PERMISSION.fullmatch(name):
            return refuse(
                "malformed_text", f"permissions: {name[:40]!r} must be 1 to 40 of a-z, A-Z, 0-9, '_', '.', '-'."
            )
    if report.zone and not is_zone(report.zone):
        return refuse(
            "unknown_zone", f"zone: {report.zone!r} is no IANA time zone; send one like Europe/Amsterdam, or none."
        )
    if parse_phone_time(report.at) is None:
        return refuse(
            "malformed_time", f"at: {report.at[:40]!r} is no time with an offset, like 2026-03-02T09:30:00+01:00."
        )
    if taken:
        return refuse("id_taken", "id: another report is stored under it; use a fresh UUID.")
    if not states.allows(study.state, "answers"):
        return refuse("study_locked", f"The data of this study are {study.state}.")
    return None


def _row(report: ReportIn, *, device: Device, content: str, study: Study, now: datetime) -> DeviceReport:
    at = parse_phone_time(report.at)
    believed = at is not None and at.year in YEARS and believable(at, study_start=study.starts_on, now=now)
    return DeviceReport(
        participant_id=device.participant_id,
        device=device,
        client_id=report.id,
        digest=content,
        phone_at=at.astimezone(UTC) if at is not None and believed else None,
        phone_text=report.at[:40],
        received_at=now,
        battery=report.battery,
        charging=report.charging,
        platform=report.platform,
        os_version=report.os_version,
        app_version=report.app_version,
        zone=report.zone,
        permissions=report.permissions,
        queue=report.queue,
        clock_ahead_ms=report.clock_ahead_ms,
    )


def _keep_facts(device: Device) -> None:
    """The phone's facts are those of its newest report; what that leaves out stays. Its zone comes by `PUT device`."""
    newest = newest_report(device)
    facts = {
        name: value
        for name in ("platform", "os_version", "app_version")
        if newest is not None and (value := getattr(newest, name))
    }
    if facts:
        Device.objects.filter(pk=device.pk).update(**facts)
