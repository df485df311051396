"""Slips of a C programmer in threaded.c: each a server that is wrong on a code path of its own.

The edits are what was typed instead: an order of two calls, a comparison, a flag that was forgotten.
"""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("threaded.c", "c")
slip = SERVER.slip


slip(
    "expiry-is-not-the-soonest",
    "TTL-6",
    "What expires sooner than all else does not wake the thread that waits for the next expiry.",
    ("    if (soonest == e)\n        pthread_cond_signal(&soonest_changed);\n", ""),
)
slip(
    "expiries-are-awaited-once",
    "TTL-6",
    "The thread that removes what is due waits for the next expiry once, and then for the next statistics.",
    (
        "        if (soonest && soonest->expiry < next)\n",
        "        static int waited;\n        if (soonest && !waited++)\n",
    ),
)


# The cache.


slip(
    "sameness-by-properties", "DEST-2 DEST-3", "A binding of the same properties is the same, whatever it binds.",
    ("for (same = bindings.first[bucket_of(e->label)]; same; same = same->next)",
     "for (same = soonest; same; same = same->later)"),
    ("if (!strcmp(same->label, e->label) && !strcmp(same->endpoint, e->endpoint) &&",
     "if (same->table == &bindings &&"),
)  # fmt: skip
slip(
    "sameness-by-endpoint-and-properties", "DEST-2 DEST-3", "Bindings of two destinations are taken for one.",
    ("for (same = bindings.first[bucket_of(e->label)]; same; same = same->next)",
     "for (same = soonest; same; same = same->later)"),
    ("if (!strcmp(same->label, e->label) && !strcmp(same->endpoint, e->endpoint) &&",
     "if (same->table == &bindings && !strcmp(same->endpoint, e->endpoint) &&"),
)  # fmt: skip
slip(
    "sameness-by-destination-and-properties", "DEST-2 DEST-3", "A destination's second endpoint renews the first.",
    ("!strcmp(same->endpoint, e->endpoint) &&", ""),
)  # fmt: skip
slip(
    "sameness-by-destination", "DEST-2 DEST-3", "Every binding of a destination renews the first.",
    ("!strcmp(same->endpoint, e->endpoint) &&\n                !strcmp(same->properties, e->properties))", "1)"),
)  # fmt: skip
slip(
    "sameness-by-destination-and-endpoint", "DEST-3", "A binding of other properties renews the one that is there.",
    ("!strcmp(same->endpoint, e->endpoint) &&\n                !strcmp(same->properties, e->properties))",
     "!strcmp(same->endpoint, e->endpoint))"),
)  # fmt: skip
slip(
    "renewal-moves-to-the-end", "DEST-2", "A binding that is renewed goes last in its chain.",
    ("        unlink_expiry(same);\n        same->expiry = e->expiry;\n        link_expiry(same);\n",
     "        take_out(same);\n        same->expiry = e->expiry;\n        insert(same, 0);\n"),
)  # fmt: skip
slip(
    "renewal-never-shortens", "DEST-2", "A renewal gives a binding the later of the two expiries.",
    ("        same->expiry = e->expiry;\n", "        if (same->expiry < e->expiry)\n            same->expiry = e->expiry;\n"),
)  # fmt: skip
slip(
    "renewal-stays-in-its-place-of-expiry", "DEST-2",
    "A renewal changes the expiry and leaves the binding where it stands in the list of expiries.",
    ("        unlink_expiry(same);\n        same->expiry = e->expiry;\n        link_expiry(same);\n",
     "        same->expiry = e->expiry;\n"),
)  # fmt: skip
slip(
    "list-of-expiries-is-a-queue", "TTL-2",
    "What is saved later is taken to end later: it is appended to the list of expiries.",
    ("    while (before && before->expiry > e->expiry)\n        before = before->sooner;\n", ""),
)  # fmt: skip
slip(
    "buckets-are-labels", "ENDP-3 DEST-4", "A chain is searched by its bucket alone: labels of equal hash are equal.",
    ("    while (e && strcmp(e->label, label))\n        e = e->next;\n    return e;", "    return e;"),
    ("#define BUCKETS 4096", "#define BUCKETS 2"),
)  # fmt: skip
slip(
    "labels-are-truncated", "ENDP-3 WIRE-3", "Labels are compared up to 255 bytes, the size of a buffer elsewhere.",
    ("    while (e && strcmp(e->label, label))", "    while (e && strncmp(e->label, label, 255))"),
    ("    while (*label)\n        hash = hash * 33 + (unsigned char)*label++;",
     "    for (int i = 0; i < 255 && *label; i++)\n        hash = hash * 33 + (unsigned char)*label++;"),
)  # fmt: skip
slip(
    "labels-ignore-case", "ENDP-3", "Labels are compared without regard to case, as host names are.",
    ("    while (e && strcmp(e->label, label))", "    while (e && strcasecmp(e->label, label))"),
    ("        hash = hash * 33 + (unsigned char)*label++;", "        hash = hash * 33 + tolower((unsigned char)*label++);"),
)  # fmt: skip
slip(
    "one-name-space", "ENDP-1", "find_endp tries the label as a destination if there is no such endpoint.",
    ("        found = oldest(&sessions, label);\n    else",
     "        for (entry *b = (found = oldest(&sessions, label)) ? NULL : bindings.first[bucket_of(label)]; b && !found;\n"
     "             b = b->next)\n            found = !strcmp(b->label, label) ? oldest(&sessions, b->endpoint) : NULL;\n    else"),
)  # fmt: skip
slip(
    "youngest-first", "ENDP-3", "Sessions are pushed to the front of their chain, and taken from there.",
    ("        insert(e, 0);\n        useless = NULL;", "        insert(e, e->table == &sessions);\n        useless = NULL;"),
)  # fmt: skip
slip(
    "soonest-to-end-first", "ENDP-3", "A find hands out the session of its endpoint that ends first.",
    ("    if (!by_destination)\n        found = oldest(&sessions, label);",
     "    if (!by_destination)\n        for (found = soonest; found && (found->table != &sessions || strcmp(found->label, label));)\n"
     "            found = found->later;"),
)  # fmt: skip
slip(
    "expiry-takes-the-oldest", "TTL-2 TTL-3", "When a session is due, the oldest of its endpoint is removed.",
    ("        take_out(e);\n        e->later = due;",
     "        if (e->table == &sessions)\n            e = oldest(&sessions, e->label);\n"
     "        take_out(e);\n        e->later = due;"),
)  # fmt: skip
slip(
    "equal-sessions-are-one", "ENDP-2", "A session of equal label and properties is closed and replaced.",
    ("    entry *useless = e;\n",
     "    entry *useless = e;\n    if (e->table == &sessions)\n"
     "        for (entry *old = sessions.first[bucket_of(e->label)]; old; old = old->next)\n"
     "            if (!strcmp(old->label, e->label) && !strcmp(old->properties, e->properties)) {\n"
     "                take_out(old);\n                discard_elsewhere((old->later = NULL, old));\n                break;\n"
     "            }\n"),
)  # fmt: skip
slip(
    "first-binding-decides", "DEST-4", "find_dest looks at the destination's first binding only.",
    ("            if (!strcmp(b->label, label) && (found = oldest(&sessions, b->endpoint)))\n"
     "                *binding_properties = strdup(b->properties);",
     "            if (!strcmp(b->label, label)) {\n                if ((found = oldest(&sessions, b->endpoint)))\n"
     "                    *binding_properties = strdup(b->properties);\n                break;\n            }"),
)  # fmt: skip
slip(
    "binding-is-used-up", "DEST-5", "A binding that led to a session is removed.",
    ("                *binding_properties = strdup(b->properties);",
     "                *binding_properties = strdup(b->properties), b->expiry = 0, unlink_expiry(b), link_expiry(b);"),
)  # fmt: skip
slip(
    "find-renews-the-binding", "DEST-5", "A binding that led to a session lives anew.",
    ("                *binding_properties = strdup(b->properties);",
     "                *binding_properties = strdup(b->properties), b->expiry = now() + ttl_limit * SECOND, "
     "unlink_expiry(b), link_expiry(b);"),
)  # fmt: skip
slip(
    "bindings-end-with-their-sessions", "DEST-1", "A find that takes an endpoint's last session drops what leads there.",
    ("        take_out(found);\n",
     "        take_out(found);\n        if (by_destination && !oldest(&sessions, found->label))\n"
     "            for (entry *b = bindings.first[bucket_of(label)]; b; b = b->next)\n"
     "                if (!strcmp(b->endpoint, found->label))\n"
     "                    b->expiry = 0, unlink_expiry(b), link_expiry(b);\n"),
)  # fmt: skip
slip(
    "found-outside-the-lock", "ENDP-4", "The lock is given back between looking a session up and taking it out.",
    ("    if (found) {\n        take_out(found);",
     "    if (found && !by_destination) {\n        entry *copy = new_entry(&sessions, label, NULL, found->properties, found->expiry);\n"
     "        pthread_mutex_unlock(&lock);\n        copy->fd = dup(found->fd);\n        sched_yield();\n        pthread_mutex_lock(&lock);\n"
     "        if (found == oldest(&sessions, label)) {\n            take_out(found);\n            close(found->fd);\n        }\n"
     "        lookups[1].hits++;\n        pthread_mutex_unlock(&lock);\n        return copy;\n    }\n"
     "    if (found) {\n        take_out(found);"),
)  # fmt: skip

# Time.

slip(
    "ttl-limit-for-sessions-alone", "TTL-1", "Bindings live as long as they ask for.",
    ("expiry_of(parse_ttl(values[0]))", "now() + parse_ttl(values[0]) * SECOND"),
)  # fmt: skip
slip(
    "ttl-counts-from-the-request", "FD-3", "The expiry is reckoned when the request comes, before the descriptor.",
    ("    int status = 2, sent = GONE;\n", "    int status = 2, sent = GONE;\n    int64_t expiry = expiry_of(ttl);\n"),
    ("properties, expiry_of(ttl));", "properties, expiry);"),
)  # fmt: skip
slip(
    "due-a-moment-late", "TTL-5", "At the instant of its expiry a session is not due yet.",
    ("while ((e = soonest) && e->expiry <= instant)", "while ((e = soonest) && e->expiry < instant)"),
)  # fmt: skip
slip(
    "find-leaves-the-removing-to-the-thread", "TTL-5", "A request does not look whether something is due.",
    ("    while ((due = take_due(now()))) {", "    while ((due = NULL)) {"),
)  # fmt: skip
slip(
    "nothing-ends-by-itself", "TTL-6", "What is due is removed when a request comes, and by no thread.",
    ("        entry *due = take_due(instant);\n", "        entry *due = NULL;\n"),
)  # fmt: skip
slip(
    "put-back-lives-anew", "ENDP-5", "A session that is put back gets its whole lifetime again.",
    ("    int lives = now() < e->expiry;\n", "    int lives = now() < e->expiry;\n    e->expiry = now() + ttl_limit * SECOND;\n"),
)  # fmt: skip
slip(
    "put-back-is-last", "ENDP-5", "A session that is put back goes to the end of its chain.",
    ("        insert(e, 1);", "        insert(e, 0);"),
)  # fmt: skip
slip(
    "put-back-though-it-has-ended", "ENDP-6", "Whether a session has ended while it was held is not looked at.",
    ("    int lives = now() < e->expiry;\n", "    int lives = 1;\n    if (now() >= e->expiry)\n        e->expiry = now() + SECOND;\n"),
)  # fmt: skip
slip(
    "ended-while-held-leaks", "ENDP-6", "A session that ended while it was held is freed, and its descriptor is not closed.",
    ("    if (!lives)\n        discard(e);", "    if (!lives)\n        free(e);"),
)  # fmt: skip

# Lists.

slip(
    "one-read-is-one-list", "WIRE-4", "What one read gives is taken for one list; what is left of it is forgotten.",
    ("    memmove(c->data, c->data + length, c->length - length);\n    c->length -= length;\n", "    c->length = 0;\n    (void)length;\n"),
)  # fmt: skip
slip(
    "ttl-wraps", "WIRE-10", "A ttl is read into an unsigned int, and so modulo 2^32.",
    ("        if ((value = value * 10 + *text - '0') > 2147483647)\n            return 0;\n",
     "        value = (unsigned)(value * 10 + *text - '0');\n    if (value > 2147483647)\n        return 0;\n"),
)  # fmt: skip
slip(
    "ttl-is-octal", "WIRE-8", "A ttl is read by strtol with base 0.",
    ("    long value = 0;\n", "    long value = 0;\n    if (*text == '0')\n        return strtol(text, NULL, 0);\n"),
)  # fmt: skip
slip(
    "ttl-by-atoi", "WIRE-8", "A ttl is read by atoi: what follows the digits is ignored.",
    ("    if (*text)\n        return 0;\n    return value;", "    return value;"),
)  # fmt: skip
slip(
    "ttl-of-blanks-only", "WIRE-8", "Only blanks are skipped before a ttl.",
    ("    while (isspace((unsigned char)*text))", "    while (*text == ' ')"),
)  # fmt: skip
slip(
    "ttl-of-two-signs", "WIRE-8", "Any number of plus signs may stand before a ttl.",
    ("    if (*text == '+')\n", "    while (*text == '+')\n"),
)  # fmt: skip
slip(
    "attributes-in-any-order", "WIRE-6", "A wanted attribute is looked for anywhere behind the one before.",
    ("        if (2 * i + 3 >= c->field_count || strcmp(c->fields[2 * i + 2], names[i]))\n            return 0;\n"
     "        values[i] = c->fields[2 * i + 3];",
     "        static __thread int at;\n        at = i ? at + 2 : 2;\n"
     "        while (at + 1 < c->field_count && strcmp(c->fields[at], names[i]))\n            at += 2;\n"
     "        if (at + 1 >= c->field_count)\n            return 0;\n        values[i] = c->fields[at + 1];"),
)  # fmt: skip
slip(
    "more-attributes-are-malformed", "WIRE-7", "A request with more attributes than wanted is malformed.",
    ("        values[i] = c->fields[2 * i + 3];\n    }\n", "        values[i] = c->fields[2 * i + 3];\n        if (!names[i + 1] && c->field_count != 2 * i + 4)\n            return 0;\n    }\n"),
)  # fmt: skip
slip(
    "prefix-is-enough", "CONN-6", "A request whose name begins like a known one is taken for it.",
    ('!strcmp(name, "find_endp") && match', '!strncmp(name, "find_endp", 9) && match'),
)  # fmt: skip
slip(
    "empty-list-is-an-answer", "CONN-4", "An empty list is answered with status 1.",
    ('    if (c->field_count < 2 || strcmp(c->fields[0], "request")) {\n',
     '    if (!c->field_count)\n        reply(c, 1, 0, NULL, NULL);\n    if (c->field_count < 2 || strcmp(c->fields[0], "request")) {\n'),
)  # fmt: skip
slip(
    "request-anywhere", "CONN-5", "`request` may stand behind another attribute.",
    ('    if (c->field_count < 2 || strcmp(c->fields[0], "request")) {\n',
     '    while (c->field_count > 4 && strcmp(c->fields[0], "request")) {\n'
     '        c->field_count -= 2;\n        memmove(c->fields, c->fields + 2, c->field_count * sizeof *c->fields);\n    }\n'
     '    if (c->field_count < 2 || strcmp(c->fields[0], "request")) {\n'),
)  # fmt: skip
slip(
    "length-is-off-by-one", "LIMIT-1", "A list may be one byte shorter than its limit, and no more.",
    ("return at + 1 > (size_t)attribute_list_bytes_max ? GONE : (long)at + 1;", "return at + 1 >= (size_t)attribute_list_bytes_max ? GONE : (long)at + 1;"),
)  # fmt: skip
slip(
    "one-attribute-too-many", "LIMIT-9", "A list may have one attribute more than its limit.",
    ("        if (fields == 2 * attributes_max)", "        if (fields == 2 * attributes_max + 2)"),
)  # fmt: skip
slip(
    "reply-without-its-properties", "CONN-13", "Replies of status 2 have no properties.",
    ("    for (int i = 0; i < properties; i++)\n        size += sprintf(data + size, \"property",
     "    for (int i = 0; i < properties && status != 2; i++)\n        size += sprintf(data + size, \"property"),
)  # fmt: skip
slip(
    "properties-in-a-buffer", "WIRE-3", "Properties are copied with snprintf, 1 023 bytes at most.",
    ('        size += sprintf(data + size, "property%c%s", 0, values[i]) + 1;',
     '        size += sprintf(data + size, "property%c%.1023s", 0, values[i]) + 1;'),
)  # fmt: skip

# Descriptors.

slip(
    "closed-twice-after-hand-over", "FD-8 FD-13", "The descriptor that was handed over is closed again at the end of the dance.",
    ("    discard(e);\n    c->in_flight = 1;\n    length = await_list(c);\n",
     "    int fd = e->fd;\n    discard(e);\n    c->in_flight = 1;\n    length = await_list(c);\n    close(fd);\n"),
)  # fmt: skip
slip(
    "closed-twice-after-refusal", "FD-4 FD-13",
    "Descriptors that were refused are closed again when their client leaves.",
    ("    int field_count;\n} client;", "    int field_count, stale;\n} client;"),
    ("                for (int i = 0; i < count; i++)\n                    close(passed[i]);\n            }\n            sent",
     "                for (int i = 0; i < count; i++)\n                    close(c->stale = passed[i]);\n            }\n            sent"),
    ("    close(c->fd);\n    free(c->data);\n    free(c);\n    return NULL;",
     "    close(c->fd);\n    if (c->stale)\n        close(c->stale);\n    free(c->data);\n    free(c);\n    return NULL;"),
)  # fmt: skip
slip(
    "descriptor-0-is-none", "FD-3", "A server whose listening socket is number 0 takes that for a failure.",
    ("    if (listener < 0 || bind", "    if (listener <= 0 || bind"),
)  # fmt: skip
slip(
    "keeps-a-copy", "FD-8", "The copy of a session that was handed over is never closed.",
    ("    discard(e);\n    c->in_flight = 1;\n", "    e->fd = -1;\n    discard(e);\n    c->in_flight = 1;\n"),
)  # fmt: skip
slip(
    "closes-only-when-received", "FD-8", "The copy is closed when the client says received.",
    ("    discard(e);\n    c->in_flight = 1;\n    length = await_list(c);\n", "    c->in_flight = 1;\n    length = await_list(c);\n    discard(e);\n"),
)  # fmt: skip
slip(
    "refused-ones-leak", "FD-4", "Of two descriptors with one byte the second stays open.",
    ("                for (int i = 0; i < count; i++)\n                    close(passed[i]);\n            }\n            sent",
     "                for (int i = 0; i < count && i < 1; i++)\n                    close(passed[i]);\n            }\n            sent"),
)  # fmt: skip
slip(
    "first-of-two-is-parked", "FD-4", "Of two descriptors with one byte the first is parked.",
    ("            if (count == 1) {\n", "            if (count >= 1) {\n"),
)  # fmt: skip
slip(
    "stowaways-leak", "FD-1", "Descriptors that ride on plain bytes stay open.",
    ("        for (int i = 0; i < count; i++)\n            close(passed[i]);\n        c->length += got;", "        c->length += got;"),
)  # fmt: skip
slip(
    "refused-at-a-limit-leaks", "LIMIT-2", "A descriptor that is refused at a limit is not closed.",
    ("    if (useless)\n        discard(useless);", "    if (useless && status == 0)\n        discard(useless);"),
)  # fmt: skip
slip(
    "shutdown-before-close", "TTL-3 FD-13", "A session's connection is shut down before it is closed.",
    ("    if (e->fd >= 0)\n        close(e->fd);", "    if (e->fd >= 0) {\n        shutdown(e->fd, SHUT_RDWR);\n        close(e->fd);\n    }"),
)  # fmt: skip
slip(
    "shutdown-at-a-limit", "LIMIT-2 FD-13", "A connection that is refused at a limit is shut down.",
    ("    if (useless)\n        discard(useless);",
     "    if (useless && status)\n        shutdown(useless->fd, SHUT_RDWR);\n    if (useless)\n        discard(useless);"),
)  # fmt: skip
slip(
    "keepalive-while-parked", "FD-13", "Keep-alive probes are switched on for what is parked.",
    ("                e->fd = passed[0];\n", "                e->fd = passed[0];\n                int on = 1;\n                setsockopt(e->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);\n"),
)  # fmt: skip
slip(
    "nonblocking-while-parked", "FD-13", "What is parked is made non-blocking.",
    ("                e->fd = passed[0];\n", "                e->fd = passed[0];\n                fcntl(e->fd, F_SETFL, fcntl(e->fd, F_GETFL) | O_NONBLOCK);\n"),
)  # fmt: skip
slip(
    "passed-again-as-a-copy", "FD-4 LIFE-4", "A copy of each session's descriptor is kept, to be safe.",
    ("                e->fd = passed[0];\n", "                e->fd = passed[0];\n                dup(passed[0]);\n"),
)  # fmt: skip
slip(
    "two-bytes-with-the-descriptor", "FD-12 CONN-3", "The byte that carries a descriptor is read together with what follows.",
    ("    char byte;\n", "    char byte[64];\n"),
    ("got = receive(c, &byte, 1, passed, &count);", "got = receive(c, byte, 64, passed, &count) > 0 ? 1 : GONE;"),
)  # fmt: skip
slip(
    "descriptor-before-ready", "FD-6", "The descriptor is sent together with the reply, before the client says ready.",
    ("    long length = await_list(c);\n    if (length == GONE) {\n        put_back(e);\n        return GONE;\n    }\n"
     "    int is_ready",
     "    if (send_descriptor(c, e->fd)) {\n        put_back(e);\n        return GONE;\n    }\n"
     "    long length = await_list(c);\n    if (length == GONE) {\n        put_back(e);\n        return GONE;\n    }\n"
     "    int is_ready"),
    ("    if (send_descriptor(c, e->fd)) {\n        put_back(e);\n        return GONE;\n    }\n    discard(e);",
     "    discard(e);"),
)  # fmt: skip
slip(
    "any-list-is-ready", "FD-7", "Any list says that the client is ready.",
    ('    int is_ready = c->field_count && !strcmp(c->fields[0], "dummy");', "    int is_ready = 1;"),
)  # fmt: skip
slip(
    "lost-with-its-finder", "FD-10", "A session whose finder leaves before it is ready is closed.",
    ("    if (length == GONE) {\n        put_back(e);\n        return GONE;\n    }\n    int is_ready",
     "    if (length == GONE) {\n        discard(e);\n        return GONE;\n    }\n    int is_ready"),
)  # fmt: skip
slip(
    "received-is-a-request", "FD-9", "The list after the descriptor is served as a request, if it is one.",
    ("    if (length == GONE)\n        return GONE;\n    drop(c, length, 0);\n    return 0;",
     "    if (length == GONE)\n        return GONE;\n    if (c->field_count && !strcmp(c->fields[0], \"dummy\"))\n"
     "        drop(c, length, 0);\n    return 0;"),
)  # fmt: skip

# Clients.

slip(
    "lock-held-while-writing", "CONN-2", "The reply to a find is written while the cache is locked.",
    ("    entry *e = find(by_destination, label, &binding_properties);\n",
     "    entry *e = find(by_destination, label, &binding_properties);\n    pthread_mutex_lock(&lock);\n"),
    ("    drop(c, length, e != NULL);\n    int status;\n    if (!e)\n        return reply(c, 2, 1 + by_destination, NULL, NULL);\n",
     "    drop(c, length, e != NULL);\n    int status;\n    if (!e) {\n        status = reply(c, 2, 1 + by_destination, NULL, NULL);\n"
     "        pthread_mutex_unlock(&lock);\n        return status;\n    }\n"),
    ("    free(binding_properties);\n    if (status) {", "    pthread_mutex_unlock(&lock);\n    free(binding_properties);\n    if (status) {"),
)  # fmt: skip
slip(
    "one-dance-at-a-time", "CONN-2", "A lock is held from the invitation until the descriptor has come.",
    ("    if (send_all(c, \"dummy\\0\\0\", 8) == 0) {", "    static pthread_mutex_t dance = PTHREAD_MUTEX_INITIALIZER;\n"
     "    pthread_mutex_lock(&dance);\n    if (send_all(c, \"dummy\\0\\0\", 8) == 0) {"),
    ("    free(label);\n    free(properties);\n    return sent;", "    pthread_mutex_unlock(&dance);\n    free(label);\n    free(properties);\n    return sent;"),
)  # fmt: skip
slip(
    "dies-of-a-broken-pipe", "CONN-11", "Writing to a client that has gone raises SIGPIPE.",
    ("MSG_NOSIGNAL | MSG_DONTWAIT);\n        if (sent >= 0)", "MSG_DONTWAIT);\n        if (sent >= 0)"),
)  # fmt: skip
slip(
    "full-socket-is-a-lost-client", "CONN-3", "A socket that takes no more now is taken for a client that has gone.",
    ("            status = await(c, POLLOUT);\n", "            status = GONE;\n"),
)  # fmt: skip
slip(
    "partial-write-is-whole", "CONN-3", "What a socket does not take of a reply is forgotten.",
    ("            data += sent;\n            size -= sent;", "            size = 0;"),
)  # fmt: skip
slip(
    "accept-spins", "LIMIT-8", "When there is no descriptor for a client the server tries again at once.",
    ("        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)\n            nanosleep(&tick, NULL);\n", ""),
)  # fmt: skip
slip(
    "accept-goes-deaf", "LIMIT-8", "When there is no descriptor for a client the server accepts no more.",
    ("            nanosleep(&tick, NULL);\n", "            wanted.events = 0;\n"),
)  # fmt: skip
slip(
    "accept-fails-for-good", "LIMIT-8", "When there is no descriptor for a client the server exits.",
    ("            nanosleep(&tick, NULL);\n", '            fail("accept");\n'),
)  # fmt: skip
slip(
    "one-client-too-many", "LIMIT-5", "One client more than the limit is let in.",
    ("client_count >= clients_max", "client_count > clients_max"),
)  # fmt: skip
slip(
    "refused-clients-wait", "LIMIT-5", "A client too many is neither served nor disconnected.",
    ("    if (is_refused) {\n        close(fd);\n", "    if (is_refused) {\n"),
)  # fmt: skip
slip(
    "clients-who-left-count", "LIMIT-5", "A client that leaves in the middle of a list counts on.",
    ("    client_count--;\n    idle_since", "    client_count -= c->length == 0;\n    idle_since"),
)  # fmt: skip
slip(
    "users-are-not-told-apart", "LIMIT-12", "The limit of clients of a user counts all clients.",
    ("clients_of(c->uid) >= clients_per_user_max", "client_count >= clients_per_user_max"),
)  # fmt: skip
slip(
    "time-out-counts-from-the-last-byte", "LIMIT-7", "A byte gives a list its whole time again.",
    ("        if (c->step_began == FOREVER)\n            c->step_began = now();\n", "        c->step_began = now();\n"),
)  # fmt: skip
slip(
    "rest-is-a-step", "LIMIT-7", "A client at rest is disconnected, too.",
    ("c->step_began = c->length || awaits ? now() : FOREVER;", "c->step_began = now();"),
)  # fmt: skip
slip(
    "time-out-before-reading", "LIMIT-7", "A client is given up without a look at what has come from it.",
    ("        if (ready > 0)\n            return 0;\n",
     "        if (c->step_began != FOREVER && now() - c->step_began >= ipc_timeout * SECOND)\n            return GONE;\n"
     "        if (ready > 0)\n            return 0;\n"),
)  # fmt: skip
slip(
    "many-in-flight", "FD-14", "The next request is served while a descriptor is unread.",
    ("    discard(e);\n    c->in_flight = 1;\n", "    discard(e);\n"),
)  # fmt: skip
slip(
    "unfinished-list-counts", "WIRE-5", "A list that its client left unfinished is served as it is.",
    ("        if (got == GONE)\n            return GONE;\n        if (c->step_began",
     "        if (got == GONE && c->length && c->length + 2 < (size_t)attribute_list_bytes_max) {\n"
     "            memset(c->data + c->length, 0, 2);\n            c->length += 2;\n"
     "            return (length = list_length(c)) > 0 ? length : GONE;\n        }\n"
     "        if (got == GONE)\n            return GONE;\n        if (c->step_began"),
)  # fmt: skip

# Statistics and the process.

slip(
    "refused-saves-take-peaks", "STAT-4", "A save that is refused takes the peaks, too.",
    ("    if (status == 0) {\n        raise_peak", "    if (1) {\n        raise_peak"),
)  # fmt: skip
slip(
    "renewals-take-no-peaks", "STAT-4", "A binding that is renewed takes no peaks.",
    ("    if (status == 0) {\n        raise_peak", "    if (status == 0 && !same) {\n        raise_peak"),
)  # fmt: skip
slip(
    "peaks-are-kept", "STAT-5", "Peaks are not reset when statistics were printed.",
    ("    domains_peak = addresses_peak = connections_peak = 0;\n", ""),
)  # fmt: skip
slip(
    "success-of-all-lookups", "STAT-6", "The percentage is rounded to the nearest.",
    ("                hits * 100 / (hits + misses));", "                (hits * 200 / (hits + misses) + 1) / 2);"),
)  # fmt: skip
slip(
    "destinations-count-as-addresses", "STAT-2", "A find_dest that hits counts as an address lookup, too.",
    ("        lookups[!by_destination].hits++;", "        lookups[!by_destination].hits++;\n        lookups[1].hits += by_destination;"),
)  # fmt: skip
slip(
    "no-statistics-at-exit", "STAT-7 LIFE-4", "Statistics are not printed at exit.",
    ("    pthread_mutex_lock(&lock);\n    print_statistics();\n", "    pthread_mutex_lock(&lock);\n"),
)  # fmt: skip
slip(
    "statistics-are-buffered", "STAT-7", "Statistics are written to a buffered stream that is written out at exit.",
    ("    idle_since = now();\n    begin_interval();\n", "    idle_since = now();\n    begin_interval();\n    setvbuf(stderr, NULL, _IOFBF, 65536);\n"),
)  # fmt: skip
slip(
    "exits-with-sessions", "LIFE-3", "An idle server exits though sessions are parked.",
    ("client_count == 0 && sessions.count == 0 && now()", "client_count == 0 && now()"),
)  # fmt: skip
slip(
    "bindings-keep-it", "LIFE-2 LIFE-3", "A server with bindings does not exit for being idle.",
    ("client_count == 0 && sessions.count == 0 && now()", "client_count == 0 && !soonest && now()"),
)  # fmt: skip
slip(
    "idle-since-its-start", "LIFE-2", "Idleness counts from the start of the server.",
    ("    client_count--;\n    idle_since = now();\n", "    client_count--;\n"),
)  # fmt: skip


# What the threads share, and should not.


slip(
    "one-array-for-all-descriptors", "FD-13", "All threads note in one array what came with the byte of a save.",
    ("    int passed[PASSED_MAX], count;\n    char byte;\n", "    static int passed[PASSED_MAX], count;\n    char byte;\n"),
)  # fmt: skip
slip(
    "lifetime-has-32-bits", "TTL-1", "A lifetime is counted in milliseconds, in 32 bits.",
    ("    return now() + (ttl < ttl_limit ? ttl : ttl_limit) * SECOND;\n",
     "    return now() + (int)((ttl < ttl_limit ? ttl : ttl_limit) * 1000) * (SECOND / 1000);\n"),
)  # fmt: skip
