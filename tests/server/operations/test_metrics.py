"""What is counted, and who may read it."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from django.db import OperationalError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from ema_server.common import clock
from ema_server.ledger.models import Job
from ema_server.ledger.services import ask_for
from ema_server.operations import metrics
from tests.world import FakePhone, live_study

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.django_db


def measured() -> dict[tuple[str, ...], float]:
    """`(name, label value, …)` → value, labels in the order of their names."""
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_intake_is_counted_by_receipt_and_requests_by_route() -> None:
    before = measured()
    phone = FakePhone(live_study()).enrolled()
    item = phone.item(0)
    phone.submit(item, {"client_id": "poison"})
    phone.submit(item)
    after = measured()

    def more(*name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert more("ema_intake_items_total", "submission", "stored") == 1
    assert more("ema_intake_items_total", "submission", "rejected") == 1
    assert more("ema_intake_items_total", "submission", "duplicate") == 1
    assert more("ema_requests_total", "POST", "submissions", "200") == 2
    assert more("ema_request_seconds_count", "submissions") == 2


def test_the_outbox_is_measured_by_kind() -> None:
    now = clock.now()
    ask_for(kind="night", key="1", payload={}, due_at=now - timedelta(minutes=10))
    ask_for(kind="night", key="2", payload={}, due_at=now + timedelta(minutes=10))
    ask_for(kind="night", key="3", payload={}, due_at=now)
    Job.objects.filter(key="3").update(dead_at=now)
    found = measured()
    assert found["ema_outbox_waiting", "night"] == 2
    assert found["ema_outbox_dead", "night"] == 1
    assert 600 <= found["ema_outbox_oldest_seconds", "night"] < 660


def test_no_study_or_person_is_a_label() -> None:
    study = live_study(slug="planted-study")
    FakePhone(study, pseudonym="planted-person").enrolled()
    assert b"planted" not in Client().get("/metrics").content


def test_the_age_of_the_last_backup_comes_from_its_marker(tmp_path: Path, settings: Any) -> None:
    settings.VAR = tmp_path
    assert measured()["ema_backup_age_seconds",] != measured()["ema_backup_age_seconds",]  # NaN
    marker = tmp_path / metrics.BACKUP_MARKER
    marker.touch()
    os.utime(marker, (marker.stat().st_mtime - 3600,) * 2)
    assert 3600 <= measured()["ema_backup_age_seconds",] < 3660


def test_an_outage_is_a_measurement_and_not_an_error() -> None:
    with patch.object(metrics, "_outbox", side_effect=OperationalError):
        assert measured()["ema_database_up",] == 0


def test_without_a_token_only_this_machine_may_read() -> None:
    assert Client(REMOTE_ADDR="10.0.0.7").get("/metrics").status_code == 404
    assert Client(headers={"X-Forwarded-For": "127.0.0.1"}).get("/metrics").status_code == 404
    assert Client().get("/metrics").status_code == 200


def test_with_a_token_only_who_has_it_may_read(settings: Any) -> None:
    settings.METRICS_TOKEN = "t" * 30
    assert Client().get("/metrics").status_code == 404
    assert Client(headers={"Authorization": "Bearer wrong"}).get("/metrics").status_code == 404
    known = Client(headers={"Authorization": f"Bearer {'t' * 30}"}, REMOTE_ADDR="10.0.0.7")
    assert known.get("/metrics").status_code == 200


def test_every_alert_stands_on_something_that_is_measured() -> None:
    FakePhone(live_study()).enrolled()
    page = Client().get("/metrics").content.decode()
    rules = [
        rule
        for group in yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len(rules) >= 8
    for rule in rules:
        assert set(rule) >= {"alert", "expr", "labels", "annotations"}, rule
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["do"], "an alarm says what to do"
        names = metrics_in(rule["expr"])
        assert names or "up{" in rule["expr"], rule
        for name in names:
            assert (
                f"# TYPE {name.removesuffix('_bucket')} " in page or f"# TYPE {name.removesuffix('_total')}" in page
            ), name


def metrics_in(expression: str) -> list[str]:
    return re.findall(r"\bema_\w+", expression)
