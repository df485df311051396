"""Slips of a C programmer in slots.c."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("slots.c", "slots")
slip = SERVER.slip


# A slot is used again, and something of its last client is still in it.


def _left_in_the_slot(name: str, clauses: str, what: str, *fields: str) -> None:
    kept = "".join(f"    c->{field} = last.{field};\n" for field in fields)
    slip(
        name, clauses, what,
        ("    memset(c, 0, sizeof *c);\n    c->generation = generation;\n",
         f"    client last = *c;\n    memset(c, 0, sizeof *c);\n    c->generation = generation;\n{kept}"),
    )  # fmt: skip


_left_in_the_slot(
    "place-in-the-list-is-left", "WIRE-5",
    "A client that takes the slot of one that left within a list is taken to be within that list.", "scanned", "fields",
)  # fmt: skip
_left_in_the_slot(
    "deafness-is-left", "CONN-1", "A client that takes the slot of one that could not be written to is not greeted.",
    "deaf",
)  # fmt: skip
slip(
    "input-is-left", "WIRE-5", "A client that takes the slot of one that left within a list inherits that part of it.",
    ("    free(c->in);\n    free(c->out);", "    free(c->out);"),
    ("    memset(c, 0, sizeof *c);\n    c->generation = generation;\n",
     "    client last = *c;\n    memset(c, 0, sizeof *c);\n    c->generation = generation;\n    c->in = last.in;\n"
     "    c->in_room = last.in_room;\n    c->in_length = last.in_length;\n"),
)  # fmt: skip
slip(
    "held-is-left", "ENDP-4", "A session that was put back is still noted as held, and put back again when its client leaves.",
    ("            put_back(c->held);\n            c->held = NULL;\n", "            put_back(c->held);\n"),
)  # fmt: skip


# Edges: an event is told once.


slip(
    "short-read-of-bytes-is-the-last", "FD-1",
    "A read of plain bytes that fills less than its buffer is taken to have read everything.",
    ("    if (length <= 0) {\n        c->ended = 1;",
     "    if (length > 0 && c->state != DESCRIPTOR && (size_t)length < sizeof bytes)\n        c->can_read = 0;\n"
     "    if (length <= 0) {\n        c->ended = 1;"),
)  # fmt: skip
slip(
    "one-read-for-one-event", "CONN-3", "A client is read once for each event.",
    ("        c->can_read = 0;\n        return;\n    }\n    if (length <= 0) {",
     "        c->can_read = 0;\n        return;\n    }\n    c->can_read = 0;\n    if (length <= 0) {"),
)  # fmt: skip
slip(
    "rest-waits-for-an-event", "CONN-3", "What is left of a client's bytes at the end of its turn waits for an event.",
    ("        if (slots[i].state != FREE && may_read(&slots[i]))\n            wait = 0;\n", ""),
)  # fmt: skip
slip(
    "output-goes-with-requests", "CONN-2 FD-6", "Output that a socket did not take is sent when its client sends something.",
    ("                c->can_read = 1;\n            advance(c);\n", "                c->can_read = 1, advance(c);\n"),
)  # fmt: skip
slip(
    "accepts-once-for-an-event", "CONN-1", "One client is let in for each event.",
    ("        for (int entered = 0; may_accept && entered < 100; entered++)\n            if (!let_in(listener)) {\n",
     "        for (int entered = 0; may_accept && entered < 1; entered++)\n            if (!let_in(listener) || 1) {\n"),
)  # fmt: skip
slip(
    "partial-output-is-sent-again", "CONN-13", "When a socket takes a part of the output, all of it is sent again later.",
    ("        if (n > 0) {\n            c->out_start += n;\n            c->out_length -= n;\n        } else if",
     "        if (n > 0 && (size_t)n == c->out_length) {\n            c->out_length = 0;\n        } else if (n > 0) {\n"
     "            return;\n        } else if"),
)  # fmt: skip
slip(
    "partial-output-is-all", "CONN-13", "When a socket takes a part of the output, the rest is dropped.",
    ("            c->out_start += n;\n            c->out_length -= n;\n", "            c->out_length = 0;\n"),
)  # fmt: skip
slip(
    "input-is-read-while-blocked", "FD-14", "A client is read on while nothing is served that it sends.",
    ("    return !is_blocked(c) && !c->ended && c->can_read;\n",
     "    return !c->gone && c->state != SENDING && !c->ended && c->can_read;\n"),
)  # fmt: skip
slip(
    "pipe-signal-is-not-ignored", "CONN-11", "A write to a client that has gone ends the server.",
    ("c->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);", "c->out_length, MSG_DONTWAIT);"),
)  # fmt: skip
slip(
    "hand-over-raises-the-signal", "FD-10", "Sending a descriptor to a client that has gone ends the server.",
    ("sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0", "sendmsg(c->fd, &message, MSG_DONTWAIT) < 0"),
)  # fmt: skip


# The hash tables.


slip(
    "hole-hides-what-stands-behind", "ENDP-3", "A place is freed, and what was pushed behind it is not moved up.",
    ("        if (((at - home) & t->mask) >= ((at - hole) & t->mask)) {", "        if (home == UINT32_MAX) {"),
)  # fmt: skip
slip(
    "hole-is-filled-by-anything", "ENDP-3", "Into a place that is freed moves what stands next to it, wherever it belongs.",
    ("        if (((at - home) & t->mask) >= ((at - hole) & t->mask)) {", "        (void)home;\n        {"),
)  # fmt: skip
slip(
    "table-grows-without-hashing", "ENDP-3", "When a table grows, each queue keeps the number of its place.",
    ("            *place_of(t, old.places[at].label) = old.places[at];", "            t->places[at] = old.places[at];"),
)  # fmt: skip
slip(
    "labels-by-the-shorter", "ENDP-3", "Labels are compared up to the end of the shorter one.",
    ("    return a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);\n",
     "    return !memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);\n"),
)  # fmt: skip
slip(
    "empty-label-is-a-free-place", "ENDP-2", "A place whose label is empty is taken for a free one.",
    ("    if (!q->label) {\n        q->label", "    if (!q->label || !q->label->length) {\n        q->first = q->last = NULL;\n        q->label"),
)  # fmt: skip
slip(
    "bindings-know-the-place", "DEST-4", "A binding notes the place of its endpoint in the table, and not its label.",
    ("    text *label, *properties, *endpoint;\n} item;", "    text *label, *properties, *endpoint;\n    uint32_t place;\n} item;"),
    ("        insert(new, 0);\n    } else {",
     "        if (new->endpoint)\n            new->place = place_of(&sessions, new->endpoint) - sessions.places;\n"
     "        insert(new, 0);\n    } else {"),
    ("(found = place_of(&sessions, b->endpoint)->first)", "(found = sessions.places[b->place & sessions.mask].first)"),
)  # fmt: skip
slip(
    "properties-are-not-told-apart-by-length", "DEST-3", "Properties are the same if one begins with the other.",
    ("equal(same->properties, new->properties))",
     "!memcmp(same->properties->bytes, new->properties->bytes, same->properties->length < new->properties->length ? "
     "same->properties->length : new->properties->length))"),
)  # fmt: skip


# The wheel of seconds.


slip(
    "spoke-is-due-as-a-whole", "TTL-2", "All that is on a spoke of the wheel is due at its second.",
    ("        if (i->expiry <= now) {\n            take_out(i);", "        if (i->expiry / SECOND % SPOKES == second % SPOKES) {\n            take_out(i);"),
)  # fmt: skip
slip(
    "second-is-done-once", "TTL-6", "A second that has begun counts as done: what is due within it is met a round later.",
    ("    for (; wheel_second < second; wheel_second++)\n        expire_spoke(wheel_second);\n    expire_spoke(second);\n",
     "    for (; wheel_second <= second; wheel_second++)\n        expire_spoke(wheel_second);\n"),
)  # fmt: skip
slip(
    "wheel-turns-once-a-call", "TTL-5", "The wheel turns by one second at a time, however much time has passed.",
    ("    for (; wheel_second < second; wheel_second++)\n        expire_spoke(wheel_second);\n    expire_spoke(second);\n",
     "    if (wheel_second < second)\n        wheel_second++;\n    expire_spoke(wheel_second);\n"),
)  # fmt: skip
slip(
    "long-pause-skips-spokes", "TTL-5 TTL-6", "After a pause of a whole round, the wheel begins anew at the present second.",
    ("        wheel_second = second - SPOKES + 1;\n", "        wheel_second = second;\n"),
)  # fmt: skip
slip(
    "renewal-stays-on-its-spoke", "DEST-2", "A binding that is renewed stays on the spoke of its old expiry.",
    ("        off_wheel(same);\n        same->expiry = new->expiry;\n        onto_wheel(same);\n", "        same->expiry = new->expiry;\n"),
)  # fmt: skip
slip(
    "next-spoke-is-next", "TTL-6", "The next expiry is looked for on the next spoke alone.",
    ("    for (int spoke = 0; spoke < SPOKES; spoke++)\n        for (item *i = wheel[spoke];",
     "    for (int64_t spoke = now / SECOND; spoke <= now / SECOND + 1; spoke++)\n        for (item *i = wheel[spoke % SPOKES];"),
)  # fmt: skip
slip(
    "limit-has-32-bits", "LIMIT-7", "The time of a step is counted in milliseconds, in 32 bits.",
    ("now - since >= ipc_timeout_s * SECOND;", "now - since >= (int32_t)(ipc_timeout_s * 1000) * MS;"),
)  # fmt: skip
slip(
    "nothing-is-due-in-a-request", "TTL-5", "What is due is removed at the end of a turn, after the requests of that turn.",
    ("    now = clock_now();\n    expire();\n    if (c->state == READY) {", "    now = clock_now();\n    if (c->state == READY) {"),
    ("        now = clock_now();\n        expire();\n        if (now >= interval_end) {", "        now = clock_now();\n        if (now >= interval_end) {"),
    ("        for (int entered = 0; may_accept", "        expire();\n        for (int entered = 0; may_accept"),
)  # fmt: skip
slip(
    "put-back-before-the-clock", "ENDP-6", "Whether a session may be put back is judged by the time of the last request.",
    ("    if (i->expiry <= clock_now())\n        discard(i);\n    else\n        insert(i, 1);",
     "    if (i->expiry <= i->expiry - 1)\n        discard(i);\n    else\n        insert(i, 1);"),
)  # fmt: skip


# The conversation.


slip(
    "same-buffer-for-all", "WIRE-4", "The lists of all clients are gathered in one buffer.",
    ("    c->in = room_for(c->in, &c->in_room, c->in_length + length);\n",
     "    static char *all;\n    static size_t room;\n    all = room_for(all, &room, 1 << 20);\n    c->in = all;\n"),
    ("    free(c->in);\n    free(c->out);", "    free(c->out);"),
)  # fmt: skip
slip(
    "end-counts-before-the-rest", "CONN-11", "A client whose end was read is left though output is pending.",
    ("    if (c->ended && !is_blocked(c) && !c->out_length)\n", "    if (c->ended && !is_blocked(c))\n"),
)  # fmt: skip
slip(
    "reset-is-seen-on-reading", "CONN-11", "A client that left replies unread is given up without reading what it sent.",
    ("            if (events[k].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))",
     "            if (events[k].events & EPOLLERR)\n                c->gone = 1;\n            if (events[k].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))"),
)  # fmt: skip
slip(
    "hangup-is-the-end", "CONN-11", "A client that has hung up is given up without reading what it sent.",
    ("            if (events[k].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))",
     "            if (events[k].events & EPOLLHUP)\n                c->gone = 1;\n            if (events[k].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))"),
)  # fmt: skip
slip(
    "time-of-the-request-is-the-turns", "FD-3", "The time of a session counts from the request, not from its descriptor.",
    ("        new->fd = passed[0];\n        new->expiry = expiry_of(c->ttl_s);\n", "        new->fd = passed[0];\n"),
    ("    c->wanted = new;\n", "    c->wanted = new;\n    new->expiry = expiry_of(parse_ttl(ttl));\n"),
)  # fmt: skip
slip(
    "exit-keeps-what-is-held", "LIFE-4", "A session that is held at the exit is put back after the cache was emptied.",
    ("    for (uint32_t i = 0; i < slot_count; i++)\n        if (slots[i].state != FREE)\n            leave(&slots[i]);\n    for (uint32_t at = 0; at <= sessions.mask; at++)",
     "    for (uint32_t at = 0; at <= sessions.mask; at++)"),
    ("    print_statistics();\n    for (int ms = 0;", "    print_statistics();\n    pause();\n    for (int ms = 0;"),
)  # fmt: skip
slip(
    "descriptors-of-passed-kinds-alone", "FD-13", "What is no socket is refused.",
    ("    if (count == 1 && !is_cut && (rlim_t)", "    int kind;\n    socklen_t size = sizeof kind;\n    if (count == 1 && !is_cut && !getsockopt(passed[0], SOL_SOCKET, SO_TYPE, &kind, &size) && (rlim_t)"),
)  # fmt: skip
slip(
    "dead-connections-are-refused", "FD-3", "A connection whose other end has gone is refused.",
    ("    if (count == 1 && !is_cut && (rlim_t)", "    struct pollfd one = {count ? passed[0] : -1, 0, 0};\n    poll(&one, 1, 0);\n    if (count == 1 && !(one.revents & (POLLHUP | POLLERR)) && !is_cut && (rlim_t)"),
)  # fmt: skip
slip(
    "buffers-are-checked", "FD-13", "A parked connection is read from without blocking, to see whether it is dead.",
    ("        new->fd = passed[0];\n", "        new->fd = passed[0];\n        recv(new->fd, (char[1]){0}, 1, MSG_DONTWAIT);\n"),
)  # fmt: skip
