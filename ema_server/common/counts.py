"""What this process counts while it serves. Labels are names from the code, never anything that a request brought."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import Counter, Histogram

REQUESTS = Counter("ema_requests", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "ema_request_seconds",
    "Seconds from the request's arrival to its answer.",
    ["route"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
INTAKE = Counter("ema_intake_items", "Items that phones sent, by the receipt they got.", ["kind", "receipt"])
for _kind in ("submission", "event", "device_report"):
    for _receipt in ("stored", "duplicate", "conflict", "rejected"):
        INTAKE.labels(_kind, _receipt)  # there from the start, so that a rate can be taken


def intake(kind: str, receipts: Iterable[str]) -> None:
    """One for each item, by its receipt's status."""
    for receipt, number in Tally(receipts).items():
        INTAKE.labels(kind, receipt).inc(number)
