"""Slips in polling.c."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("polling.c", "polling")
slip = SERVER.slip

# The cache.

slip(
    "expiry-skips-the-next", "TTL-5", "After what is due was removed from the list, the one behind it is not looked at.",
    ("        discard(due->fd);\n        free_session(due);\n", "        discard(due->fd);\n        free_session(due);\n        if (*s)\n            s = &(*s)->next;\n"),
)  # fmt: skip
slip(
    "expiry-stops-at-the-first-alive", "TTL-6", "Sessions are taken to lie in the order of their expiry.",
    ("        if (due->expiry > now) {\n            s = &due->next;\n            continue;\n        }", "        if (due->expiry > now)\n            break;"),
)  # fmt: skip
slip(
    "bindings-a-moment-longer", "TTL-4 TTL-2", "A binding can be found at the instant of its expiry.",
    ("        if (due->expiry > now) {\n            b = &due->next;", "        if (due->expiry >= now) {\n            b = &due->next;"),
)  # fmt: skip
slip(
    "bindings-never-end", "TTL-4", "What is due is removed from the sessions alone.",
    ("    for (struct binding **b = &bindings; *b;) {\n        struct binding *due = *b;", "    for (struct binding **b = &bindings; *b && 0;) {\n        struct binding *due = *b;"),
)  # fmt: skip
slip(
    "poll-waits-for-bindings-alone", "TTL-6", "The loop waits for the next expiry of a binding, not of a session.",
    ("    for (struct session *s = sessions; s; s = s->next)\n        if (s->expiry < soonest)\n            soonest = s->expiry;\n", ""),
)  # fmt: skip
slip(
    "poll-waits-for-expiries-alone", "LIMIT-7", "The loop does not wake for the time-outs of clients.",
    ("        if (clients[i].step_since != NEVER)\n            until = soonest_of(until, clients[i].step_since + ipc_timeout_s * SECOND);\n", ""),
)  # fmt: skip
slip(
    "poll-does-not-wait-for-idleness", "LIFE-2", "The loop does not wake for the end of the idle time.",
    ("        until = soonest_of(until, idle_since + max_idle_s * SECOND);\n", "        ;\n"),
)  # fmt: skip
slip(
    "poll-does-not-wait-for-statistics", "STAT-7", "The loop does not wake for the end of the interval.",
    ("soonest_of(next_expiry(), interval_end)", "next_expiry()"),
)  # fmt: skip
slip(
    "put-back-behind-the-first", "ENDP-5", "What is put back is linked in behind the head of the list, which is taken for a mark.",
    ("    s->next = sessions;\n    sessions = s;\n", "    struct session **where = sessions ? &sessions->next : &sessions;\n    s->next = *where;\n    *where = s;\n"),
)  # fmt: skip
slip(
    "put-back-bytes-are-not-counted", "LIMIT-11", "What is put back is not added to the bytes of the cache.",
    ("    cached_bytes += session_bytes(s);\n    s->next = sessions;", "    s->next = sessions;"),
)  # fmt: skip
slip(
    "found-bytes-still-count", "LIMIT-11", "A find does not take its session off the bytes of the cache.",
    ("            cached_bytes -= session_bytes(found);\n", ""),
)  # fmt: skip
slip(
    "ended-bindings-still-count", "LIMIT-11", "A binding that ends is not taken off the bytes of the cache.",
    ("        cached_bytes -= binding_bytes(due);\n", ""),
)  # fmt: skip
slip(
    "ended-sessions-still-count", "LIMIT-11", "A session that ends is not taken off the bytes of the cache.",
    ("        cached_bytes -= session_bytes(due);\n", ""),
)  # fmt: skip
slip(
    "renewals-add-bytes", "LIMIT-11", "A renewal adds the binding's bytes once more.",
    ("            b->expiry = new->expiry;\n", "            b->expiry = new->expiry;\n            cached_bytes += binding_bytes(new);\n"),
)  # fmt: skip
slip(
    "bytes-with-their-nuls", "LIMIT-11", "The NUL behind each label and each property counts too.",
    ("    return strlen(s->endpoint) + strlen(s->properties);", "    return strlen(s->endpoint) + strlen(s->properties) + 2;"),
)  # fmt: skip
slip(
    "bytes-of-the-endpoint-are-forgotten", "LIMIT-11", "A binding counts without its endpoint label.",
    ("    return strlen(b->destination) + strlen(b->properties) + strlen(b->endpoint);", "    return strlen(b->destination) + strlen(b->properties);"),
)  # fmt: skip
slip(
    "limit-of-an-endpoint-counts-all", "LIMIT-3", "The limit of one endpoint is compared with all sessions.",
    ("count_sessions(s->endpoint) >= sessions_per_endpoint_max", "count_sessions(NULL) >= sessions_per_endpoint_max"),
)  # fmt: skip
slip(
    "limit-of-a-destination-counts-all", "LIMIT-10", "The limit of one destination is compared with all bindings.",
    ("count_bindings(new->destination) >= bindings_per_destination_max", "count_bindings(NULL) >= bindings_per_destination_max"),
)  # fmt: skip
slip(
    "one-session-more", "LIMIT-2", "There may be one session more than the limit.",
    ("    if (count_sessions(NULL) >= sessions_max ||", "    if (count_sessions(NULL) > sessions_max ||"),
)  # fmt: skip
slip(
    "one-binding-more-of-a-destination", "LIMIT-10", "A destination may have one binding more than the limit.",
    ("count_bindings(new->destination) >= bindings_per_destination_max", "count_bindings(new->destination) > bindings_per_destination_max"),
)  # fmt: skip
slip(
    "renewal-needs-room", "LIMIT-4", "Whether there is room is asked before the same binding is looked for.",
    ("    struct binding **end = &bindings;\n    for (; *end;", "    struct binding **end = &bindings;\n    if (count_bindings(NULL) >= bindings_max) {\n        free_binding(new);\n        return 0;\n    }\n    for (; *end;"),
)  # fmt: skip
slip(
    "held-takes-room", "LIMIT-2", "A session that is held for a client counts in the limit.",
    ("static int64_t cached_bytes;\n", "static int64_t cached_bytes;\nstatic int64_t held_count;\n"),
    ("    if (count_sessions(NULL) >= sessions_max ||", "    if (count_sessions(NULL) + held_count >= sessions_max ||"),
    ("    c->held = found;\n", "    c->held = found;\n    held_count++;\n"),
    ("static void put_back(struct session *s, int64_t now)\n{\n", "static void put_back(struct session *s, int64_t now)\n{\n    held_count--;\n"),
    ("    discard(c->held->fd);\n", "    held_count--;\n    discard(c->held->fd);\n"),
)  # fmt: skip
slip(
    "peaks-before-the-save", "STAT-4", "The peaks of a save are taken before the session is in the list.",
    ("    raise_to(&counted.addresses_peak, count_endpoints());\n    raise_to(&counted.connections_peak, count_sessions(NULL));\n", ""),
    ("    cached_bytes += session_bytes(s);\n    struct session **end", "    cached_bytes += session_bytes(s);\n    raise_to(&counted.addresses_peak, count_endpoints());\n    raise_to(&counted.connections_peak, count_sessions(NULL));\n    struct session **end"),
)  # fmt: skip
slip(
    "destinations-of-renewals-alone", "STAT-4", "The peak of domains is taken by renewals, not by a new binding.",
    ("    new->next = NULL;\n    *end = new;\n", "    new->next = NULL;\n    *end = new;\n    raise_to(&counted.addresses_peak, count_endpoints());\n    return 1;\n"),
)  # fmt: skip
slip(
    "misses-of-domains-are-of-addresses", "STAT-2", "A find_dest that finds nothing counts as an address lookup.",
    ("    counted.domain_misses++;\n", "    counted.address_misses++;\n"),
)  # fmt: skip
slip(
    "percentage-is-divided-first", "STAT-6", "Hits are divided by all before they are multiplied.",
    ("    return hits * 100 / (hits + misses);", "    return hits / (hits + misses) * 100;"),
)  # fmt: skip
slip(
    "start-line-for-lookups-alone", "STAT-5", "The line of the start is printed only if there were lookups.",
    ("counted.address_misses ||\n        counted.domains_peak || counted.addresses_peak || counted.connections_peak)", "counted.address_misses)"),
)  # fmt: skip
slip(
    "start-line-in-utc", "STAT-5", "The interval's start is told in UTC.",
    ("localtime(&interval_start)", "gmtime(&interval_start)"),
)  # fmt: skip
slip(
    "start-line-of-twelve-hours", "STAT-5", "The hours of the interval's start go from one to twelve.",
    ('"%b %e %H:%M:%S"', '"%b %e %I:%M:%S"'),
)  # fmt: skip
slip(
    "start-line-with-a-zero", "STAT-5", "The day of the interval's start has a zero before it below ten.",
    ('"%b %e %H:%M:%S"', '"%b %d %H:%M:%S"'),
)  # fmt: skip
slip(
    "start-is-the-servers", "STAT-5", "Every interval is told to begin when the server did.",
    ("    interval_start = clock_word", "    if (!interval_start)\n        interval_start = clock_word"),
)  # fmt: skip

# Lists.

slip(
    "length-counts-one-too-few", "LIMIT-1", "A list may be one byte longer than its limit.",
    ("        if (at >= (size_t)list_bytes_max)\n            return -1;\n", "        if (at > (size_t)list_bytes_max)\n            return -1;\n"),
    ("                return length >= (size_t)list_bytes_max ? -1 : 0;", "                return length > (size_t)list_bytes_max ? -1 : 0;"),
    ("    return length >= (size_t)list_bytes_max ? -1 : 0;\n}", "    return length > (size_t)list_bytes_max ? -1 : 0;\n}"),
)  # fmt: skip
slip(
    "whole-lists-have-no-limit", "LIMIT-1", "Only a list whose end has not come is compared with the limit.",
    ("        if (at >= (size_t)list_bytes_max)\n            return -1;\n        if (!bytes[at])", "        if (!bytes[at])"),
)  # fmt: skip
slip(
    "limit-of-requests-alone", "LIMIT-1", "The limit of a list holds for requests alone.",
    ("            if (length < 0)\n                c->gone = 1;\n", "            if (length < 0 && c->state == REQUEST)\n                c->gone = 1;\n"),
)  # fmt: skip
slip(
    "words-are-attributes", "LIMIT-9", "Names and values each count as an attribute.",
    ("        if (++attributes > attributes_max)\n            return -1;\n        for (int word = 0; word < 2; word++) {\n", "        for (int word = 0; word < 2; word++) {\n            if (++attributes > attributes_max)\n                return -1;\n"),
)  # fmt: skip
slip(
    "greatest-ttl-is-refused", "WIRE-9", "The greatest ttl is compared with itself.",
    ("        if (seconds > INT32_MAX)", "        if (seconds >= INT32_MAX)"),
)  # fmt: skip
slip(
    "ttl-by-sscanf", "WIRE-10", "A ttl is read by sscanf, which takes a minus for %u.",
    ("    int64_t seconds = 0;\n    text +=", "    unsigned number;\n    char rest;\n    if (sscanf(text, \"%u%c\", &number, &rest) == 1)\n        return number <= INT32_MAX ? number : 0;\n    int64_t seconds = 0;\n    text +="),
)  # fmt: skip
slip(
    "labels-of-a-binding-are-swapped", "CONN-12", "The first label of save_dest is taken for the endpoint.",
    ("    b->destination = strdup(destination);\n", "    b->destination = strdup(endpoint);\n"),
    ("    b->properties = strdup(properties);\n    b->endpoint = strdup(endpoint);\n    b->expiry", "    b->properties = strdup(properties);\n    b->endpoint = strdup(destination);\n    b->expiry"),
)  # fmt: skip
slip(
    "empty-list-is-not-received", "FD-9", "An empty list after the descriptor is skipped, as between requests.",
    ("    if (c->state == RECEIVED) {\n        c->state = REQUEST;", "    if (c->state == RECEIVED) {\n        if (*list)\n            c->state = REQUEST;"),
)  # fmt: skip
slip(
    "empty-list-is-no-answer", "FD-7", "An empty list is skipped while ready is awaited, as between requests.",
    ("    if (c->state == READY) {\n        if", "    if (c->state == READY && !*list)\n        return;\n    if (c->state == READY) {\n        if"),
)  # fmt: skip

# Output.

slip(
    "rest-of-a-reply-is-not-moved", "CONN-3", "After a short write the buffer begins with what was sent already.",
    ("    memmove(c->out, c->out + sent, c->out_length - sent);\n", ""),
)  # fmt: skip
slip(
    "output-may-take-for-ever", "LIMIT-7", "No time is counted for output.",
    ("           (c->out_since != NEVER && now - c->out_since >= longest);", "           0;"),
)  # fmt: skip
slip(
    "broken-pipe-drops-requests", "CONN-11", "A client to which no reply can be sent is removed with what it sent before.",
    ("            c->deaf = 1;\n            sent", "            c->gone = 1;\n            sent"),
)  # fmt: skip
slip(
    "no-limit-of-output", "LIMIT-6", "A client is served however much output waits for it.",
    ("    return c->in_flight || c->state == SENDING || (int64_t)c->out_length > output_bytes_max;", "    return c->in_flight || c->state == SENDING;"),
)  # fmt: skip

# Clients.

slip(
    "steps-are-one", "LIMIT-7", "The time of a step counts from the first of several steps.",
    ("            served += length;\n        }\n        c->step_since = NEVER;\n", "            served += length;\n        }\n"),
    ("message.msg_flags & MSG_CTRUNC);\n        c->step_since = NEVER;\n", "message.msg_flags & MSG_CTRUNC);\n"),
    ("    c->state = RECEIVED;\n    c->step_since = now;\n", "    c->state = RECEIVED;\n"),
)  # fmt: skip
slip(
    "held-for-ever", "LIMIT-7", "No time is counted for a client that does not say ready.",
    ("    if (c->state == REQUEST && !c->in_length)\n        c->step_since = NEVER;", "    if ((c->state == REQUEST || c->state == READY) && !c->in_length)\n        c->step_since = NEVER;"),
)  # fmt: skip
slip(
    "descriptor-may-take-for-ever", "LIMIT-7", "No time is counted for a client that does not send its descriptor.",
    ("    if (c->state == REQUEST && !c->in_length)\n        c->step_since = NEVER;", "    if ((c->state == REQUEST || c->state == DESCRIPTOR) && !c->in_length)\n        c->step_since = NEVER;"),
)  # fmt: skip
slip(
    "received-may-take-for-ever", "LIMIT-7", "No time is counted for a client that does not say received.",
    ("    if (c->state == REQUEST && !c->in_length)\n        c->step_since = NEVER;", "    if ((c->state == REQUEST || c->state == RECEIVED) && !c->in_length)\n        c->step_since = NEVER;"),
)  # fmt: skip
slip(
    "hangup-in-flight-is-an-end", "CONN-11", "A hangup ends a client at once if the server has not seen that it read its descriptor.",
    ("        if (error == ECONNRESET)\n            c->gone = 1;", "        c->gone = 1;"),
)  # fmt: skip
slip(
    "users-are-the-servers-own", "LIMIT-12", "Every client is taken for one of the user that the server runs as.",
    ("        c->uid = user.uid;", "        c->uid = geteuid();"),
    ("count_of_user(user.uid)", "count_of_user(geteuid())"),
)  # fmt: skip

# Descriptors.

slip(
    "cut-control-data-counts", "FD-4", "There is room for one descriptor, and whether others were cut off is not looked at.",
    ("    if (count == 1 && !cut) {", "    if (count == 1) {"),
    (".msg_controllen = sizeof control};\n    ssize_t length = recvmsg", ".msg_controllen = CMSG_LEN(sizeof(int))};\n    ssize_t length = recvmsg"),
)  # fmt: skip
slip(
    "room-for-one-descriptor", "FD-15", "There is room for one descriptor, and the kernel closes the others.",
    (".msg_controllen = sizeof control};\n    ssize_t length = recvmsg", ".msg_controllen = CMSG_LEN(sizeof(int))};\n    ssize_t length = recvmsg"),
)  # fmt: skip
slip(
    "due-is-closed-in-the-loop", "FD-15", "The loop closes what is due.",
    ("        discard(due->fd);\n", "        close(due->fd);\n"),
)  # fmt: skip
slip(
    "stowaways-are-closed-in-the-loop", "FD-15", "The loop closes what rides on plain bytes.",
    ("    for (int i = 0; i < count; i++)\n        discard(passed[i]);\n    c->in =", "    for (int i = 0; i < count; i++)\n        close(passed[i]);\n    c->in ="),
)  # fmt: skip
slip(
    "refused-are-closed-in-the-loop", "FD-15", "The loop closes what was refused.",
    ("        discard(passed[i]);\n    free_session(s);", "        close(passed[i]);\n    free_session(s);"),
)  # fmt: skip
slip(
    "too-late-is-closed-in-the-loop", "FD-15", "The loop closes what is put back too late.",
    ("    if (s->expiry <= now) {\n        discard(s->fd);", "    if (s->expiry <= now) {\n        close(s->fd);"),
)  # fmt: skip
slip(
    "client-is-closed-in-the-loop", "FD-15", "The loop closes the socket of a client, with what was left unread in it.",
    ("    discard(c->fd); /*", "    close(c->fd); /*"),
)  # fmt: skip
slip(
    "refused-client-is-closed-in-the-loop", "FD-15", "The loop closes the socket of a client too many, with what was sent to it.",
    ("            discard(fd);\n            continue;", "            close(fd);\n            continue;"),
)  # fmt: skip
slip(
    "one-thread-closes-all", "FD-15", "One thread closes everything, one after the other.",
    ("    if (waiting_closings > idle_closers) {", "    static int started;\n    if (!started++) {"),
)  # fmt: skip
slip(
    "urgent-bytes-apart", "FD-15", "Urgent bytes are not read in line, so that the kernel closes what came with one.",
    ("        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)); /* else the kernel closes what came with one */\n", ""),
)  # fmt: skip
slip(
    "exit-leaves-closing-to-the-kernel", "FD-15", "A server that exits leaves it to the kernel to close what is parked.",
    ("        discard(s->fd);\n    }\n    print_statistics();\n    finish_closing();", "    }\n    print_statistics();"),
)  # fmt: skip
slip(
    "refused-for-ever-after-a-full-table", "LIMIT-8", "A server that met a full table once refuses every save from then on.",
    ("    if (count == 1 && !cut) {", "    static int full;\n    full |= cut;\n    if (count == 1 && !full) {"),
)  # fmt: skip
slip(
    "lost-when-a-limit-ends-its-finder", "FD-10", "A session is put back only if its finder closed, not if a limit ended it.",
    ("    if (c->held)\n        put_back(c->held, now);", "    if (c->held && !c->ended)\n        discard(c->held->fd);\n    else if (c->held)\n        put_back(c->held, now);"),
)  # fmt: skip
slip(
    "sent-though-it-failed", "FD-10", "A descriptor that could not be sent counts as sent.",
    ("            c->gone = 1;\n        return;\n    }\n    discard(c->held->fd);", "            c->gone = 1;\n        else\n            return;\n    }\n    discard(c->held->fd);"),
)  # fmt: skip

# The process.

slip(
    "exit-status-of-the-signal", "LIFE-4", "A server that is asked to exit ends with status 143.",
    ("    finish_closing();\n    _exit(0);", "    finish_closing();\n    _exit(asked_to_exit ? 128 + SIGTERM : 0);"),
)  # fmt: skip
slip(
    "idle-exit-is-a-failure", "LIFE-2", "A server that exits for being idle ends with status 1.",
    ("    finish_closing();\n    _exit(0);", "    finish_closing();\n    _exit(!asked_to_exit);"),
)  # fmt: skip
