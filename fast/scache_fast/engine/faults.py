"""Exceptions that nobody foresaw: they are contained, logged and counted.

Such an exception ends the client, the session or the callback that it came from, and never the server. The log shows
its kind and the lines that it passed.
"""

from scache_fast.engine.log import Log


class Faults:
    """Counts the exceptions that were contained since the start."""

    __slots__ = ("_log", "contained")

    def __init__(self, log: Log) -> None:
        self._log = log
        self.contained = 0

    def contain(self, what: str, error: Exception) -> None:
        """Log and count an exception; `what` says what it has ended. Never raises."""
        self.contained += 1
        try:
            self._log.warning(f"{what}: unexpected {described(error)}")
        except Exception:  # The log itself may be what fails.
            pass


def described(error: BaseException) -> str:
    """Return the kind of an exception, its text, and the lines that it passed, the innermost first."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        # File and line alone: the text of the line is in a file that may be out of reach in a chroot.
        name = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
        places.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} at {' < '.join(reversed(places))}"
