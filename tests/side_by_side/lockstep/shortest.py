"""The shortest script that still shows a difference.

It is found by trying: drop a part, play the rest to new servers, keep what still differs. Hypothesis can shrink too,
but it shrinks the choices of the rules, each of which depends on all before it, and takes minutes; this takes seconds.
"""

from collections.abc import Callable, Sequence

from tests.side_by_side.lockstep.world import Call, Difference, World

from scache_spec.vocabulary import Limits


def play(world: World, script: Sequence[Call]) -> Difference | None:
    """Return the difference that a script shows in a new world, None if there is none or it makes no sense."""
    try:
        for name, arguments in script:
            getattr(world, name)(*arguments)
        world.settle()
    except Difference as difference:
        return difference
    except (KeyError, OSError):  # What it says of a client comes before it connects, or after it has gone.
        return None
    finally:
        world.discard()
    return None


def groups(script: Sequence[Call]) -> list[tuple[Call, ...]]:
    """Cut a script at its marks, or else behind each look at what came of it: what is between belongs together."""
    ends = "mark" if any(name == "mark" for name, _ in script) else "settle"
    cut: list[tuple[Call, ...]] = []
    group: list[Call] = []
    for call in script:
        group.append(call)
        if call[0] == ends:
            cut.append(tuple(group))
            group = []
    return [*cut, tuple(group)] if group else cut


def shortest(difference: Difference, open_world: Callable[[Limits], World]) -> Difference:
    """Return the same difference, or another, with a script of which nothing between two looks can be left out."""
    best = play(open_world(difference.limits), difference.script)
    if best is None:
        return difference
    length = len(groups(best.script)) // 2
    while length:
        shorter = _without_parts(best, length, open_world)
        if length > 1 or shorter is best:
            length //= 2
        best = shorter
    return best


def _without_parts(best: Difference, length: int, open_world: Callable[[Limits], World]) -> Difference:
    """Leave out every part of so many groups that the difference does not need; return the same if it needs all."""
    start = 0
    while start < len(parts := groups(best.script)):
        rest = [call for part in (*parts[:start], *parts[start + length :]) for call in part]
        shown = play(open_world(best.limits), rest)
        if shown is None or len(shown.script) >= len(best.script):
            start += length
        else:
            best = shown
    return best
