"""Settings come from the environment; what is wrong or missing is named at start, all at once, and no secret with it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ema_server.common import env
from ema_server.common.addresses import AddressError, broker_from_url, database_from_url, shown, without_secrets

ROOT = Path(__file__).resolve().parents[3]
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
PRODUCTION = {
    "EMA_PRODUCTION": "1",
    "EMA_HOSTS": "ema.example.org",
    "EMA_SECRET_KEY": "kR9-xQ2_mT7w" * 5,
    "EMA_MASTER_KEY": KEY,
    "DATABASE_URL": "postgresql://ema:secret@127.0.0.1:1/ema",
    "BROKER_URL": "redis://:secret@127.0.0.1:1/0",
}
WRONG = {
    **PRODUCTION,
    "EMA_DEBUG": "1",
    "EMA_TLS": "0",
    "EMA_HOSTS": "*",
    "EMA_SECRET_KEY": "hunter2",
    "EMA_MASTER_KEY": "hunter2",
    "DATABASE_URL": "mysql://me:hunter2@localhost/ema",
    "BROKER_URL": "redis://:hun/ter2@localhost:6379/0",
}


@pytest.fixture(autouse=True)
def no_fault_is_left_over() -> Iterator[None]:
    env._faults.clear()
    yield
    env._faults.clear()


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EMA_", "DATABASE_", "BROKER_", "KEYS_"))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_production_settings_pass_the_deployment_check_without_a_warning() -> None:
    answer = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "System check identified no issues" in answer.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "migrate"],
        ["manage.py", "check"],
        ["-m", "gunicorn", "--config", "python:ema_server.gunicorn", "ema_server.wsgi"],
        ["-m", "celery", "--app", "ema_server", "worker"],
        ["-m", "celery", "--app", "ema_server", "beat"],
    ],
    ids=["manage.py migrate", "manage.py check", "web", "worker", "beat"],
)
def test_every_process_names_all_faults_at_once_and_ends(command: list[str]) -> None:
    answer = run(*command, **WRONG)
    said = answer.stdout + answer.stderr
    assert answer.returncode == 2
    assert said.startswith("7 settings of the environment cannot be used:\n")
    for name in ("EMA_DEBUG", "EMA_TLS", "EMA_HOSTS", "EMA_SECRET_KEY", "EMA_MASTER_KEY", "DATABASE_URL", "BROKER_URL"):
        assert f"  {name}" in said
    assert said.count("Accepted: ") == 7
    assert "hun" not in said
    assert "ter2" not in said
    assert "Traceback" not in said


def test_production_names_what_is_missing_and_starts_no_server_of_its_own(tmp_path: Path) -> None:
    answer = run("manage.py", "migrate", EMA_PRODUCTION="1", EMA_VAR=str(tmp_path / "var"))
    assert answer.returncode == 2
    for name in ("DATABASE_URL", "BROKER_URL", "EMA_SECRET_KEY", "EMA_MASTER_KEY", "EMA_HOSTS"):
        assert f"  {name} is not set. Accepted: " in answer.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMA_HOSTS", "https://ema.example.org"),
        ("EMA_HOSTS", "ema.example.org:8000"),
        ("EMA_HOSTS", ".example.org"),
        ("EMA_PUBLIC_URL", "http://ema.example.org"),
        ("EMA_PUBLIC_URL", "https://ema.example.org?here"),
        ("EMA_MAIL_FROM", "no address"),
        ("EMA_MAIL_FROM", "ema@example.org\nBcc: all@example.org"),
        ("EMA_BIND", "127.0.0.1:99999"),
        ("DATABASE_URL", "onlyapassword"),
        ("DATABASE_URL", "postgresql://db.example.org/ema?option=onlyapassword"),
    ],
)
def test_what_would_fail_only_later_is_named_at_the_start(name: str, value: str) -> None:
    answer = run("manage.py", "check", **{**PRODUCTION, name: value})
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"One setting of the environment cannot be used:\n  {name}")
    assert "onlyapassword" not in answer.stderr


def faults() -> str:
    with pytest.raises(env.SettingError) as raised:
        env.refuse_faults()
    return str(raised.value)


def test_readers_collect_faults_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "perhaps")
    monkeypatch.setenv("B", "12x")
    monkeypatch.setenv("D", "blue")
    assert env.env_bool("A", default=True) is True
    assert env.env_int("B", 4, at_least=1, at_most=9) == 4
    assert env.env_choice("D", "json", ["json", "plain"]) == "json"
    text = faults()
    assert "A='perhaps' is neither true nor false. Accepted: 1 or 0." in text
    assert "B='12x' is no such whole number. Accepted: 1 to 9." in text
    assert "D='blue' is none of the choices. Accepted: json or plain." in text
    env.refuse_faults()  # told once


def test_tls_options_of_an_address_reach_the_driver(tmp_path: Path) -> None:
    root = tmp_path / "root.crt"
    root.touch()
    found = database_from_url(
        f"postgresql://me:p%2Fw%40@db.example.org:6432/ema?sslmode=verify-full&sslrootcert={root}&connect_timeout=9"
    )
    assert found["OPTIONS"] == {"connect_timeout": "9", "sslmode": "verify-full", "sslrootcert": str(root)}
    assert (found["USER"], found["PASSWORD"]) == ("me", "p/w@")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example.org", "6432", "ema")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslmode=on", "sslmode=on, which is none of disable, allow"),
        ("sslrootcert=/nowhere/root.crt", "sslrootcert=/nowhere/root.crt, which is no file"),
        ("tls=1", 'invalid URI query parameter: "tls"'),
    ],
)
def test_a_tls_option_that_would_be_ignored_is_refused(query: str, words: str) -> None:
    with pytest.raises(AddressError) as raised:
        database_from_url(f"postgresql://me:hunter2@localhost/ema?{query}")
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "password", ["hun/ter2", "hun?ter2", "hun#ter2", "hun@ter2", "hun:ter2", "/hunter2", "hu/n=ter2"]
)
@pytest.mark.parametrize(("read", "scheme"), [(database_from_url, "postgresql"), (broker_from_url, "redis")])
def test_no_spelling_of_a_password_is_shown(read: object, scheme: str, password: str) -> None:
    assert callable(read)
    url = f"{scheme}://me:{password}@localhost:1/0"
    try:
        read(url)
        said = ""
    except AddressError as error:
        said = str(error)
    assert "ter2" not in said + shown(url)
    assert "hun" not in said + shown(url)
    assert without_secrets("Port could not be cast to integer value as 'hun'", "redis://:hun/x@h") == (
        "Port could not be cast to integer value as '…'"
    )


def test_master_keys_are_numbered_newest_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A", KEY)
    assert env.env_keys("A", tmp_path / "key") == {1: bytes(range(32))}
    monkeypatch.setenv("A", f"2:{OTHER_KEY},1:{KEY}")
    assert list(env.env_keys("A", tmp_path / "key")) == [2, 1]
    env.refuse_faults()


@pytest.mark.parametrize(
    "value", ["x", KEY[:-8], f"{KEY},{KEY}", f"1:{KEY},2:{OTHER_KEY}", f"0:{KEY}", f"one:{KEY}", f"2:{KEY},", KEY * 2]
)
def test_a_master_key_that_cannot_be_one_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("A", value)
    env.env_keys("A", tmp_path / "key")
    said = faults()
    assert "A has" in said
    assert KEY[:8] not in said


def test_a_key_of_ones_own_is_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "master.key"
    made = env.env_keys("NOT_SET", file)
    assert len(made[1]) == 32
    assert env.env_keys("NOT_SET", file) == made
    assert oct(file.stat().st_mode)[-3:] == "600"
    assert [path.name for path in file.parent.iterdir()] == ["master.key"]


def test_an_emptied_key_file_is_refused_and_not_replaced(tmp_path: Path) -> None:
    """A new key in its place would make everything that is sealed unreadable for ever."""
    file = tmp_path / "master.key"
    file.touch()
    env.env_keys("NOT_SET", file)
    assert "is empty" in faults()
    assert file.read_text() == ""
