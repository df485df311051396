"""The errors of the client travel between processes and are caught where users catch the built-in ones."""

import copy
import pickle
import sys
from collections.abc import Iterator

import pytest
from tests.support.processes import run

from scache_client import CacheError, ProtocolError, Refused, RequestTooLong, ServerGone, TimedOut
from scache_spec.vocabulary import Status

EXAMPLES = [
    CacheError("m", maybe_parked=True),
    Refused("m", request=b"save_endp", status=Status.FAILED),
    ServerGone("m", maybe_parked=True),
    TimedOut("m", maybe_parked=True),
    RequestTooLong("m"),
    ProtocolError("m", maybe_parked=True),
]


def refuse() -> None:
    raise Refused("full", request=b"save_endp", status=Status.FAILED)


def test_every_error_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == {CacheError, *_all_below(CacheError)}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_pickles_whole(error: CacheError) -> None:
    error.add_note("of the caller")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == "m"
        assert vars(other) == vars(error)


POOL = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tests.client.test_errors import refuse
with ProcessPoolExecutor(1, get_context("fork")) as pool:
    error = pool.submit(refuse).exception()
print(repr(error), error.request, error.status)
"""


def test_refusal_comes_out_of_a_process_pool() -> None:
    """In a process without threads of its own. A pool whose worker's error cannot be unpickled breaks."""
    result = run("-c", POOL, command=[sys.executable])
    assert result.stdout == "Refused('full') b'save_endp' 2\n", result.stderr


def test_errors_are_what_users_catch() -> None:
    assert issubclass(TimedOut, TimeoutError)
    assert issubclass(TimedOut, ServerGone)
    assert issubclass(ServerGone, ConnectionError)
    assert issubclass(RequestTooLong, ServerGone)
    assert not issubclass(Refused, OSError), "an answer is no failure of the operating system"
    assert not issubclass(ProtocolError, OSError)


def _all_below(kind: type[CacheError]) -> Iterator[type[CacheError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _all_below(below)
