"""A model's summary as HTML for a notebook: styles inline, colours that follow the notebook's own light or dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from analysis.summary_text import estimate_rows, spread_rows

if TYPE_CHECKING:
    from analysis.summary import ModelSummary

HAIR = "1px solid rgba(128,128,128,.35)"
FONT = "font-family:Inter,ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
BOX = f"{FONT};font-size:13px;line-height:1.5;max-width:820px;color:inherit"
QUIET = "opacity:.72;font-weight:400"
WARN = "background:#fdf4d7;color:#664800;border-radius:8px;padding:8px 12px;margin:10px 0"
CELL = f"border:0;border-bottom:{HAIR};padding:4px 0 4px 22px;text-align:right;white-space:nowrap;background:none"
MARKS = {"within": "#0b5fae", "between": "#b34700"}
"""The colour of a part's mark; the same blue and orange as in every picture."""


def page(shown: ModelSummary) -> str:
    """Title and formula, what limits the fit, estimates, spread, facts, and how to read them."""
    notes = "".join(f"<div>{escape(message)}</div>" for message in shown.messages)
    warn = f'<div style="{WARN}" role="note">{notes}</div>' if notes else ""
    read = "".join(f"<div>{escape(note)}</div>" for note in shown.notes)
    return (
        f'<div style="{BOX}"><div style="font-size:16px;font-weight:650">{escape(shown.title)}</div>'
        f'<code style="font-size:12.5px;background:none;color:inherit;padding:0;white-space:normal">'
        f"{escape(shown.formula)}</code>{warn}{_facts(shown)}"
        f"{table('Estimates', estimate_rows(shown.fixed, with_p=shown.with_p))}"
        f"{table(f'Spread between {shown.who}', spread_rows(shown.spread), words=True)}"
        f'<div style="{QUIET};font-size:12px;margin-top:8px">{read}</div></div>'
    )


def _facts(shown: ModelSummary) -> str:
    label = "border:0;padding:1px 18px 1px 0;text-align:left;vertical-align:top;background:none"
    value = "border:0;padding:1px 0;text-align:left;background:none"
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{label};{QUIET}">{escape(name)}</th>'
        f'<td style="{value}">{escape(said)}</td></tr>'
        for name, said in shown.facts
    )
    return f'<table style="border-collapse:collapse;margin:10px 0;font-size:13px">{rows}</table>'


def table(name: str, rows: list[list[str]], *, words: bool = False) -> str:
    """Heads and rows of cells; the first cell of a row is its name, the last stands to the left where it is `words`."""
    last = len(rows[0]) - 2 if words and len(rows[0]) > 2 else -1

    def cell(place: int, kind: str, text: str, look: str) -> str:
        side = ";text-align:left" if place == last else ""
        return f'<{kind} style="{CELL}{side};{look}">{escape(text)}</{kind[:2]}>'

    heads = "".join(cell(place, 'th scope="col"', head, QUIET) for place, head in enumerate(rows[0][1:]))
    first = f"{CELL};text-align:left;padding-left:0"
    body = ""
    for row in rows[1:]:
        cells = [cell(place, "td", text, _weight(place)) for place, text in enumerate(row[1:])]
        body += (
            f'<tr style="background:none"><th scope="row" style="{first};font-weight:400">{_mark(row[0])}{escape(row[0])}</th>'
            f"{''.join(cells)}</tr>"
        )
    return (
        f'<table style="border-collapse:collapse;margin:14px 0 0;font-size:13px;font-variant-numeric:tabular-nums">'
        f'<thead><tr style="background:none"><th scope="col" style="{first};font-weight:600">{escape(name)}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _weight(place: int) -> str:
    return "font-weight:600" if place == 0 else "font-weight:400"


def _mark(term: str) -> str:
    """A dot in the part's colour before within and between terms; an empty one keeps the others in line."""
    colour = next((hue for part, hue in MARKS.items() if term.startswith(part)), "transparent")
    return f'<span style="display:inline-block;width:8px;height:8px;border-radius:50%;margin-right:8px;background:{colour}"></span>'
