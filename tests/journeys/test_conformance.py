"""The conformance kit finds nothing wrong with this server, and finds exactly what is wrong with a broken one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.phone_stack import ROOT, PhoneStack, phone_stack

BROKEN = {
    "submit.duplicate", "submit.canonical", "submit.conflict", "submit.permutations", "submit.evidence", "submit.same-id-at-once",
    "submit.cut-before-the-answer", "people.ids", "credential.new-phone", "rights.withdraw",  # stored instead of duplicate
    "manifest.truthful", "rights.export",  # an item that was swallowed
    "bad.nul",  # a 500
    "body.501-items",  # a limit that is not said
    "sync.unchanged",  # another ETag each time
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhoneStack]:
    with phone_stack(tmp_path_factory.mktemp("kit"), "kept", "broken", "few") as found:
        yield found


def run(address: str, codes: list[str], into: Path, *more: str) -> tuple[int, str, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "conformance", "--url", address, "--json", str(into), *more]
    for code in codes:
        command += ["--code", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    results = json.loads(into.read_text())["results"]
    return done.returncode, done.stdout, {each["id"]: each for each in results}


def test_this_server_keeps_every_promise(stack: PhoneStack, tmp_path: Path) -> None:
    with stack.served() as address:
        status, words, results = run(address, stack.codes["kept"][:4], tmp_path / "kept.json")
    not_passed = {name: each["evidence"] for name, each in results.items() if each["verdict"] != "PASS"}
    assert not_passed == {}
    assert status == 0
    assert f"{len(results)} passed, 0 failed, 0 skipped" in words


def test_a_broken_server_fails_exactly_what_it_breaks(stack: PhoneStack, tmp_path: Path) -> None:
    with stack.served("tests.journeys.broken_server") as address:
        status, _, results = run(address, stack.codes["broken"][:4], tmp_path / "broken.json")
    failed = {name: each["evidence"] for name, each in results.items() if each["verdict"] == "FAIL"}
    assert set(failed) == BROKEN, {name: failed.get(name) for name in set(failed) ^ BROKEN}
    assert status == 1


def test_with_one_code_what_needs_more_is_skipped_with_words(stack: PhoneStack, tmp_path: Path) -> None:
    with stack.served() as address:
        status, words, results = run(address, stack.codes["few"][:1], tmp_path / "few.json", "--only", "rights.")
    skipped = {name: each["evidence"] for name, each in results.items() if each["verdict"] == "SKIP"}
    assert set(skipped) == {"rights.pause", "rights.others", "rights.withdraw", "rights.erase"}
    assert "needs 4 codes and 1 came" in skipped["rights.erase"]
    assert status == 0
    assert "SKIP" in words


def test_where_nothing_answers_the_status_is_two() -> None:
    command = [sys.executable, "-m", "conformance", "--url", "http://127.0.0.1:9", "--code", "X"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "does not answer" in done.stderr
