"""A run in the Test Anything Protocol, version 14: a line a case, details below those that need them.

An expected failure is `not ok … # TODO`, what was not tried or not demanded
`ok … # SKIP`.
"""

import json
from collections.abc import Iterator

from scache_conformance.reports.run import Run, clause_line
from scache_conformance.suite.verdicts import Result, Verdict


def to_tap(run: Run) -> str:
    """Return the run as TAP."""
    lines = ["TAP version 14", f"1..{len(run.results)}", f"# {run.server}, {run.plugged_in}"]
    for number, result in enumerate(run.results, 1):
        lines += _lines(number, result, strict=run.strict)
    return "".join(f"{line}\n" for line in lines)


def _lines(number: int, result: Result, *, strict: bool) -> Iterator[str]:
    name = f"{number} - {result.slug} {' '.join(result.clauses)} {result.level.name}"
    if result.verdict is Verdict.ERROR or result.counts_as_failure(strict=strict):
        yield f"not ok {name}"
        yield from _details(result)
    elif result.verdict is Verdict.FAIL:
        yield f"not ok {name} # TODO {_one_line(result.excuse or 'a SHOULD')}"
    elif result.verdict in (Verdict.SKIP, Verdict.INFO):
        yield f"ok {name} # SKIP {_one_line(result.reason)}"
    else:
        yield f"ok {name}"


def _details(result: Result) -> Iterator[str]:
    yield "  ---"
    for key, value in (
        ("message", result.reason or result.excuse or ""),
        ("expected", result.expected),
        ("actual", result.actual),
    ):
        yield f"  {key}: {json.dumps(value)}"  # a JSON string is a YAML string
    yield "  clauses:"
    yield from (f"    - {json.dumps(clause_line(clause))}" for clause in result.clauses)
    yield "  transcript:"
    yield from (f"    - {json.dumps(line)}" for line in result.transcript)
    yield "  ..."


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("#", "")
