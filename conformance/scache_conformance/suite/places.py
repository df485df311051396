"""Where in the protocol a client may stop: each function takes a client at rest to such a place.

What it parks on the way is parked under an endpoint of its own name.
"""

from scache_conformance.suite.client import Client
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DUMMY_LIST


def at_rest(client: Client) -> None:
    """Stop between two requests."""


def mid_name(client: Client) -> None:
    """Stop in the middle of a name."""
    client.send_bytes(b"requ")


def mid_value(client: Client) -> None:
    """Stop in the middle of a value."""
    client.send_bytes(b"request\0find_endp\0label\0abc")


def mid_list(client: Client) -> None:
    """Stop before the end of a list."""
    client.send_bytes(b"request\0find_endp\0label\0abc\0")


def reply_unread(client: Client) -> None:
    """Ask for something, and do not read the reply."""
    client.request(b"find_endp")


def descriptor_awaited(client: Client) -> None:
    """Stop where the server awaits a descriptor."""
    client.begin_save(client.name)


def ready_awaited(client: Client) -> None:
    """Stop where the server awaits ready."""
    client.parks_and_holds(client.name)


def mid_ready(client: Client) -> None:
    """Stop in the middle of ready."""
    ready_awaited(client)
    client.send_bytes(DUMMY_LIST[:-1])


def received_awaited(client: Client) -> None:
    """Stop where the server awaits received."""
    ready_awaited(client)
    client.send_bytes(DUMMY_LIST)
    client.receive_descriptor()


def not_reading(client: Client) -> None:
    """Ask so much that the replies find no room, and read none of them."""
    client.send_as_much_as_is_taken(lists.find_dest(b"nothing") * 2_000, bytes_max=8_000_000)
