"""The formulas are held to the program: on concrete states, each has one successor, and it is what the program makes.

For each action, states are made up, the program takes one step with it, by rows of the table and by rows that the table
does not have, and every part of the state afterwards is compared with what the formula says. The program fails where,
and only where, the formula of its needs says so. A formula that says nothing of a part allows any value of it: that is
a difference, too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from random import Random
from typing import Final

from scache_proof import formulas
from scache_proof.formulas import Successor, Within, meaning, needs, row_successor
from scache_proof.happenings import HAPPENINGS
from scache_proof.invariants import INVARIANTS, Step
from scache_proof.logic import Few
from scache_proof.pictures import act, given, picture, things
from scache_proof.scenes import DESTINATIONS, ENDPOINTS, NOW_NS, Scene, Stimulus, made_up, stimulus, table_with
from scache_proof.world import PARTS, World
from scache_spec.conversation import TRANSITIONS, Action, Input, State, Transition
from scache_spec.vocabulary import NS_PER_S, ClientId, Limits

SHOWN_WHERE: Final[dict[str, Callable[..., bool]]] = {
    "saving_endpoint": lambda w, c: w.saving(c),
    "saving_ttl": lambda w, c: w.saving(c),
    "saving_size": lambda w, c: w.saving(c),
    "endpoint": lambda w, s: w.cached(s) > 0 or w.kept(s),
    "expiry": lambda w, s: w.cached(s) > 0 or w.kept(s),
    "size": lambda w, s: w.cached(s) > 0 or w.kept(s),
    "binding_expiry": lambda w, b: w.bound(b) > 0,
}
"""Parts that the program keeps only of what is there; elsewhere nothing is compared."""


class DiffersError(Exception):
    """A formula and the program are not the same."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How often a formula was compared with the program."""

    name: str
    states: int
    failures: int
    """In how many of the states both said that the action cannot be carried out."""


def compare(universe: Few, successor: Successor, after: World) -> list[str]:
    """Return the parts of which the formula says something else than the program made, or nothing."""
    differing = []
    for name, part in PARTS.items():
        define = successor.get(name)
        shown = SHOWN_WHERE.get(name)
        if define is None:
            differing.append(f"{name}: the formula allows anything")
            continue
        for of in product(*(universe.things[sort] for sort in part.of)):
            if shown is not None and not shown(after, *of):
                continue
            made, said = getattr(after, name)(*of), define(*of)
            if not (said.least <= made <= said.most if isinstance(said, Within) else made == said):
                differing.append(f"{name}{of}: the program makes {made!r}, the formula {said!r}")
                break
    return differing


def row_scenes(
    random: Random, keys: Sequence[tuple[State, Input]] = tuple(TRANSITIONS), *, handles: Sequence[int] = range(12)
) -> Iterator[tuple[State, Input, Scene, Stimulus]]:
    """Yield scenes in which each of these rows comes, in turn, without end."""
    for state, what in cycle(keys):
        scene = made_up(random, state, handles=handles)
        while (came := stimulus(random, scene, what, handles=handles)) is None:
            scene = made_up(random, state, handles=handles)
        yield state, what, scene, came


def check_action(action: Action, states: int, *, seed: int = 0) -> Compared:
    """Compare the formula of an action with the program, on so many states in which it can be carried out.

    Raise DiffersError with the first difference.
    """
    if action not in formulas.ACTIONS:
        raise DiffersError(f"{action.name} has no formula")
    random = Random(seed)
    done = failures = 0
    own = [key for key, row in TRANSITIONS.items() if row.action is action]
    of_own, of_all = row_scenes(random, own), row_scenes(random)
    while done < states:
        state, what, scene, came = next(of_own if own and done % 2 else of_all)
        row = TRANSITIONS[state, what]
        if (state, what) not in own:
            # Rows that the table does not have, for the wrong rows of the negative control.
            row = Transition(random.choice([row.next, random.choice(list(State))]), action, row.clause)
        pre, what_came = picture(scene), given(scene, came)
        can = needs(pre, what_came, action, row.next)
        with table_with(state, what, row):
            try:
                after = act(scene, came)
            except (AssertionError, KeyError, IndexError) as error:
                if can:
                    raise DiffersError(f"{action.name}: the program fails, the formula does not: {error!r}") from error
                failures += 1
                continue
        if not can:
            raise DiffersError(f"{action.name}, {state.name} on {what.name}: only the formula says it fails")
        universe = things(scene, came, after)
        if not meaning(universe, pre, what_came, state):
            raise DiffersError(f"{state.name} on {what.name} came, and the formula of the input says it did not")
        successor = row_successor(pre, what_came, action, row.next)
        if differing := compare(universe, successor, picture(after)):
            raise DiffersError(f"{action.name} in {state.name} on {what.name}: {'; '.join(differing)}")
        done += 1
    return Compared(action.name, done, failures)


def happening_scenes(
    name: str, *, seed: int = 0, handles: Sequence[int] = range(12)
) -> Iterator[tuple[Scene, Stimulus]]:
    """Yield scenes in which something other than a row of the table happens."""
    random = Random(seed)
    while True:
        wanted = State.RECEIVED if name == "a client has read its descriptor" else random.choice(list(State)[:-1])
        scene = made_up(random, wanted, handles=handles)
        client = ClientId(1)
        if name == "a client connects":
            client = ClientId(7)
        later_ns = NOW_NS + random.choice([0, 1, random.randint(0, 4 * NS_PER_S), NS_PER_S])
        few = random.randint(0, 3)
        limits = Limits(ttl_limit_s=few + 1, sessions_max=few, bindings_max=few, cached_bytes_max=few)
        flushed = frozenset(label for label in (*ENDPOINTS, *DESTINATIONS) if random.random() < 0.5)
        yield scene, Stimulus(None, client, happening=name, now_ns=later_ns, limits=limits, flushed=flushed)


def check_happening(name: str, states: int, *, seed: int = 0) -> Compared:
    """Compare the formula of what happens besides the rows with the program; raise DiffersError."""
    for done, (scene, came) in enumerate(happening_scenes(name, seed=seed)):
        if done == states:
            return Compared(name, states, 0)
        after = act(scene, came)
        universe, pre, what_came = things(scene, came, after), picture(scene), given(scene, came)
        happening = HAPPENINGS[name]
        if not happening.meaning(universe, pre, what_came):
            raise DiffersError(f"{name}: it came, and its formula says it cannot")
        if differing := compare(universe, happening.successor(pre, what_came), picture(after)):
            raise DiffersError(f"{name}: {'; '.join(differing)}")
    raise AssertionError


def broken(scene: Scene, came: Stimulus, row: Transition | None) -> list[str]:
    """Have the program take a step from a good scene; return the invariants that the step breaks."""
    try:
        after = act(scene, came)
    except (AssertionError, KeyError, IndexError):
        return ["replies-no-failure"]
    universe = things(scene, came, after)
    pre, post = picture(scene), picture(after)
    step = Step(universe, pre, post, given(scene, came), row, came.happening or None)
    found = []
    for name, invariant in INVARIANTS.items():
        if invariant.of_state is not None:
            holds = invariant.of_state(universe, post)
        else:
            assert invariant.of_step is not None
            holds = invariant.of_step(step)
        if not holds:
            found.append(name)
    return found
