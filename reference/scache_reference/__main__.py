"""`python -m scache_reference --listen PATH`: the reference server as a process.

Options, the socket's file and signals; `shell` serves.
"""

import argparse
import errno
import os
import re
import resource
import signal
import socket
import stat
import sys
from typing import Final

from scache_reference.shell import Shell
from scache_spec.vocabulary import Limits

SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(text: str) -> int:
    """Return the seconds of a Postfix time value: digits, then s, m, h, d, w, or nothing for seconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write digits and s, m, h, d or w, as in 2s or 10m")
    return int(match[1]) * SECONDS[match[2]]


def listen(path: str) -> socket.socket:
    """Return a socket that listens at the path; a socket file that nobody listens on is replaced."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
        listener.bind(path)
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        why = (
            "another server listens there; stop it, or choose another path"
            if error.errno == errno.EADDRINUSE
            else error.strerror or str(error)
        )
        sys.exit(f"scache-reference: cannot listen on {path!r}: {why}")
    return listener


def parser_of_all() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="scache-reference",
        description="The reference server: the specification of the shared connection cache, with sockets around it. "
        "It is for comparison, not for production: use scached there.",
        epilog="A TIME is a whole number with s, m, h, d or w, or without a unit, in seconds. SIGTERM and SIGINT print "
        "statistics and end the server. SIGUSR1 prints statistics. 'scached --help' explains each limit.",
    )
    parser.add_argument("--listen", metavar="PATH", required=True, help="path of the UNIX socket to listen on")
    defaults = Limits(ipc_timeout_s=60)
    for field, value in defaults._asdict().items():
        name = "--" + field.removesuffix("_s").replace("_", "-")
        is_time = field.endswith("_s")
        shown = "no limit" if value is None else f"{value}s" if is_time else value
        parser.add_argument(
            name,
            dest=field,
            metavar="TIME" if is_time else "N",
            type=seconds if is_time else int,
            default=value,
            help=f"default: {shown}",
        )
    return parser


def limits_from(arguments: list[str]) -> tuple[str, Limits]:
    """Return the path to listen on and the limits that a command line asks for."""
    parser = parser_of_all()
    options = vars(parser.parse_args(arguments))
    path: str = options.pop("listen")
    for name, value in options.items():
        if value is not None and value < 1:
            parser.error(f"--{name.removesuffix('_s').replace('_', '-')} {value}: must be at least 1")
    return path, Limits(**options)


def main(arguments: list[str] | None = None) -> None:
    """Run until told to stop, or idle for long enough."""
    path, limits = limits_from(sys.argv[1:] if arguments is None else arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = listen(path)
    inode = os.stat(path).st_ino
    shell = Shell([listener], limits, log=lambda line: print(line, file=sys.stderr, flush=True))

    # A handler may run between any two statements, so it only notes the signal; a byte in the pipe ends the step.
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda got, _: asked.append(got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))  # Some parents block.
    waker, woken = socket.socketpair()
    waker.setblocking(False)
    woken.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    shell.watch(woken)
    print(f"scache-reference: listening on {path}, pid {os.getpid()}", file=sys.stderr, flush=True)
    while shell.running:
        shell.step()
        while asked:
            if asked.pop() == signal.SIGUSR1:
                shell.print_statistics()
            else:
                shell.stop()
    shell.close()
    if os.path.exists(path) and os.stat(path).st_ino == inode:
        os.unlink(path)


if __name__ == "__main__":
    main()
