"""The file of a backup: whole or not there, and any byte that changed is noticed."""

from __future__ import annotations

import errno
import fcntl
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ema_server.backup import archive, services
from ema_server.backup.archive import BadArchive, Manifest, new_archive, open_archive

NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)


def manifest(**more: int) -> Manifest:
    return Manifest(store="main", server=None, moment="", code="1", migrations={}, **more)


def written(path: Path, **more: int) -> Path:
    with new_archive(path, manifest(**more)) as writer:
        writer.add("people", ["id", "name"], [b"1\tAnn\\n\n", b"2\t\\N\n"])
        writer.add("empty", ["id"], [])
    return path


def test_what_went_in_comes_out_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.backup")
    assert oct(path.stat().st_mode)[-3:] == "600"
    with open_archive(path, store="main") as opened:
        assert list(opened.rows("people")) == [{"id": b"1", "name": b"Ann\\n"}, {"id": b"2", "name": None}]
        assert (opened.manifest.rows, opened.manifest.tables["empty"].rows) == (2, 0)
    assert zipfile.ZipFile(path).testzip() is None, "any ZIP program can open it"


def test_a_byte_that_changed_anywhere_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.backup")
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(BadArchive, match=r"damaged|no whole backup"), open_archive(path, store="main"):
            pass
    for size in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(BadArchive, match="no whole backup"), open_archive(path, store="main"):
            pass


def test_rows_that_differ_from_their_own_digest_are_noticed_although_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    with new_archive(path, manifest()) as writer:
        writer.add("people", ["id"], [b"1\n"])
        writer.manifest.tables["people"].sha256 = "0" * 64
    with pytest.raises(BadArchive, match="the rows of people"), open_archive(path, store="main"):
        pass


def test_a_file_of_a_newer_version_or_of_the_other_store_is_refused(tmp_path: Path) -> None:
    newer = written(tmp_path / "a.backup", format=archive.FORMAT + 1)
    with pytest.raises(BadArchive, match="format 2, written by a newer version"), open_archive(newer, store="main"):
        pass
    main = written(tmp_path / "b.backup")
    with pytest.raises(BadArchive, match="after --keys"), open_archive(main, store="keys"):
        pass
    with pytest.raises(BadArchive, match="No such file"), open_archive(tmp_path / "c", store="main"):
        pass


def test_a_backup_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def full_disk() -> Iterator[bytes]:
        yield b"1\n" * 10_000
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"), new_archive(tmp_path / "a.backup", manifest()) as writer:
        writer.add("people", ["id"], full_disk())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_backup_left_is_removed_and_one_that_is_being_written_stays(tmp_path: Path) -> None:
    dead, alive = tmp_path / "a.backup.unfinished", tmp_path / "b.backup.unfinished"
    dead.write_bytes(b"half")
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert archive.remove_unfinished(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [alive.name]


def test_old_backups_of_this_store_are_removed_and_nothing_else(tmp_path: Path) -> None:
    names = [
        "ema-main-20260331T030000Z.backup",  # 31 days
        "ema-main-20260402T030000Z.backup",  # 29 days
        "ema-keys-20260331T030000Z.backup",
        "ema-main-20260331T030000Z.backup.txt",
        "notes-20200101T000000Z.backup",
    ]
    for name in names:
        (tmp_path / name).touch()
    removed = services.remove_old(tmp_path, store="main", keep=timedelta(days=30), now=NOW)
    assert [path.name for path in removed] == names[:1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_two_backups_in_one_second_are_two_files(tmp_path: Path) -> None:
    first = services._free_name(tmp_path, "main", NOW)
    first.touch()
    second = services._free_name(tmp_path, "main", NOW)
    assert (first.name, second.name) == ("ema-main-20260501T030000Z.backup", "ema-main-20260501T030000Z-2.backup")
    second.touch()
    removed = services.remove_old(tmp_path, store="main", keep=timedelta(days=1), now=NOW + timedelta(days=2))
    assert len(removed) == 2


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    content = json.loads(zipfile.ZipFile(written(tmp_path / "a.backup")).read("manifest.json"))
    assert content["tables"]["people"]["rows"] == 2
