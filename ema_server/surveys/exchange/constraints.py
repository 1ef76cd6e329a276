"""XLSForm constraints (`. >= 0 and . <= 10`) as what our items can say: ranges, lengths, numbers of choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ema_server.surveys.exchange.logic import Call, Itself, Number, Quoted, Tree
from ema_server.surveys.kinds import is_date, is_time

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass
class Limits:
    """What a constraint asks for. `open_ends`: an end that it leaves out and we include; `others`: parts that say more."""

    low: float | str | None = None
    high: float | str | None = None
    longest: int | None = None
    at_least: int | None = None
    at_most: int | None = None
    exclusive: list[str] = field(default_factory=list)
    open_ends: bool = False
    others: int = 0


def limits(tree: Tree, *, whole: bool) -> Limits:
    """The limits in a constraint on one answer; `whole` where answers are whole numbers."""
    found = Limits()
    for part in _joined(tree):
        alone = _exclusive(part)
        if alone is not None:
            found.exclusive.append(alone)
        elif not _limit(part, found, whole=whole):
            found.others += 1
    return found


def _joined(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, Call) and tree.name == "and":
        for operand in tree.operands:
            yield from _joined(operand)
    else:
        yield tree


def _limit(part: Tree, found: Limits, *, whole: bool) -> bool:
    if not isinstance(part, Call) or part.name not in _MIRRORED:
        return False
    sign, (left, right) = part.name, part.operands
    if not _is_about_itself(left):
        sign, left, right = _MIRRORED[sign], right, left
    end = _constant(right)
    if end is None:
        return False
    if isinstance(left, Call):
        return _counted(left.name, sign, end, found) if _is_about_itself(left) else False
    if not isinstance(left, Itself) or sign == "=":
        return False
    if sign in {"<", ">"}:
        if whole and isinstance(end, int):
            end += 1 if sign == ">" else -1
        else:
            found.open_ends = True
    if sign in {">", ">="}:
        found.low = end
    else:
        found.high = end
    return True


def _counted(name: str, sign: str, end: float | str, found: Limits) -> bool:
    """`count-selected(.) <= 3`, `string-length(.) < 100`."""
    if not isinstance(end, int):
        return False
    end += {"<": -1, ">": 1}.get(sign, 0)
    if name == "string-length":
        if sign in {"<", "<="}:
            found.longest = end
        return sign in {"<", "<="} or (end <= 1 and sign != "=")
    if sign in {"<", "<=", "="}:
        found.at_most = end
    if sign in {">", ">=", "="}:
        found.at_least = end
    return True


def _exclusive(part: Tree) -> str | None:
    """The choice that excludes others: `not(selected(., 'none') and count-selected(.) > 1)`, in its two spellings."""
    if not isinstance(part, Call):
        return None
    if part.name == "not" and len(part.operands) == 1:
        inner = part.operands[0]
        if isinstance(inner, Call) and inner.name == "and":
            for chosen, more in (inner.operands, inner.operands[::-1]):
                if _count_is(more, {(">", 1), (">=", 2), ("!=", 1)}):
                    return _chosen(chosen)
    if part.name == "or":
        for absent, one in (part.operands, part.operands[::-1]):
            if isinstance(absent, Call) and absent.name == "not" and _count_is(one, {("=", 1), ("<", 2), ("<=", 1)}):
                return _chosen(absent.operands[0])
    return None


def _count_is(tree: Tree, accepted: set[tuple[str, int]]) -> bool:
    if not isinstance(tree, Call) or len(tree.operands) != 2:
        return False
    counted, number = tree.operands
    return (
        isinstance(counted, Call)
        and counted.name == "count-selected"
        and counted.operands == (Itself(),)
        and isinstance(number, Number)
        and (tree.name, number.value) in accepted
    )


def _chosen(tree: Tree) -> str | None:
    if isinstance(tree, Call) and tree.name == "selected" and len(tree.operands) == 2 and tree.operands[0] == Itself():
        choice = tree.operands[1]
        if isinstance(choice, Quoted | Number):
            return choice.text if isinstance(choice, Quoted) else str(choice.value)
    return None


def _is_about_itself(tree: Tree) -> bool:
    return isinstance(tree, Itself) or (
        isinstance(tree, Call) and tree.name in {"count-selected", "string-length"} and tree.operands == (Itself(),)
    )


def _constant(tree: Tree) -> float | str | None:
    if isinstance(tree, Call) and tree.name in {"date", "number"} and len(tree.operands) == 1:
        tree = tree.operands[0]
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Quoted):
        if is_date(tree.text) or is_time(tree.text[:5]):
            return tree.text if is_date(tree.text) else tree.text[:5]
        try:
            value = float(tree.text)
        except ValueError:
            return None
        return int(value) if value.is_integer() else value
    return None
