"""The heap of what expires: every item knows its place."""

from random import Random

import pytest

from scache_fast.engine.expiries import Expiries, Item, Timed


def check_heap(heap: Expiries[Item]) -> None:
    """Assert that no item expires before its parent, and that each knows its place."""
    for place, item in enumerate(heap.items):
        assert item.place == place
        assert heap.items[max(0, place - 1) // 2].expiry_ns <= item.expiry_ns


def heap_of(*expiries_ns: int) -> tuple[Expiries[Timed], list[Timed]]:
    heap: Expiries[Timed] = Expiries()
    items = [Timed() for _ in expiries_ns]
    for item, expiry_ns in zip(items, expiries_ns, strict=True):
        heap.add(item, expiry_ns)
    return heap, items


@pytest.mark.parametrize("seed", range(20))
def test_first_item_is_the_first_to_expire_whatever_comes_moves_and_goes(seed: int) -> None:
    random = Random(seed)
    heap, inside = heap_of()
    for _ in range(500):
        action = random.randrange(5)
        if action < 2 or not inside:
            item = Timed()
            heap.add(item, random.randrange(50))
            inside.append(item)
        elif action == 2:
            heap.move(random.choice(inside), random.randrange(50))
        else:
            item = inside.pop(random.randrange(len(inside)))
            heap.remove(item)
            assert item.place < 0
        check_heap(heap)
        assert set(heap.items) == set(inside)


def test_item_that_leaves_from_the_middle_is_replaced_by_one_that_belongs_above() -> None:
    heap, items = heap_of(0, 10, 1, 11, 12, 2, 3)
    heap.remove(items[3])  # the last one, which expires at 3, is put below the one that expires at 10
    check_heap(heap)
    assert [item.expiry_ns for item in heap.items] == [0, 3, 1, 10, 12, 2]


def test_nothing_is_inside_a_heap_that_was_cleared() -> None:
    heap, items = heap_of(3, 1, 2)
    heap.clear()
    assert heap.items == []
    assert all(item.place < 0 for item in items)
