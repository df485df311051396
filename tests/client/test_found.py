"""Who owns the descriptor of a connection that was taken up."""

import copy
import os
import pickle
from collections.abc import Callable

import pytest
from tests.support.scripted import Pair

from scache_client import Found, FoundDest
from scache_spec.vocabulary import Properties


def found_at(pair: Pair) -> Found:
    return Found(pair.mine.detach(), Properties(b"p"))


def test_dropped_object_closes_and_says_so(pair: Pair) -> None:
    found = found_at(pair)
    with pytest.warns(ResourceWarning, match="dropped"):
        del found
    assert pair.hung_up()


def test_end_of_the_block_closes(pair: Pair) -> None:
    with found_at(pair) as found:
        assert found.fileno() >= 0
    assert found.closed
    assert pair.hung_up()


def test_close_twice_is_close_once(pair: Pair) -> None:
    found = found_at(pair)
    found.close()
    reused = os.dup(pair.far.fileno())  # most likely the same number: it must survive
    found.close()
    os.fstat(reused)
    os.close(reused)


def test_detached_descriptor_is_the_callers(pair: Pair) -> None:
    with found_at(pair) as found:
        fd = found.detach()
    os.write(fd, b"x")
    assert pair.far.recv(1) == b"x"
    os.close(fd)


def test_socket_owns_the_descriptor(pair: Pair) -> None:
    with found_at(pair) as found:
        connection = found.socket()
    with connection:
        connection.send(b"x")
    assert pair.far.recv(2) == b"x"
    assert pair.hung_up()


def test_socket_is_blocking_however_it_was_parked(pair: Pair) -> None:
    found = found_at(pair)
    os.set_blocking(found.fileno(), False)
    with found.socket() as connection:
        assert os.get_blocking(connection.fileno())


def test_descriptor_that_is_no_socket_stays_with_the_object() -> None:
    with Found(os.open(os.devnull, os.O_RDONLY), Properties(b"")) as found:
        with pytest.raises(OSError, match="non-socket"):
            found.socket()
        os.fstat(found.fileno())


@pytest.mark.parametrize("method", ["fileno", "detach", "socket"])
def test_descriptor_that_has_gone_is_a_value_error(pair: Pair, method: str) -> None:
    found = found_at(pair)
    found.close()
    with pytest.raises(ValueError, match="find another"):
        getattr(found, method)()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_owner_of_a_descriptor_is_neither_copied_nor_pickled(pair: Pair, duplicate: Callable[[object], object]) -> None:
    with found_at(pair) as found, pytest.raises(TypeError, match="neither copied nor pickled"):
        duplicate(found)


def test_repr_tells_state_and_properties(pair: Pair) -> None:
    found = FoundDest(found_at(pair).detach(), Properties(b"p"), Properties(b"d"))
    assert f"descriptor {found.fileno()}" in repr(found)
    found.close()
    assert repr(found) == "<FoundDest closed or passed on properties=b'p'>"
