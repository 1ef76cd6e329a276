"""What docs/phone-api.md tells an app developer to type works as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.phone_stack import ROOT, PhoneStack, phone_stack

GUIDE = (ROOT / "docs" / "phone-api.md").read_text()
HOST = "https://ema.example.org"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, flags=re.M | re.S)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PhoneStack, str]]:
    with phone_stack(tmp_path_factory.mktemp("guide"), "guide") as stack, stack.served() as address:
        yield stack, address


def typed(text: str, address: str, codes: list[str]) -> str:
    """With this test's server and codes in place of the guide's."""
    for name, code in zip(("ABCDE-FGHJK", "LMNPQ-RSTUV", "CODE1", "CODE2", "CODE3", "CODE4"), codes, strict=False):
        text = text.replace(name, f"{code[:5]}-{code[5:]}")
    return text.replace(HOST, address)


def run(command: list[str], tmp_path: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


def test_the_first_answer_by_curl(served: tuple[PhoneStack, str], tmp_path: Path) -> None:
    stack, address = served
    said = run(["sh", "-euc", typed(blocks("sh")[0], address, stack.codes["guide"])], tmp_path)
    assert "304\n" in said
    assert '"status":"stored"' in said
    assert '"7c2f7a52-3f1f-4d5e-9a55-0d6f2f0c1b01":"stored"' in said


def test_the_first_answer_in_python(served: tuple[PhoneStack, str], tmp_path: Path) -> None:
    stack, address = served
    (program,) = blocks("python")
    said = run([sys.executable, "-c", typed(program, address, stack.codes["guide"])], tmp_path)
    assert said.splitlines()[-2:] == ["Counter({'stored': 1})", "Counter({'proved': 1, 'missing': 0})"]
    assert said.count("ring for prompt") > 10


def test_the_conformance_kit_by_the_guides_own_words(served: tuple[PhoneStack, str], tmp_path: Path) -> None:
    stack, address = served
    run(["sh", "-euc", typed(blocks("sh")[1], address, stack.codes["guide"])], tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert {each["verdict"] for each in results} == {"PASS"}


def test_examples_are_json_and_diagrams_are_diagrams() -> None:
    for example in blocks("json"):
        json.loads(example)
    diagrams = blocks("mermaid")
    assert len(diagrams) == 5
    assert all(each.startswith("sequenceDiagram\n") for each in diagrams)
    known = {"sh", "python", "json", "mermaid"}
    assert set(re.findall(r"^```(\w+)$", GUIDE, flags=re.M)) == known
