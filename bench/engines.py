"""The engines as processes: each in its own environment, asked over a pipe (worker.py, lme4.R)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.data import CACHE

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-bench" / "bin" / "python"
R_PACKAGES = ("lme4", "lmerTest", "pbkrtest", "nlme")

COMMANDS = {
    "ours": [sys.executable, "-m", "bench.worker", "analysis"],
    "mixedlm-rs": [str(PEERS), "-m", "bench.worker", "mixedlm_rs"],
    "mixedlm": [str(PEERS), "-m", "bench.worker", "mixedlm"],
    "lme4": ["Rscript", "--vanilla", str(ROOT / "bench" / "lme4.R")],
}


class EngineError(RuntimeError):
    """An engine's call failed, or its process ended."""


class Engine(AbstractContextManager["Engine"]):
    """A running engine. What it prints goes to var/bench/ENGINE.log."""

    def __init__(self, name: str) -> None:
        self.name = name
        CACHE.mkdir(parents=True, exist_ok=True)
        self._log = (CACHE / f"{name}.log").open("w")
        self._process = subprocess.Popen(
            COMMANDS[name], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def run(self, code: str) -> None:
        """Run statements outside the clock."""
        self._ask("exec", code)

    def time(self, call: str) -> float:
        """Seconds of an expression; its value is kept as `result`."""
        return float(self._ask("time", call))

    def value(self, expression: str) -> Any:
        return json.loads(self._ask("get", expression))

    def _ask(self, verb: str, code: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{verb} {code}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise EngineError(f"{self.name}: {answer or 'the process ended'} (asked to {verb}: {code})")
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


@cache
def r_versions() -> dict[str, str]:
    """Versions of R and of the packages that are compared; empty where one is missing."""
    if shutil.which("Rscript") is None:
        return {}
    packages = ", ".join(f"{name} = as.character(packageVersion('{name}'))" for name in R_PACKAGES)
    code = f"v <- c(R = as.character(getRversion()), {packages}); cat(paste(names(v), v), sep = '\\n')"
    done = subprocess.run(["Rscript", "--vanilla", "-e", code], capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines()) if done.returncode == 0 else {}


@cache
def peer_versions() -> dict[str, str]:
    """Versions in the peers' environment."""
    code = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in ['mixedlm-rs', 'mixedlm', 'numpy', 'scipy']}))"
    done = subprocess.run([str(PEERS), "-c", code], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions
