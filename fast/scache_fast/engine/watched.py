"""Descriptors that the loop watches for the process around it: signals, a supervisor's channel, operators."""

from collections.abc import Callable

from scache_fast.engine.faults import Faults
from scache_fast.engine.poller import IN, Poller


class Watched:
    """Who is to be called when something happens at a descriptor."""

    def __init__(self, poller: Poller, faults: Faults) -> None:
        self._poller = poller
        self._faults = faults
        self._calls: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, on_event: Callable[[], None], events: int = IN) -> None:
        """Call back in each turn that finds a descriptor readable (or hung up, or what `events` says).

        The caller goes on owning it. Raises OSError when it cannot be waited for.
        """
        self._poller.register(fd, events)
        self._calls[fd] = on_event

    def watch_for(self, fd: int, events: int) -> None:
        """Change what a watched descriptor is waited for; raises OSError."""
        self._poller.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        del self._calls[fd]
        self._poller.unregister(fd)

    def notice(self, fd: int) -> None:
        """Call the watcher of a descriptor, if it has one. A watcher that raises is not called again."""
        call = self._calls.get(fd)
        if call is None:
            return
        try:
            call()
        except Exception as error:
            self._faults.contain(f"descriptor {fd} is not watched any more", error)
            if fd in self._calls:
                self.unwatch(fd)
