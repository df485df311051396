"""Results that no server gave, for what judges and shows results."""

from scache_conformance.reports.run import Run
from scache_conformance.suite.verdicts import Level, Result, Verdict

NASTY = ']]> </script><!-- \\0 & "quoted" `code` | pipe # hash\u2028'


def result(
    verdict: Verdict,
    slug: str = "endp/oldest-first",
    *,
    level: Level = Level.MUST,
    excuse: str | None = None,
    reason: str = "",
    server_died: bool = False,
) -> Result:
    """Make a result up."""
    return Result(
        slug=slug,
        title="The sessions come in order.",
        clauses=("ENDP-3", "ENDP-2"),
        level=level,
        verdict=verdict,
        seconds=0.25,
        reason=reason,
        expected=NASTY if verdict is Verdict.FAIL else "",
        actual="nothing" if verdict is Verdict.FAIL else "",
        transcript=("   0.000s  A    -> " + NASTY,),
        excuse=excuse,
        server_died=server_died,
    )


def run(*results: Result, strict: bool = False, server: str = "mine") -> Run:
    """Make a run up."""
    return Run(
        server=server,
        plugged_in="--socket /nowhere",
        ttl_limit_s=2,
        clock="real",
        started="2026-01-02T03:04:05+00:00",
        seconds=1.5,
        strict=strict,
        results=results,
    )


EVERY_KIND = run(
    result(Verdict.PASS),
    result(Verdict.FAIL, "endp/found-session-is-gone"),
    result(Verdict.FAIL, "endp/many", excuse="known"),
    result(Verdict.PASS, "endp/equal-sessions", excuse="out of date"),
    result(Verdict.FAIL, "deaths/put-back", level=Level.SHOULD),
    result(Verdict.SKIP, "life/idle-exit", reason="needs # more"),
    result(Verdict.INFO, "fd/listening-socket", level=Level.INFO, reason="yes"),
    result(Verdict.ERROR, "fd/pipe", reason="the server died", server_died=True),
    server="mine <b>",
)
