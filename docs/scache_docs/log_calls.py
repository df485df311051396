"""Every text that the server may write into its log, collected from the calls in its code.

Values that are put into a text are shown as `…`. What a text means is in messages.py.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

VALUE: Final = "…"
"""Stands for a value in a text."""

_LEVELS: Final = {"detail": "-v", "info": "info", "warning": "warning", "fatal": "fatal"}

_RELAYS: Final = {
    "_tell": (0, "warning"),
    "_say": (1, "warning"),
    "contain": (0, "warning"),
    "StartError": (0, "fatal"),
    "ConfigurationError": (0, "fatal"),
    "complain": (0, "fatal"),
}
"""Functions and errors whose text ends up in the log: which argument it is, and its level."""

_MARKED: Final = re.compile(r"\b(warning|fatal|panic): (?!…$)(.+)", re.DOTALL)
"""A line that has its mark already, as the log's own have."""

_STATISTICS: Final = "statistics: "
"""How the lines of statistics begin, which the log is given as they are."""


@dataclass(frozen=True, slots=True)
class Call:
    """A text of the log: its level, and where it is written."""

    level: str
    text: str
    place: str


def collect(folder: Path) -> list[Call]:
    """Return every text of the log, by file and line, as often as it is written."""
    return [call for path in sorted(folder.rglob("*.py")) for call in _in_file(path, path.relative_to(folder))]


def _in_file(path: Path, name: Path) -> Iterator[Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        each: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for each in ast.walk(node)
    }  # The innermost function comes last, and stays.
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr | ast.Assign):
            continue
        for level, text in _said(node, inside.get(node)):
            yield Call(level, re.sub(f"{VALUE}+", VALUE, text.strip()), f"{name}:{node.lineno}")


def _said(node: ast.expr | ast.Assign, function: ast.FunctionDef | None) -> Iterator[tuple[str, str]]:
    """Yield the texts that a node of the code gives to the log, each with its level."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments) if name in _RELAYS:
            index, level = _RELAYS[name]
            if len(arguments) > index:
                yield from ((level, text) for text in _texts(arguments[index], function))
        case ast.Call(func=ast.Attribute(attr=name, value=receiver), args=[argument]) if name in _LEVELS:
            if "log" in ast.unparse(receiver).lower():
                yield from ((_LEVELS[name], text) for text in _texts(argument, function))
        case ast.JoinedStr():
            for text in _texts(node, function):
                if marked := _MARKED.search(text):
                    yield marked[1], marked[2]
                elif text.startswith(_STATISTICS):
                    yield "info", text
        case ast.Assign(targets=[ast.Attribute(attr="announcement")], value=value):
            yield from (("info", text) for text in _texts(value, function))
        case _:
            return


def _texts(node: ast.expr, function: ast.FunctionDef | None) -> list[str]:
    """Return the texts that an expression may be."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(each) for each in product(*(_texts(part, function) for part in parts))]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [one + other for one in _texts(left, function) for other in _texts(right, function)]
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body, function) + _texts(orelse, function)
        case ast.Name(id=name) if function is not None:
            return _assigned(name, function) or [VALUE]
    return [VALUE]


def _assigned(name: str, function: ast.FunctionDef) -> list[str]:
    """Return the texts that a name of a function may be, each with what is appended to it in brackets."""
    texts: list[str] = []
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                texts += _texts(value, function)
    for node in ast.walk(function):
        match node:
            case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
                texts = [f"{text}[{more}]" for text in texts for more in _texts(value, function)]
    return texts
