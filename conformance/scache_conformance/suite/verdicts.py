"""What came of a case, which verdicts count against the server, and the exit status of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum


class Level(Enum):
    """What a case demands."""

    MUST = "every server does so: one that does not costs other clients their connections or their time, or is none"
    SHOULD = "this specification asks for it; a server that does not costs only the client that asks for it"
    INFO = "nothing is demanded: what the server does is written down"


class Verdict(Enum):
    """What came of a case."""

    PASS = "the server does what the clause says"
    FAIL = "the server does something else"
    SKIP = "it could not be tried, for the reason given"
    INFO = "what the server does, where nothing is demanded"
    ERROR = "no verdict: the server died, or the suite failed"


class Exit(IntEnum):
    """The exit status of the suite."""

    GOOD = 0
    FAILED = 1
    NO_VERDICT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The verdict on one case and what led to it.

    `reason` is why it was skipped or has no verdict, or the value found out. `excuse` is the reason for which the case
    was expected to fail.
    """

    slug: str
    title: str
    clauses: tuple[str, ...]
    level: Level
    verdict: Verdict
    seconds: float = 0.0
    reason: str = ""
    expected: str = ""
    actual: str = ""
    transcript: tuple[str, ...] = ()
    excuse: str | None = None
    server_died: bool = False

    @property
    def is_excused(self) -> bool:
        """Tell whether it failed as expected."""
        return self.verdict is Verdict.FAIL and self.excuse is not None

    @property
    def is_better_than_expected(self) -> bool:
        """Tell whether it passed and was expected to fail: the expectation is out of date."""
        return self.verdict is Verdict.PASS and self.excuse is not None

    def counts_as_failure(self, *, strict: bool) -> bool:
        """Tell whether it counts against the server; failed SHOULDs do if strict."""
        if self.is_better_than_expected:
            return True
        demanded = self.level is Level.MUST or (strict and self.level is Level.SHOULD)
        return self.verdict is Verdict.FAIL and self.excuse is None and demanded

    @property
    def word(self) -> str:
        """Name the verdict as the reports do."""
        if self.is_excused:
            return "XFAIL"
        return "XPASS" if self.is_better_than_expected else self.verdict.name


def exit_status(results: Sequence[Result], *, strict: bool) -> Exit:
    """Return the exit status of a run: no verdict weighs more than a failure, and nothing tried is no verdict."""
    tried = [result for result in results if result.verdict is not Verdict.SKIP]
    if not tried or any(result.verdict is Verdict.ERROR or result.server_died for result in results):
        return Exit.NO_VERDICT
    return Exit.FAILED if any(result.counts_as_failure(strict=strict) for result in results) else Exit.GOOD
