"""The audit trail as an owner reads it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

from ema_server.common import clock
from ema_server.erasure.services import erase
from ema_server.participants.models import Participant
from ema_server.participants.services import record_identity
from ema_server.studies.services import lock_data
from tests.world import NOW, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db


def page_of(client: Client, slug: str, query: str = "") -> str:
    return client.get(f"/studies/{slug}/audit/{query}").content.decode()


def test_changes_are_told_in_words_with_who_and_why() -> None:
    owner = researcher()
    owner.name = "Dr Example"
    owner.save()
    study = live_study(owner)
    lock_data(study=study, now=NOW, actor=owner.audit_name, reason="collection is complete")
    client = Client()
    client.force_login(owner)
    page = page_of(client, study.slug)
    for words in ("data.locked", "state: live → locked", "Dr Example", "collection is complete", "role: owner"):
        assert words in page
    assert "Verified: all" in page_of(client, study.slug, "?verify=")


def test_an_altered_event_is_named_on_the_page() -> None:
    owner = researcher()
    study = live_study(owner)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_auditevent DISABLE TRIGGER ALL")
        cursor.execute("UPDATE ledger_auditevent SET about = 'x' WHERE number = 2 AND study_id = %s", [study.pk])
    client = Client()
    client.force_login(owner)
    assert "Event 2 is not what was written" in page_of(client, study.slug, "?verify=")


def test_the_reason_about_an_erased_person_is_gone_with_them() -> None:
    owner = researcher()
    study = live_study(owner)
    FakePhone(study).enrolled()
    person = Participant.objects.get(study=study)
    record_identity(participant=person, facts={"name": "Jo"}, actor=owner.audit_name)
    record_identity(participant=person, facts={"name": "Joe"}, actor=owner.audit_name, reason="asked by phone")
    client = Client()
    client.force_login(owner)
    assert "asked by phone" in page_of(client, study.slug)
    erase(participant=person, now=clock.now())
    page = page_of(client, study.slug)
    assert "asked by phone" not in page
    assert "(erased with the person)" in page
