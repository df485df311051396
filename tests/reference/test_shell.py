"""The reference server over real sockets: what its shell adds to the specification."""

import os
import socket
from collections.abc import Iterator

import pytest
from tests.support.guest import (
    DONE,
    DUMMY,
    GREETING,
    MISSED,
    Guest,
    find_dest,
    find_endp,
    found,
    is_closed,
    save_dest,
    save_endp,
)
from tests.support.servers import Reference

from scache_reference.shell import Shell
from scache_spec.vocabulary import NS_PER_S, Limits


@pytest.fixture
def server() -> Iterator[Reference]:
    with Reference(Limits(ttl_limit_s=100)) as started:
        yield started


def test_whole_dance_hands_over_the_very_descriptor(server: Reference) -> None:
    with Guest(server) as saver, Guest(server) as finder:
        assert (saver.hear(), finder.hear()) == (GREETING, GREETING)
        reader, writer = os.pipe()
        assert saver.say(save_endp(b"e", b"p")) == DUMMY
        assert saver.say(b"!", writer) == DONE
        os.close(writer)
        assert saver.say(save_dest(b"d", b"q", b"e")) == DONE
        assert finder.say(find_dest(b"d")) == found(b"q", b"p")
        taken = finder.take_descriptor()
        os.write(taken, b"through")
        assert os.read(reader, 7) == b"through"
        assert finder.say(DUMMY + find_endp(b"e")) == MISSED
        os.set_blocking(reader, False)
        os.close(taken)
        assert is_closed(reader)
        os.close(reader)


def test_STAT_5_statistics_have_the_lines_and_begin_anew(server: Reference) -> None:
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        server.print_statistics()
        assert server.lines == []
        assert guest.say(find_endp(b"e") * 3) == MISSED * 3
        server.clock.now_ns += 600 * NS_PER_S
        server.step()
        assert server.take_statistics() == [
            "statistics: start interval ...",
            "statistics: address lookup hits=0 miss=3 success=0%",
        ]
        server.clock.now_ns += 600 * NS_PER_S
        server.step()
        assert server.take_statistics() == []


def test_STAT_7_statistics_are_printed_at_the_end(server: Reference) -> None:
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        assert guest.say(find_dest(b"d")) == MISSED[:-1] + b"property\0\0\0"
        server.close()
    assert "statistics: domain lookup hits=0 miss=1 success=0%" in server.lines


def test_reply_longer_than_the_socket_takes_arrives_whole(server: Reference) -> None:
    """Properties may be as long as a list; a client that reads slowly still gets every byte."""
    long = b"x" * 60_000
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        readers = [guest.park(b"e", long) for _ in range(8)]
        for _ in readers:
            assert guest.say(find_endp(b"e")) == found(long)
            os.close(guest.take_descriptor())
            assert guest.say(DUMMY) == b""
    for reader in readers:
        os.close(reader)


def test_watched_socket_ends_a_step_that_waits() -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
    waker, woken = socket.socketpair()
    shell = Shell([listener], Limits())
    shell.watch(woken)
    waker.send(b"wake up")
    shell.step()
    assert shell.running
    shell.close()
    waker.close()
    woken.close()
