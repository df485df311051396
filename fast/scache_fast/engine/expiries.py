"""What expires when: a heap of items that know their places in it.

Nothing here knows what the items are; table.py keeps sessions and bindings here.

An item that leaves before its time leaves at once, because its place is known: nothing stale stays behind, and nothing
has to be tidied up later. Most items are saved with the same ttl, so that an item comes in at the end and stays there,
at the price of one comparison. Python's heapq does not tell where an item is. The alternative, a heapq of numbers and a
dictionary from numbers to items, weighs 100 bytes more for each item, and keeps numbers of items that are gone.
"""

from typing import Final, Generic, TypeVar

_OUTSIDE: Final = -1


class Timed:
    """What leaves the table by itself at some instant."""

    __slots__ = ("expiry_ns", "place")

    def __init__(self, expiry_ns: int = 0) -> None:
        self.expiry_ns = expiry_ns
        """The first instant at which it is no longer alive. Only `Expiries` sets it for what is inside."""
        self.place = _OUTSIDE
        """Where it is in the heap; negative: nowhere."""


Item = TypeVar("Item", bound=Timed)


class Expiries(Generic[Item]):
    """A binary heap: no item expires before its parent, and `item.place` is where it is.

    Only `add` needs memory; where there is none it raises MemoryError, and nothing has changed.
    """

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Item] = []
        """The first one is the first to expire; the others are in no order that matters. To be read only."""

    def add(self, item: Item, expiry_ns: int) -> None:
        """Put an item in that is outside."""
        items = self.items
        place = len(items)
        items.append(item)
        item.expiry_ns = expiry_ns
        item.place = place
        if place and items[(place - 1) >> 1].expiry_ns > expiry_ns:
            self._settle(item, place)

    def move(self, item: Item, expiry_ns: int) -> None:
        """Give an item that is inside another expiry."""
        item.expiry_ns = expiry_ns
        self._settle(item, item.place)

    def remove(self, item: Item) -> None:
        """Take an item out that is inside."""
        place = item.place
        item.place = _OUTSIDE
        last = self.items.pop()
        if last is not item:
            self._settle(last, place)

    def clear(self) -> None:
        """Take everything out."""
        for item in self.items:
            item.place = _OUTSIDE
        self.items.clear()

    def _settle(self, item: Item, place: int) -> None:
        """Put an item at this place, whatever is there, or where it belongs above or below."""
        items = self.items
        expiry_ns = item.expiry_ns
        while place:
            above = (place - 1) >> 1
            parent = items[above]
            if parent.expiry_ns <= expiry_ns:
                break
            items[place] = parent
            parent.place = place
            place = above
        end = len(items)
        below = 2 * place + 1
        while below < end:
            child = items[below]
            if below + 1 < end and items[below + 1].expiry_ns < child.expiry_ns:
                below += 1
                child = items[below]
            if child.expiry_ns >= expiry_ns:
                break
            items[place] = child
            child.place = place
            place = below
            below = 2 * place + 1
        items[place] = item
        item.place = place
