"""How much memory the limits allow, and what a client sees of each: the table of the manual page, and its sum.

The figures of an item are the most that was measured, in plain Python on a 64-bit machine, whatever was done to it:
each number is what 100 000 of them take at the worst moment, when a table of the interpreter has just grown. `make
memory` fills the limits one after the other and holds a server to the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scache_fast.engine.conversation import READ_BYTES_MAX
from scache_spec.vocabulary import Limits

_PROCESS_BYTES: Final = 24_000_000
"""A process that has nothing parked takes 16 MB; the rest is for closing threads, and for other versions of Python."""

_SESSION_BYTES: Final = 600
"""A session under a label of its own, beyond its label and properties."""

_BINDING_BYTES: Final = 800
"""A binding of a destination of its own to an endpoint of its own, beyond its labels and properties."""

_CLIENT_BYTES: Final = 8_000
"""A client beyond what it sent and is to get: its socket, and a request of 64 attributes that waits."""

SEND_BUFFER_BYTES: Final = 212_992
"""What the kernel keeps of replies that a client has not read: net.core.wmem_default as Linux sets it."""

MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    limit: str
    """The setting, empty for what there is without any."""

    what: str
    """What takes the memory."""

    client_sees: str
    """What becomes of a client that goes beyond the limit."""

    bytes_of: Callable[[Limits], int]
    """How many bytes that is at most."""


def _client_bytes(limits: Limits) -> int:
    # What it found or is about to save; its replies; what was read from it and is not served yet.
    list_bytes = limits.attribute_list_bytes_max
    return list_bytes + (limits.output_bytes_max + list_bytes) + (list_bytes + READ_BYTES_MAX) + _CLIENT_BYTES


_REFUSED: Final = "more saves are answered with status 2"
_DISCONNECTED: Final = "more clients are disconnected without a greeting"

ROWS: Final = (
    Row("", "the process", "", lambda limits: _PROCESS_BYTES),
    Row("sessions_max", "parked connections", _REFUSED, lambda limits: limits.sessions_max * _SESSION_BYTES),
    Row("sessions_per_endpoint_max", "part of the above", _REFUSED, lambda limits: 0),
    Row("bindings_max", "bindings", _REFUSED, lambda limits: limits.bindings_max * _BINDING_BYTES),
    Row("bindings_per_destination_max", "part of the above", _REFUSED, lambda limits: 0),
    Row("cached_bytes_max", "labels and properties", _REFUSED, lambda limits: limits.cached_bytes_max),
    Row("clients_max", "clients: buffers and unfinished requests", _DISCONNECTED,
        lambda limits: limits.clients_max * _client_bytes(limits)),
    Row("clients_per_user_max", "part of the above", _DISCONNECTED, lambda limits: 0),
    Row("attribute_list_bytes_max", "part of the above, up to four times for each client", "the client is disconnected",
        lambda limits: 0),
    Row("attributes_max", "part of the above", "the client is disconnected", lambda limits: 0),
    Row("output_bytes_max", "part of the above", "the client is not served until it reads", lambda limits: 0),
    Row("clients_max", "clients: unread replies, in the kernel", "",
        lambda limits: limits.clients_max * SEND_BUFFER_BYTES),
)  # fmt: skip
"""Every limit that memory depends on. The kernel's own memory of a parked file counts for whoever opened the file."""


def total_bytes(limits: Limits) -> int:
    """Return the most memory that these limits allow."""
    return sum(row.bytes_of(limits) for row in ROWS)
