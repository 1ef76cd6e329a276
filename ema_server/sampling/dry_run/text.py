"""A dry run for a terminal: what to look at first, then the picture, the figures, and what was assumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Any

from ema_server.sampling.dry_run.found import Run
from ema_server.sampling.dry_run.heat import Heat, heat_of
from ema_server.sampling.dry_run.responding import percent

WIDTH = 80
LABEL = 13
SHADES = " ░▒▓█"
MOST_ROWS = 31
EXAMPLE_DAYS = 2
ASSUMED = "Assumed: "  # how a forecast's sentences begin that say what it takes for granted


def lines_of(run: Run, forecast: Sequence[str] = ()) -> Iterator[str]:
    """Lines of at most 80 characters; those without an indent are headings. `forecast` are sentences to stand after the run."""
    yield f"{run['people']:,} simulated people, {run['study_days']} days each, {run['prompts']:,} prompts (seed {run['seed']})"
    yield from _part("Look at this", _sentences(run["warnings"], mark="!") or ["  Nothing stands out."])
    yield from _part("When prompts come: day × clock time (local)", _picture(run))
    yield from _part("Some of them exactly", _examples(run))
    yield from _part("Rules", _rules(run))
    yield from _part("Answered, by the response model below", _fates(run))
    yield from _part("Gaps", _sentences(gap_words(run)))
    yield from _part("Burden", _sentences(burden_words(run)))
    yield from _part("Clock changes", _sentences(change_words(run)))
    yield from _part("iPhones", _sentences([run["phones"]["says"]]))
    yield from _part("Also", _sentences([*apart_words(run), *run["notes"]]))
    yield from _part("How precise it will be", _sentences(each for each in forecast if not each.startswith(ASSUMED)))
    yield from _part("Assumed", _sentences(run["assumptions"], mark="-"))
    apart = [each.removeprefix(ASSUMED) for each in forecast if each.startswith(ASSUMED)]
    yield from _part("Assumed by the forecast", _sentences(apart, mark="-"))


def gap_words(run: Run) -> list[str]:
    gaps = run["gaps"]
    if not gaps["pairs"]:
        return ["Nobody is asked twice on one day."]
    if gaps["least"] == gaps["most"]:
        found = [f"Between a prompt and the next of the same day lie {length(gaps['least'])}."]
    else:
        found = [
            f"Between a prompt and the next of the same day lie {length(gaps['least'])} at least, {length(gaps['median'])} at the "
            f"median; nine in ten are from {length(gaps['low'])} to {length(gaps['high'])}."
        ]
    if gaps["shortest_night"] is not None:
        found.append(f"From the last of a day to the first of the next: {length(gaps['shortest_night'])} at least.")
    if not gaps["asked"]:
        return [*found, "The plan asks for no gap (gap_minutes)."]
    below = f"{gaps['below']:,} are below it" if gaps["below"] else "none is below it, on days of clock changes either"
    return [*found, f"The gap to keep is {length(gaps['asked'])}: {below}."]


def burden_words(run: Run) -> list[str]:
    burden = run["burden"]
    if burden["per_day"] is None:
        return ["Nobody is asked anything."]
    days = f"{burden['days_asked']:.0f} days" if burden["days_asked"] >= 1.5 else "a day"
    busiest = f"; the busiest is day {burden['busiest_day']} with {_count(burden['busiest_prompts'])}"
    if burden["most_in_a_day"] == burden["per_day"]:
        busiest = ""
    found = [
        f"{_count(burden['per_day'])} prompts on a day with prompts, {burden['most_in_a_day']} at most{busiest}.",
        f"A person is asked {_range(burden)} times on {days}.",
    ]
    if burden["minutes_per_day"] is None:
        return found
    return [
        *found,
        f"If all is answered, questionnaires take {_count(burden['minutes_per_day'])} minutes a day, "
        f"{_count(burden['busiest_minutes'])} on the busiest, {length(burden['minutes_per_person'])} in all.",
    ]


def change_words(run: Run) -> list[str]:
    met = run["clock_changes"]
    if not met["nights"]:
        return ["Nobody met one: no zone changes its clocks on these days."]
    people = "1 person" if met["people"] == 1 else f"{met['people']:,} people"
    found = [
        f"{people} met one; {met['prompts']:,} prompts fell on such a day, {met['in_the_night']:,} of them between midnight and "
        "06:00."
    ]
    if met["moved"]:
        found.append(f"{met['moved']:,} would have come in the hour that is skipped, and moved forward.")
    if met["repeated"]:
        found.append(f"{met['repeated']:,} came in the hour that the clock shows twice; each once.")
    if not met["moved"] and not met["repeated"]:
        found.append("None came in an hour that was skipped or repeated.")
    return found


def apart_words(run: Run) -> list[str]:
    """What is counted apart from the prompts."""
    found = []
    if run["practice_prompts"]:
        found.append(f"{run['practice_prompts']:,} practice prompts, in no other count of prompts.")
    found += [
        f"{button['key']}: a button in the app, offered to {button['people']:,} people on {button['days']:.0f} days each; no "
        "prompts."
        for button in run["buttons"]
    ]
    return found


def length(minutes: float | None) -> str:
    """45 min, 2 h 05."""
    if minutes is None:
        return "–"
    whole = round(minutes)
    text = f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60:02d}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def span(first: Any, last: Any) -> str:
    """1,000–2,000; once if the two are alike."""
    texts = [f"{each:,}" if isinstance(each, int) else str(each) for each in (first, last)]
    return texts[0] if first == last else "–".join(texts)


def _part(heading: str, body: Iterable[str]) -> Iterator[str]:
    found = list(body)
    if found:
        yield ""
        yield heading
        yield from found


def _sentences(sentences: Iterable[str], mark: str = "") -> list[str]:
    first, later = (f"  {mark} ", "    ") if mark else ("  ", "  ")
    return [
        line
        for sentence in sentences
        for line in wrap(sentence, WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)
    ]


def _picture(run: Run) -> Iterator[str]:
    room = WIDTH - LABEL - 1
    heat = heat_of(run, most_rows=MOST_ROWS, most_columns=room)
    if not heat.most:
        return
    width = max(1, min(2, room // heat.columns))
    yield _axis(heat, width)
    for place, row in enumerate(heat.rows):
        yield _strip(f"day {heat.label(place)}", "".join(SHADES[heat.level(count)] * width for count in row))
    keys = [rule["key"] for rule in run["rules"] if rule["prompts"]]
    if len(keys) > 1:
        yield ""
        for key in keys:
            alone = heat_of(run, [key], most_rows=1, most_columns=room)
            yield _strip(key, "".join(SHADES[alone.level(count)] * width for count in alone.rows[0]))
    yield ""
    legend = "  ".join(f"{SHADES[level]} {span(low, high)}" for level, low, high in heat.bounds())
    yield f"  {legend} prompts in {heat.minutes} minutes" + (
        f" of {heat.days_per_row} days" if heat.days_per_row > 1 else ""
    )
    if len(keys) > 1:
        yield "  The lower rows are all days of one rule, each from none to its own most."


def _axis(heat: Heat, width: int) -> str:
    line = [" "] * (WIDTH + 4)
    for at, hour in heat.hours(every=3 if heat.minutes <= 30 else 6):
        place = LABEL + at * width // heat.minutes
        line[place : place + 2] = hour
    return "".join(line).rstrip()[:WIDTH]


def _strip(label: str, cells: str) -> str:
    short = label if len(label) <= LABEL - 3 else label[: LABEL - 4] + "…"
    return f"  {short:<{LABEL - 2}}{cells}".rstrip()


def _examples(run: Run) -> Iterator[str]:
    for example in run["picture"]["examples"]:
        yield from _sentences([f"{example['who']}:"])
        for day in sorted({each["day"] for each in example["prompts"]})[:EXAMPLE_DAYS]:
            times = [each["at"][11:16] for each in example["prompts"] if each["day"] == day]
            yield from wrap(f"day {day}: {'  '.join(times)}", WIDTH, initial_indent="    ", subsequent_indent="      ")


def _rules(run: Run) -> list[str]:
    rows = [("rule", "asks by", "clock", "days", "open", "prompts", "people")]
    for rule in run["rules"]:
        rows.append(
            (
                _short(rule["key"] + (" (practice)" if rule["practice"] else ""), 24),
                rule["when"],
                span(rule["earliest"], rule["latest"]) if rule["prompts"] else "never",
                span(rule["first_day"], rule["last_day"]) if rule["prompts"] else "–",
                length(rule["open_minutes"]),
                f"{rule['prompts']:,}",
                f"{rule['people']:,}",
            )
        )
    late = any(rule["latest"] >= "24:00" for rule in run["rules"])
    return [*_table(rows, "<<<<>>>"), *(["  25:10 is ten past one of the night after."] if late else [])]


def _fates(run: Run) -> list[str]:
    rows: list[Sequence[str]] = [("rule", "by itself", "by a reminder", "lost: closed", "not noticed")]
    shown = [rule for rule in run["rules"] if rule["prompts"]]
    rows += [(_short(rule["key"], 24), *_shares(rule)) for rule in shown]
    if len(shown) > 1:
        rows.append(("all", *_shares(run["fates"])))
    return _table(rows, "<>>>>") if shown else []


def _shares(found: Run) -> list[str]:
    return [percent(found[name]) for name in ("in_time", "reminded", "closed", "unnoticed")]


def _table(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(sides))]
    return [
        "  " + "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _count(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _range(burden: Run) -> str:
    least, most = burden["per_person_least"], burden["per_person_most"]
    return f"{least:,}" if least == most else f"{least:,} to {most:,} (median {burden['per_person_median']:,.0f})"
