"""The page of the dry run: the plan played through, and a forecast that the analysis worker makes."""

from __future__ import annotations

import pytest
from django.test import Client

from ema_server.ledger.outbox import run_next
from ema_server.reports.models import PlanForecast
from ema_server.studies.services import publish_sampling_plan
from tests.world import SAMPLING, live_study, researcher

pytestmark = pytest.mark.django_db


def test_a_plan_is_played_through_and_its_precision_simulated(client: Client) -> None:
    owner = researcher()
    study = live_study(owner)
    client.force_login(owner)
    address = f"/studies/{study.slug}/schedule/dry-run/"
    page = client.get(address).content.decode()
    assert "When prompts come" in page
    assert "64 iPhone notifications reach" in page
    assert client.post(address, {"people": "1"}).status_code == 400
    assert client.post(address, {"people": "x"}).status_code == 400
    assert not PlanForecast.objects.exists()
    assert client.post(address, {"people": "20"}).status_code == 302
    assert "waits for the analysis worker" in client.get(address).content.decode()
    run_next(kind="plan_forecast")
    page = client.get(address).content.decode()
    assert "Simulated for 20 people" in page
    assert "within" in page
    changed = {"rules": [{**SAMPLING["rules"][0], "open_minutes": 30}]}
    publish_sampling_plan(study=study, document=changed)
    assert "Simulated for" not in client.get(address).content.decode()  # it was about another plan


def test_a_study_without_a_plan_is_sent_to_write_one(client: Client) -> None:
    owner = researcher()
    study = live_study(owner)
    study.sampling_plans.all().delete()
    client.force_login(owner)
    page = client.get(f"/studies/{study.slug}/schedule/dry-run/").content.decode()
    assert "has no sampling plan yet" in page
