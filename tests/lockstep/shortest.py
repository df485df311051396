"""The shortest script that still shows a difference.

Decides by trying: drop a part, play the rest to new servers, keep what still differs. Hypothesis can shrink too, but it
shrinks the choices of the rules, each of which depends on all before it, and takes minutes; this takes seconds.
"""

from collections.abc import Callable, Sequence

from tests.lockstep.world import Call, Difference, World

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


def shortest(difference: Difference, open_world: Callable[[Limits], World]) -> Difference:
    """Return the same difference, or another, with a script of which nothing can be left out."""
    best = play(open_world(difference.limits), difference.script)
    if best is None:
        return difference
    length = len(best.script) // 2
    while length:
        start = 0
        while start < len(best.script):
            rest = (*best.script[:start], *best.script[start + length :])
            shown = play(open_world(best.limits), rest)
            if shown is None or len(shown.script) >= len(best.script):
                start += length
            else:
                best = shown
        length //= 2
    return best
