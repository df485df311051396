"""Wrong rules: who speaks when, and what is answered."""

from dataclasses import replace
from functools import partial

from tests.wrong import registry
from tests.wrong.rules.changes import silently
from tests.wrong.rules.escapes import NO_LISTS, NOT_GENERATED

from scache_spec import conversation, events
from scache_spec.actions import INVITATION
from scache_spec.attributes import Decoded, decode, encode
from scache_spec.conversation import Action, Input, State
from scache_spec.server import send
from scache_spec.vocabulary import FIND_DEST, FIND_ENDP, REQUEST_ATTRIBUTES, SAVE_ENDP, Status

wrong = partial(registry.wrong, escapes=NO_LISTS)


@wrong("CONN-1", of=events.on_connect)
def no_greeting(*given):
    """The server waits for the client to speak."""
    return silently(*given)


@wrong("CONN-1", of=(events, "GREETING"))
def greets_as_something_else(right):
    """The greeting names another protocol."""
    return encode(((b"protocol", b"connection_cache"),))


@wrong("CONN-3", of=events.on_bytes)
def pipelined_requests_are_reversed(right, server, client_id, data):
    """Requests that came together are served last first."""
    client, lists, rest = server.clients[client_id], [], data
    if client.state is State.REQUEST and not client.unread:
        while isinstance(decoded := decode(rest, 10**9, 10**9), Decoded):
            lists.append(rest[: len(rest) - len(decoded.rest)])
            rest = decoded.rest
    if len(lists) > 1 and not rest and all(each.startswith(b"request\0") for each in lists):
        data = b"".join(lists[::-1])
    return right(server, client_id, data)


# Lists that ask for nothing.


@wrong("CONN-7", of=(State.REQUEST, Input.MALFORMED_REQUEST))
def malformed_is_not_answered(row):
    """A malformed request gets no reply."""
    return replace(row, action=Action.IGNORE)


@wrong("CONN-6", of=(State.REQUEST, Input.UNKNOWN_REQUEST))
def unknown_is_not_answered(row):
    """A request of an unknown name gets no reply."""
    return replace(row, action=Action.IGNORE)


@wrong("CONN-5", of=(State.REQUEST, Input.NO_REQUEST))
def other_lists_are_answered(row):
    """A list that is no request is answered with status 1."""
    return replace(row, action=Action.REPLY_MALFORMED)


@wrong("CONN-4", of=(State.REQUEST, Input.EMPTY_LIST))
def empty_list_is_answered(row):
    """An empty list is answered with status 1."""
    return replace(row, action=Action.REPLY_MALFORMED)


@wrong("CONN-4", of=(State.REQUEST, Input.EMPTY_LIST))
def empty_list_ends_it(row):
    """An empty list ends the connection."""
    return replace(row, next=State.CLOSED, action=Action.FORGET)


@wrong("CONN-7", of=Action.REPLY_MALFORMED)
def invitation_for_what_is_malformed(right, server, client, given):
    """A malformed save_endp is answered with the invitation, then with status 1."""
    if given.request_name != SAVE_ENDP:
        return right(server, client, given)
    server, first = send(server, client, INVITATION)
    server, second = right(server, client, given)
    return server, (*first, *second)


# Replies.


@wrong("CONN-8", of=Action.BIND, escapes={})
def save_dest_is_only_answered(right, server, client, given):
    """save_dest is answered with status 0 and not carried out."""
    after, effects = right(server, client, given)
    return replace(after, cache=server.cache), effects


@wrong("CONN-12", of=(conversation, "REQUESTS"), escapes={})
def find_dest_is_no_request(right):
    """find_dest is the name of no request."""
    return {name: made for name, made in right.items() if name != FIND_DEST}


@wrong("CONN-9", of=conversation.reply)
def miss_is_malformed(right, request, status, *properties):
    """A find that finds nothing is answered with status 1."""
    is_miss = status is Status.FAILED and request in (FIND_ENDP, FIND_DEST)
    return right(request, Status.MALFORMED if is_miss else status, *properties)


@wrong("CONN-7", of=conversation.reply)
def malformed_is_a_failure(right, request, status, *properties):
    """A malformed request is answered with status 2."""
    is_malformed = status is Status.MALFORMED and request in REQUEST_ATTRIBUTES
    return right(request, Status.FAILED if is_malformed else status, *properties)


@wrong("CONN-13", of=conversation.reply)
def no_properties_on_failure(right, request, status, *properties):
    """Replies of status 1 and 2 hold the status alone."""
    return right(request, status, *properties)[: None if status is Status.DONE else 1]


@wrong("CONN-13", of=conversation.reply)
def no_properties_if_malformed(right, request, status, *properties):
    """Replies of status 1 hold the status alone."""
    return right(request, status, *properties)[: 1 if status is Status.MALFORMED else None]


@wrong("CONN-6", "CONN-13", of=conversation.reply)
def unknown_gets_a_property(right, request, status, *properties):
    """The reply to an unknown request has a property."""
    return right(request, status, *properties) + (() if request in REQUEST_ATTRIBUTES else ((b"property", b""),))


# Ready.


def also_ready(says_so, right, state, attributes):
    """Take a list whose first name does this for "ready"."""
    is_taken = state is State.READY and attributes and says_so(attributes[0][0])
    return Input.DUMMY_LIST if is_taken else right(state, attributes)


@wrong("FD-7", of=conversation.classify_list, escapes=NO_LISTS | NOT_GENERATED)
def longer_ready_matches(*given):
    """A list whose first name only begins with `dummy` says ready."""
    return also_ready(lambda name: name.startswith(b"dummy"), *given)


@wrong("FD-7", of=conversation.classify_list, escapes=NO_LISTS | NOT_GENERATED)
def shorter_ready_matches(*given):
    """A list whose first name is a beginning of `dummy` says ready."""
    return also_ready(b"dummy".startswith, *given)


@wrong("FD-7", of=conversation.classify_list, escapes=NO_LISTS | NOT_GENERATED)
def ready_by_its_first_letter(*given):
    """A list whose first name begins with d says ready."""
    return also_ready(lambda name: name.startswith(b"d"), *given)


@wrong("FD-7", of=(State.READY, Input.OTHER_LIST))
def anything_is_ready(row):
    """Any list at all counts as "ready"."""
    return replace(row, next=State.SENDING, action=Action.SEND)


@wrong("FD-6", of=conversation.classify_list)
def ready_must_be_alone(right, state, attributes):
    """A "ready" with a value, or with more attributes, is not taken for one."""
    what = right(state, attributes)
    is_odd = state is State.READY and what is Input.DUMMY_LIST and attributes != ((b"dummy", b""),)
    return Input.OTHER_LIST if is_odd else what


@wrong("FD-9", of=(State.SENDING, Input.SENT))
def received_list_is_served(row):
    """What comes after the descriptor is taken for the next request."""
    return replace(row, next=State.REQUEST)
