"""The page that Prometheus reads: what all web processes counted, and what the database holds at this moment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Max, Min, Q
from django_scopes import scopes_disabled
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import ema_server
from ema_server.common import clock, counts
from ema_server.ledger.models import Job
from ema_server.reports.models import Report
from ema_server.studies.models import Study

CONTENT_TYPE = CONTENT_TYPE_LATEST
BACKUP_MARKER = "last-backup.json"  # in EMA_VAR, written anew by each backup that succeeded

__all__ = ["CONTENT_TYPE", "counts", "exposition"]


def exposition() -> bytes:
    """In Prometheus's text format. With the database away it still says so, and what was counted."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(FromTheDatabase())
    return generate_latest(registry)


class FromTheDatabase(Collector):
    """Gauges with few labels: kinds of work, never studies or people."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        release = GaugeMetricFamily("ema_info", "The release that runs.", labels=["version"])
        release.add_metric([ema_server.__version__], 1)
        yield release
        yield from _backup()
        try:
            with scopes_disabled():  # counts over all studies, and nothing of any one
                families = [*_outbox(), *_nights()]
        except DatabaseError:
            yield GaugeMetricFamily("ema_database_up", "1 while the database answers.", value=0)
            return
        yield GaugeMetricFamily("ema_database_up", "1 while the database answers.", value=1)
        yield from families


def _outbox() -> Iterator[GaugeMetricFamily]:
    now = clock.now()
    waiting = Q(done_at__isnull=True, dead_at__isnull=True)
    due = waiting & Q(due_at__lte=now)
    rows = Job.objects.values("kind").annotate(
        waiting=Count("pk", filter=waiting),
        oldest=Min("due_at", filter=due),
        dead=Count("pk", filter=Q(dead_at__isnull=False)),
        retried=Count("pk", filter=waiting & Q(attempts__gt=1)),
    )
    waiting_rows = GaugeMetricFamily("ema_outbox_waiting", "Required work that is not done.", labels=["kind"])
    oldest = GaugeMetricFamily("ema_outbox_oldest_seconds", "How long the oldest has been due.", labels=["kind"])
    dead = GaugeMetricFamily("ema_outbox_dead", "Required work that was given up.", labels=["kind"])
    retried = GaugeMetricFamily("ema_outbox_retried", "Work not done that failed before.", labels=["kind"])
    for row in rows.order_by("kind"):
        kind = [row["kind"]]
        waiting_rows.add_metric(kind, row["waiting"])
        oldest.add_metric(kind, (now - row["oldest"]).total_seconds() if row["oldest"] else 0.0)
        dead.add_metric(kind, row["dead"])
        retried.add_metric(kind, row["retried"])
    yield from (waiting_rows, oldest, dead, retried)


def _nights() -> Iterator[GaugeMetricFamily]:
    newest = Report.objects.aggregate(at=Max("created_at"))["at"]
    age = (clock.now() - newest).total_seconds() if newest else float("nan")
    yield GaugeMetricFamily("ema_newest_night_age_seconds", "Since a night was last finished, of any study.", value=age)
    live = Study.objects.filter(state=Study.State.LIVE).count()
    yield GaugeMetricFamily("ema_studies_live", "Studies that collect.", value=live)


def _backup() -> Iterator[GaugeMetricFamily]:
    try:
        age = max(0.0, time.time() - (settings.VAR / BACKUP_MARKER).stat().st_mtime)
    except OSError:
        age = float("nan")
    yield GaugeMetricFamily(
        "ema_backup_age_seconds", "Since the last backup that succeeded; NaN before one.", value=age
    )
