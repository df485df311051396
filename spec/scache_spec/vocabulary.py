"""The words of the protocol: names on the wire, statuses and limits.

There is no function here, only names and values: an independent server may import this module and still be an
independent server.

Sources: names of attributes and requests from mail_proto.h, defaults of limits from postconf(5).
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, NewType

Label = NewType("Label", bytes)
"""Name of a destination or of an endpoint: any bytes but NUL, also none at all. Real ones contain newlines."""

Properties = NewType("Properties", bytes)
"""What a client wants back with a session or a binding: any bytes but NUL, also none at all."""

Handle = NewType("Handle", int)
"""Stands for one open descriptor owned by the server. Unique among those that are open; may be reused after."""

ClientId = NewType("ClientId", int)
"""Stands for one connected client. Unique among those that are connected."""

UserId = NewType("UserId", int)
"""Who runs a client: a user's number."""

Attribute = tuple[bytes, bytes]
"""One name and its value."""

NS_PER_S: Final = 1_000_000_000
"""Instants and durations inside the servers are whole nanoseconds of a monotonic clock: exact, never rounded."""

# Attribute names.
PROTOCOL: Final = b"protocol"
REQUEST: Final = b"request"
STATUS: Final = b"status"
TTL: Final = b"ttl"
LABEL: Final = b"label"
PROPERTY: Final = b"property"
DUMMY: Final = b"dummy"

PROTOCOL_NAME: Final = b"connection_cache_protocol"
"""The value of `protocol` in the greeting."""

# Request names.
SAVE_ENDP: Final = b"save_endp"
FIND_ENDP: Final = b"find_endp"
SAVE_DEST: Final = b"save_dest"
FIND_DEST: Final = b"find_dest"

REQUEST_ATTRIBUTES: Final[dict[bytes, tuple[bytes, ...]]] = {
    SAVE_ENDP: (TTL, LABEL, PROPERTY),
    FIND_ENDP: (LABEL,),
    SAVE_DEST: (TTL, LABEL, PROPERTY, LABEL),
    FIND_DEST: (LABEL,),
}
"""The attributes each request wants after `request`, in this order. In save_dest the destination comes first."""

REPLY_PROPERTIES: Final[dict[bytes, int]] = {SAVE_ENDP: 0, FIND_ENDP: 1, SAVE_DEST: 0, FIND_DEST: 2}
"""How many `property` attributes follow `status` in every reply to the request, whatever the status."""

DESCRIPTOR_BYTE: Final = b"\0"
"""The byte that carries a descriptor from the server. From a client the byte may have any value."""

TTL_S_MAX: Final = 2_147_483_647
"""The largest ttl a request may name, in seconds: the largest C int."""


class Status(IntEnum):
    """The value of `status` in a reply."""

    DONE = 0
    MALFORMED = 1
    FAILED = 2


class Limit(Enum):
    """Each bound of a server, by the name of its field in `Limits`."""

    ATTRIBUTE_LIST_BYTES = "attribute_list_bytes_max"
    ATTRIBUTES = "attributes_max"
    OUTPUT_BYTES = "output_bytes_max"
    SESSIONS = "sessions_max"
    SESSIONS_PER_ENDPOINT = "sessions_per_endpoint_max"
    BINDINGS = "bindings_max"
    BINDINGS_PER_DESTINATION = "bindings_per_destination_max"
    CACHED_BYTES = "cached_bytes_max"
    CLIENTS = "clients_max"
    CLIENTS_PER_USER = "clients_per_user_max"
    IPC_TIMEOUT = "ipc_timeout_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound and every period of a server."""

    ttl_limit_s: int = 2
    """No session and no binding lives longer than this. Postfix: connection_cache_ttl_limit."""

    max_idle_s: int | None = None
    """How long a server with no client and no session waits before it exits. Postfix: max_idle, 100; None: for ever."""

    status_update_time_s: int = 600
    """How often statistics are printed. Postfix: connection_cache_status_update_time."""

    ipc_timeout_s: int = 3600
    """How long a client may leave one step unfinished. Postfix: ipc_timeout."""

    attribute_list_bytes_max: int = 16_384
    """Longest attribute list a client may send, its closing NUL included. Real ones stay below 1 000 bytes; each client
    can make a server keep four of the longest, so that the default decides most of what 1 000 clients can cost."""

    attributes_max: int = 64
    """Most attributes of a list. Arbitrary: requests have up to five."""

    output_bytes_max: int = 16_384
    """While more than this waits to be taken by a client, nothing that client sends is served."""

    sessions_max: int = 100_000
    """Most parked sessions. Arbitrary: descriptors run out first (RLIMIT_NOFILE)."""

    sessions_per_endpoint_max: int = 100_000
    """Most parked sessions under one endpoint label. Arbitrary: as many as there may be at all."""

    bindings_max: int = 20_000
    """Most bindings. Arbitrary: real servers hold hundreds, and 20 000 take 20 MB."""

    bindings_per_destination_max: int = 1_000
    """Most bindings of one destination. A find_dest may have to try them all."""

    cached_bytes_max: int = 67_108_864
    """Most bytes of labels and properties in the cache: 64 MiB, 670 bytes for each of 100 000 sessions."""

    clients_max: int = 1_000
    """Most connected clients. Arbitrary: ten times Postfix's default_process_limit of 100."""

    clients_per_user_max: int | None = None
    """Most connected clients of one user. Under Postfix all clients are one user's; None: no limit."""
