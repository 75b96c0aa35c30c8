"""Parameter expressions such as `0.05*(x/size_x + y/size_y)**3`, checked against a whitelist, then evaluated.

Nothing of the text is ever executed: it is parsed, every node is either rebuilt from a list of what is
allowed or refused, and numexpr computes the rebuilt formula.  All arithmetic is in float64, so `1/2` is 0.5;
`a // b` is floor(a / b), and `a % b` has the sign of b.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import NoReturn, TypeGuard

import numexpr
import numpy as np
from numpy.typing import NDArray

from hyco.errors import ExpressionError, did_you_mean
from hyco.problem.grid import AXES, Grid

MAX_CHARACTERS = 1000
MAX_DEPTH = 50
MAX_NODES = 400
MAX_POWER = 100

_UNARY = (
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
    *("exp", "log", "log10", "log1p", "expm1", "sqrt", "abs", "floor", "ceil"),
)
_ALIASES = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "fabs": "abs",
    "min": "minimum",
    "max": "maximum",
}
FUNCTIONS: Mapping[str, int] = {
    **dict.fromkeys(_UNARY, 1),
    "arctan2": 2,
    "minimum": 2,
    "maximum": 2,
    "where": 3,
}
CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e}

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ZERO = "zero"


def evaluate(expression: str | float | int, grid: Grid) -> NDArray[np.float64]:
    """The field that an expression of the coordinates describes, shape `grid.resolution`.

    Names: the axes of the grid (x, y, z: cell centres), size_x ..., pi, e.  Functions: `FUNCTIONS`, with or
    without the prefix `math.`.  Raises ExpressionError, quoting the part, for anything else, and for a
    result that is not finite everywhere.
    """
    names = {**_constants(grid), **grid.coordinates()}
    values = np.broadcast_to(_compute(expression, names), grid.resolution)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        place = ", ".join(f"{a} = {grid.centres(a)[i]:g}" for a, i in zip(grid.axes, first, strict=True))
        raise ExpressionError(
            f"expression {_shown(expression)} is not finite in {len(bad)} of {grid.cells} cells: "
            f"{values[first]} at {place}. Change it so that it is a number everywhere in the box."
        )
    return np.array(values, dtype=np.float64)


def evaluate_scalar(expression: str | float | int, grid: Grid) -> float:
    """The number that an expression without coordinates describes; size_x ..., pi and e are known.

    Raises ExpressionError as `evaluate` does, and for an expression that names a coordinate.
    """
    value = float(_compute(expression, _constants(grid)))
    if not math.isfinite(value):
        raise ExpressionError(f"expression {_shown(expression)} is {value}; expected a finite number.")
    return value


def _constants(grid: Grid) -> dict[str, NDArray[np.float64]]:
    sizes = {f"size_{a}": s for a, s in zip(grid.axes, grid.size, strict=True)}
    return {name: np.asarray(value, dtype=np.float64) for name, value in {**CONSTANTS, **sizes}.items()}


def _compute(
    expression: str | float | int, names: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64] | np.float64:
    if isinstance(expression, bool) or not isinstance(expression, (str, int, float)):
        raise ExpressionError(f"expected a number or an expression, got {_shown(expression)}.")
    if isinstance(expression, str):
        formula = _Translator(expression.strip(), names).formula()
        try:
            result = numexpr.evaluate(formula, {**names, _ZERO: np.float64(0.0)}, {}, sanitize=True)
        except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
            raise ExpressionError(
                f"expression {_shown(expression)} is too much for numexpr ({error}). Write it shorter."
            ) from error
        return np.asarray(result, dtype=np.float64)
    try:
        return np.float64(float(expression))
    except OverflowError:
        raise ExpressionError(f"{_shown(expression)} is too large for a floating-point number.") from None


def _shown(part: object) -> str:
    text = repr(part)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"


class _Translator:
    """Rebuilds one expression from allowed nodes only.

    Every number `c` becomes `c + zero` with a variable `zero` of value 0.0: Python would otherwise fold
    constants by its own rules (integer overflow, complex roots, ZeroDivisionError) before numexpr sees them.
    """

    def __init__(self, text: str, names: Mapping[str, object]) -> None:
        self._text = text
        self._names = names
        self._nodes = 0

    def formula(self) -> str:
        """The rebuilt text for numexpr.  Raises ExpressionError."""
        if len(self._text) > MAX_CHARACTERS:
            raise ExpressionError(
                f"expression {_shown(self._text)} has {len(self._text)} characters; "
                f"at most {MAX_CHARACTERS} are allowed."
            )
        try:
            tree = ast.parse(self._text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or "it cannot be parsed"
            raise ExpressionError(f"expression {_shown(self._text)} is not a formula: {reason}.") from None
        return ast.unparse(self._number(tree, 1))

    def _refuse(self, node: ast.AST, reason: str) -> NoReturn:
        part = ast.get_source_segment(self._text, node) or self._text
        whole = "" if part == self._text else f" in expression {_shown(self._text)}"
        raise ExpressionError(f"{_shown(part)}{whole} is not allowed: {reason}")

    def _number(self, node: ast.expr, depth: int) -> ast.expr:
        built, condition = self._visit(node, depth)
        if condition:
            self._refuse(node, "a number is expected and this is a condition; use where(condition, a, b).")
        return built

    def _condition(self, node: ast.expr, depth: int) -> ast.expr:
        built, condition = self._visit(node, depth)
        if not condition:
            self._refuse(node, "a condition such as x > 1 is expected and this is a number.")
        return built

    def _visit(self, node: ast.expr, depth: int) -> tuple[ast.expr, bool]:
        """The rebuilt node, and whether it is a condition."""
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            self._refuse(node, f"it is nested deeper than {MAX_DEPTH} or longer than {MAX_NODES} terms.")
        match node:
            case ast.Constant():
                return self._literal(node), False
            case ast.Name() | ast.Attribute():
                return self._variable(node), False
            case ast.Call():
                return self._call(node, depth + 1), False
            case ast.BinOp(op=ast.Pow()):
                return self._power(node, depth + 1), False
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                sides = [self._condition(side, depth + 1) for side in (node.left, node.right)]
                return ast.BinOp(sides[0], node.op, sides[1]), True
            case ast.BinOp() if isinstance(node.op, _ARITHMETIC):
                left, right = self._number(node.left, depth + 1), self._number(node.right, depth + 1)
                return ast.BinOp(left, node.op, right), False
            case ast.UnaryOp(op=ast.USub()):
                return ast.UnaryOp(node.op, self._number(node.operand, depth + 1)), False
            case ast.UnaryOp(op=ast.UAdd()):
                return self._number(node.operand, depth + 1), False
            case ast.UnaryOp(op=ast.Not() | ast.Invert()):
                return ast.UnaryOp(ast.Invert(), self._condition(node.operand, depth + 1)), True
            case ast.BoolOp():
                operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
                parts = [self._condition(value, depth + 1) for value in node.values]
                return self._joined(parts, operator), True
            case ast.Compare():
                return self._comparison(node, depth + 1), True
        self._refuse(node, "only numbers, names, operators and known functions are.")

    def _literal(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            self._refuse(node, "only real numbers are.")
        try:
            value = float(node.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            self._refuse(node, "it is too large for a floating-point number.")
        return ast.BinOp(ast.Constant(value), ast.Add(), ast.Name(_ZERO))

    def _plain_name(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=ast.Name(id="math"), attr=name):
                return name
        self._refuse(node, "only plain names and the prefix 'math.' are.")

    def _variable(self, node: ast.Name | ast.Attribute) -> ast.expr:
        name = self._plain_name(node)
        if name in self._names and (isinstance(node, ast.Name) or name in CONSTANTS):
            return ast.Name(name)
        if name in FUNCTIONS or name in _ALIASES:
            self._refuse(node, f"it is a function; write {name}(...).")
        if name in AXES:
            axes = [a for a in AXES if a in self._names]
            known = f"the axes are {', '.join(axes)}" if axes else "a scalar has no axes; use type: field"
            self._refuse(node, f"{known}.")
        self._refuse(node, f"unknown name. {did_you_mean(name, self._names)}")

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        written = self._plain_name(node.func)
        name = _ALIASES.get(written, written)
        if name not in FUNCTIONS:
            self._refuse(node, f"unknown function. {did_you_mean(written, FUNCTIONS)}")
        if node.keywords or len(node.args) != FUNCTIONS[name]:
            self._refuse(node, f"{written} takes {FUNCTIONS[name]} plain argument(s).")
        readers = [self._condition if name == "where" else self._number, self._number, self._number]
        args = [read(arg, depth) for read, arg in zip(readers, node.args, strict=False)]
        return ast.Call(ast.Name(name), args, [])

    def _power(self, node: ast.BinOp, depth: int) -> ast.expr:
        """A whole-number exponent stays one, since numexpr then multiplies instead of taking logarithms."""
        base, exponent = self._number(node.left, depth), node.right
        sign, digits = (-1, exponent.operand) if _is_negative(exponent) else (1, exponent)
        if isinstance(digits, ast.Constant) and type(digits.value) is int:
            if digits.value > MAX_POWER:
                self._refuse(node, f"a whole power may be at most {MAX_POWER}.")
            return ast.BinOp(base, ast.Pow(), ast.Constant(sign * digits.value))
        return ast.BinOp(base, ast.Pow(), self._number(exponent, depth))

    def _comparison(self, node: ast.Compare, depth: int) -> ast.expr:
        """`a < b < c` means `(a < b) & (b < c)`."""
        if not all(isinstance(op, _COMPARISONS) for op in node.ops):
            self._refuse(node, "only the comparisons <, <=, >, >=, == and != are.")
        terms = [self._number(term, depth) for term in (node.left, *node.comparators)]
        pairs = zip(terms[:-1], node.ops, terms[1:], strict=True)
        return self._joined([ast.Compare(a, [op], [b]) for a, op, b in pairs], ast.BitAnd())

    @staticmethod
    def _joined(parts: list[ast.expr], operator: ast.operator) -> ast.expr:
        whole = parts[0]
        for part in parts[1:]:
            whole = ast.BinOp(whole, operator, part)
        return whole


def _is_negative(node: ast.expr) -> TypeGuard[ast.UnaryOp]:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
