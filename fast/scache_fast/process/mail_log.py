"""The log of a child of Postfix's master(8): postlogd(8) or syslog, as the configuration says, and never both."""

import sys
from collections.abc import Mapping
from types import TracebackType

from scache_fast.process.logger import Logger
from scache_fast.process.sinks import Datagrams, to_postlog, to_syslog


class MailLog:
    """The log of a child, which goes where the environment says until the configuration is known."""

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._tag = environment.get("MAIL_LOGTAG") or "postfix"
        self.sink: Datagrams
        """Where lines go."""
        self.log: Logger
        self._open(program)

    def rename(self, program: str) -> None:
        """Have further lines say that they are of a program of this name."""
        self.sink.finish()
        self._open(program)

    def move(self, tag: str, facility: str, postlog: str | None, host: str, *, verbose: bool) -> None:
        """Send further lines, which begin with the tag, to postlogd(8) at its socket, or else to syslog."""
        self.sink.finish()
        self._send_to(self._found(postlog, tag, facility, host), verbose=verbose)

    def _open(self, program: str) -> None:
        postlog = self._environment.get("POSTLOG_SERVICE")  # An absolute path; it is not set without maillog_file.
        self._send_to(self._found(postlog, f"{self._tag}/{program}", "mail", "localhost"), verbose=False)

    def _send_to(self, sink: Datagrams, *, verbose: bool) -> None:
        self.sink = sink
        self.log = Logger(sink, verbose=verbose)
        _report_mistakes_to(self.log)

    def _found(self, postlog: str | None, tag: str, facility: str, host: str) -> Datagrams:
        if postlog:
            # As Postfix logs it, without its domain.
            short = self._environment.get("POSTLOG_HOSTNAME", host).partition(".")[0]
            try:
                return to_postlog(postlog, tag, short)
            except OSError:
                pass  # Nobody is there; syslog gets the lines instead.
        return to_syslog(tag, facility)


def _report_mistakes_to(log: Logger) -> None:
    """Have an exception that nobody catches end up in the log; standard error is /dev/null under master(8)."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.panic(error)

    sys.excepthook = hook
