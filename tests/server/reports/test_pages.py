"""What a researcher sees, and what nobody else does."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.reports.models import Report
from ema_server.reports.services import produce_report
from ema_server.studies.models import Study
from tests.server.reports.test_nights import answered_study
from tests.world import PLAN, live_study, researcher

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def reported(**more: Any) -> tuple[Study, Report, User]:
    owner = researcher()
    phone = answered_study(owner=owner, **more)
    return phone.study, produce_report(study=phone.study, night=clock.now().date(), now=clock.now()), owner


class Structure(HTMLParser):
    """Headings, links and ids of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.pictures_without_label = 0
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(tag)
        if "id" in names:
            self.ids.append(names["id"] or "")
        if tag == "svg" and not (names.get("aria-hidden") or names.get("aria-label")):
            self.pictures_without_label += 1
        self.inline += [name for name in names if name == "style" or name.startswith("on")]


def test_a_stranger_is_sent_to_log_in_and_back() -> None:
    study, _, owner = reported()
    address = f"/studies/{study.slug}/report/"
    answer = Client().get(address)
    assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={address}")
    back = Client().post("/login/", {"username": owner.email.upper(), "password": PASSWORD, "next": address})
    assert (back.status_code, back["Location"]) == (302, address)


def test_a_wrong_password_is_told_without_saying_which_was_wrong() -> None:
    owner = researcher()
    pages = [
        Client().post("/login/", {"username": name, "password": "wrong"}).content.decode()
        for name in (owner.email, "nobody@example.org")
    ]
    assert all("do not belong together" in page for page in pages)


def test_after_login_nobody_is_led_to_another_site() -> None:
    owner = researcher()
    answer = Client().post("/login/?next=https://evil.example/", {"username": owner.email, "password": PASSWORD})
    assert answer["Location"] == "/"


def test_the_report_shows_its_finding_sentences_and_hashes() -> None:
    study, report, owner = reported()
    page = logged_in(owner).get(f"/studies/{study.slug}/report/").content.decode()
    (model,) = report.results["models"]
    for words in (
        model["finding"],
        model["within"]["sentence"],
        model["between"]["sentence"],
        report.data_hash,
        report.plan_hash,
        report.code_version,
        "Moment and day are not separated yet",
    ):
        assert words in page


def test_another_study_answers_like_a_missing_one() -> None:
    study, report, _ = reported()
    other = logged_in(researcher())
    for address in (
        f"/studies/{study.slug}/report/",
        f"/studies/{study.slug}/report/{report.pk}/",
        "/studies/no-such-study/report/",
    ):
        assert other.get(address).status_code == 404
    assert study.title not in other.get("/").content.decode()


def test_a_run_is_found_under_its_own_study_alone() -> None:
    study, report, owner = reported()
    mine = live_study(owner)
    client = logged_in(owner)
    assert client.get(f"/studies/{study.slug}/report/{report.pk}/").status_code == 200
    assert client.get(f"/studies/{mine.slug}/report/{report.pk}/").status_code == 404


def test_without_a_report_the_page_says_what_comes_and_what_to_do() -> None:
    owner = researcher()
    study = live_study(owner)
    page = logged_in(owner).get(f"/studies/{study.slug}/report/").content.decode()
    assert "The first report will stand here" in page
    assert f"run_night --study {study.slug}" in page
    assert "No study yet" in logged_in(researcher()).get("/").content.decode()


def test_a_sealed_study_shows_no_estimate_anywhere() -> None:
    study, _, owner = reported(plan={**PLAN, "mode": "conduct"})
    for address in (f"/studies/{study.slug}/report/", "/"):
        page = logged_in(owner).get(address).content.decode()
        assert "ealed" in page
        for word in ("Within", "Between", "per typical within-person step", "log-likelihood", "own slope"):
            assert word not in page


def test_a_failed_model_is_told_in_words() -> None:
    broken = {**PLAN, "models": [{**PLAN["models"][0], "formula": "stress ~ within(support) + mood + (1 | person)"}]}
    study, _, owner = reported(plan=broken)
    page = logged_in(owner).get(f"/studies/{study.slug}/report/").content.decode()
    assert "could not be fitted" in page
    assert "mood" in page


def test_what_people_typed_is_never_markup() -> None:
    plan = {**PLAN, "models": [{**PLAN["models"][0], "title": "<script>alert(1)</script>"}]}
    plan["models"][0]["outcome"] = {**plan["models"][0]["outcome"], "label": "<img src=x>", "axis": "<img src=x>"}
    study, _, owner = reported(plan=plan)
    Study.objects.update(title="<b>bold</b>", source="<script>alert(2)</script>")
    for address in (f"/studies/{study.slug}/report/", "/"):
        page = logged_in(owner).get(address).content.decode()
        for markup in ("<script>alert", "<img", "<b>bold"):
            assert markup not in page


def test_the_page_is_in_order_for_those_who_cannot_see_it() -> None:
    study, _, owner = reported()
    for address in (f"/studies/{study.slug}/report/", "/", "/login/"):
        client = Client() if address == "/login/" else logged_in(owner)
        page = Structure(client.get(address).content.decode())
        assert page.headings.count("h1") == 1
        assert len(page.ids) == len(set(page.ids))
        assert page.pictures_without_label == 0
        assert page.inline == [], "inline styles and handlers would break a strict content policy"
