"""A child of Postfix's master(8), in the place of scache(8).

Decides how the way master(8) starts its children is read, where parameters come from, and what master(8) is told.
Refuses to know the loop, and how a setting is spelled: Postfix's parameters are turned into settings.

Order: options, log, configuration, folder, identity, loop. Everything is imported before the chroot, and a name is
looked up on disk for the last time when the identity changes.

Besides Postfix's own parameters, `-o scached_NAME=VALUE` in master.cf sets whatever `scached --help` lists.

Sources: master(5), multi_server(3) and master_proto.h of Postfix 3.7, measured with master(8) 3.7.11.
"""

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from getopt import GetoptError, getopt
from typing import Final

from scache_fast.configuration import ConfigurationError, Texts, merge
from scache_fast.log import FACILITIES, Logger, Sink
from scache_fast.privileges import Identity, PrivilegeError, drop, raise_descriptor_limit
from scache_fast.process import Surroundings, serve
from scache_fast.server import Server
from scache_fast.settings import SETTINGS, Settings
from scache_fast.sinks import to_postlog, to_syslog

_STATUS_FD: Final = 5
_FIRST_LISTENER_FD: Final = 6
_STATUS: Final = struct.Struct("iIi")  # pid, generation, 0 taken or 1 available
_TAKEN: Final = 0
_AVAILABLE: Final = 1

_OPTIONS: Final = "cdDi:lm:n:o:s:St:uvVz"
_OWN_PREFIX: Final = "scached_"

_POSTCONF: Final = ("/usr/sbin/postconf", "/usr/local/sbin/postconf", "/usr/libexec/postfix/postconf")
"""Where postconf(1) is looked for; master(8) gives its children no PATH."""

_POSTCONF_TIMEOUT_S: Final = 30
"""Arbitrary; it takes 10 ms."""

_SETTINGS_OF: Final = {
    "connection_cache_ttl_limit": "ttl_limit",
    "connection_cache_status_update_time": "status_update_time",
    "max_idle": "max_idle",
    "ipc_timeout": "ipc_timeout",
}
"""Which of Postfix's parameters are settings of ours."""

_PARAMETERS: Final = (
    *_SETTINGS_OF,
    "daemon_timeout",
    "mail_owner",
    "queue_directory",
    "syslog_name",
    "syslog_facility",
    "maillog_file",
    "postlog_service_name",
    "myhostname",
)


class StartError(Exception):
    """The process cannot be what it was started as; the text says why."""


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
    name = os.path.basename(program)
    tag = environment.get("MAIL_LOGTAG", "")
    log = Logger(_first_sink(f"{tag or 'postfix'}/{name}", environment))
    try:
        invocation = parse(name, arguments, environment)
        parameters = read_parameters(environment.get("MAIL_CONFIG", "/etc/postfix"), invocation.overrides)
        log = Logger(
            _sink(f"{tag or parameters['syslog_name']}/{name}", parameters, environment), verbose=invocation.verbose
        )
        settings = merge(_layers(parameters, invocation.overrides))
        _go_to(parameters["queue_directory"])
        listeners = _listeners(invocation.listeners)
        descriptors = raise_descriptor_limit(log)
        surroundings = Master(invocation, _watchdog_s(parameters)).surroundings()
        drop(
            Identity(
                user=parameters["mail_owner"] if invocation.is_unprivileged else None,
                chroot=parameters["queue_directory"] if invocation.is_chrooted else None,
            )
        )
    except (StartError, ConfigurationError, PrivilegeError) as error:
        log.fatal(str(error))
        return 1
    serve(listeners, replace(settings, verbose=invocation.verbose), log, surroundings, descriptors)
    return 0


def parse(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Read options and environment; raises StartError."""
    try:
        options, operands = getopt(list(arguments), _OPTIONS)
    except GetoptError as error:
        raise StartError(f"invalid option: {error.msg}") from None
    given = dict(options)
    if operands:
        raise StartError(f"unexpected command-line argument: {operands[0]}")
    if os.isatty(0):
        raise StartError("do not run this command by hand")
    service = given.get("-n", name)
    if "-l" not in given:
        raise StartError(f"service {service} requires a process limit of 1")
    if "-t" not in given:
        raise StartError("no transport type specified")
    count = given.get("-s", "1")
    if not _is_number(count) or int(count) < 1:
        raise StartError(f"invalid socket count: {count}")
    generation = environment.get("GENERATION", "0")
    if not _is_number(generation) or set(generation) & {"8", "9"}:
        raise StartError(f"bad generation: {generation}")
    return Invocation(
        service=service,
        listeners=int(count),
        generation=int(generation, 8),
        is_chrooted="-c" in given,
        is_unprivileged="-u" in given,
        verbose="-v" in given,
        overrides=dict(_override(value) for option, value in options if option == "-o"),
    )


def read_parameters(folder: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return Postfix's parameters that matter here, as postconf(1) expands them; raises StartError.

    What was given with -o takes part in the expansion, as it does in Postfix's own programs.
    """
    postconf = next((path for path in _POSTCONF if os.access(path, os.X_OK)), None)
    if postconf is None:
        raise StartError(f"there is no postconf command at {', '.join(_POSTCONF)}: install Postfix's tools")
    changed = [f"-o{name}={value}" for name, value in overrides.items() if not name.startswith(_OWN_PREFIX)]
    command = [postconf, "-c", folder, *changed, "-xh", *_PARAMETERS]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_POSTCONF_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise StartError(f"{postconf} -c {folder} gave no answer in {_POSTCONF_TIMEOUT_S} s") from None
    values = done.stdout.decode(errors="surrogateescape").splitlines()
    if done.returncode != 0 or len(values) != len(_PARAMETERS):
        complaint = done.stderr.decode(errors="backslashreplace").strip().splitlines()
        raise StartError(f"cannot read the configuration in {folder}: {complaint[-1] if complaint else 'no answer'}")
    return dict(zip(_PARAMETERS, values, strict=True))


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
        try:
            self._channel = socket.socket(fileno=_STATUS_FD)
        except OSError as error:
            raise StartError(f"descriptor {_STATUS_FD} is not master's status channel: {error.strerror}") from None
        self._channel.set_inheritable(False)

    def surroundings(self) -> Surroundings:
        """Return what the loop is to call."""
        return Surroundings(ready=self._ready, after_turn=self._after_turn, turn_s_max=self._watchdog_s / 3)

    def _ready(self, server: Server) -> None:
        # The default action ends the process wherever it hangs; a handler of Python's would wait for the interpreter.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._arm(time.monotonic_ns())
        # master(8) never writes: the channel becomes readable when its other end is gone, at its end or at a reload.
        server.watch(self._channel.fileno(), server.stop)

    def _after_turn(self, served: int) -> None:
        now_ns = time.monotonic_ns()
        if (now_ns - self._armed_ns) * 3 >= self._watchdog_s * 1_000_000_000:
            self._arm(now_ns)
        if served and not self._is_known:
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


def _override(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise StartError(f"missing '=' or name in -o option: {text}")
    return name.strip(), value.strip()


def _layers(parameters: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, Texts]:
    own = {name.removeprefix(_OWN_PREFIX): value for name, value in overrides.items() if name.startswith(_OWN_PREFIX)}
    known = {setting.name for setting in SETTINGS}
    for name in own:
        if name not in known:
            raise StartError(f"unknown parameter -o {_OWN_PREFIX}{name}: scached --help lists what there is")
    return {
        "main.cf": {setting: [parameters[name]] for name, setting in _SETTINGS_OF.items()},
        "-o": {name: [value] for name, value in own.items()},
    }


def _listeners(count: int) -> list[socket.socket]:
    listeners = []
    for fd in range(_FIRST_LISTENER_FD, _FIRST_LISTENER_FD + count):
        try:
            listener = socket.socket(fileno=fd)
        except OSError as error:
            raise StartError(f"descriptor {fd} is not a listening socket of master: {error.strerror}") from None
        listener.set_inheritable(False)
        listeners.append(listener)
    return listeners


def _go_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise StartError(f"cannot go to queue_directory {folder}: {error.strerror}") from None


def _watchdog_s(parameters: Mapping[str, str]) -> int:
    probe: Settings = merge({"main.cf: daemon_timeout": {"status_update_time": [parameters["daemon_timeout"]]}})
    return probe.limits.status_update_time_s


def _first_sink(name: str, environment: Mapping[str, str]) -> Sink:
    """Return where lines go while the configuration is not known yet; master(8) starts its children in the queue."""
    service = environment.get("POSTLOG_SERVICE", "")
    if service:
        try:
            return to_postlog(f"public/{service}", name, environment.get("POSTLOG_HOSTNAME", "localhost"))
        except OSError:
            pass  # Nobody is there; syslog gets the lines instead, never both.
    return to_syslog(name, "mail")


def _sink(name: str, parameters: Mapping[str, str], environment: Mapping[str, str]) -> Sink:
    if parameters["maillog_file"]:
        path = f"{parameters['queue_directory']}/public/{parameters['postlog_service_name']}"
        try:
            return to_postlog(path, name, environment.get("POSTLOG_HOSTNAME", parameters["myhostname"]))
        except OSError:
            pass  # As above.
    facility = parameters["syslog_facility"]
    return to_syslog(name, facility if facility in FACILITIES else "mail")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
