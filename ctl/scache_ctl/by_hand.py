"""The four verbs of the cache as commands.

A connection is parked and taken up from a shell, and used by hand or by a program. How a command line is written is in
__main__.py. Errors are the caller's to catch.
"""

import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from scache_client.client import Client
from scache_client.found import Found, FoundDest
from scache_client.labels import printable
from scache_ctl.echo import Echo
from scache_ctl.exits import DONE, NOTHING_THERE

ANSWER_WAIT_S: Final = 5.0
"""How long `--send` waits for an answer. Arbitrary."""

_PIECE_BYTES: Final = 65_536

_PROGRAM_FD: Final = 3
"""Where a program has the connection: the first descriptor that no program uses for anything else."""


def park(client: Client, endpoint: bytes, address: tuple[str, int], ttl_s: int, properties: bytes) -> int:
    """Open a TCP connection and park it."""
    try:
        connection = socket.create_connection(address, timeout=client.timeout_s)
    except OSError as error:
        host, port = address
        raise OSError(
            f"{host} port {port}: {error}; nothing was parked. Start a server there; 'scachectl echo' is one"
        ) from error
    with connection:
        connection.setblocking(True)  # the mode travels with the connection: leave it as most programs expect it
        what = described(connection)
        client.save_endp(endpoint, properties, ttl_s, connection)
    print(f"parked     {what}\nendpoint   {printable(endpoint)}\nfor        {ttl_s} s at most")
    return 0


def save_endp(client: Client, endpoint: bytes, ttl_s: int, properties: bytes) -> int:
    """Park what standard input is."""
    if os.isatty(0):
        raise ValueError("standard input is a terminal, not a connection: add <&3 to park descriptor 3 of the shell")
    client.save_endp(endpoint, properties, ttl_s, os.dup(0))
    return DONE


def save_dest(client: Client, destination: bytes, endpoint: bytes, ttl_s: int, properties: bytes) -> int:
    """Bind a destination to an endpoint."""
    client.save_dest(destination, properties, endpoint, ttl_s)
    return DONE


def hand_to_program(found: Found, program: Sequence[str]) -> NoReturn:
    """Become a program that has the connection as descriptor 3, and its properties in its environment."""
    variables = {**os.environ, "SCACHE_PROPERTIES": printable(found.properties)}
    if isinstance(found, FoundDest):
        variables["SCACHE_DESTINATION_PROPERTIES"] = printable(found.destination_properties)
    descriptor = found.detach()
    if descriptor != _PROGRAM_FD:
        os.dup2(descriptor, _PROGRAM_FD)
    os.set_inheritable(_PROGRAM_FD, True)
    os.set_blocking(_PROGRAM_FD, True)  # The mode came with the connection, and a shell cannot wait for another one.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program would inherit that.
    os.execvpe(program[0], list(program), variables)


def check_program(program: Sequence[str]) -> None:
    """Raise ValueError for a program that cannot be run: what is found for it would be lost."""
    if program[0].startswith("-"):
        raise ValueError(
            f"{program[0]} comes after the label, where the program is expected: write options before the label"
        )
    if shutil.which(program[0]) is None:
        raise ValueError(
            f"there is no program {program[0]!r} that can be run: check its name. Nothing was taken from the cache"
        )


def find_endp(
    client: Client, endpoint: bytes, program: Sequence[str], line: bytes | None, talk: bool, again_ttl_s: int | None
) -> int:
    """Take up a connection by its endpoint, have it used, and close it or park it again."""
    if program:
        check_program(program)
    found = client.find_endp(endpoint)
    if found is None:
        return _say_nothing_there("endpoint", endpoint)
    if program:
        hand_to_program(found, program)
    with _taken_up(found) as connection:
        try:
            is_clean = _use(connection, line, talk)
        except OSError as error:
            if again_ttl_s is None:
                raise
            print(f"closed and not parked again: {error.strerror or error}", file=sys.stderr)
            return NOTHING_THERE
        if again_ttl_s is None:
            return 0
        # The next user would take whatever comes late for the answer to its own request.
        if not is_clean:
            print("closed and not parked again, because an answer may still be due", file=sys.stderr)
            return NOTHING_THERE
        client.save_endp(endpoint, found.properties, again_ttl_s, connection)
        print(f"parked     again, for {again_ttl_s} s")
    return 0


def find_dest(client: Client, destination: bytes, program: Sequence[str], line: bytes | None, talk: bool) -> int:
    """Take up a connection by its destination, have it used, and close it."""
    if program:
        check_program(program)
    found = client.find_dest(destination)
    if found is None:
        return _say_nothing_there("destination", destination)
    if program:
        hand_to_program(found, program)
    print(f"binding    {printable(found.destination_properties) or '(no properties)'}")
    with _taken_up(found) as connection:
        _use(connection, line, talk)
    return 0


def echo(address: tuple[str, int]) -> int:
    """Run a peer to park connections to, until interrupted."""
    with Echo(address) as server:
        host, port = server.server_address[:2]
        print(f"echo listens on {host!s}:{port}; stop it with Ctrl-C", flush=True)
        server.serve_forever()
    return 0


def described(connection: socket.socket) -> str:
    """Say what a connection is, from what the kernel knows of it."""
    try:
        return f"{_address(connection.getsockname())} -> {_address(connection.getpeername())}"
    except OSError as error:
        # A peer that has gone, or a socket that has no peer: it may be parked all the same, so say it and go on.
        return f"a connection without a known peer: {error.strerror}"


def _taken_up(found: Found) -> socket.socket:
    connection = found.socket()
    print(f"found      {described(connection)}\nproperties {printable(found.properties) or '(none)'}")
    return connection


def _use(connection: socket.socket, line: bytes | None, talk: bool) -> bool:
    """Use a connection as asked; tell whether it is clean: nothing has come or can still come that was not read."""
    is_clean = _is_quiet(connection)
    if line is not None:
        connection.settimeout(ANSWER_WAIT_S)
        connection.sendall(line + b"\n")
        shown, is_whole = _answer(connection)
        print(f"sent       {printable(line)}\nreceived   {shown}", flush=True)
        connection.setblocking(True)
        is_clean = is_clean and is_whole and _is_quiet(connection)
    if talk:
        _talk(connection)
        is_clean = False  # Nobody knows what the lines that were typed are still answered with.
    return is_clean


def _answer(connection: socket.socket) -> tuple[str, bool]:
    """Return what came back, in words, and whether it was one line and no more than that."""
    try:
        answer = connection.recv(_PIECE_BYTES)
    except TimeoutError:
        return f"nothing within {ANSWER_WAIT_S:.0f} s", False
    if not answer:
        return "nothing: the peer closed the connection", False
    return printable(answer.removesuffix(b"\n")), answer.find(b"\n") == len(answer) - 1


def _is_quiet(connection: socket.socket) -> bool:
    """Tell whether nothing waits to be read, neither data (urgent or not) nor the peer's end."""
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLPRI | select.POLLRDHUP)
    return not poll.poll(0)


def _talk(connection: socket.socket) -> None:
    """Pass standard input to the connection and what comes to standard output, until one of them ends."""
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    print("type lines to send them; Ctrl-D ends", flush=True)
    while True:
        ready, _, _ = select.select([keyboard, connection], [], [])
        if connection in ready:
            data = connection.recv(_PIECE_BYTES)
            if not data:
                print("the peer closed the connection")
                return
            os.write(screen, data)
        if keyboard in ready:
            data = os.read(keyboard, _PIECE_BYTES)
            if not data:
                return
            connection.sendall(data)


def _say_nothing_there(kind: str, label: bytes) -> int:
    print(
        f"nothing is parked for {kind} {printable(label)}: it was found before, has expired, or was never parked",
        file=sys.stderr,
    )
    return NOTHING_THERE


def _address(address: object) -> str:
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return "(no address)" if not address else printable(os.fsencode(str(address)))
