"""Phones that upload while the servers are killed, and the ledger of what they were promised.

Six phones send singles and batches to a real gunicorn, as it is shipped, on a PostgreSQL of its own. Each writes what was
acknowledged to a file of its own, synced to the disk, before it forgets its copy. A killer takes away, without asking, a web
worker, the whole web tree, a PostgreSQL backend or the postmaster, at a moment when it can show that work was under way.
At the end the database must hold what the ledgers say: all of it, once, whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import psycopg

from ema_server.common.canonical import canonical_json
from ema_server.embedded.attach import EmbeddedError
from ema_server.embedded.stack import free_port
from proofs import chaos as chaos_log
from tests.journeys.test_outage import Postgres

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = "ema_server.wsgi"
PHONES = 6
KINDS = {"worker": 5, "web": 2, "backend": 5, "postmaster": 2}  # how often, in proportion
HEALTHY_WITHIN = 10.0  # seconds after the postmaster was killed
HANGS = 25.0  # seconds: an answer that takes longer never comes
PACE = (0.1, 0.7)  # seconds between two kills, beside what getting up again takes
TEXTS = ["", "Grüße, müde", "a quarrel\nat lunch", "😀 fine", "null", '"quoted" \\ back', "ﬁ ǅ ́"]

CAST = """
import json, sys
from django_scopes import scopes_disabled
from ema_server.participants.services import invite
from tests.world import NOW, SURVEY, live_study
note = {"name": "note", "type": "text", "text": "Anything else?", "required": False}
with scopes_disabled():
    study = live_study(survey={**SURVEY, "items": [*SURVEY["items"], note]}, slug=NAME)
    codes = [
        invite(study=study, pseudonym=f"P{n + 1}", now=NOW, first_day=study.starts_on, last_day=study.ends_on)[1]
        for n in range(PHONES)
    ]
print("CAST " + json.dumps(codes))
"""
DUMP = """
import json
from django.db.models import Sum
from django_scopes import scopes_disabled
from ema_server.responses.content import merge
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.vault.services import holding_keys
with scopes_disabled(), holding_keys(), open(PATH, "w") as out:
    rows = Submission.objects.filter(study__slug=NAME).select_related("participant")
    for row in rows.iterator():
        content = merge(row.payload, row.sealed)
        out.write(json.dumps([str(row.client_id), row.participant.pseudonym, content]) + "\\n")
    uploads = Upload.objects.filter(study__slug=NAME)
    extra = {
        "conflicts": Conflict.objects.filter(submission__study__slug=NAME).count(),
        "quarantined": Quarantined.objects.filter(study__slug=NAME).count(),
        "uploads": {
            pseudonym: stored
            for pseudonym, stored in uploads.values_list("device__participant__pseudonym").annotate(n=Sum("stored"))
        },
    }
    out.write(json.dumps(extra) + "\\n")
"""


class Servers:
    """PostgreSQL and the web server, started again after each kill as a supervisor would."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.postgres = Postgres(home / "own")
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.postgres.url,
            "EMA_VAR": str(home / "web"),
            "DJANGO_SETTINGS_MODULE": "ema_server.settings",
            "EMA_BIND": f"127.0.0.1:{self.port}",
        }
        self.environment.pop("KEYS_DATABASE_URL", None)
        self.application = SHIPPED
        self.web: subprocess.Popen[bytes] | None = None
        self._admin: psycopg.Connection[Any] | None = None
        self.manage("upgrade", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_web(self) -> None:
        command = ["-m", "gunicorn", "--config", "python:ema_server.gunicorn", self.application]
        with (self.home / "web.log").open("ab") as log:
            self.web = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def workers(self) -> list[int]:
        assert self.web is not None
        try:
            return [child.pid for child in psutil.Process(self.web.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def ports_open_on(self, pids: Iterable[int]) -> set[int]:
        """The phones' ports whose connections these processes have taken."""
        found = set()
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                for each in psutil.Process(pid).net_connections("tcp"):
                    if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == self.port:
                        found.add(each.raddr.port)
        return found

    def transactions(self, pid: int | None = None) -> list[dict[str, Any]]:
        """The backends that are inside a transaction for the web server, or the one of this pid if it is."""
        try:
            if self._admin is None or self._admin.closed:
                options = {"autocommit": True, "connect_timeout": 2, "options": "-c statement_timeout=1000"}
                self._admin = psycopg.connect(self.postgres.url.rsplit("/", 1)[0] + "/postgres", **options)
            rows = self._admin.execute(
                "SELECT pid, state, coalesce(wait_event, ''), split_part(ltrim(query), ' ', 1) FROM pg_stat_activity "
                "WHERE datname = 'ema' AND backend_type = 'client backend' AND xact_start IS NOT NULL "
                "AND (%(pid)s::int IS NULL OR pid = %(pid)s)",
                {"pid": pid},
            ).fetchall()
        except psycopg.Error:
            self._admin = None
            return []
        return [dict(zip(("pid", "state", "waits_for", "statement"), row, strict=True)) for row in rows]

    def kill_web(self) -> None:
        assert self.web is not None
        os.killpg(self.web.pid, signal.SIGKILL)
        self.web.wait()

    def restart_postgres(self) -> None:
        """As often as it takes: what is left of the old one holds its memory for a moment."""
        self._admin = None
        self.postgres.process.wait()
        give_up = time.monotonic() + HEALTHY_WITHIN
        while True:
            try:
                return self.postgres.start()
            except EmbeddedError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)

    def stop_web(self) -> None:
        if self.web is not None and self.web.poll() is None:
            self.web.terminate()
            try:
                self.web.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.kill_web()

    def close(self) -> None:
        self.stop_web()
        if self._admin is not None:
            self._admin.close()
        if self.postgres.process.poll() is None:
            self.postgres.stop()


@dataclass(eq=False)
class Request:
    """One request that was sent; `outcome` is None until it is known: 200, 503, cut …"""

    phone: str
    number: int
    port: int
    items: int
    sent_at: float
    outcome: str | None = None


class Phone(threading.Thread):
    """Makes answers, sends them, and keeps each until it is acknowledged. Impatient: it retries at once, not after 10 s."""

    def __init__(self, name: str, *, port: int, code: str, home: Path, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.to, self.code, self.random = port, code, random.Random(f"{seed}/{name}")
        self.ledger = home / f"{name}.ledger"
        self.made: dict[str, dict[str, Any]] = {}
        self.outbox: list[str] = []
        self.tried: set[str] = set()
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []
        self.flight: Request | None = None
        self.served = 0.0  # when the last request was sent that was answered with receipts
        self.unheard = 0  # items whose first receipt says duplicate: stored, and the answer was lost
        self.requests = 0
        self.stopping = threading.Event()  # no new answers; the outbox is emptied
        self.token = ""

    def enrol(self) -> None:
        consent = {"version": "1", "given_at": "2026-03-01T09:00:00+01:00"}
        body = {"code": self.code, "zone": "Europe/Amsterdam", "consent": consent}
        status, _, text = self._ask("enrolments", body, items=0)
        assert status == 201, text
        self.token = json.loads(text)["token"]

    def run(self) -> None:
        with self.ledger.open("a") as ledger:
            while not (self.stopping.is_set() and not self.outbox):
                if not self.stopping.is_set() and len(self.outbox) < 60:
                    self._make(self.random.choice([1, 1, 1, 2, 8, 50]))
                self._upload(ledger)
                time.sleep(self.random.uniform(0.0, 0.03))

    def _make(self, count: int) -> None:
        for _ in range(count):
            at = datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(seconds=self.random.randrange(6 * 86400))
            item = {
                "client_id": str(UUID(int=self.random.getrandbits(128), version=4)),
                "questionnaire": "momentary",
                "survey_version": 1,
                "answers": {"support": self.random.randint(0, 100), "stress": self.random.randint(0, 100)},
                "answered_at": at.isoformat(),
            }
            if self.random.random() < 0.5:
                item["answers"] |= {"alone": self.random.random() < 0.5, "note": self.random.choice(TEXTS) * 3}
            self.made[item["client_id"]] = item
            self.outbox.append(item["client_id"])

    def _upload(self, ledger: Any) -> None:
        """One request: some of what waits, at times with something that was acknowledged long ago."""
        ids = self.random.sample(self.outbox, min(len(self.outbox), self.random.choice([1, 1, 5, 50])))
        if self.acknowledged and self.random.random() < 0.05:
            ids.append(self.random.choice(sorted(self.acknowledged)[:50]))
        if not ids:
            return
        before = self.tried | self.acknowledged
        self.tried.update(ids)
        sent_at = time.monotonic()
        try:
            status, headers, text = self._ask("submissions", {"items": [self.made[each] for each in ids]}, len(ids))
        except TimeoutError:
            self._note("hung", f"no answer in {HANGS} s")
            return
        except ConnectionRefusedError:
            self._note("refused")
            time.sleep(0.1)
            return
        except (OSError, http.client.HTTPException):
            self._note("cut")
            return
        if status == 503 and "retry-after" in headers:
            self._note("503")
            time.sleep(0.05)
            return
        if status != 200:
            self._note(str(status), f"{status}: {text[:300]}")
            return
        self._note("200")
        receipts = json.loads(text)["receipts"]
        if [each["client_id"] for each in receipts] != ids:
            self.faults.append("receipts of other items than were sent")
        for receipt in receipts:
            name, status = receipt["client_id"], receipt["status"]
            if status not in ("stored", "duplicate") or (status == "duplicate" and name not in before):
                self.faults.append(f"{name}: {receipt}")
            self.unheard += status == "duplicate" and name not in self.acknowledged
            line = {"id": name, "status": status, "sha": sha(self.made[name])}
            ledger.write(json.dumps(line) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())
        self.acknowledged.update(ids)
        self.outbox = [each for each in self.outbox if each not in self.acknowledged]
        self.served = sent_at

    def _ask(self, path: str, body: Any, items: int) -> tuple[int, dict[str, str], str]:
        """A connection for each request, as a proxy in front would: an open one is a request under way."""
        to = http.client.HTTPConnection("127.0.0.1", self.to, timeout=HANGS)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.requests += 1
        request = None
        try:
            to.connect()
            to.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
            port = to.sock.getsockname()[1]
            request = self.flight = Request(self.name, self.requests, port, items, time.monotonic())
            answer = to.getresponse()
            text = answer.read().decode()
            request.outcome = str(answer.status)
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text
        finally:
            if request is not None and request.outcome is None:
                request.outcome = "cut"
            self.flight = None
            to.close()

    def _note(self, kind: str, fault: str = "") -> None:
        self.answers[kind] += 1
        if fault:
            self.faults.append(fault)


def sha(item: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(item)).hexdigest()


@dataclass
class Kill:
    """What was hit: the requests that waited at that moment, and for PostgreSQL the transaction that was open."""

    kind: str
    pid: int
    flight: list[Request]
    acknowledged: int
    moment: float
    at: datetime
    backends: list[dict[str, Any]] = field(default_factory=list)
    healthy_after: float = 0.0

    def hit(self) -> list[Request]:
        """Those that did not end well."""
        give_up = time.monotonic() + HANGS + 5
        while any(each.outcome is None for each in self.flight) and time.monotonic() < give_up:
            time.sleep(0.005)
        return [each for each in self.flight if each.outcome != "200"]

    def line(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "kind": self.kind,
            "pid": self.pid,
            "in_flight": [
                f"{each.phone} request {each.number}: {each.items} items, {1000 * (self.moment - each.sent_at):.0f} ms, "
                f"then {each.outcome}"
                for each in self.flight
            ],
            **(
                {"transactions": [" ".join(map(str, each.values())) for each in self.backends]} if self.backends else {}
            ),
            "hit": len(self.hit()),
            "acknowledged": self.acknowledged,
            "healthy_after": round(self.healthy_after, 2),
        }


@dataclass
class Found:
    """How the database compares with what the phones were promised."""

    kills: int
    acknowledged: int
    lost: int
    doubled: int
    partial: int
    stored: int
    made: int
    unheard: int
    answers: dict[str, int]
    faults: list[str]
    seconds: float


class Chaos:
    """One run."""

    def __init__(self, servers: Servers, *, seed: int, application: str = SHIPPED) -> None:
        self.servers, self.seed, self.random = servers, seed, random.Random(seed)
        self.name = f"chaos-{seed}-{int(time.time())}"
        self.home = servers.home / self.name
        self.home.mkdir()
        servers.application = application

    def run(self, *, kills: int, patience: float, log: Path, kinds: Iterable[str] = KINDS) -> Found:
        started = time.monotonic()
        self.phones = self._cast()
        counted = 0
        choices = [kind for kind in kinds for _ in range(KINDS[kind])]
        ways: dict[str, Callable[[], Kill | None]] = {
            "worker": self._kill_worker,
            "web": self._kill_web,
            "backend": self._kill_backend,
            "postmaster": self._kill_postmaster,
        }
        try:
            for phone in self.phones:
                phone.start()
            while counted < kills:
                time.sleep(self.random.uniform(*PACE))
                kind = self.random.choice(choices)
                kill = None
                while kill is None:  # the same kind again, until one hits work
                    assert time.monotonic() - started < patience, f"only {counted} of {kills} kills hit work"
                    kill = ways[kind]()
                self._until_healthy(kill)
                line = {"proof": "intake", "run": self.name, "seed": self.seed, "kill": counted + 1, **kill.line()}
                chaos_log.append(line, log)
                counted += chaos_log.counts(line)
        finally:
            for phone in self.phones:
                phone.stopping.set()
        for phone in self.phones:
            phone.join(timeout=60)
            assert not phone.is_alive(), f"{phone.name} could not send all that it has"
        found = self._found(counted, time.monotonic() - started)
        self.servers.stop_web()
        end = {name: value for name, value in asdict(found).items() if name != "faults"}
        end |= {"faults": len(found.faults), "seconds": round(found.seconds)}
        self._log_end(end, log)
        return found

    def _cast(self) -> list[Phone]:
        script = f"NAME, PHONES = {self.name!r}, {PHONES}\n{CAST}"
        codes = json.loads(self.servers.manage("shell", "--verbosity", "0", "-c", script).split("CAST ")[1])
        self.servers.start_web()
        self._wait_for_web()
        phones = [
            Phone(f"P{n + 1}", port=self.servers.port, code=code, home=self.home, seed=self.seed)
            for n, code in enumerate(codes)
        ]
        for phone in phones:
            phone.enrol()
        return phones

    def _wait_for_web(self) -> None:
        give_up = time.monotonic() + 60
        while True:
            to = http.client.HTTPConnection("127.0.0.1", self.servers.port, timeout=5)
            try:
                to.request("GET", "/readyz")
                if to.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                to.close()
            assert time.monotonic() < give_up, (self.servers.home / "web.log").read_text()[-2000:]
            time.sleep(0.1)

    def _waiting(self, ports: set[int] | None = None) -> list[Request]:
        """Requests that are sent and not answered; with `ports`, those that these connections carry."""
        flights = [phone.flight for phone in self.phones]
        return [each for each in flights if each and each.outcome is None and (ports is None or each.port in ports)]

    def _struck(self, kind: str, pid: int, flight: list[Request], **more: Any) -> Kill:
        acknowledged = sum(len(phone.acknowledged) for phone in self.phones)
        return Kill(kind, pid, flight, acknowledged, time.monotonic(), datetime.now(UTC), **more)

    def _kill_worker(self) -> Kill | None:
        """Stopped first, so that nothing of it ends between the look and the kill."""
        workers = self.servers.workers()
        if not workers:
            return None
        pid = self.random.choice(workers)
        with self._stopped([pid]):
            flight = self._waiting(self.servers.ports_open_on([pid]))
            if not flight:
                return None
            os.kill(pid, signal.SIGKILL)
            return self._struck("worker", pid, flight)

    def _kill_web(self) -> Kill | None:
        assert self.servers.web is not None
        pid, workers = self.servers.web.pid, self.servers.workers()
        with self._stopped(workers):
            flight = self._waiting(self.servers.ports_open_on(workers))
            if not flight:
                return None
            self.servers.kill_web()
            kill = self._struck("web", pid, flight)
        time.sleep(self.random.uniform(0.0, 0.3))
        self.servers.start_web()
        return kill

    def _kill_backend(self) -> Kill | None:
        """Stopped first as well: what the second look sees is what dies."""
        candidates = self.servers.transactions()
        if not candidates:
            return None
        pid = self.random.choice(candidates)["pid"]
        with self._stopped([pid], for_seconds=0.0):
            seen, flight = self.servers.transactions(pid), self._waiting()
            if not seen or not flight:
                return None
            os.kill(pid, signal.SIGKILL)
            return self._struck("backend", pid, flight, backends=seen)

    def _kill_postmaster(self) -> Kill | None:
        """Its backends end by themselves, at their next wait."""
        seen, flight = self.servers.transactions(), self._waiting()
        if not seen or not flight:
            return None
        pid = self.servers.postgres.process.pid
        os.kill(pid, signal.SIGKILL)
        kill = self._struck("postmaster", pid, flight, backends=seen)
        time.sleep(self.random.uniform(0.0, 0.3))
        self.servers.restart_postgres()
        return kill

    @contextlib.contextmanager
    def _stopped(self, pids: list[int], for_seconds: float = 0.03) -> Iterator[None]:
        """Long enough for answers that were on their way to be read."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(for_seconds)
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _until_healthy(self, kill: Kill) -> None:
        """Until the answers that somebody sends after the kill are stored."""
        limit = HEALTHY_WITHIN if kill.kind in ("postmaster", "backend") else 30.0
        kill.hit()  # those that waited have heard
        while max(phone.served for phone in self.phones) <= kill.moment:
            assert time.monotonic() - kill.moment < limit, f"not healthy {limit} s after the {kill.kind} was killed"
            time.sleep(0.01)
        kill.healthy_after = time.monotonic() - kill.moment

    def _found(self, kills: int, seconds: float) -> Found:
        path = self.home / "rows.jsonl"
        self.servers.manage("shell", "--verbosity", "0", "-c", f"NAME, PATH = {self.name!r}, {str(path)!r}\n{DUMP}")
        *rows, extra = (json.loads(line) for line in path.read_text().splitlines())
        held: dict[str, list[tuple[str, str]]] = {}
        for client_id, person, content in rows:
            held.setdefault(client_id, []).append((person, sha(content)))
        stored, faults, lost, partial = Counter[str](), [], 0, 0
        promised: dict[str, set[str]] = {}
        for phone in self.phones:
            faults += [f"{phone.name}: {fault}" for fault in phone.faults]
            for text in phone.ledger.read_text().splitlines():
                line = json.loads(text)
                promised.setdefault(line["id"], set()).add(line["sha"])
                stored[line["id"]] += line["status"] == "stored"
            own = [each for each in phone.made if (phone.name, sha(phone.made[each])) in held.get(each, [])]
            if len(own) != extra["uploads"].get(phone.name, 0):
                faults.append(f"{phone.name}: {len(own)} rows, by its uploads {extra['uploads'].get(phone.name, 0)}")
        for name, contents in promised.items():
            if name not in held:
                lost += 1
            elif {content for _, content in held[name]} != contents:
                partial += 1
        made = {name for phone in self.phones for name in phone.made}
        if held.keys() - made or extra["conflicts"] or extra["quarantined"]:
            faults.append(f"{len(held.keys() - made)} rows that nobody sent, {extra}")
        return Found(
            kills=kills,
            acknowledged=len(promised),
            lost=lost,
            doubled=sum(len(each) > 1 for each in held.values()) + sum(count > 1 for count in stored.values()),
            partial=partial,
            stored=len(rows),
            made=len(made),
            unheard=sum(phone.unheard for phone in self.phones),
            answers=dict(sum((phone.answers for phone in self.phones), Counter[str]())),
            faults=faults,
            seconds=seconds,
        )

    def _log_end(self, end: dict[str, Any], log: Path) -> None:
        line = {"proof": "intake", "run": self.name, "seed": self.seed, "at": datetime.now(UTC).isoformat()}
        chaos_log.append({**line, "commit": chaos_log.commit(), "end": end}, log)
