"""Servers in this process, each with a check that nothing it opened is left open."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.side_by_side.lockstep.world import open_descriptors
from tests.support.servers import SERVERS, InProcessServer

from scache_spec.vocabulary import Limits

Start = Callable[[Limits], InProcessServer]


@pytest.fixture(params=SERVERS)
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start one of the servers; at the end of the test it is closed, and every descriptor must be."""
    before = open_descriptors()
    with ExitStack() as stack:
        yield lambda limits: stack.enter_context(SERVERS[request.param](limits))
    assert open_descriptors() == before


@pytest.fixture
def in_process_server(start: Start) -> InProcessServer:
    """Start one of the servers with the limits that it has when nobody asks for others, but for a longer ttl."""
    return start(Limits(ttl_limit_s=100))
