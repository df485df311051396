"""The judge of histories, on histories written by hand and on true ones that were corrupted on purpose."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.conformance import plugged

from scache_conformance.generated import histories
from scache_conformance.generated.linearizability import Operation, PutBack, Verb, linearization
from scache_conformance.generated.rules import RuleSet
from scache_conformance.generated.steps import FindDest, FindEndp, Found, SaveDest, SaveEndp


def save(session: int, invoked: int, returned: int, endpoint: bytes = b"e") -> Operation:
    return Operation(SaveEndp("A", 9, endpoint, b"%d" % session, session), None, invoked, returned)


def find(session: int | None, invoked: int, returned: int, endpoint: bytes = b"e") -> Operation:
    found = None if session is None else Found(session, (b"%d" % session,))
    return Operation(FindEndp("B", endpoint), found, invoked, returned)


def test_nothing_is_explained() -> None:
    assert linearization([]) == ()


def test_one_after_another_is_explained_in_that_order() -> None:
    history = [save(1, 0, 1), save(2, 2, 3), find(1, 4, 5), find(2, 6, 7), find(None, 8, 9)]
    assert linearization(history[::-1]) == tuple(history)


def test_ENDP_4_session_found_twice_is_not_explained() -> None:
    assert linearization([save(1, 0, 1), find(1, 2, 5), find(1, 3, 4)]) is None


def test_ENDP_3_youngest_first_is_not_explained() -> None:
    assert linearization([save(1, 0, 1), save(2, 2, 3), find(2, 4, 5)]) is None


def test_ENDP_3_order_of_saves_that_overlap_is_free() -> None:
    assert linearization([save(1, 0, 3), save(2, 1, 2), find(2, 4, 5), find(1, 6, 7)]) is not None


def test_miss_beside_the_save_is_explained() -> None:
    assert linearization([save(1, 0, 3), find(None, 1, 2)]) is not None


def test_miss_after_the_save_is_not_explained() -> None:
    assert linearization([save(1, 0, 1), find(None, 2, 3)]) is None


def test_touching_at_an_instant_counts_as_overlapping() -> None:
    assert linearization([save(1, 0, 1), find(None, 1, 2)]) is not None


def test_found_before_it_was_saved_is_not_explained() -> None:
    assert linearization([find(1, 0, 1), save(1, 2, 3)]) is None


def test_DEST_4_session_comes_with_the_properties_of_its_binding() -> None:
    binding = Operation(SaveDest("A", 9, b"d", b"p", b"e"), None, 0, 1)
    right = Operation(FindDest("B", b"d"), Found(1, (b"p", b"1")), 4, 5)
    wrong = replace(right, found=Found(1, (b"q", b"1")))
    assert linearization([binding, save(1, 2, 3), right]) is not None
    assert linearization([binding, save(1, 2, 3), wrong]) is None


def test_ENDP_5_session_put_back_comes_first() -> None:
    begin = [save(1, 0, 1), save(2, 2, 3), find(1, 4, 5)]
    put_back = Operation(PutBack("B", b"e", b"1", 1), None, 6, 7)
    assert linearization([*begin, put_back, find(1, 8, 9)]) is not None
    assert linearization([*begin, put_back, find(2, 8, 9)]) is None


def test_long_history_of_clients_that_all_overlap_is_judged() -> None:
    """Sixty operations that may come in any order: without memory, 60! orders would have to be tried."""
    history = [save(number, 0, 100) for number in range(30)] + [find(number, 0, 100) for number in range(30)]
    assert linearization(history) is not None


@pytest.mark.parametrize("last", [1, 3])
def test_order_of_many_saves_that_comes_to_light_at_the_end_is_judged(last: int) -> None:
    """Twenty pairs of saves that overlap, found at the end: without hindsight, a million orders would be tried."""
    history: list[Operation] = []
    for number in range(0, 40, 2):
        history += [save(number, 10 * number, 10 * number + 9), save(number + 1, 10 * number + 1, 10 * number + 8)]
    history += [find(number ^ last, 1000 + 10 * number, 1000 + 10 * number + 9) for number in range(39)]
    assert (linearization(history) is not None) == (last == 1)


# True histories, corrupted.


Corruption = Callable[[list[Operation], random.Random], bool]
"""Change a history; False if there is nothing in it to change so."""


def _hits(history: Sequence[Operation]) -> list[int]:
    return [at for at, each in enumerate(history) if each.found is not None]


def hand_out_twice(history: list[Operation], rng: random.Random) -> bool:
    """Let a find have found what another found."""
    hits = [at for at in _hits(history) if isinstance(history[at].verb, FindEndp)]
    if len(hits) < 2:
        return False
    one, other = rng.sample(hits, 2)
    history[one] = replace(history[one], found=history[other].found)
    return True


def deny(history: list[Operation], rng: random.Random) -> bool:
    """Let a find that hit have missed."""
    at = rng.choice(_hits(history))
    history[at] = replace(history[at], found=None)
    return True


def lose_a_save(history: list[Operation], rng: random.Random) -> bool:
    """Forget a save of something that was found."""
    found = {history[at].found.session for at in _hits(history)}  # type: ignore[union-attr]
    saves = [at for at, each in enumerate(history) if isinstance(each.verb, SaveEndp) and each.verb.session in found]
    del history[rng.choice(saves)]
    return True


def swap(history: list[Operation], rng: random.Random) -> bool:
    """Exchange what two finds of one label found, neither of which overlaps the other."""
    pairs = [
        (one, other)
        for one in _hits(history)
        for other in _hits(history)
        if history[one].returned < history[other].invoked and _label(history[one].verb) == _label(history[other].verb)
        and history[one].found != history[other].found
    ]  # fmt: skip
    if not pairs:
        return False
    one, other = rng.choice(pairs)
    first, second = history[one].found, history[other].found
    history[one], history[other] = replace(history[one], found=second), replace(history[other], found=first)
    return True


def change_properties(history: list[Operation], rng: random.Random) -> bool:
    """Let the properties be another's."""
    at = rng.choice(_hits(history))
    found = history[at].found
    assert found is not None
    history[at] = replace(history[at], found=replace(found, properties=(*found.properties[:-1], b"another's")))
    return True


def find_too_early(history: list[Operation], rng: random.Random) -> bool:
    """Let a find have been answered before what it found was saved."""
    saved = {each.verb.session: each.invoked for each in history if isinstance(each.verb, SaveEndp)}
    at = rng.choice(_hits(history))
    found = history[at].found
    assert found is not None
    history[at] = replace(history[at], invoked=saved[found.session] - 2, returned=saved[found.session] - 1)
    return True


def _label(verb: Verb) -> tuple[type, bytes]:
    return type(verb), verb.endpoint if isinstance(verb, FindEndp) else getattr(verb, "destination", b"")


CORRUPTIONS: list[Corruption] = [hand_out_twice, deny, lose_a_save, swap, change_properties, find_too_early]

HISTORIES = 25


@pytest.fixture(scope="module")
def true_histories(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Operation, ...]]:
    folder = tmp_path_factory.mktemp("histories")
    with plugged.server("fast", folder, ttl_limit_s=600, real_time=True) as target, ThreadPoolExecutor(3) as threads:
        recorded = [histories.record(target, threads, f"7.{n}", RuleSet.ALL) for n in range(HISTORIES)]
    assert [history.complaint for history in recorded if history.complaint] == []
    return [tuple(history.operations) for history in recorded]


def test_true_histories_are_explained(true_histories: list[tuple[Operation, ...]]) -> None:
    assert all(linearization(history) is not None for history in true_histories)


def test_corrupted_histories_are_rejected(true_histories: list[tuple[Operation, ...]]) -> None:
    """At least nine of ten of each kind: an overlap may make a corrupted history true after all."""
    rng = random.Random(11)
    for corruption in CORRUPTIONS:
        tried = rejected = 0
        for true in true_histories:
            history = list(true)
            if corruption(history, rng):
                tried += 1
                rejected += linearization(history) is None
        assert tried >= HISTORIES * 0.8, corruption.__doc__
        assert rejected >= 0.9 * tried, f"{corruption.__doc__} {rejected} of {tried}"
