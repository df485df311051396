"""A run as JUnit XML: what continuous integration systems read.

An expected failure and an INFO are skipped with their reason, one that
passes is a failure.
"""

import re
from typing import Final
from xml.etree import ElementTree

from scache_conformance.reports.run import Run, clause_line
from scache_conformance.suite.verdicts import Result, Verdict

_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow, however it is written: a server's name may have it, for example."""


def to_junit(run: Run) -> str:
    """Return the run as one test suite."""
    failed = [result for result in run.results if result.counts_as_failure(strict=run.strict)]
    errors = [result for result in run.results if result.verdict is Verdict.ERROR]
    suite = ElementTree.Element(
        "testsuite",
        name=f"scache-conformance: {run.server}",
        tests=str(len(run.results)),
        failures=str(len(failed)),
        errors=str(len(errors)),
        skipped=str(sum(1 for result in run.results if _is_skipped(result, strict=run.strict))),
        time=f"{run.seconds:.3f}",
        timestamp=run.started,
    )
    for result in run.results:
        suite.append(_case(result, strict=run.strict))
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
    return _FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text) + "\n"


def _case(result: Result, *, strict: bool) -> ElementTree.Element:
    area, _, name = result.slug.partition("/")
    case = ElementTree.Element("testcase", classname=area, name=name, time=f"{result.seconds:.3f}")
    properties = ElementTree.SubElement(case, "properties")
    for key, value in (("clauses", " ".join(result.clauses)), ("level", result.level.name), ("verdict", result.word)):
        ElementTree.SubElement(properties, "property", name=key, value=value)
    if result.verdict is Verdict.ERROR:
        ElementTree.SubElement(case, "error", message=result.reason).text = "\n".join(result.transcript)
    elif result.is_better_than_expected:
        ElementTree.SubElement(case, "failure", message=f"passes, and was expected to fail: {result.excuse}")
    elif result.counts_as_failure(strict=strict):
        message = f"expected {result.expected}; got {result.actual}"
        clauses = [clause_line(clause) for clause in result.clauses]
        ElementTree.SubElement(case, "failure", message=message).text = "\n".join([*clauses, *result.transcript])
    elif _is_skipped(result, strict=strict):
        ElementTree.SubElement(
            case, "skipped", message=f"{result.word}: {result.excuse or result.reason or result.actual}"
        )
    return case


def _is_skipped(result: Result, *, strict: bool) -> bool:
    if result.verdict is Verdict.FAIL:
        return not result.counts_as_failure(strict=strict)
    return result.verdict in (Verdict.SKIP, Verdict.INFO)
