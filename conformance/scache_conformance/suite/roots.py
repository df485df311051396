"""Servers that are broken at the root, and the likely common cause of several failures.

A server that breaks a step of nearly every case fails nearly every case, and each failure waits for a reply in vain.
`broken_root` takes these steps once, before the cases. `groups` sorts failures after the run by what was expected and
what came instead. The cause that it names is a guess, and is worded as a guess.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scache_conformance.servers.target import Target
from scache_conformance.suite.verdicts import Result
from scache_conformance.wire import lists
from scache_conformance.wire.line import Line
from scache_conformance.wire.transcript import Transcript
from scache_conformance.wire.unmet import Silence, Unmet

TRIED_AT_A_BROKEN_ROOT: Final = 8
"""How many cases may fail on a server with a broken root before the rest is not tried. At 2 s each: within a minute."""

TTL_MEASURED_S_MAX: Final = 12
"""How long a session is watched to find out the ttl limit of a server. Arbitrary."""

TTL_FAILURES_MIN: Final = 1
"""How many failed cases of lifetime make a wrong ttl limit worth measuring: only the cap may fail."""

_ASKED_S: Final = 1_000_000
"""A ttl that every server cuts to its limit."""

_LABEL: Final = b"scache-conformance/first-steps"


def broken_root(target: Target) -> str | None:
    """Take the steps that nearly every case takes; name the first for which no reply comes, None if each has one.

    A reply that is only wrong costs no time: the cases say what is wrong with it.
    """
    line = Line()
    try:
        with target.peer(Transcript(), name="root") as peer:
            step = "find_endp of an unknown label"
            try:
                peer.send_bytes(lists.find_endp(_LABEL))
                peer.receive("a reply")
                step = "save_endp, before the descriptor"
                peer.send_bytes(lists.save_endp(1, _LABEL, b"p"))
                peer.receive("dummy=, the invitation to send the descriptor")
                step = "save_endp, after the descriptor"
                peer.send_bytes(b"\0", [line.far.fileno()])
                peer.receive("a reply")
                step = "find_endp of what was just saved"
                if peer.begin_find_endp(_LABEL).status == lists.DONE:
                    step = "find_endp, after ready"
                    peer.take()  # and so nothing is left of this
            except Silence as silence:
                return f"{_silence(silence)} ({step})"
    except Unmet:
        pass  # it is wrong in another way, which the cases say
    finally:
        line.close()
    return None


def measured_ttl_limit_s(target: Target) -> int | None:
    """Return after how many seconds the server ends a session that was saved for very long, None if that was not seen.

    On a server that counts whole seconds this is the ttl limit, or one less.
    """
    line = Line()
    try:
        with target.peer(Transcript(), name="ttl") as peer:
            peer.save_endp(_ASKED_S, _LABEL, b"p", line.far.fileno())
            line.let_go()
            began_s = time.monotonic()
            for second in range(1, TTL_MEASURED_S_MAX + 1):
                if target.has_clock:
                    target.advance(1)
                    ended = line.hung_up(target.declared.deadline_s / 4)
                else:
                    ended = line.hung_up(began_s + second + 0.5 - time.monotonic())
                if ended:
                    return second
    except Unmet:
        pass  # a server that cannot be asked
    finally:
        line.close()
    return None


def ttl_hint(target: Target, results: Iterable[Result]) -> str | None:
    """Say that another ttl limit was told than the server has, where failures look like that and measuring agrees.

    A server that the suite itself starts with its ttl limit has no other.
    """
    if target.is_told("ttl_limit_s"):
        return None
    declared_s = target.declared.ttl_limit_s
    failed = [each for each in results if each.counts_as_failure(strict=True) and _is_of_lifetime(each)]
    if len(failed) < TTL_FAILURES_MIN:
        return None
    measured_s = measured_ttl_limit_s(target)
    if measured_s in (declared_s, declared_s - 1):
        return None
    seen = f"more than {TTL_MEASURED_S_MAX} s" if measured_s is None else f"{measured_s} s"
    return (
        f"is its ttl limit {declared_s} s? {len(failed)} case{'s' * (len(failed) > 1)} of lifetime failed, and what is "
        f"saved for very long lives {seen}: use --ttl-limit S to tell another"
    )


def _is_of_lifetime(result: Result) -> bool:
    return any(clause.startswith("TTL-") for clause in result.clauses)


@dataclass(frozen=True, slots=True)
class Group:
    """Failures that look as if they had one root."""

    root: str
    results: tuple[Result, ...]


def groups(failures: Sequence[Result]) -> tuple[Group, ...]:
    """Return the failures by their likely root, the root of most failures first; within it in the order given."""
    by_root: dict[str, list[Result]] = {}
    for each in failures:
        by_root.setdefault(root_of(each), []).append(each)
    return tuple(Group(root, tuple(by_root[root])) for root in sorted(by_root, key=lambda root: -len(by_root[root])))


_SIGNS: Final[tuple[tuple[str, str, str], ...]] = (
    (r"the greeting", r"nothing within [^,]*$", "no greeting"),
    (r"the greeting", r"nothing within .*, only", "the greeting is not terminated"),
    (r"^the greeting", r".*", "another greeting, or none"),
    (r".*", r"(nothing within .*, only|and no end of it within)", "replies are not terminated"),
    (r"dummy=", r"nothing within", "no invitation to send the descriptor"),
    (r"carries exactly one descriptor", r".*", "a find hands out no descriptor"),
    (r".*", r"nothing within", "no reply"),
    (r".*", r"the server closed the connection", "the server closes connections"),
    (r".*", r"it closed the connection", "the server closes connections"),
    (r"closed by the server", r"it is open", "descriptors or connections are left open"),
    (r"the connection that was parked", r".*", "another descriptor is handed out than was parked"),
    (r": nothing found", r".*", "something is found that must not be"),
    (r".*", r"^nothing found$", "nothing is found where something must be"),
    (r"properties", r".*", "other properties, or in another order"),
    (r"status", r".*", "another status"),
)
"""Expected, actual (patterns that are searched for), and what both together point at. The first that fits counts."""


def root_of(result: Result) -> str:
    """Guess what is broken: by what was expected and seen, else by the first clause that the case tries."""
    if result.server_died:
        return "the server dies"
    if result.is_better_than_expected:
        return "passes and was expected to fail"
    for expected, actual, root in _SIGNS:
        if result.expected and re.search(expected, result.expected) and re.search(actual, result.actual):
            return root
    return result.clauses[0]


def _silence(silence: Silence) -> str:
    return "replies are not terminated" if ", only" in silence.actual else "no reply"
