"""A process of its own: started by hand, by systemd or by another supervisor.

Decides where its sockets come from, when it gives up its privileges and what its supervisor is told. Refuses to know
the loop.
"""

from collections.abc import Mapping, Sequence
from sys import stderr

from scache_fast import systemd
from scache_fast.configuration import read
from scache_fast.listening import ListenError, SocketFile, listen
from scache_fast.log import Logger
from scache_fast.privileges import Identity, PrivilegeError, drop, raise_descriptor_limit
from scache_fast.process import serve
from scache_fast.settings import Settings
from scache_fast.sinks import to_stderr, to_syslog


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; return its exit status."""
    settings = read(arguments, environment)
    sink = (
        to_syslog(settings.syslog_name, settings.syslog_facility)
        if settings.log == "syslog"
        else to_stderr(settings.syslog_name)
    )
    log = Logger(sink, verbose=settings.verbose)
    descriptors = raise_descriptor_limit(log)
    files: list[SocketFile] = []
    try:
        passed = systemd.passed_sockets(environment)
        for path in settings.listen:
            files += [listen(path, settings.mode, settings.owner)]
        listeners = [*passed, *(file.sock for file in files)]
        if not listeners:
            print(
                "scached: error: nothing to listen on: give --listen PATH, or pass a socket as systemd does",
                file=stderr,
            )
            return 2
        notifier = systemd.Notifier(environment, settings.ready_fd, log)
        drop(Identity(settings.user, settings.group, settings.chroot))
        names = [file.path for file in files] + [str(sock.getsockname()) for sock in passed]
        surroundings = notifier.surroundings()
        surroundings.announcement = f"listening on {', '.join(names)}, pid {log.pid}"
        serve(listeners, settings, log, surroundings, descriptors)
    except (ListenError, PrivilegeError) as error:
        log.fatal(str(error))
        return 1
    finally:
        _clean_up(files, settings, log)
    return 0


def _clean_up(files: list[SocketFile], settings: Settings, log: Logger) -> None:
    for file in files:
        file.sock.close()
        complaint = file.remove()
        # Whoever gave up privileges often may not remove the file; the next start replaces it.
        if complaint is not None and settings.user is None and settings.chroot is None:
            log.warning(complaint)
