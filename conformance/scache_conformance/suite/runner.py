"""Running cases: their order, which of them run at the same time, and what their exceptions mean.

The order is:

1. Most cases run one after the other.
2. Cases that wait for an expiry: in real time they run all at once, and cases that must not be disturbed run each on a
   server of its own. On a virtual clock they run one after the other, because each of them moves the clock.
3. Cases that start their own servers run last, a few at a time. Beside them, if the others had a virtual clock, run the
   cases that try a server's timers in real time.

After each case the server must still greet. If the server died, the case gets the verdict ERROR, and a server that the
suite started is started again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Final

from scache_conformance.servers.target import ServerDied, Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.lab import Inconclusive, Lab, Skipped
from scache_conformance.suite.registry import Case, Schedule
from scache_conformance.suite.roots import TRIED_AT_A_BROKEN_ROOT, broken_root
from scache_conformance.suite.verdicts import Level, Result, Verdict
from scache_conformance.wire.unmet import Silence, Unmet

TRIES_MAX: Final = 3
"""How often a case is tried on a machine that is too slow for it. Arbitrary."""

OWN_SERVERS_MAX: Final = 6
"""How many cases have servers of their own at once. Arbitrary: starting servers is what keeps a machine busy."""

WAITING_TOGETHER_MAX: Final = 48
"""How many cases wait at once. They sleep most of the time; more would start each other too late. Arbitrary."""

Progress = Callable[[Result], None]


class Enough(Exception):  # noqa: N818 - a decision, not a mistake
    """No further case is tried. The text says why."""


class ServerGone(Exception):  # noqa: N818 - what a server did, not a mistake of this program
    """The server died and cannot be started again: the run ends here."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one try gave; not conclusive if it may be the machine's doing, and another try is worth its time."""

    result: Result
    is_conclusive: bool


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs cases against one server that serves already; `excuses` are the reasons for expected failures, by slug.

    With `fail_fast` the first failure that counts, under `strict`, ends the run: the other cases are skipped.
    """

    target: Target
    excuses: Mapping[str, str]
    progress: Progress
    fail_fast: bool = False
    strict: bool = False

    def run(self, cases: Sequence[Case]) -> tuple[Result, ...]:
        """Return one result for each case, in the order of the cases. Raises ServerDied if it is gone at the start."""
        try:
            self.target.check_alive()
        except ServerDied as mute:
            self.target.check_alive(greeted=False)  # one that is gone has no verdict: this ends the run
            return tuple(self._on_a_mute_server(case, str(mute)) for case in cases)
        results: dict[str, Result] = {}
        by_schedule: dict[Schedule, list[Case]] = {schedule: [] for schedule in Schedule}
        for case in cases:
            by_schedule[self._schedule(case)].append(case)
        in_turn, undisturbed = by_schedule[Schedule.IN_TURN], by_schedule[Schedule.UNDISTURBED]
        if undisturbed and not self._starts_twice():
            in_turn, undisturbed = [*in_turn, *undisturbed], []
        try:
            root = broken_root(self.target) if len(cases) > TRIED_AT_A_BROKEN_ROOT else None
            for case in in_turn:
                results[case.slug] = self._alone(case)
                self.progress(results[case.slug])
                self._insist_on_going_on(results, root)
            if root is not None and any(result.verdict is Verdict.FAIL for result in results.values()):
                raise Enough(_broken(root))
            self._together(by_schedule[Schedule.WAITING], self._attempt_until_conclusive, WAITING_TOGETHER_MAX, results)
            self._together(undisturbed, self._undisturbed, OWN_SERVERS_MAX, results)
            in_real_time, own = by_schedule[Schedule.REAL_TIME], by_schedule[Schedule.OWN_SERVERS]
            self._together([*in_real_time, *own], self._on_own_servers, len(in_real_time) + OWN_SERVERS_MAX, results)
        except Enough as enough:
            for case in cases:
                if case.slug not in results:
                    results[case.slug] = _result(case, Verdict.SKIP, reason=str(enough))
                    self.progress(results[case.slug])
        except ServerGone as gone:
            for case in cases:
                if case.slug not in results:
                    results[case.slug] = _result(case, Verdict.ERROR, reason=str(gone), server_died=True)
                    self.progress(results[case.slug])
        return tuple(results[case.slug] for case in cases)

    def _insist_on_going_on(self, results: Mapping[str, Result], root: str | None = None) -> None:
        """Raise Enough if what has failed so far says all that this run is to say."""
        if self.fail_fast and any(self._ends_a_fast_run(result) for result in results.values()):
            raise Enough("not tried: a case failed, and --fail-fast was given")
        failed = sum(result.verdict is Verdict.FAIL for result in results.values())
        if root is not None and failed >= TRIED_AT_A_BROKEN_ROOT:
            raise Enough(_broken(root))

    def _ends_a_fast_run(self, result: Result) -> bool:
        return result.counts_as_failure(strict=self.strict) or result.verdict is Verdict.ERROR

    def _schedule(self, case: Case) -> Schedule:
        """Return when a case is run: a virtual clock is moved by one case after the other."""
        moves_the_clock = case.schedule in (Schedule.WAITING, Schedule.UNDISTURBED) and self.target.has_clock
        return Schedule.IN_TURN if moves_the_clock else case.schedule

    def _on_a_mute_server(self, case: Case, reason: str) -> Result:
        """Try what needs no greeting. Every other case would wait for one in vain."""
        if case.area == "greeting":
            result = self._attempt(case).result
        else:
            result = _result(case, Verdict.SKIP, reason=f"needs a server that greets: {reason}")
        self.progress(result)
        return result

    def _alone(self, case: Case) -> Result:
        result = self._attempt_until_conclusive(case)
        try:
            self.target.check_alive()
        except ServerDied as died:
            self._revive(died)
            reason = f"the server died: {died}; {self._second_opinion(case)}"
            return replace(result, verdict=Verdict.ERROR, reason=reason, server_died=True)
        return result

    def _second_opinion(self, case: Case) -> str:
        """Say whether a fresh server dies of the case, too, or whether what came before had its part."""
        self._attempt(case)
        try:
            self.target.check_alive()
        except ServerDied as died:
            self._revive(died)
            return "started again, it dies of this case alone"
        return "started again, it does not die of this case alone: look at those before it, too"

    def _starts_twice(self) -> bool:
        if self.target.can_be_started:
            try:
                with self.target.another():
                    return True
            except (ServerDied, Unavailable, OSError):
                pass  # perhaps there can be one at a time
        return False

    def _on_own_servers(self, case: Case) -> Result:
        """Run a case that starts its servers itself, or has one started for it that has the machine's clock."""
        if case.schedule is Schedule.REAL_TIME:
            return self._in_real_time(case)
        return self._attempt_until_conclusive(case)

    def _in_real_time(self, case: Case) -> Result:
        """Run a case on a server that has the machine's clock. Where all have, another case tries it already."""
        if not self.target.has_clock:
            return _result(case, Verdict.SKIP, reason="all cases run in real time, and one of them tries this")
        try:
            target = self.target.in_real_time()
        except Unavailable as missing:
            return _result(case, Verdict.SKIP, reason=str(missing))
        return self._undisturbed(case, target)

    def _undisturbed(self, case: Case, target: Target | None = None) -> Result:
        """Run a case on a server that is started for it alone."""
        result = _result(case, Verdict.ERROR, reason="not tried")
        try:
            with target or self.target.another() as target:
                result = replace(self, target=target)._attempt_until_conclusive(case)
                target.check_alive()
        except ServerDied as died:
            reason = f"the server that was started for this case alone died: {died}"
            return replace(result, verdict=Verdict.ERROR, reason=reason, server_died=True)
        except (Unavailable, OSError) as error:
            reason = f"a server for this case alone could not be started or ended: {error}"
            return replace(result, verdict=Verdict.ERROR, reason=reason)
        return result

    def _together(
        self, cases: Sequence[Case], run: Callable[[Case], Result], at_once_max: int, results: dict[str, Result]
    ) -> None:
        """Run cases at once, and add their results. Raises ServerGone, with those added that there are."""
        if not cases:
            return
        with ThreadPoolExecutor(at_once_max, "case") as pool:
            futures = [pool.submit(run, case) for case in cases]
            try:
                for future in as_completed(futures):
                    result = future.result()
                    results[result.slug] = result
                    if result.verdict is Verdict.PASS:
                        self.progress(result)
                    if self.fail_fast and self._ends_a_fast_run(result):
                        pool.shutdown(cancel_futures=True)
                        break
            except KeyboardInterrupt:  # what was not begun is not worth waiting for
                pool.shutdown(cancel_futures=True)
                raise
        tried = [case for case in cases if case.slug in results]
        failed = [case for case in tried if results[case.slug].verdict is not Verdict.PASS]
        try:
            self.target.check_alive()
        except ServerDied as died:  # Of which case it died, only one at a time can tell.
            self._revive(died)
            for case in failed:
                results[case.slug] = self._alone(case)
        finally:
            for case in failed:
                self.progress(results[case.slug])
        self._insist_on_going_on(results)

    def _revive(self, died: ServerDied) -> None:
        try:
            self.target.revive()
        except (Unavailable, ServerDied) as error:
            raise ServerGone(f"not tried: the server died before, and {error}; {died}") from error

    def _attempt_until_conclusive(self, case: Case) -> Result:
        attempt = self._attempt(case)
        for _ in range(TRIES_MAX - 1):
            if attempt.is_conclusive:
                break
            before, attempt = attempt.result, self._attempt(case)
            if attempt.result.verdict is Verdict.PASS:
                seen = before.reason or f"expected {before.expected}; got {before.actual}"
                reason = f"at another try, as the machine was slow; before that {seen}"
                return replace(attempt.result, reason=reason)
        return attempt.result

    def _may_have_expired(self, seconds: float) -> bool:
        """Tell whether a case was delayed by so much that what it had saved may have expired sooner than it thinks."""
        return seconds >= self.target.declared.ttl_limit_s - 1 and not self.target.has_clock

    def _attempt(self, case: Case) -> _Attempt:
        began_s = time.monotonic()
        with Lab(self.target) as lab:
            verdict, reason, expected, actual, is_conclusive = Verdict.PASS, "", "", "", True
            try:
                reason = case.function(lab) or ""
                verdict = Verdict.INFO if case.level is Level.INFO else Verdict.PASS
            except Unmet as unmet:
                verdict, expected, actual = Verdict.FAIL, unmet.expected, unmet.actual
                lab.transcript.decided(unmet.at_s, str(unmet))
                delayed_s = time.monotonic() - began_s - lab.waited_s
                is_conclusive = isinstance(unmet, Silence) or not self._may_have_expired(delayed_s)
                if case.level is Level.INFO:
                    verdict, reason = Verdict.INFO, f"not found out: {unmet}"
            except (Skipped, Unavailable) as skipped:
                verdict, reason = Verdict.SKIP, str(skipped)
            except Inconclusive as slow:
                verdict, reason, is_conclusive = Verdict.SKIP, f"inconclusive: {slow}", False
            except (ServerDied, OSError, AssertionError) as error:
                verdict, reason = Verdict.ERROR, f"{type(error).__name__}: {error}"
        result = replace(
            _result(case, verdict, reason=reason, expected=expected, actual=actual),
            seconds=round(time.monotonic() - began_s, 3),
            transcript=lab.transcript.lines(),
            excuse=self.excuses.get(case.slug),
        )
        return _Attempt(result, is_conclusive)


def _broken(root: str) -> str:
    return f"not tried: {root}, and nearly every case needs that; mend it first"


def _result(
    case: Case, verdict: Verdict, *, reason: str, expected: str = "", actual: str = "", server_died: bool = False
) -> Result:
    return Result(
        slug=case.slug,
        title=case.title,
        clauses=case.clauses,
        level=case.level,
        verdict=verdict,
        reason=reason,
        expected=expected,
        actual=actual,
        server_died=server_died,
    )
