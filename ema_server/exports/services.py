"""Writing down that data leave: before the first byte, and again when the last one has gone."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from ema_server.accounts.models import User
from ema_server.exports.models import Export
from ema_server.ledger import audit
from ema_server.studies.models import Study


@transaction.atomic
def begin_export(
    *,
    study: Study,
    shape: str,
    format: str,
    cutoff: datetime,
    with_text: bool,
    by: User | None,
    actor: str,
    now: datetime,
) -> Export:
    """Somebody asked for data. Whatever comes between, a broken line or a killed process, this stays written."""
    export = Export.objects.create(
        study=study, by=by, shape=shape, format=format, with_text=with_text, cutoff=cutoff, started_at=now
    )
    audit.record(
        action="data.export_started",
        actor=actor,
        study_id=study.pk,
        about=f"export:{export.pk}",
        changes={"shape": shape, "format": format, "with_text": with_text, "cutoff": cutoff.isoformat()},
    )
    return export


@transaction.atomic
def finish_export(*, export: Export, rows: int, digest: str, actor: str, now: datetime) -> Export:
    """The file has gone out whole: so many rows, this SHA-256."""
    export.rows, export.digest, export.finished_at = rows, digest, now
    export.save(update_fields=["rows", "digest", "finished_at"])
    audit.record(
        action="data.exported",
        actor=actor,
        study_id=export.study_id,
        about=f"export:{export.pk}",
        changes={
            "shape": export.shape,
            "format": export.format,
            "rows": rows,
            "with_text": export.with_text,
            "digest": digest,
        },
    )
    return export
