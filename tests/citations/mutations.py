"""What can be done to a line of code so that it no longer does what it is cited for.

A statement is deleted, a condition negated, never met, or met one step too soon or too late, a number is one higher, an
operand of `and` or `or` is left out. Each mutation is one change of the text of the file.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

BESIDE = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
}
"""Comparisons that have a boundary, and the one on the other side of it."""

BINDINGS = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)
"""Deleted, they leave a name without a value: the program stops there, whatever the line was good for."""

BLOCKS = (ast.FunctionDef, ast.ClassDef, ast.With, ast.Try, ast.Match)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change: what is done, and the source after it."""

    done: str
    source: str


def mutations(source: str, line: int) -> list[Mutation]:
    """Return every mutation of a line of code; none if it is no line of a function's body."""
    node = _outermost(ast.parse(source), line)
    if node is None:
        return []
    found = [*_of_statement(source, node, line), *_of_expressions(source, node, line)]
    if isinstance(node, BINDINGS) and (not found or not _binds_a_name(node)):
        found.insert(0, _changed(source, node, "deleted", "pass"))
    return found


def _outermost(tree: ast.Module, line: int) -> ast.stmt | ast.expr | None:
    """Return the first and longest statement or expression that begins on the line, inside a function."""
    functions = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))
    inside = chain.from_iterable(ast.walk(each) for function in functions for each in function.body)
    beginning = [each for each in inside if isinstance(each, ast.stmt | ast.expr) and each.lineno == line]
    return min(
        beginning,
        key=lambda each: (each.col_offset, -(each.end_lineno or 0), -(each.end_col_offset or 0)),
        default=None,
    )


def _of_statement(source: str, node: ast.stmt | ast.expr, line: int) -> Iterator[Mutation]:
    match node:
        case ast.If() | ast.While():
            yield _changed(source, node.test, "negated", f"not ({_text(source, node.test)})")
            yield _changed(source, node.test, "never", "False")
        case ast.For():
            yield _changed(source, node.iter, "never", "()")
        case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) as value):
            yield _changed(source, value, "negated", f"not ({_text(source, value)})")
        case ast.expr():
            yield from _of_operand(source, node)
        case _ if not isinstance(node, BINDINGS + BLOCKS):
            yield _changed(source, node, "deleted", "pass")
        case _:
            pass


def _of_operand(source: str, node: ast.expr) -> Iterator[Mutation]:
    """Yield what can be done to an operand that has a line of its own."""
    for parent in ast.walk(ast.parse(source)):
        if isinstance(parent, ast.BoolOp) and any(_span(node) == _span(value) for value in parent.values):
            yield _changed(source, node, "left out", str(isinstance(parent.op, ast.And)))
            yield _changed(source, node, "negated", f"(not ({_text(source, node)}))")


def _of_expressions(source: str, node: ast.stmt | ast.expr, line: int) -> Iterator[Mutation]:
    for each in ast.walk(node):
        if not isinstance(each, ast.expr) or each.lineno != line:
            continue
        match each:
            case ast.IfExp(test=test):
                yield _changed(source, test, f"negated: {_text(source, test)}", f"not ({_text(source, test)})")
            case ast.BoolOp(values=values, op=joint) if len(values) > 1:
                for value in values:
                    if value.lineno == line and _span(value) != _span(node):
                        left_out = str(isinstance(joint, ast.And))
                        yield _changed(source, value, f"left out: {_text(source, value)}", left_out)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for before, op, after in zip([left, *comparators], ops, comparators, strict=False):
                    if type(op) in BESIDE:
                        right, wrong = BESIDE[type(op)]
                        between = f"{_text(source, before)} {right} {_text(source, after)}"
                        yield _replaced(
                            source, _end(before), _begin(after), f"{wrong} in place of: {between}", f" {wrong} "
                        )
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                yield _changed(source, each, f"{number + 1} in place of {number}", str(number + 1))


def _binds_a_name(node: ast.stmt) -> bool:
    """Tell whether a binding is one of a bare name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return not targets or any(isinstance(each, ast.Name | ast.Tuple) for each in targets)


Position = tuple[int, int]
"""Line, from 1, and byte in it, from 0, as the syntax tree counts."""


def _begin(node: ast.stmt | ast.expr) -> Position:
    return node.lineno, node.col_offset


def _end(node: ast.stmt | ast.expr) -> Position:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _span(node: ast.stmt | ast.expr) -> tuple[Position, Position]:
    return _begin(node), _end(node)


def _text(source: str, node: ast.expr) -> str:
    text = ast.get_source_segment(source, node)
    assert text is not None
    return text


def _changed(source: str, node: ast.stmt | ast.expr, done: str, text: str) -> Mutation:
    return _replaced(source, _begin(node), _end(node), done, text)


def _replaced(source: str, begin: Position, end: Position, done: str, text: str) -> Mutation:
    lines = source.encode().splitlines(keepends=True)
    first, last = lines[begin[0] - 1], lines[end[0] - 1]
    # The lines that go leave empty ones behind, so that every other keeps its number.
    middle = first[: begin[1]] + text.encode() + last[end[1] :] + b"\n" * (end[0] - begin[0])
    return Mutation(" ".join(done.split()), b"".join([*lines[: begin[0] - 1], middle, *lines[end[0] :]]).decode())
