"""Breadth-first search over any space of states.

States, operations and everything that is checked on the way are the caller's.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State")
Operation = TypeVar("Operation")


@dataclass(frozen=True, slots=True)
class Trail(Generic[Operation]):
    """A shortest way to a state: the last operation and the way before it.

    It does not keep the states along the way, so that those already expanded can be forgotten.
    """

    before: "Trail[Operation] | None"
    operation: Operation

    def operations(self) -> tuple[Operation, ...]:
        """Return the operations in the order in which they were done."""
        backwards = [self.operation]
        trail = self.before
        while trail is not None:
            backwards.append(trail.operation)
            trail = trail.before
        return tuple(reversed(backwards))


def reachable(
    start: State,
    successors: Callable[[State], Iterable[tuple[Operation, State]]],
    key: Callable[[State], Hashable],
) -> "Iterator[tuple[State, Trail[Operation] | None]]":
    """Yield each state that can be reached, once, with a shortest trail to it (None: it is the start).

    States of equal key count as one; the first that was met stands for all of them. A state is expanded right after it
    was yielded: an exception that `successors` raises is about the state yielded last.
    """
    seen = {key(start)}
    queue: deque[tuple[State, Trail[Operation] | None]] = deque([(start, None)])
    while queue:
        state, trail = queue.popleft()
        yield state, trail
        for operation, following in successors(state):
            name = key(following)
            if name not in seen:
                seen.add(name)
                queue.append((following, Trail(trail, operation)))
