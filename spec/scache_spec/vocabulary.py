"""The names and values of the protocol: attribute names, request names, statuses and limits.

There is no function here. A server that imports nothing but this module is still an independent implementation.

Sources: names of attributes and requests from mail_proto.h, defaults of limits from postconf(5).
"""

from enum import Enum, IntEnum
from typing import Final, NamedTuple, NewType

Label = NewType("Label", bytes)
"""Name of a destination or of an endpoint: any bytes but NUL, possibly empty. Those of smtp(8) contain newlines."""

Properties = NewType("Properties", bytes)
"""What a client stores with a session or a binding: any bytes but NUL, possibly empty."""

Handle = NewType("Handle", int)
"""Stands for one open descriptor of the server. Unique among the open ones; a closed one's number may be reused."""

ClientId = NewType("ClientId", int)
"""Stands for one connected client. Unique among the connected clients."""

UserId = NewType("UserId", int)
"""The user whose process a client is: a uid."""

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
"""The attributes that each request wants after `request`, in this order. In save_dest the first label is the
destination's."""

REPLY_PROPERTIES: Final[dict[bytes, int]] = {SAVE_ENDP: 0, FIND_ENDP: 1, SAVE_DEST: 0, FIND_DEST: 2}
"""How many `property` attributes follow `status` in a reply to the request. The status makes no difference."""

DESCRIPTOR_BYTE: Final = b"\0"
"""The byte with which the server sends a descriptor. A client may send a descriptor with any byte."""

TTL_S_MAX: Final = 2_147_483_647
"""The largest ttl of a request, in seconds: the largest C int."""


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


class Limits(NamedTuple):
    """Every bound and every period of a server."""

    ttl_limit_s: int = 2
    """Longest time that a session or a binding lives, in seconds. Postfix: connection_cache_ttl_limit."""

    max_idle_s: int | None = None
    """How many seconds a server with no client and no session waits before it exits. Postfix: max_idle, 100 s there.
    None: the server does not exit for being idle."""

    status_update_time_s: int = 600
    """Seconds from one printing of the statistics to the next. Postfix: connection_cache_status_update_time."""

    ipc_timeout_s: int = 3600
    """How many seconds a client may leave one step unfinished. Postfix: ipc_timeout."""

    attribute_list_bytes_max: int = 16_384
    """Most bytes of an attribute list that a client sends, its closing NUL included. Those of smtp(8) stay below 1 000
    bytes. A client can make a server keep four of the longest lists, so this limit decides most of what clients can
    cost."""

    attributes_max: int = 64
    """Most attributes of a list. Arbitrary: requests have at most five."""

    output_bytes_max: int = 16_384
    """Bytes of output that may be pending for a client. Above this limit nothing that the client sends is served."""

    sessions_max: int = 100_000
    """Most parked sessions. Arbitrary: descriptors run out first (RLIMIT_NOFILE)."""

    sessions_per_endpoint_max: int = 100_000
    """Most parked sessions of one endpoint. Arbitrary: as many as there may be at all."""

    bindings_max: int = 20_000
    """Most bindings. Arbitrary: servers under Postfix hold hundreds, and 20 000 take 20 MB."""

    bindings_per_destination_max: int = 1_000
    """Most bindings of one destination. A find_dest may have to try all of them."""

    cached_bytes_max: int = 67_108_864
    """Most bytes of labels and properties in the cache: 64 MiB, 670 bytes for each of 100 000 sessions."""

    clients_max: int = 1_000
    """Most connected clients. Arbitrary: ten times Postfix's default_process_limit of 100."""

    clients_per_user_max: int | None = None
    """Most connected clients of one user. Under Postfix all clients are one user's. None: no limit."""
