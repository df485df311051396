"""What a watcher can accuse a side of."""

from dataclasses import dataclass

from scache_conformance.watch.relay import Side


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that one side did against clauses of the specification."""

    side: Side
    clauses: tuple[str, ...]
    text: str
    connection: int
    """The number of the connection on which it came to light."""

    def __str__(self) -> str:
        """Say it in a line."""
        return f"FAULT of the {self.side.value} ({', '.join(self.clauses)}), #{self.connection}: {self.text}"
