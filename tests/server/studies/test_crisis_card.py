"""The crisis card: versions that stay, faults with their places, the page, the command, and who is told that there is none."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from ema_server.accounts.models import User
from ema_server.ledger.models import AuditEvent
from ema_server.studies.crisis import as_lines, card_faults, contacts_of
from ema_server.studies.models import Study
from ema_server.studies.queries import alerts_without_card, current_crisis_card
from ema_server.studies.services import InvalidCrisisCard, publish_crisis_card, publish_survey
from tests.world import SURVEY, live_study, researcher

pytestmark = pytest.mark.django_db

PAGE = {"title": "You are not alone", "text": "Talk to somebody.", "contacts": [{"label": "Line", "phone": "116 123"}]}
CARD = {"en": PAGE}
WITH_ALERT = {**SURVEY, "alerts": [{"key": "high", "when": "stress > 90", "card": "crisis"}]}


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        ({}, "card: one entry for each language is meant"),
        ([], "card: one entry for each language is meant"),
        ({"English": PAGE}, "card: 'English' is no language"),
        ({"en": "Call"}, "en: an object with title, text and contacts is meant."),
        ({"en": {**PAGE, "title": " "}}, "en.title: must hold 1 to 200 characters."),
        ({"en": {**PAGE, "text": "x" * 5_001}}, "en.text: must hold 1 to 5,000 characters."),
        ({"en": {**PAGE, "text": "a\0"}}, "en.text: holds a character"),
        ({"en": {**PAGE, "text": "a\ud800"}}, "en.text: holds a character"),
        ({"en": {**PAGE, "colour": "red"}}, "en.colour: unknown here"),
        ({"en": {**PAGE, "contacts": "113"}}, "en.contacts: a list of at most 20 is meant."),
        ({"en": {**PAGE, "contacts": ["113"]}}, 'en.contacts[0]: write {"label"'),
        ({"en": {**PAGE, "contacts": [{"label": "a", "phone": "call me"}]}}, "en.contacts[0].phone: 'call me' cannot"),
        (
            {"en": {**PAGE, "contacts": [{"label": "a", "url": "javascript:x"}]}},
            "en.contacts[0].url: 'javascript:x' is no",
        ),
        (
            {"en": {**PAGE, "contacts": [{"label": "a", "url": "http://x.org"}]}},
            "en.contacts[0].url: 'http://x.org' is",
        ),
        ({"en": {**PAGE, "contacts": [{"label": "a", "url": "https://x@y.org"}]}}, "en.contacts[0].url: 'https://x@y"),
    ],
)
def test_a_faulty_card_is_told_with_its_place(card: Any, fault: str) -> None:
    assert card_faults(card)[0].startswith(fault), card_faults(card)


def test_the_same_card_is_the_same_version_and_another_one_is_new() -> None:
    study = live_study()
    first = publish_crisis_card(study=study, card=CARD, actor="user:1")
    assert publish_crisis_card(study=study, card=CARD, actor="user:1") == first
    second = publish_crisis_card(study=study, card={**CARD, "nl": PAGE}, actor="user:1")
    assert (second.number, current_crisis_card(study)) == (2, second)
    assert AuditEvent.objects.filter(action="crisis_card.published").count() == 2
    with pytest.raises(InvalidCrisisCard):
        publish_crisis_card(study=study, card={"en": {}}, actor="user:1")


def test_contacts_go_in_and_out_as_lines() -> None:
    lines = "Samaritans: 116 123\nChat: https://example.org/a"
    contacts = contacts_of(f"\n{lines}\n ")
    assert contacts == [{"label": "Samaritans", "phone": "116 123"}, {"label": "Chat", "url": "https://example.org/a"}]
    assert as_lines(contacts) == lines


def test_alerts_without_a_card_are_told_and_not_refused(tmp_path: Path) -> None:
    study, out = live_study(), StringIO()
    assert alerts_without_card(study) == ""
    file = tmp_path / "momentary.json"
    file.write_text(json.dumps(WITH_ALERT))
    call_command("publish_survey", study.slug, file, questionnaire="momentary", yes=True, stdout=out)
    assert "Mind: momentary: alerts can fire, and the study has no crisis card" in out.getvalue()
    publish_crisis_card(study=study, card=CARD, actor="user:1")
    assert alerts_without_card(study) == ""


def test_the_command_publishes_a_card_and_tells_every_fault(tmp_path: Path) -> None:
    study, out, file = live_study(), StringIO(), tmp_path / "card.json"
    file.write_text(json.dumps({"en": {"title": ""}}))
    with pytest.raises(CommandError, match=r"en\.title(.|\n)*en\.text"):
        call_command("publish_crisis_card", study.slug, file)
    file.write_text(json.dumps(CARD))
    call_command("publish_crisis_card", study.slug, file, stdout=out)
    assert out.getvalue() == "Version 1 of the crisis card holds now (en).\n"


@pytest.fixture
def owner() -> User:
    return researcher()


@pytest.fixture
def page(owner: User) -> Client:
    client = Client()
    client.force_login(owner)
    return client


def test_the_page_warns_and_publishes_one_language_at_a_time(owner: User, page: Client) -> None:
    study = live_study(owner)
    publish_survey(study=study, questionnaire="momentary", document=WITH_ALERT)
    address = f"/studies/{study.slug}/setup/"
    assert "the study has no crisis card" in page.get(address).content.decode()
    form = {"do": "card", "card_title": "Help", "card_text": "Call.", "card_contacts": "Line: 113"}
    assert page.post(address, {**form, "card_language": "en"}).status_code == 302
    assert page.post(address, {**form, "card_language": "nl", "card_title": "Hulp"}).status_code == 302
    shown = page.get(address).content.decode()
    assert "Line: 113" in shown
    assert "the study has no crisis card" not in shown
    assert list(_card(study)) == ["en", "nl"]
    empty = {"do": "card", "card_language": "en", "card_title": "", "card_text": "", "card_contacts": ""}
    assert page.post(address, empty).status_code == 302
    assert list(_card(study)) == ["nl"]
    refused = page.post(address, {**form, "card_language": "en", "card_contacts": "Line: ring"})
    assert refused.status_code == 400
    assert "cannot be dialled" in refused.content.decode()
    assert "Line: ring" in refused.content.decode(), "what was typed is given back"


def _card(study: Study) -> dict[str, Any]:
    current = current_crisis_card(study)
    assert current is not None
    return current.card
