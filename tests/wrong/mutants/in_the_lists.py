"""Wrong servers: attribute lists, how they are cut, matched and read."""

from dataclasses import replace

from tests.wrong.mutants.registry import mutant, wrap

from scache_spec import cache, conversation
from scache_spec import events as spec
from scache_spec import server as servers
from scache_spec.attributes import Decoded, TooLong, Unfinished
from scache_spec.conversation import Input, State
from scache_spec.vocabulary import Limit


def ttl(parse):
    """Read a ttl first in this way: None leaves it to the right one."""
    wrap(conversation, "parse_ttl", lambda right, value: parse(value) or right(value))


@mutant("split-list-is-forgotten", "WIRE-4")
def _():
    """What a read leaves unfinished is forgotten."""

    def on_bytes(right, server, client_id, data):
        server, effects = right(server, client_id, data)
        if client_id in server.clients and isinstance(
            spec.decode(server.clients[client_id].unread, 10**9, 64), Unfinished
        ):
            server = servers.with_client(server, replace(server.clients[client_id], unread=b"", step_since_ns=None))
        return server, effects

    wrap(spec, "on_bytes", on_bytes)


@mutant("reads-end-lists", "WIRE-4")
def _():
    """A read that ends with a value's NUL ends the list, too."""

    def decode(right, stream, *limits):
        decoded = right(stream, *limits)
        if isinstance(decoded, Unfinished) and stream.endswith(b"\0"):
            return right(stream + b"\0", *limits)
        return decoded

    wrap(spec, "decode", decode)


@mutant("list-of-a-dead-client-is-served", "WIRE-5")
def _():
    """A list that its client did not finish is served when the client goes away."""

    def on_gone(right, server, client_id):
        client = server.clients[client_id]
        if client.unread and client.state is conversation.State.REQUEST:
            server, _ = spec.on_bytes(server, client_id, b"\0" if client.unread.endswith(b"\0") else b"\0\0")
        return right(server, client_id)

    wrap(spec, "on_gone", on_gone)


@mutant("attributes-in-any-order", "WIRE-6")
def _():
    """Attributes are found wherever they stand."""

    def match_in_order(right, attributes, wanted):
        left, values = list(attributes), []
        for want in wanted:
            at = next((at for at, (name, _) in enumerate(left) if name == want), None)
            if at is None:
                return None
            values.append(left.pop(at)[1])
        return tuple(values)

    wrap(conversation, "match_in_order", match_in_order)


@mutant("extra-attributes-are-refused", "WIRE-7")
def _():
    """A request with an attribute too many is malformed."""

    def match_in_order(right, attributes, wanted):
        return right(attributes, wanted) if len(attributes) <= len(wanted) else None

    wrap(conversation, "match_in_order", match_in_order)


@mutant("unwanted-attributes-are-skipped", "WIRE-6")
def _():
    """Attributes that are not wanted are passed over, also before those that are."""

    def match_in_order(right, attributes, wanted):
        values, left = [], list(wanted)
        for name, value in attributes:
            if left and name == left[0]:
                values.append(value)
                left.pop(0)
        return None if left else tuple(values)

    wrap(conversation, "match_in_order", match_in_order)


@mutant("empty-values-are-missing", "WIRE-2")
def _():
    """An attribute with an empty value counts as missing."""
    wrap(
        conversation,
        "match_in_order",
        lambda right, attributes, wanted: None if (b"label", b"") in attributes or (b"property", b"") in attributes
        else right(attributes, wanted),
    )  # fmt: skip


@mutant("values-are-text", "WIRE-3")
def _():
    """Values go through UTF-8, and what is none is replaced."""

    def decode(right, stream, *limits):
        decoded = right(stream, *limits)
        if not isinstance(decoded, Decoded):
            return decoded
        return replace(
            decoded,
            attributes=tuple((name, value.decode(errors="replace").encode()) for name, value in decoded.attributes),
        )

    wrap(spec, "decode", decode)


@mutant("blanks-are-trimmed", "WIRE-3")
def _():
    """Labels and properties lose the white space round them."""

    def decode(right, stream, *limits):
        decoded = right(stream, *limits)
        if not isinstance(decoded, Decoded):
            return decoded
        trimmed = ((name, value if name == b"ttl" else value.strip()) for name, value in decoded.attributes)
        return replace(decoded, attributes=tuple(trimmed))

    wrap(spec, "decode", decode)


@mutant("ttl-may-be-octal", "WIRE-8")
def _():
    """A ttl with a leading zero is octal."""
    ttl(
        lambda value: (
            int(value, 8) if value.startswith(b"0") and value.isdigit() and not set(value) & set(b"89") else None
        )
    )


@mutant("ttl-may-be-hexadecimal", "WIRE-8")
def _():
    """A ttl may be hexadecimal."""
    ttl(lambda value: int(value, 16) if value.startswith(b"0x") else None)


@mutant("ttl-may-end-in-junk", "WIRE-8")
def _():
    """What follows the digits of a ttl is ignored."""
    ttl(lambda value: 5 if value[:1] in b"123456789" and value and not value.isdigit() else None)


@mutant("ttl-must-be-bare", "WIRE-8")
def _():
    """A ttl with a blank or a plus before it is none."""
    wrap(conversation, "parse_ttl", lambda right, value: right(value) if value.isdigit() else None)


@mutant("ttl-may-be-zero", "WIRE-9")
def _():
    """A ttl of 0 means the limit."""
    ttl(lambda value: 2_147_483_647 if value == b"0" else None)


@mutant("ttl-has-no-maximum", "WIRE-9", "WIRE-10")
def _():
    """A ttl may be as large as it likes."""
    ttl(lambda value: 2_147_483_647 if value.isdigit() and int(value[:4000]) > 2_147_483_647 else None)


@mutant("ttl-wraps", "WIRE-10")
def _():
    """A ttl that does not fit overflows as in C."""

    def parse(value):
        digits = value.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 15:
            return None
        number = int(value) % 2**32
        return number if 0 < number < 2**31 else None

    ttl(parse)


@mutant("ttl-may-be-empty", "WIRE-8")
def _():
    """No ttl at all means 1."""
    ttl(lambda value: 1 if not value else None)


@mutant("lists-unlimited", "LIMIT-1")
def _():
    """A list may be as long as it likes."""
    wrap(spec, "decode", lambda right, stream, _, attributes_max: right(stream, 10**9, attributes_max))


@mutant("list-limit-is-one-short", "LIMIT-1")
def _():
    """A list that is as long as it may be is too long."""
    wrap(spec, "decode", lambda right, stream, bytes_max, *more: right(stream, bytes_max - 1, *more))


@mutant("list-limit-counts-what-follows", "LIMIT-1")
def _():
    """What follows a list counts for its length."""

    def decode(right, stream, list_bytes_max, *more):
        if len(stream) > list_bytes_max:
            return TooLong(Limit.ATTRIBUTE_LIST_BYTES)
        return right(stream, list_bytes_max, *more)

    wrap(spec, "decode", decode)


# How names, labels and properties are compared and kept.


def rename(names):
    """Take what this maps a list's names to for its names."""

    def decode(right, stream, *limits):
        decoded = right(stream, *limits)
        if not isinstance(decoded, Decoded):
            return decoded
        return replace(decoded, attributes=tuple((names(name), value) for name, value in decoded.attributes))

    wrap(spec, "decode", decode)


WANTED = (b"ttl", b"label", b"property")


@mutant("longer-names-match", "WIRE-6", "CONN-7")
def _():
    """An attribute whose name only begins with the wanted one is taken for it."""
    rename(lambda name: next((wanted for wanted in WANTED if name.startswith(wanted)), name))


@mutant("shorter-names-match", "WIRE-6", "CONN-7")
def _():
    """An attribute whose name is the beginning of the wanted one is taken for it."""
    rename(lambda name: next((wanted for wanted in WANTED if name and wanted.startswith(name)), name))


@mutant("request-may-be-cut-short", "CONN-5")
def _():
    """A list that begins with a beginning of `request` is a request."""
    rename(lambda name: b"request" if name and b"request".startswith(name) else name)


def ready(says_so):
    """Take a list whose first name does this for "ready"."""

    def classify_list(right, state, attributes):
        what = right(state, attributes)
        also = state is State.READY and attributes and says_so(attributes[0][0])
        return Input.DUMMY_LIST if also else what

    wrap(spec, "classify_list", classify_list)


@mutant("longer-ready-matches", "FD-7")
def _():
    """A list whose first name only begins with `dummy` says ready."""
    ready(lambda name: name.startswith(b"dummy"))


@mutant("shorter-ready-matches", "FD-7")
def _():
    """A list whose first name is a beginning of `dummy` says ready."""
    ready(lambda name: b"dummy".startswith(name))


@mutant("ready-by-its-first-letter", "FD-7")
def _():
    """A list whose first name begins with d says ready."""
    ready(lambda name: name.startswith(b"d"))


def identify(key):
    """Take bindings for the same if they have the same key."""
    wrap(
        cache,
        "_same_binding",
        lambda right, cache, binding: next((each for each in cache.bindings if key(each) == key(binding)), None),
    )


@mutant("endpoint-and-properties-run-together", "DEST-3")
def _():
    """A binding is known by its endpoint and properties written one after the other."""
    identify(lambda each: (each.destination, each.endpoint + each.properties))


@mutant("properties-and-endpoint-run-together", "DEST-3")
def _():
    """A binding is known by its properties and endpoint written one after the other."""
    identify(lambda each: (each.destination, each.properties + each.endpoint))


@mutant("binding-is-known-by-lines", "DEST-3")
def _():
    """A binding is known by its destination, endpoint and properties, joined by newlines."""
    identify(lambda each: b"\n".join((each.destination, each.endpoint, each.properties)))


@mutant("destination-and-endpoint-run-together", "DEST-3")
def _():
    """A binding is known by its destination and endpoint written one after the other, and its properties."""
    identify(lambda each: (each.destination + each.endpoint, each.properties))


def shorten(byte_count, *names):
    """Keep this much of what these fields of a request hold."""

    def parse_request(right, attributes):
        request = right(attributes)
        cut = {name: getattr(request, name)[:byte_count] for name in names if hasattr(request, name)}
        return replace(request, **cut) if cut else request

    wrap(conversation, "parse_request", parse_request)


@mutant("properties-are-cut", "WIRE-3")
def _():
    """Of properties 16383 bytes are kept."""
    shorten(16_383, "properties")


@mutant("destinations-are-cut", "WIRE-3")
def _():
    """Of destination labels 16383 bytes are kept."""
    shorten(16_383, "destination")


@mutant("endpoints-are-cut", "WIRE-3")
def _():
    """Of endpoint labels 16383 bytes are kept."""
    shorten(16_383, "endpoint")


@mutant("long-endpoints-are-one", "WIRE-3")
def _():
    """Endpoint labels above 4095 bytes are told apart by their length and their first bytes."""

    def parse_request(right, attributes):
        request = right(attributes)
        label = getattr(request, "endpoint", b"")
        return replace(request, endpoint=b"%b%d" % (label[:16], len(label))) if len(label) > 4_095 else request

    wrap(conversation, "parse_request", parse_request)
