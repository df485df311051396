"""How Postfix's master(8) starts a child: the options, and what they are together with the environment.

Sources: master(5), multi_server(3) of Postfix 3.7, measured with master(8) 3.7.11.
"""

import os
from collections.abc import Mapping, Sequence
from getopt import GetoptError, getopt
from typing import Final, NamedTuple

from scache_fast.process.errors import StartError

_GENERATION_MAX: Final = 0xFFFFFFFF  # an unsigned int, which wraps in master(8) too

_OPTIONS: Final = "cdDi:lm:n:o:s:St:uvVz"
"""What master(8) and its daemons use."""

_FILE_OPTION: Final = "f:"
"""A file of our own settings. Other than `-o scached_…` it makes no postconf(1) warn of an unused parameter."""

NO_TAKEOVER: Final = (
    "master(8) knows one child of a service, and starts another when that ends: use 'postfix reload', which closes "
    "what is parked"
)

_OVERRIDING: Final = {"-o": "", "-i": "max_idle="}
"""Options that set parameters, and what their values lack of a parameter."""


class Invocation(NamedTuple):
    """How master(8) started this process."""

    service: str
    listeners: int
    generation: int
    is_chrooted: bool
    is_unprivileged: bool
    verbose: bool
    file: str | None
    """A file of settings, given with -f."""

    overrides: Mapping[str, str]
    """Parameters given with -o."""


def parse(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Read options and environment; raises StartError."""
    if any(argument.startswith("--takeover") for argument in arguments):
        raise StartError(f"cannot take over: {NO_TAKEOVER}")
    try:
        options, operands = getopt(list(arguments), _OPTIONS + _FILE_OPTION)
    except GetoptError as error:
        raise StartError(f"invalid option: {error.msg}") from None
    given = dict(options)
    overrides = dict(_override(option, value) for option, value in options if option in _OVERRIDING)
    count = given.get("-s", "1")
    if not _is_number(count) or int(count) < 1:
        raise StartError(f"invalid socket_count: {count}")
    if os.isatty(0):
        raise StartError("do not run this command by hand")
    service = given.get("-n", name)
    if "-l" not in given:
        raise StartError(f"service {service} requires a process limit of 1")
    if "-t" not in given:
        raise StartError("no transport type specified")
    if given["-t"] != "unix":
        # Postfix's own takes inet too; but no descriptor passes through anything else than a UNIX-domain socket.
        raise StartError(f"unsupported transport type: {given['-t']}")
    generation = environment.get("GENERATION", "0")
    if not _is_number(generation) or set(generation) & {"8", "9"}:
        raise StartError(f"bad generation: {generation}")
    if operands:
        raise StartError(f"unexpected command-line argument: {operands[0]}")
    return Invocation(
        service=service,
        listeners=int(count),
        generation=int(generation, 8) & _GENERATION_MAX,
        is_chrooted="-c" in given,
        is_unprivileged="-u" in given,
        verbose="-v" in given,
        file=given.get("-f"),
        overrides=overrides,
    )


def _override(option: str, text: str) -> tuple[str, str]:
    name, equals, value = (_OVERRIDING[option] + text).partition("=")
    if not equals or not name.strip():
        wrong = "missing attribute name" if equals else "missing '=' after attribute name"
        raise StartError(f'invalid "{option} {text}" option value: {wrong}')
    return name.strip(), value.strip()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
