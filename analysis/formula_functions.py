"""What a formula may compute: columns, arithmetic, and the functions listed here, nothing else.

formulaic hands every term that is not a plain column to Python's `eval`. Formulas come from people's plans, so each
such term is read as a syntax tree first: what is not on these lists is refused by name and never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from analysis.errors import SpecError, unknown_function

ONE = (
    "abs absolute fabs sqrt cbrt square sign exp exp2 expm1 log log10 log2 log1p sin cos tan arcsin arccos arctan sinh "
    "cosh tanh arcsinh arccosh arctanh floor ceil trunc rint isnan isfinite logical_not deg2rad rad2deg"
)
TWO = "power minimum maximum fmin fmax hypot arctan2 mod logical_and logical_or logical_xor"
PLAIN = dict.fromkeys(["log", "log10", "log2", "exp", "exp10", "exp2"], 1)
NUMPY = dict.fromkeys(ONE.split(), 1) | dict.fromkeys(TWO.split(), 2) | {"where": 3, "clip": 3, "round": 2}
"""Functions and the most arguments that each takes: one more would be numpy's `out`, which writes into the data."""
METHODS = {"abs": 0, "clip": 2, "round": 1}
"""A column's own methods, as in I(x.abs())."""
CODINGS = ("Treatment", "Poly", "Sum", "Helmert", "Diff")
TRANSFORMS = ("I", "C", "bs", "cc", "cr", "cs", "poly", "center", "scale", "standardize", *CODINGS)
CONTRASTS = ("treatment", "SAS", "sum", "helmert", "poly", "diff", "custom")
FUNCTIONS = (*PLAIN, *TRANSFORMS)
"""What may be called by its bare name."""
LARGEST = 1000
"""The largest whole number that a transform takes (bs(x, df=…)): it says how many columns to make."""

LARGEST_POWER = 20

ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr)
ACCEPTED = ", ".join(f"{name}(…)" for name in FUNCTIONS) + f", and np. with {', '.join(NUMPY)}"


def refuse_other_code(expression: str, columns: Collection[str], where: str) -> None:
    """Raise SpecError where a term is more than arithmetic of columns and calls of the functions above."""
    names: set[str] = set(columns)

    def placeholder(quoted: re.Match[str]) -> str:
        name = f"quoted_column_{len(names)}"
        names.add(name)
        return name

    try:
        tree = ast.parse(re.sub(r"`[^`]*`", placeholder, expression), mode="eval")
        _Reader(expression, names, where).value(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{where}: cannot read the term {expression[:200]!r} ({type(error).__name__}).") from error


def refuse_large_powers(text: str) -> None:
    """Raise SpecError for (a + b)**1000000, which formulaic would multiply out."""
    for power in re.findall(r"(?:\*\*|\^)\s*\(*\s*(\d+)", text):
        if len(power) > 2 or int(power) > LARGEST_POWER:
            raise SpecError(
                f"the power {power[:20]} in {text[:200]!r} is more than {LARGEST_POWER}, the most there is."
            )


class _Reader:
    """One walk through a term's syntax tree."""

    def __init__(self, expression: str, columns: Collection[str], where: str) -> None:
        self.expression, self.columns, self.where = expression, columns, where

    def value(self, node: ast.expr) -> None:
        """A number, a column, arithmetic, or a call."""
        match node:
            case ast.Constant(value=bool() | int() | float()):
                return
            case ast.Name(id=name):
                if name not in self.columns:
                    self._refuse(f"it names {name!r}, which is no column of the frame.")
            case ast.Attribute(value=ast.Name(id="np"), attr="pi" | "e"):
                return
            case ast.UnaryOp(operand=operand):
                self.value(operand)
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, ARITHMETIC):
                if isinstance(op, ast.Pow) and not _holds_column(left):
                    self._small(left)
                    if not _holds_column(right):
                        self._small(right)
                self.value(left)
                self.value(right)
            case ast.Compare(left=left, comparators=others):
                for part in (left, *others):
                    self.value(part)
            case ast.Call():
                self._call(node)
            case _:
                text = ast.unparse(node)
                self._refuse(f"{text!r} is no arithmetic of columns.")

    def _call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in PLAIN:
                self._numeric(node, name, PLAIN[name])
            case ast.Name(id=name) if name in TRANSFORMS:
                for argument in node.args:
                    self._argument(argument)
                for keyword in node.keywords:
                    if keyword.arg is None or keyword.arg.startswith("_"):
                        self._refuse(f"{name}(…) takes no argument {keyword.arg or '**'!r}.")
                    self._argument(keyword.value)
            case ast.Name(id=name):
                raise unknown_function(name, FUNCTIONS, self.where)
            case ast.Attribute(value=ast.Name(id="np"), attr=name):
                if name not in NUMPY:
                    raise unknown_function(f"np.{name}", [f"np.{known}" for known in NUMPY], self.where)
                self._numeric(node, f"np.{name}", NUMPY[name])
            case ast.Attribute(value=ast.Name(id="contr"), attr=name) if name in CONTRASTS:
                for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                    self._argument(argument)
            case ast.Attribute(value=ast.Name(id=column), attr=name) if column in self.columns:
                if name not in METHODS:
                    known = [f"{column}.{method}" for method in METHODS]
                    raise unknown_function(f"{column}.{name}", [*known, *FUNCTIONS], self.where)
                self._numeric(node, f"{column}.{name}", METHODS[name])
            case other:
                text = ast.unparse(other)
                self._refuse(f"{text!r} is no function of a formula.")

    def _numeric(self, node: ast.Call, name: str, most: int) -> None:
        if len(node.args) > most or node.keywords:
            self._refuse(f"{name}(…) takes at most {most} argument{'s' * (most != 1)} and none by name.")
        for argument in node.args:
            self.value(argument)

    def _argument(self, node: ast.expr) -> None:
        """What a transform takes beside values: text, None, and lists and tables of such."""
        match node:
            case ast.Constant(value=str() | None):
                return
            case ast.Constant(value=int(number)) if abs(number) > LARGEST:
                self._refuse(f"{number} is more than {LARGEST}, the most that a transform takes.")
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                for part in parts:
                    self._argument(part)
            case ast.Dict(keys=keys, values=values):
                for item in (*keys, *values):
                    if item is None:
                        self._refuse("'**' cannot stand in a table.")
                    else:
                        self._argument(item)
            case ast.Name(id=name) if name in CODINGS:
                return
            case ast.Attribute(value=ast.Name(id="contr"), attr=name) if name in CONTRASTS:
                return
            case _:
                self.value(node)

    def _small(self, node: ast.expr) -> None:
        """9 ** 9 ** 9 would never end."""
        node = node.operand if isinstance(node, ast.UnaryOp) else node
        if not (isinstance(node, ast.Constant) and isinstance(node.value, int | float) and abs(node.value) <= LARGEST):
            text = ast.unparse(node)
            self._refuse(f"write a power of numbers with numbers of at most {LARGEST}, not {text!r}.")

    def _refuse(self, why: str) -> None:
        raise SpecError(
            f"{self.where}: the term {self.expression[:200]!r} cannot be had: {why} A term may hold columns, "
            f"+ - * / ** and comparisons, and {ACCEPTED}."
        )


def _holds_column(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) for part in ast.walk(node))
