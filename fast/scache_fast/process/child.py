"""A child of Postfix's master(8) once its parameters are known: settings, identity, status messages, loop.

Order: settings, folder, log, sockets, identity, loop. Everything is imported before the chroot, and a name is looked up
on disk for the last time when the identity changes.

Besides Postfix's own parameters, `-o scached_NAME=VALUE` in master.cf and the file given with -f set what
`scached --help` lists, but for what master(8) has its own place for.

Sources: master_proto.h and multi_server(3) of Postfix 3.7, measured with master(8) 3.7.11.
"""

import os
import signal
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

from scache_fast.engine.calls import choose
from scache_fast.engine.server import Server
from scache_fast.process import inherited
from scache_fast.process.errors import StartError
from scache_fast.process.invocation import NO_TAKEOVER, Invocation
from scache_fast.process.listening import listen_for_operators
from scache_fast.process.mail_log import MailLog
from scache_fast.process.postfix_parameters import OWN_PREFIX, Parameters
from scache_fast.process.privileges import Identity, drop, raise_descriptor_limit
from scache_fast.process.serving import Supervisor, serve
from scache_fast.process.socket_watch import LOOK_S, SocketWatch
from scache_fast.settings.sources import ConfigurationError, Texts, merge
from scache_fast.settings.table import SETTINGS, Settings
from scache_fast.settings.toml_file import read_file

_STATUS_FD: Final = 5
_FIRST_LISTENER_FD: Final = 6
_STATUS: Final = struct.Struct("iIi")  # pid, generation, 0 taken or 1 available
_TAKEN: Final = 0
_AVAILABLE: Final = 1

_SETTINGS_OF: Final = {
    "connection_cache_ttl_limit": "ttl_limit",
    "connection_cache_status_update_time": "status_update_time",
    "max_idle": "max_idle",
    "ipc_timeout": "ipc_timeout",
}
"""Which of Postfix's parameters are settings of ours."""

_ELSEWHERE: Final = {
    **dict.fromkeys(("listen", "mode", "owner"), "master(8) makes the socket"),
    **dict.fromkeys(("user", "group"), "see mail_owner in main.cf and the column unpriv of master.cf"),
    "chroot": "see the column chroot of master.cf",
    "log": "see maillog_file in main.cf",
    "syslog_facility": "see syslog_facility in main.cf",
    "ready_fd": "master(8) is told in a way of its own",
}
"""Which settings there are not under master(8), and why."""


def run(
    name: str, invocation: Invocation, parameters: Parameters, mail_log: MailLog, environment: Mapping[str, str]
) -> int:
    """Serve until told to end; return the exit status. Raises StartError."""
    layers = _layers(parameters, invocation)
    try:
        settings = merge(layers)
    except ConfigurationError as error:
        raise StartError(str(error)) from None
    settings = settings._replace(verbose=settings.verbose or invocation.verbose)
    facility, watchdog_s = parameters.facility(), parameters.time_s("daemon_timeout")
    _stay_in(parameters["queue_directory"])
    if any("syslog_name" in texts for texts in layers.values()):
        name = settings.syslog_name
    mail_log.move(
        f"{_tag(parameters, environment)}/{name}",
        facility,
        # Relative to the queue directory, where this process is: the path is the same in the chroot.
        f"public/{parameters['postlog_service_name']}" if parameters["maillog_file"] else None,
        parameters["myhostname"],
        verbose=settings.verbose,
    )
    log = mail_log.log
    listeners = [
        inherited.listening_socket(number, "a listening socket of master's")
        for number in range(_FIRST_LISTENER_FD, _FIRST_LISTENER_FD + invocation.listeners)
    ]
    descriptors = raise_descriptor_limit(log)
    supervisor = Master(invocation.generation, watchdog_s).supervisor()
    watch = SocketWatch([], listeners, settings, log, is_in_chroot=invocation.is_chrooted)
    supervisor.read_settings = _no_reload
    supervisor.holdings.refusal = NO_TAKEOVER
    supervisor.after_turn += [mail_log.sink.after_turn, watch.after_turn]
    supervisor.turn_s_max = min(supervisor.turn_s_max, LOOK_S)
    user = parameters.owner() if invocation.is_unprivileged else None
    admin = None
    if settings.admin is not None:
        from scache_fast.process.administration import Administration

        supervisor.administration = Administration
        try:
            admin = listen_for_operators(settings.admin, user, [], log).sock
        except StartError as error:
            # The child before this one may still be ending. Mail does not wait for that.
            log.warning(f"there is no admin socket: {error}")
    calls = choose(may_accelerate=settings.accelerator == "auto")
    drop(Identity(user, chroot=parameters["queue_directory"] if invocation.is_chrooted else None))
    return serve(listeners, settings, log, supervisor, descriptors, calls, admin)


def _no_reload() -> Settings:
    raise ConfigurationError("under master(8) settings are read at the start only: run 'postfix reload'")


class Master:
    """Tells master(8) what it wants to know and notices when it is gone.

    master(8) needs one pair of taken and available after the first request: from then on a crash of this process is a
    crash, and not a failed start, after which nobody would be started for a minute. scache(8) sends a pair for each
    request; with a process limit of 1 nobody uses them, and each would cost two system calls here.
    """

    def __init__(self, generation: int, watchdog_s: int) -> None:
        self._generation = generation
        self._watchdog_s = watchdog_s
        self._is_known = False
        self._armed_ns = 0
        self._channel = inherited.connected_socket(_STATUS_FD, "master's status channel")

    def supervisor(self) -> Supervisor:
        """Return what the loop is to call."""
        return Supervisor(ready=self._ready, after_turn=self._after_turn, turn_s_max=self._watchdog_s / 3)

    def _ready(self, server: Server) -> None:
        # An alarm that is pending from before is dropped: only then may the signal, if it was blocked, come through.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        # The default action ends the process wherever it hangs; a handler of Python's would wait for the interpreter.
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


def _layers(parameters: Parameters, invocation: Invocation) -> dict[str, Texts]:
    """Return the texts of our settings by where they come from; raises StartError."""
    layers: dict[str, Texts] = {
        "master(8)": {"clients_per_user_max": ["off"]},  # All clients are processes of mail_owner.
        "main.cf": {setting: [f"{parameters.time_s(name)}s"] for name, setting in _SETTINGS_OF.items()},
    }
    if invocation.file is not None:
        try:
            texts = read_file(invocation.file)
        except ConfigurationError as error:
            raise StartError(str(error)) from None
        _refuse(texts, f"{invocation.file}: ")
        layers[invocation.file] = texts
    own = {name: [value] for name, value in parameters.own.items()}
    known = {setting.name for setting in SETTINGS}
    for name in own:
        if name not in known:
            raise StartError(f"unknown parameter -o {OWN_PREFIX}{name}: scached --help lists what there is")
    _refuse(own, f"-o {OWN_PREFIX}")
    layers["-o"] = own
    return layers


def _refuse(texts: Texts, origin: str) -> None:
    for name in texts:
        if name in _ELSEWHERE:
            raise StartError(f"{origin}{name} cannot be set under master(8): {_ELSEWHERE[name]}")


def _stay_in(folder: str) -> None:
    """See that this process is in the queue directory, where master(8) starts its children; raises StartError."""
    try:
        is_here = os.path.samefile(folder, ".")
    except OSError as error:
        raise StartError(f"cannot find queue_directory {folder}: {error.strerror}") from None
    if not is_here:
        # Whoever was asked for parameters belongs to another Postfix, or knows another configuration.
        raise StartError(
            f"master(8) started this process in {os.getcwd()}, and queue_directory is {folder}: see command_directory "
            "and queue_directory in main.cf"
        )


def _tag(parameters: Parameters, environment: Mapping[str, str]) -> str:
    """Return what the name in the log begins with.

    master(8) sets MAIL_LOGTAG to its own syslog_name; what the line in master.cf says about this service goes first.
    """
    name = parameters["syslog_name"]
    return name if parameters.is_overridden("syslog_name") else environment.get("MAIL_LOGTAG") or name
