"""The page of the person table: checked first, then stored; what was checked is what is stored."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from ema_server.accounts.models import User
from ema_server.participants.models import PersonTable
from ema_server.participants.services import invite
from ema_server.studies.models import Study
from tests.world import NOW, live_study, researcher

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return researcher()


@pytest.fixture
def study(owner: User) -> Study:
    study = live_study(owner)
    for pseudonym in ("P1", "P2"):
        invite(study=study, pseudonym=pseudonym, now=NOW)
    return study


def post(owner: User, study: Study, content: bytes, *, do: str = "check", **said: Any) -> Any:
    client = Client()
    client.force_login(owner)
    file = SimpleUploadedFile("baseline.csv", content)
    return client.post(f"/studies/{study.slug}/people-data/", {"file": file, "do": do, **said}, follow=True)


def checked(page: str) -> str:
    found = re.search(r'name="checked" value="(\w+)"', page)
    assert found is not None
    return found[1]


def test_an_empty_page_says_what_to_do(owner: User, study: Study) -> None:
    client = Client()
    client.force_login(owner)
    page = client.get(f"/studies/{study.slug}/people-data/").content.decode()
    assert "Nothing is imported yet" in page
    assert "The study has 2 participants." in page


def test_a_file_is_told_and_stored_when_it_comes_again(owner: User, study: Study) -> None:
    content = b"id,age,group\nP1,40,a\np02,50,b\n"
    page = post(owner, study, content).content.decode()
    assert "Row 3: p02 (is P2 meant?)" in page
    assert "Store 1 row<" in page
    assert not PersonTable.objects.exists()
    stored = post(owner, study, content, do="store", checked=checked(page)).content.decode()
    assert "Version 1 is stored" in stored
    assert PersonTable.objects.get().imported_by == owner.audit_name
    assert str(owner) in stored
    assert PersonTable.objects.get().digest[:12] in stored


def test_another_file_or_other_words_are_not_stored(owner: User, study: Study) -> None:
    page = post(owner, study, b"id,age\nP1,40\n").content.decode()
    for content, said in ((b"id,age\nP1,41\n", {}), (b"id,age\nP1,40\n", {"types": "age=category"})):
        answer = post(owner, study, content, do="store", checked=checked(page), **said)
        assert answer.status_code == 400
        assert "is not what was checked" in answer.content.decode()
    assert not PersonTable.objects.exists()


def test_what_cannot_be_read_is_told_and_what_was_said_is_kept(owner: User, study: Study) -> None:
    answer = post(owner, study, b"id,email\nP1,x\n", missing="-99")
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "may say who somebody is" in page
    assert 'value="-99"' in page
    client = Client()
    client.force_login(owner)
    assert "Choose the CSV file" in client.post(f"/studies/{study.slug}/people-data/").content.decode()


def test_a_table_of_nobody_cannot_be_stored(owner: User, study: Study) -> None:
    page = post(owner, study, b"id,age\nX1,40\n").content.decode()
    assert "there is nothing to store" in page
    assert 'value="store"' not in page
