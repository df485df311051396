"""A child of Postfix's master(8), in the place of scache(8).

How master(8) starts a child is read here, and what master(8) wants to know is told here. What Postfix's parameters
mean is in postfix_parameters.py.

Order: options, log, configuration, folder, identity, loop. Everything is imported before the chroot, and a name is
looked up on disk for the last time when the identity changes.

Sources: master(5), multi_server(3) and master_proto.h of Postfix 3.7, measured with master(8) 3.7.11.
"""

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from getopt import GetoptError, getopt
from types import TracebackType
from typing import Final

from scache_fast.engine.server import Server
from scache_fast.process import inherited
from scache_fast.process.errors import StartError
from scache_fast.process.logger import Logger
from scache_fast.process.postfix_parameters import Parameters, read_parameters
from scache_fast.process.privileges import Identity, drop, raise_descriptor_limit
from scache_fast.process.serving import Supervisor, serve
from scache_fast.process.sinks import Datagrams, to_postlog, to_stderr, to_syslog
from scache_fast.process.socket_watch import LOOK_S, SocketWatch
from scache_fast.settings.sources import ConfigurationError, merge

_STATUS_FD: Final = 5
_FIRST_LISTENER_FD: Final = 6
_STATUS: Final = struct.Struct("iIi")  # pid, generation, 0 taken or 1 available
_TAKEN: Final = 0
_AVAILABLE: Final = 1

_GENERATION_MAX: Final = 0xFFFFFFFF  # an unsigned int, which wraps in master(8) too

_OPTIONS: Final = "cdDi:lm:n:o:s:St:uvVz"
_OVERRIDING: Final = {"-o": "", "-i": "max_idle="}
"""Options that set parameters, and what their values lack of a parameter."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """How master(8) started this process."""

    service: str
    listeners: int
    generation: int
    is_chrooted: bool
    is_unprivileged: bool
    verbose: bool
    overrides: Mapping[str, str]
    """Parameters given with -o."""


def is_child(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Say whether master(8) started this process, or somebody who does as it does.

    master(8) passes GENERATION and options of one letter; scached's own, but -v and -h, are of several.
    """
    return "GENERATION" in environment or any(
        len(each) > 1 and each[0] == "-" and each[1] in "cdDilmnosStuVz" for each in arguments
    )


def main(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run as a child of master(8); return the exit status."""
    inherited.fill_standard_descriptors()
    name = os.path.basename(program)
    sink = _first_sink(f"{environment.get('MAIL_LOGTAG') or 'postfix'}/{name}", environment)
    log = Logger(sink)
    _report_mistakes_to(log)
    try:
        invocation = parse(name, arguments, environment)
        parameters = read_parameters(environment.get("MAIL_CONFIG", "/etc/postfix"), invocation.overrides)
        settings = merge(parameters.layers())
        facility, watchdog_s = parameters.facility(), parameters.time_s("daemon_timeout")
        _go_to(parameters["queue_directory"])
        sink.finish()
        sink = _sink(f"{_tag(parameters, environment)}/{name}", facility, parameters, environment)
        settings = replace(settings, verbose=settings.verbose or invocation.verbose)
        log = Logger(sink, verbose=settings.verbose)
        _report_mistakes_to(log)
        listeners = _listeners(invocation.listeners)
        descriptors = raise_descriptor_limit(log)
        supervisor = Master(invocation, watchdog_s).supervisor()
        watch = SocketWatch([], listeners, settings, log, is_in_chroot=invocation.is_chrooted)
        drop(_identity(parameters, invocation))
        supervisor.after_turn += [sink.after_turn, watch.after_turn]
        supervisor.turn_s_max = min(supervisor.turn_s_max, LOOK_S)
        status = serve(listeners, settings, log, supervisor, descriptors)
    except (StartError, ConfigurationError) as error:
        log.fatal(str(error))
        if os.isatty(0):
            Logger(to_stderr(name)).fatal(str(error))  # Whoever typed the command does not look into the mail log.
        status = 1
    sink.finish()
    return status


def parse(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Read options and environment; raises StartError."""
    try:
        options, operands = getopt(list(arguments), _OPTIONS)
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
        overrides=overrides,
    )


class Master:
    """Tells master(8) what it wants to know and notices when it is gone.

    master(8) needs one pair of taken and available after the first request: from then on a crash of this process is a
    crash, and not a failed start, after which nobody would be started for a minute. scache(8) sends a pair for each
    request; with a process limit of 1 nobody uses them, and each would cost two system calls here.
    """

    def __init__(self, invocation: Invocation, watchdog_s: int) -> None:
        self._generation = invocation.generation
        self._watchdog_s = watchdog_s
        self._is_known = False
        self._armed_ns = 0
        self._channel = inherited.connected_socket(_STATUS_FD, "master's status channel")

    def supervisor(self) -> Supervisor:
        """Return what the loop is to call."""
        return Supervisor(ready=self._ready, after_turn=[self._after_turn], turn_s_max=self._watchdog_s / 3)

    def _ready(self, server: Server) -> None:
        # The default action ends the process wherever it hangs; a handler of Python's would wait for the interpreter.
        # An alarm that is pending from before is dropped: only then may the signal, if it was blocked, come through.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._arm(time.monotonic_ns())
        # master(8) never writes: the channel becomes readable when its other end is gone, at its end or at a reload.
        server.watch(self._channel.fileno(), server.stop)

    def _after_turn(self, server: Server) -> None:
        now_ns = time.monotonic_ns()
        if (now_ns - self._armed_ns) * 3 >= self._watchdog_s * 1_000_000_000:
            self._arm(now_ns)
        if server.served and not self._is_known:
            self._is_known = True
            for state in (_TAKEN, _AVAILABLE):
                try:
                    self._channel.send(_STATUS.pack(os.getpid(), self._generation, state), socket.MSG_NOSIGNAL)
                except OSError:
                    # EPIPE, ECONNRESET: it is gone, and the loop will see that in its next turn.
                    return

    def _arm(self, now_ns: int) -> None:
        self._armed_ns = now_ns
        signal.alarm(self._watchdog_s)


def _override(option: str, text: str) -> tuple[str, str]:
    name, equals, value = (_OVERRIDING[option] + text).partition("=")
    if not equals or not name.strip():
        wrong = "missing attribute name" if equals else "missing '=' after attribute name"
        raise StartError(f'invalid "{option} {text}" option value: {wrong}')
    return name.strip(), value.strip()


def _identity(parameters: Parameters, invocation: Invocation) -> Identity:
    return Identity(
        user=parameters.owner() if invocation.is_unprivileged else None,
        chroot=parameters["queue_directory"] if invocation.is_chrooted else None,
    )


def _listeners(count: int) -> list[socket.socket]:
    numbers = range(_FIRST_LISTENER_FD, _FIRST_LISTENER_FD + count)
    return [inherited.listening_socket(number, "a listening socket of master's") for number in numbers]


def _go_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise StartError(f"cannot go to queue_directory {folder}: {error.strerror}") from None


def _tag(parameters: Parameters, environment: Mapping[str, str]) -> str:
    """Return what the name in the log begins with.

    master(8) sets MAIL_LOGTAG to its own syslog_name; what the line in master.cf says about this service goes first.
    """
    name = parameters["syslog_name"]
    return name if parameters.is_overridden("syslog_name") else environment.get("MAIL_LOGTAG") or name


def _first_sink(name: str, environment: Mapping[str, str]) -> Datagrams:
    """Return where lines go while the configuration is not known yet; master(8) starts its children in the queue."""
    service = environment.get("POSTLOG_SERVICE", "")
    if service:
        try:
            return to_postlog(f"public/{service}", name, _short(environment.get("POSTLOG_HOSTNAME", "localhost")))
        except OSError:
            pass  # Nobody is there; syslog gets the lines instead, never both.
    return to_syslog(name, "mail")


def _sink(name: str, facility: str, parameters: Parameters, environment: Mapping[str, str]) -> Datagrams:
    if parameters["maillog_file"]:
        # Relative to the queue directory, where this process is: the path is the same in the chroot.
        path = f"public/{parameters['postlog_service_name']}"
        try:
            return to_postlog(path, name, _short(environment.get("POSTLOG_HOSTNAME", parameters["myhostname"])))
        except OSError:
            pass  # As above.
    return to_syslog(name, facility)


def _short(host: str) -> str:
    """Return a host's name as Postfix logs it, without its domain."""
    return host.partition(".")[0]


def _report_mistakes_to(log: Logger) -> None:
    """Have an exception that nobody catches end up in the log; standard error is /dev/null under master(8)."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.panic(error)

    sys.excepthook = hook


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
