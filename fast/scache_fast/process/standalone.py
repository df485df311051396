"""A process of its own: started by hand, by systemd or by another supervisor.

Order: settings, inherited descriptors, log, sockets (or the process that is taken over), supervisor, identity, loop.
Inherited descriptors come before anything is opened, or a number that was not passed after all would be that of
something else by then.
"""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from scache_fast.engine.calls import choose
from scache_fast.process import inherited, main_process, systemd
from scache_fast.process.errors import StartError
from scache_fast.process.holdings import Holdings
from scache_fast.process.listening import SocketFile, listen, listen_for_operators
from scache_fast.process.logger import Logger, Sink
from scache_fast.process.privileges import Identity, drop, raise_descriptor_limit
from scache_fast.process.serving import serve
from scache_fast.process.sinks import Datagrams, to_stderr, to_syslog
from scache_fast.process.socket_watch import LOOK_S, SocketWatch
from scache_fast.settings.output import complain
from scache_fast.settings.sources import ConfigurationError, read, read_again, takeover_in
from scache_fast.settings.table import Settings

if TYPE_CHECKING:
    from scache_fast.process.succession import Succession


def main(arguments: Sequence[str], environment: MutableMapping[str, str]) -> int:
    """Run the command; return its exit status. What was meant for this process alone leaves the environment."""
    inherited.fill_standard_descriptors()
    settings = read(arguments, environment)
    terminal = to_stderr(settings.syslog_name)
    sink: Sink = terminal
    holdings = Holdings()
    files = holdings.files
    path_of_old = takeover_in(arguments)
    succession: Succession | None = None
    is_in_chroot = False
    try:
        carriers = systemd.passed_carriers(environment)
        passed = systemd.passed_sockets(environment)
        admin_sock = systemd.passed_admin(environment, passed)
        ready_fd = settings.ready_fd
        if ready_fd is not None:
            inherited.writable_descriptor(ready_fd, "readiness")
        if ready_fd in [sock.fileno() for sock in passed]:
            raise StartError(f"descriptor {ready_fd} (readiness) is a socket that was passed to listen on")
        if settings.log == "syslog":
            sink = _syslog(settings)
        holdings.is_service = systemd.is_service(environment)
        # Before anything has this process's number.
        starter = main_process.detach() if holdings.is_service and path_of_old is not None else None
        log = Logger(sink, verbose=settings.verbose)
        if path_of_old is None and not passed and not settings.listen:
            complain("nothing to listen on: give --listen PATH, or pass a socket as systemd does")
            return 2
        if os.geteuid() == 0 and settings.user is None and (settings.group is not None or settings.chroot is not None):
            complain(
                "with --group or --chroot alone the process stays root: give --user as well (--user root: on purpose)"
            )
            return 2
        calls = choose(may_accelerate=settings.accelerator == "auto")
        notifier = systemd.Notifier(environment, ready_fd, log)
        supervisor = notifier.supervisor()
        holdings.notices = notifier.notices
        supervisor.store = notifier.descriptor_store(environment, carriers, is_takeover=path_of_old is not None)
        if admin_sock is not None or settings.admin is not None or path_of_old is not None:
            from scache_fast.process.administration import Administration

            supervisor.administration = Administration
        descriptors = raise_descriptor_limit(log)
        if path_of_old is not None:
            if passed or admin_sock is not None:
                raise StartError(f"cannot take over: {main_process.NO_TAKEOVER}")
            succession = _take_over(path_of_old, settings, starter, log)
        for path in settings.listen if succession is None else ():
            files += [listen(path, settings.mode, settings.owner, log)]
        if settings.admin is not None and succession is None:
            if admin_sock is not None:
                raise StartError("an admin socket was passed, and --admin names another: leave one of them out")
            taken = [*settings.listen, *(str(sock.getsockname()) for sock in passed)]
            holdings.admin_files += [listen_for_operators(settings.admin, settings.user, taken, log)]
            admin_sock = holdings.admin_files[0].sock
        systemd.forget(environment)
        names = [file.path for file in files] + [str(sock.getsockname()) for sock in passed]
        supervisor.read_settings = partial(_read_again, arguments, environment, settings)
        supervisor.holdings, supervisor.succession = holdings, succession
        supervisor.announcement = f"listening on {', '.join(names)}, pid {log.pid}"
        if isinstance(sink, Datagrams):
            supervisor.after_turn.append(sink.after_turn)
        watch = SocketWatch(
            files, passed, settings, log, is_in_chroot=settings.chroot is not None,
            operators=None if holdings.admin_files else admin_sock, admin_files=holdings.admin_files,
        )  # fmt: skip
        supervisor.after_turn.append(watch.after_turn)
        supervisor.turn_s_max = min(supervisor.turn_s_max, LOOK_S)
        drop(Identity(settings.user, settings.group, settings.chroot))
        is_in_chroot = settings.chroot is not None
        listeners = [*passed, *(file.sock for file in files)]
        return serve(listeners, settings, log, supervisor, descriptors, calls, admin_sock)
    except StartError as error:
        for each in dict.fromkeys((terminal, sink)):
            Logger(each).fatal(str(error))
        return 1
    finally:
        for file in [*files, *holdings.admin_files]:
            _give_up(file, settings, Logger(sink), is_in_chroot=is_in_chroot)
        if isinstance(sink, Datagrams):
            sink.finish()


def _give_up(file: SocketFile, settings: Settings, log: Logger, *, is_in_chroot: bool) -> None:
    """Close a listening socket and remove its file, if that is possible."""
    file.sock.close()
    # In a chroot the path means something else. The next start replaces what is left.
    reason = None if is_in_chroot else file.remove(log)
    # Whoever gave up privileges often may not remove the file.
    if reason is not None and settings.user is None:
        log.warning(f"{file.path} is left behind: {reason}")


def _take_over(path_of_old: str, settings: Settings, starter: int | None, log: Logger) -> "Succession":
    from scache_fast.process.succession import Succession  # Most processes take over from none.

    return Succession(path_of_old, settings.listen, settings.admin, settings.user, starter, log)


def _read_again(arguments: Sequence[str], environment: Mapping[str, str], settings: Settings) -> Settings:
    if settings.chroot is not None:
        raise ConfigurationError("in a chroot no file of settings is within reach: restart the server")
    return read_again(arguments, environment)


def _syslog(settings: Settings) -> Datagrams:
    try:
        return to_syslog(settings.syslog_name, settings.syslog_facility)
    except OSError as error:
        raise StartError(f"cannot log to syslog: {error.strerror}") from error  # EMFILE, ENFILE
