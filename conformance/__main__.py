"""`python -m conformance`: the checks, a table, and an exit status."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import httpx

import conformance
from conformance import bad_input, entering, leaving, syncing, taking, telling  # noqa: F401  in this order they run
from conformance.running import CHECKS, Check, Kit, Result, run_all
from conformance.wire import Api, shown

ORDER = ("entering", "syncing", "taking", "bad_input", "telling", "leaving")


def ordered() -> list[Check]:
    """By their room, in the order in which each room writes them: what destroys comes last."""
    return sorted(CHECKS, key=lambda each: ORDER.index(each.run.__module__.rpartition(".")[2]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description=conformance.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="the server, such as https://ema.example.org")
    parser.add_argument(
        "--code", action="append", default=[], metavar="CODE", help="an enrolment code; one for each phone"
    )
    parser.add_argument(
        "--study-code", action="store_true", help="the code is study-wide: one is enough for all phones"
    )
    parser.add_argument(
        "--only", default="", metavar="PREFIX", help="checks whose id begins so (the first phone enrols anyway)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON, too")
    parser.add_argument("--insecure", action="store_true", help="accept any TLS certificate")
    given = parser.parse_args(arguments)
    if not given.code:
        parser.error("give at least one --code; python -m conformance --help says how many are of use")
    kit = Kit(Api(given.url, insecure=given.insecure), given.code, study_code=given.study_code)
    if not _reachable(kit.api):
        return 2
    checks = [each for each in ordered() if each.id.startswith(given.only)]
    results = []
    for result in run_all(kit, checks):
        results.append(result)
        _say(result)
    told = Counter(result.verdict for result in results)
    print(f"\n{told['PASS']} passed, {told['FAIL']} failed, {told['SKIP']} skipped at {kit.api.url}")
    if given.json:
        given.json.write_text(json.dumps(_document(kit, results), indent=1, ensure_ascii=False) + "\n")
    if not kit.phones:
        print("No phone could enrol, so next to nothing was checked.", file=sys.stderr)
        return 2
    return 1 if told["FAIL"] else 0


def _reachable(api: Api) -> bool:
    try:
        answer = api.call("GET", "sync")
    except httpx.HTTPError as error:
        print(f"{api.url} does not answer: {type(error).__name__} {error}", file=sys.stderr)
        return False
    if answer.status_code == 404:
        print(f"{api.url}/api/v1/sync is not there: {shown(answer)}", file=sys.stderr)
        return False
    return True


def _say(result: Result) -> None:
    print(f"{result.verdict}  {result.id:32}  {result.promise}")
    if result.verdict == "PASS":
        print(f"      {'':32}  {result.evidence}")
    else:
        print(textwrap.indent(textwrap.fill(result.evidence, 110), f"      {'':32}  → "))


def _document(kit: Kit, results: Sequence[Result]) -> dict[str, object]:
    return {
        "url": kit.api.url,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "codes": len(kit.codes),
        "results": [asdict(result) for result in results],
    }


if __name__ == "__main__":
    sys.exit(main())
