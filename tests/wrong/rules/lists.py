"""Wrong rules: attribute lists, how they are cut, matched and read."""

import re
from dataclasses import replace
from functools import partial

from tests.wrong import registry
from tests.wrong.rules.changes import limited, parsed, rewritten
from tests.wrong.rules.escapes import NO_LISTS, NOT_GENERATED

from scache_spec import actions, attributes, conversation, events
from scache_spec.attributes import Decoded, TooLong, Unfinished, decode
from scache_spec.conversation import State
from scache_spec.server import with_client
from scache_spec.vocabulary import Limit

wrong = partial(registry.wrong, escapes=NO_LISTS)

# Where a list ends.


@wrong("WIRE-1", of=(events, "GREETING"))
def greeting_has_no_end(right):
    """The greeting lacks the NUL that ends it."""
    return right[:-1]


@wrong("CONN-13", of=(actions, "encode"))
def replies_have_no_end(right, attributes):
    """Every reply lacks the NUL that ends it."""
    return right(attributes)[:-1]


@wrong("WIRE-4", of=events.on_bytes)
def split_list_is_forgotten(right, server, client_id, data):
    """What a read leaves unfinished is forgotten."""
    server, effects = right(server, client_id, data)
    client = server.clients.get(client_id)
    if client is not None and isinstance(decode(client.unread, 10**9, 10**9), Unfinished):
        server = with_client(server, replace(client, unread=b"", step_since_ns=None))
    return server, effects


@wrong("WIRE-4", of=decode)
def reads_end_lists(right, stream, *limits):
    """A read that ends with a value's NUL ends the list, too."""
    decoded = right(stream, *limits)
    is_cut = isinstance(decoded, Unfinished) and stream.endswith(b"\0")
    return right(stream + b"\0", *limits) if is_cut else decoded


@wrong("WIRE-5", of=events.on_gone, escapes=NO_LISTS | NOT_GENERATED)
def list_of_a_dead_client_is_served(right, server, client_id):
    """A list that its client did not finish is served when the client goes away."""
    client = server.clients[client_id]
    if client.unread and client.state is State.REQUEST:
        server, _ = events.on_bytes(server, client_id, b"\0" if client.unread.endswith(b"\0") else b"\0\0")
    return right(server, client_id)


@wrong("CONN-3", "FD-9", "WIRE-4", "CONN-5", "FD-12", of=decode)
def pipelined_request_is_dropped(right, stream, *limits):
    """What came together with a list is forgotten when the list is served."""
    decoded = right(stream, *limits)
    return replace(decoded, rest=b"") if isinstance(decoded, Decoded) else decoded


@wrong("LIMIT-1", of=decode)
def lists_unlimited(right, stream, list_bytes_max, *limits):
    """A list may be as long as it likes."""
    return right(stream, 10**9, *limits)


@wrong("LIMIT-1", of=decode)
def list_limit_is_one_short(right, stream, list_bytes_max, *limits):
    """A list that is as long as it may be is too long."""
    return right(stream, list_bytes_max - 1, *limits)


@wrong("LIMIT-1", of=decode)
def list_limit_is_one_long(right, stream, list_bytes_max, *limits):
    """A list may be one byte longer than the limit says."""
    return right(stream, list_bytes_max + 1, *limits)


@wrong("LIMIT-1", of=decode)
def list_limit_counts_what_follows(right, stream, list_bytes_max, *limits):
    """What follows a list counts for its length."""
    is_long = len(stream) > list_bytes_max
    return TooLong(Limit.ATTRIBUTE_LIST_BYTES) if is_long else right(stream, list_bytes_max, *limits)


def unlimited_in(state, right, server, effects, client_id):
    """Take lists of any length from a client that is in this state."""
    client = server.clients.get(client_id)
    is_there = client is not None and client.state is state
    return limited(right, server, effects, client_id, attribute_list_bytes_max=10**9 if is_there else 0)


@wrong("LIMIT-1", of=events._serve)
def ready_is_of_any_length(*given):
    """The list that says ready may be longer than attribute_list_bytes_max."""
    return unlimited_in(State.READY, *given)


@wrong("LIMIT-1", of=events._serve)
def received_is_of_any_length(*given):
    """The list that says received may be longer than attribute_list_bytes_max."""
    return unlimited_in(State.RECEIVED, *given)


@wrong("LIMIT-9", of=decode)
def attributes_unlimited(right, stream, list_bytes_max, attributes_max):
    """A list may have any number of attributes."""
    return right(stream, list_bytes_max, 10**9)


@wrong("LIMIT-9", of=decode)
def one_attribute_too_few(right, stream, list_bytes_max, attributes_max):
    """A list may have one attribute less than the limit says."""
    return right(stream, list_bytes_max, attributes_max - 1)


# Which attributes it holds.


@wrong("WIRE-6", of=attributes.match_in_order)
def attributes_in_any_order(right, attributes, wanted):
    """Attributes are found wherever they stand."""
    left, values = list(attributes), []
    for want in wanted:
        at = next((at for at, (name, _) in enumerate(left) if name == want), None)
        if at is None:
            return None
        values.append(left.pop(at)[1])
    return tuple(values)


@wrong("WIRE-7", of=attributes.match_in_order)
def extra_attributes_are_refused(right, attributes, wanted):
    """A request with an attribute too many is malformed."""
    return right(attributes, wanted) if len(attributes) <= len(wanted) else None


@wrong("WIRE-6", of=attributes.match_in_order)
def unwanted_attributes_are_skipped(right, attributes, wanted):
    """Attributes that are not wanted are passed over, also before those that are."""
    values, left = [], list(wanted)
    for name, value in attributes:
        if left and name == left[0]:
            values.append(value)
            left.pop(0)
    return None if left else tuple(values)


@wrong("WIRE-2", of=attributes.match_in_order)
def empty_values_are_missing(right, attributes, wanted):
    """An attribute with an empty value counts as missing."""
    return None if {(b"label", b""), (b"property", b"")} & set(attributes) else right(attributes, wanted)


@wrong("WIRE-3", of=decode)
def values_are_text(*given):
    """Values go through UTF-8, and what is none is replaced."""
    return rewritten(lambda name, value: (name, value.decode(errors="replace").encode()), *given)


@wrong("WIRE-3", of=decode)
def blanks_are_trimmed(*given):
    """Labels and properties lose the white space round them."""
    return rewritten(lambda name, value: (name, value if name == b"ttl" else value.strip()), *given)


WANTED = (b"ttl", b"label", b"property")


@wrong("WIRE-6", "CONN-7", of=decode, escapes=NO_LISTS | NOT_GENERATED)
def longer_names_match(*given):
    """An attribute whose name only begins with the wanted one is taken for it."""
    return rewritten(lambda name, value: (next(filter(name.startswith, WANTED), name), value), *given)


@wrong("WIRE-6", "CONN-7", of=decode, escapes=NO_LISTS | NOT_GENERATED)
def shorter_names_match(*given):
    """An attribute whose name is the beginning of the wanted one is taken for it."""
    return rewritten(
        lambda name, value: (next((w for w in WANTED if name and w.startswith(name)), name), value), *given
    )


@wrong("CONN-5", of=decode)
def request_may_be_cut_short(*given):
    """A list that begins with a beginning of `request` is a request."""
    return rewritten(lambda name, value: (b"request" if b"request".startswith(name) else name, value), *given)


@wrong("WIRE-3", of=conversation.parse_request, escapes=NO_LISTS | NOT_GENERATED)
def labels_end_at_a_newline(*given):
    """Of an endpoint's label only the first line counts."""
    return parsed(*given, endpoint=lambda label: label.partition(b"\n")[0])


def shortened(value):
    return value[:4_095]


@wrong("WIRE-3", of=conversation.parse_request, escapes=NO_LISTS | NOT_GENERATED)
def properties_are_cut(*given):
    """Of properties 4095 bytes are kept."""
    return parsed(*given, properties=shortened)


@wrong("WIRE-3", of=conversation.parse_request, escapes=NO_LISTS | NOT_GENERATED)
def destinations_are_cut(*given):
    """Of destination labels 4095 bytes are kept."""
    return parsed(*given, destination=shortened)


@wrong("WIRE-3", of=conversation.parse_request, escapes=NO_LISTS | NOT_GENERATED)
def endpoints_are_cut(*given):
    """Of endpoint labels 4095 bytes are kept."""
    return parsed(*given, endpoint=shortened)


@wrong("WIRE-3", of=conversation.parse_request, escapes=NO_LISTS | NOT_GENERATED)
def long_endpoints_are_one(*given):
    """Endpoint labels above 4095 bytes are told apart by their length and their first bytes."""
    return parsed(*given, endpoint=lambda label: b"%b%d" % (label[:16], len(label)) if len(label) > 4_095 else label)


# Which number a ttl is.


def ttl(value):
    """Return a ttl that may be wrong, None if it cannot be one at all."""
    return value if 0 < value < 2**31 else None


@wrong("WIRE-8", of=attributes.parse_ttl, escapes=NO_LISTS | NOT_GENERATED)
def ttl_may_be_octal(right, value):
    """A ttl with a leading zero is octal."""
    return ttl(int(value, 8)) if re.fullmatch(rb"0[0-7]+", value) else right(value)


@wrong("WIRE-8", of=attributes.parse_ttl)
def ttl_may_be_hexadecimal(right, value):
    """A ttl may be hexadecimal."""
    return ttl(int(value, 16)) if re.fullmatch(rb"0x[0-9a-f]+", value) else right(value)


@wrong("WIRE-8", of=attributes.parse_ttl)
def ttl_may_end_in_junk(right, value):
    """What follows the digits of a ttl is ignored."""
    digits = re.match(rb"[1-9][0-9]*", value)
    return right(digits[0] if digits else value)


@wrong("WIRE-8", of=attributes.parse_ttl)
def ttl_must_be_bare(right, value):
    """A ttl with a blank or a plus before it is none."""
    return right(value) if value.isdigit() else None


@wrong("WIRE-9", of=attributes.parse_ttl)
def ttl_may_be_zero(right, value):
    """A ttl of 0 means the limit."""
    return right(b"2147483647" if value == b"0" else value)


@wrong("WIRE-9", "WIRE-10", of=attributes.parse_ttl)
def ttl_has_no_maximum(right, value):
    """A ttl may be as large as it likes."""
    return right(b"2147483647" if value.isdigit() and int(value[:4000]) >= 2**31 else value)


@wrong("WIRE-10", of=attributes.parse_ttl)
def ttl_wraps(right, value):
    """A ttl that does not fit overflows as in C."""
    return ttl(int(value) % 2**32) if re.fullmatch(rb"-?[0-9]{1,15}", value) else right(value)


@wrong("WIRE-8", of=attributes.parse_ttl)
def ttl_may_be_empty(right, value):
    """No ttl at all means 1."""
    return right(value or b"1")
