"""The page: what is there, a download that is written down, free text for owners alone."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from django.test import Client

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.exports.models import Export
from ema_server.ledger.models import AuditEvent
from ema_server.reports import dataset
from ema_server.reports.services import produce_report
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import add_member
from tests.server.exports.cast import FULL, crowded_study
from tests.world import PLAN, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[3]


def member(study: Study, role: str) -> tuple[User, Client]:
    user = researcher()
    add_member(study=study, user=user, role=Membership.Role(role))
    client = Client()
    client.force_login(user)
    return user, client


def take(client: Client, study: Study, **asked: str) -> Any:
    return client.post(f"/studies/{study.slug}/data/", {"shape": "prompts", "format": "csv", "as_of": "now", **asked})


def test_a_download_is_the_file_with_its_digest_in_history_and_trail() -> None:
    study, _ = crowded_study()
    user, client = member(study, "analyst")
    answer = take(client, study)
    data = b"".join(answer.streaming_content)
    export = Export.objects.get()
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].endswith('.csv"')
    assert "no-store" in answer["Cache-Control"] or "no-cache" in answer["Cache-Control"]
    assert data == dataset.as_csv(dataset.load(study, export.cutoff, PLAN))
    assert (export.by, export.rows, export.digest) == (user, 84, hashlib.sha256(data).hexdigest())
    started, ended = AuditEvent.objects.filter(action__startswith="data.export").order_by("number")
    assert (started.action, ended.action) == ("data.export_started", "data.exported")
    assert ended.changes == {
        "shape": "prompts", "format": "csv", "rows": 84, "with_text": False, "digest": export.digest,
    }  # fmt: skip
    page = client.get(f"/studies/{study.slug}/data/").content.decode()
    assert export.digest[:12] in page
    assert str(user) in page


@pytest.mark.django_db(transaction=True)
def test_a_download_that_is_broken_off_stays_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = crowded_study()
    monkeypatch.setattr(dataset, "ROWS", 1)
    _, client = member(study, "owner")
    answer = take(client, study)
    next(iter(answer.streaming_content))
    answer.close()
    export = Export.objects.get()
    assert (export.finished_at, export.digest) == (None, "")
    assert [event.action for event in AuditEvent.objects.filter(about=f"export:{export.pk}")] == ["data.export_started"]
    assert "not finished" in client.get(f"/studies/{study.slug}/data/").content.decode()


def test_free_text_is_for_owners_and_only_where_it_is_asked_for() -> None:
    study, _ = crowded_study()
    _, analyst = member(study, "analyst")
    _, owner = member(study, "owner")
    assert take(analyst, study, shape="answers", with_text="yes").status_code == 403
    assert not Export.objects.exists()
    assert "with_text" not in analyst.get(f"/studies/{study.slug}/data/").content.decode()
    without = b"".join(take(owner, study, shape="answers").streaming_content)
    text = b"".join(take(owner, study, shape="answers", with_text="yes").streaming_content)
    assert "بسبب".encode() not in without
    assert "بسبب".encode() in text
    assert FULL["weight"] in pd.read_csv(io.BytesIO(text))["number"].tolist()
    assert Export.objects.filter(with_text=True).count() == 1
    assert AuditEvent.objects.filter(action="data.exported", changes__with_text=True).count() == 1


def test_what_cannot_be_is_said_on_the_page() -> None:
    study, _ = crowded_study()
    _, owner = member(study, "owner")
    for asked, said in (
        ({"format": "docx"}, "there are csv, parquet, spss, bundle"),
        ({"shape": "people"}, "there are prompts, answers"),
        ({"with_text": "yes"}, "ask for the answers, one row each"),
    ):
        answer = take(owner, study, **asked)
        assert answer.status_code == 400
        assert said in answer.content.decode()
    assert not Export.objects.exists()


@pytest.mark.parametrize("format", ["parquet", "spss", "bundle"])
def test_every_format_comes_whole(format: str) -> None:
    study, _ = crowded_study()
    _, client = member(study, "analyst")
    data = b"".join(take(client, study, format=format).streaming_content)
    assert Export.objects.get().digest == hashlib.sha256(data).hexdigest()
    if format == "bundle":
        assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


def test_a_download_of_the_newest_report_has_its_data_hash() -> None:
    study = live_study()
    phone = FakePhone(study).enrolled()
    phone.submit(phone.item(0))
    report = produce_report(study=study, night=clock.now().date(), now=clock.now())
    phone.submit(phone.item(1))
    _, client = member(study, "analyst")
    data = b"".join(take(client, study, as_of="report").streaming_content)
    assert hashlib.sha256(data).hexdigest() == report.data_hash


def test_a_sealed_study_says_what_raw_data_mean() -> None:
    study = live_study(plan={**PLAN, "mode": "conduct"})
    phone = FakePhone(study).enrolled()
    phone.submit(phone.item(0))
    _, client = member(study, "analyst")
    assert "can fit the models themselves" in client.get(f"/studies/{study.slug}/data/").content.decode()


def test_a_study_without_data_says_so_and_shows_its_codebook() -> None:
    study = live_study()
    _, client = member(study, "analyst")
    assert "No data yet" in client.get(f"/studies/{study.slug}/data/").content.decode()
    assert "Stress?" in client.get(f"/studies/{study.slug}/data/codebook/").content.decode()


def test_the_codebook_page_has_every_column_in_every_language() -> None:
    study, _ = crowded_study()
    _, client = member(study, "analyst")
    for shape in ("prompts", "answers"):
        page = client.get(f"/studies/{study.slug}/data/codebook/?shape={shape}").content.decode()
        assert "<code>person</code>" in page
    page = client.get(f"/studies/{study.slug}/data/codebook/").content.decode()
    assert 'lang="ar" dir="rtl"' in page
    assert "style=" not in page


def test_a_web_process_that_exports_nothing_loads_no_pandas() -> None:
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'ema_server.settings'; import django; django.setup(); "
        "import ema_server.urls; sys.exit('pandas' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
