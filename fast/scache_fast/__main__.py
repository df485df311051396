"""The command `scached`: from a command line to a running server, and back to nothing.

Decides in which order a process starts and ends. Everything it needs is imported here, at the top, so that nothing is
looked for on disk once the loop runs.
"""

import resource
import sys
from collections.abc import Sequence

from scache_fast.listening import ListenError, SocketFile, listen
from scache_fast.log import StderrLog
from scache_fast.options import Options, parse
from scache_fast.server import Server
from scache_fast.signals import Signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    log = StderrLog(verbose=options.verbose)
    _raise_descriptor_limit(log)
    files: list[SocketFile] = []
    try:
        for path in options.listen:
            files += [listen(path, options.mode)]
        _serve(files, options, log)
    except ListenError as error:
        log.fatal(str(error))
        return 1
    finally:
        for file in files:
            file.sock.close()
            complaint = file.remove()
            if complaint is not None:
                log.warning(complaint)
    return 0


def _serve(files: list[SocketFile], options: Options, log: StderrLog) -> None:
    server = Server([file.sock for file in files], options.limits, log=log)
    try:
        with Signals(server):
            log.info(f"listening on {', '.join(file.path for file in files)}, pid {log.pid}")
            server.run()
            server.print_statistics()
    finally:
        server.close()


def _raise_descriptor_limit(log: StderrLog) -> None:
    """Allow as many descriptors as the process may have: each parked connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        # An unlimited hard limit cannot be had where the kernel's own maximum (fs.nr_open) is lower.
        log.warning(f"the limit of {soft} open descriptors stays: {error}")


if __name__ == "__main__":
    sys.exit(main())
