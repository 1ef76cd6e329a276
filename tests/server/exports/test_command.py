"""`manage.py export_dataset`: the file whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pyreadstat
import pytest
from django.core.management import CommandError, call_command

from ema_server.common.whole_file import whole_file
from ema_server.exports import delivery
from ema_server.exports.models import Export
from ema_server.ledger.models import AuditEvent
from tests.server.exports.cast import crowded_study
from tests.world import live_study

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.django_db
@pytest.mark.parametrize("shape", ["prompts", "answers"])
def test_the_ending_says_the_format(shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, _ = crowded_study()
    for ending in ("csv", "parquet", "sav", "zip"):
        call_command("export_dataset", study.slug, out=tmp_path / f"x.{ending}", shape=shape)
    rows = len(pd.read_csv(tmp_path / "x.csv"))
    assert rows == pq.read_metadata(tmp_path / "x.parquet").num_rows
    assert rows == pyreadstat.read_sav(tmp_path / "x.sav", metadataonly=True)[1].number_rows
    said = capsys.readouterr()
    assert f"{rows} rows" in said.out
    assert "has no report yet: these are the data as they are now." in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.parquet", "x.sav", "x.zip"]
    assert {export.by for export in Export.objects.all()} == {None}
    assert AuditEvent.objects.filter(action="data.exported", actor="server").count() == 4


@pytest.mark.django_db
def test_into_a_folder_it_has_a_name_of_its_own(tmp_path: Path) -> None:
    study, _ = crowded_study()
    call_command("export_dataset", study.slug, out=tmp_path, cutoff="2026-03-04", format="parquet")
    (file,) = tmp_path.iterdir()
    assert file.name == f"{study.slug}-prompts-2026-03-04.parquet"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "x.docx"}, r"end it with \.csv, \.parquet, \.sav, \.zip, or say --format"),
        ({"out": "x.csv", "cutoff": "yesterday"}, "--cutoff 'yesterday' is no time; write one like 2026-03-15"),
        ({"out": "x.csv", "with_text": True}, "ask for the answers, one row each"),
        ({"out": "nowhere/x.csv"}, "cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    study = live_study()
    with pytest.raises(CommandError, match=said):
        call_command("export_dataset", study.slug, **{**options, "out": tmp_path / options["out"]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_a_full_disk_is_told_with_what_is_free_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = crowded_study()

    def full(*args: Any, **more: Any) -> Any:
        yield b"x" * 1000
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(delivery.files, "written", full)
    (tmp_path / "x.csv").write_text("the older file")
    with pytest.raises(CommandError, match=r"The disk is full after 0 MB; .* MB free"):
        call_command("export_dataset", study.slug, out=tmp_path / "x.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.csv", "the older file")]
    assert Export.objects.get().finished_at is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_writer_leaves_no_file(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "import sys, time, signal; from pathlib import Path; from ema_server.common.whole_file import whole_file\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "with whole_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('there', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "x.csv")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"there\n"
    writer.send_signal(how)
    writer.wait(timeout=20)
    writer.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_takes_its_name_when_it_is_whole_also_where_files_need_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nameless in (True, False):
        if not nameless:
            monkeypatch.delattr(os, "O_TMPFILE")
        with whole_file(tmp_path / "x", mode=0o600) as file:
            file.write(b"new")
            assert not (tmp_path / "x").exists() or (tmp_path / "x").read_bytes() == b"new"
        assert (tmp_path / "x").read_bytes() == b"new"
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
        with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "y") as file:
            file.write(bytes(1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.django_db(transaction=True)
def test_a_killed_export_leaves_no_file(tmp_path: Path) -> None:
    """By the command itself, in a process of its own, killed while it reads."""
    study, _ = crowded_study()
    from django.conf import settings

    database = settings.DATABASES["default"]
    address = os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{database['NAME']}"
    code = (
        "import sys, time; from django.core.management import call_command; import django; django.setup()\n"
        "from ema_server.exports import delivery\n"
        "def slow(*args, **more):\n"
        "    yield b'half'; print('there', flush=True); time.sleep(60)\n"
        "delivery.files.written = slow\n"
        "call_command('export_dataset', sys.argv[1], out=__import__('pathlib').Path(sys.argv[2]))\n"
    )
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "ema_server.settings", "DATABASE_URL": address,
        "KEYS_DATABASE_URL": os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{settings.DATABASES['keys']['NAME']}",
    }  # fmt: skip
    command = subprocess.Popen(
        [sys.executable, "-c", code, study.slug, str(tmp_path / "x.csv")], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert command.stdout is not None
    assert command.stderr is not None
    assert command.stdout.readline() == b"there\n", command.stderr.read().decode()
    command.kill()
    command.communicate(timeout=20)
    time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []
    assert Export.objects.get().finished_at is None
