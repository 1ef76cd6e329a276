"""The demo begins anew: what its last run left is gone, and nobody else's study is touched."""

from __future__ import annotations

import dataclasses
from uuid import uuid4

import msgspec
import pytest

from ema_server.common import clock
from ema_server.demo import services, support_stress
from ema_server.demo.script import DemoStudy
from ema_server.ledger import audit
from ema_server.ledger.models import AuditEvent
from ema_server.participants.device_reports import record_device_reports
from ema_server.participants.models import Device, Participant
from ema_server.studies.models import Study
from ema_server.vault import services as vault
from ema_server.vault.models import DataKey
from tests.world import researcher

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def demo() -> DemoStudy:
    whole = support_stress.study()
    return dataclasses.replace(whole, people=whole.people[:2])


def test_an_earlier_run_leaves_its_audit_trail_and_nothing_else(
    demo: DemoStudy, django_capture_on_commit_callbacks: object
) -> None:
    services.set_up(demo, researcher=researcher(), now=clock.now())
    study = Study.objects.get(slug=demo.slug)
    keys = list(Participant.objects.filter(study=study).values_list("key_id", flat=True))
    for owner in keys:
        vault.owner_key(owner, "anything")
    person = Participant.objects.filter(study=study)[0]
    phone = Device.objects.create(participant=person, token_digest="d", created_at=clock.now())
    raw = msgspec.json.encode({"id": uuid4(), "at": "2026-03-02T11:00:00Z"})
    assert [each.status for each in record_device_reports(device=phone, raw_reports=[raw], now=clock.now())] == [
        "stored"
    ]
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        services.start_clean(demo)
    assert not Study.objects.filter(slug=demo.slug).exists()
    assert not DataKey.objects.filter(owner__in=keys).exists()
    assert AuditEvent.objects.filter(action="study.removed", about=f"study:{study.pk}").count() == 1
    assert audit.verify(audit.chain_name(study.pk)) == []
    assert len(services.set_up(demo, researcher=researcher(), now=clock.now())) == 2


def test_a_study_of_that_name_that_the_demo_did_not_make_is_left_alone(demo: DemoStudy) -> None:
    services.set_up(demo, researcher=researcher(), now=clock.now())
    Study.objects.update(source="somebody's own")
    with pytest.raises(services.NotTheDemos):
        services.start_clean(demo)
    assert Study.objects.count() == 1
