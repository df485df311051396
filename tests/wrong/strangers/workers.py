"""Slips in workers.c."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("workers.c", "workers")
slip = SERVER.slip

# The heap of expiries.

slip(
    "heap-settles-downwards", "TTL-2 DEST-2", "An expiry that became sooner is not moved up in the heap.",
    ("    while (at > 0 && items[heap[(at - 1) / 2]].expiry > items[i].expiry) {\n        heap_put(at, heap[(at - 1) / 2]);\n        at = (at - 1) / 2;\n    }\n    for (;;) {", "    for (;;) {"),
)  # fmt: skip
slip(
    "heap-settles-upwards", "TTL-2", "What takes the place of a removed expiry is not moved down in the heap.",
    ("        if (child >= heap_length)\n            break;\n", "        if (child >= 0)\n            break;\n"),
)  # fmt: skip
slip(
    "heap-of-left-children", "TTL-2", "The heap is moved down along the left children alone.",
    ("        if (child + 1 < heap_length && items[heap[child + 1]].expiry < items[heap[child]].expiry)\n            child++;\n", ""),
)  # fmt: skip
slip(
    "heap-parent-of-the-wrong-half", "TTL-2", "The parent of an entry is reckoned as in a heap that begins at 1.",
    ("    while (at > 0 && items[heap[(at - 1) / 2]].expiry > items[i].expiry) {\n        heap_put(at, heap[(at - 1) / 2]);\n        at = (at - 1) / 2;\n    }\n", "    while (at > 0 && items[heap[at / 2]].expiry > items[i].expiry) {\n        heap_put(at, heap[at / 2]);\n        at = at / 2;\n    }\n"),
)  # fmt: skip
slip(
    "renewal-does-not-settle", "DEST-2", "A renewal changes an expiry and leaves it where it is in the heap.",
    ("        heap_settle(items[i].place, i);\n        wake_at(items[heap[0]].expiry);\n        saved = 1;", "        saved = 1;"),
)  # fmt: skip
slip(
    "expiry-is-32-bits-wide", "TTL-2", "Seconds are multiplied by a thousand million as an int.",
    ("    return now + ttl * NS_PER_S;\n}\n\n/* Return 1 if the session", "    return now + (int32_t)((uint32_t)ttl * 1000000000u);\n}\n\n/* Return 1 if the session"),
)  # fmt: skip

# The hash table and the arrays.

slip(
    "labels-are-never-dropped", "STAT-1", "A label stays in the table when nothing is under it, and counts.",
    ("    if (--l->count == 0)\n        drop_label(it->label);", "    --l->count;"),
    ("    if (!by_destination && l != NONE)\n        f = take(l);", "    if (!by_destination && l != NONE && labels[l].count)\n        f = take(l);"),
    ("            if (e == NONE)\n                continue;", "            if (e == NONE || !labels[e].count)\n                continue;"),
)  # fmt: skip
slip(
    "spaces-are-one", "ENDP-1", "A label is looked up without regard to its name space.",
    ("    while (l != NONE && (labels[l].space != space || strcmp(labels[l].name, name) != 0))", "    while (l != NONE && strcmp(labels[l].name, name) != 0)"),
    ("    uint32_t hash = 2166136261u ^ (unsigned char)space;", "    uint32_t hash = 2166136261u;\n    (void)space;"),
)  # fmt: skip
slip(
    "name-is-not-copied", "ENDP-5", "A session that was found keeps the label's name, which goes with the label.",
    ("strdup(labels[l].name), strdup(items[i].properties), NULL};\n    leave(i);", "labels[l].name, strdup(items[i].properties), NULL};\n    leave(i);"),
    ("static void free_found(struct found *f)\n{\n    free(f->endpoint);\n", "static void free_found(struct found *f)\n{\n"),
)  # fmt: skip
slip(
    "binding-properties-of-the-first", "DEST-4", "The properties of the destination's first binding are handed out.",
    ("strdup(items[b].properties);\n            break;", "strdup(items[labels[l].first].properties);\n            break;"),
)  # fmt: skip
slip(
    "search-ends-at-an-empty-endpoint", "DEST-4", "find_dest ends at the first binding whose endpoint has no session.",
    ("            if (e == NONE)\n                continue;", "            if (e == NONE)\n                break;"),
)  # fmt: skip
slip(
    "front-forgets-the-last", "ENDP-5 ENDP-2", "What is put back into an empty queue is its first and not its last.",
    ("        *(l->first == NONE ? &l->last : &items[l->first].prev) = i;\n", "        if (l->first != NONE)\n            items[l->first].prev = i;\n"),
)  # fmt: skip
slip(
    "properties-of-a-renewal", "DEST-3", "Bindings are compared by the beginning of their properties.",
    ("strcmp(items[i].properties, properties) != 0))\n        i = items[i].next;", "strncmp(items[i].properties, properties, strlen(properties)) != 0))\n        i = items[i].next;"),
)  # fmt: skip

# The slots of clients.

slip(
    "slot-keeps-what-was-awaited", "CONN-2 CONN-11", "A client begins in the state in which the last one of its slot ended.",
    ("    c->awaited = REQUEST;\n    c->input = c->output", "    c->input = c->output"),
)  # fmt: skip
slip(
    "slot-keeps-the-end", "CONN-11", "A client is taken to have ended as the last one of its slot had.",
    ("    c->at_end = c->broken = c->in_flight = c->leave = 0;", "    c->broken = c->in_flight = c->leave = 0;"),
)  # fmt: skip
slip(
    "slot-keeps-the-breakage", "CONN-11", "A client gets no output if the last one of its slot broke off.",
    ("    c->at_end = c->broken = c->in_flight = c->leave = 0;", "    c->at_end = c->in_flight = c->leave = 0;"),
)  # fmt: skip
slip(
    "slot-keeps-the-removal", "LIMIT-1", "A client is removed at once if the last one of its slot had to be.",
    ("    c->at_end = c->broken = c->in_flight = c->leave = 0;", "    c->at_end = c->broken = c->in_flight = 0;"),
)  # fmt: skip
slip(
    "slot-keeps-half-a-list", "WIRE-5", "A client's bytes follow those that the last one of its slot left unfinished.",
    ("    c->input = c->output = (struct buffer){0};\n", "    c->output = (struct buffer){0};\n"),
    ("    free(c->input.bytes);\n", ""),
)  # fmt: skip
slip(
    "free-slots-have-users", "LIMIT-12", "The clients of a user are counted in free slots too.",
    ("        of_user += clients[i].fd != NONE && clients[i].uid == user.uid;", "        of_user += clients[i].uid == user.uid;"),
)  # fmt: skip
slip(
    "leavers-count-in-flight", "LIMIT-5", "A client that leaves while a session is held for it counts on.",
    ("    client_count--;\n    idle_since", "    client_count -= c->awaited == REQUEST;\n    idle_since"),
)  # fmt: skip

# Threads and epoll.

slip(
    "one-client-for-one-event", "CONN-2", "One client is let in for each event of an edge-triggered epoll.",
    ("            while (let_one_in())\n                ;\n            break;\n        case TIMER:", "            let_one_in();\n            break;\n        case TIMER:"),
)  # fmt: skip
slip(
    "half-closed-is-gone", "CONN-11", "A client that shut down sending is removed when epoll tells so.",
    ("    flush_output(c);\n    go_on(c);\n    for (int reads", "    c->leave |= (events & EPOLLRDHUP) != 0;\n    flush_output(c);\n    go_on(c);\n    for (int reads"),
)  # fmt: skip
slip(
    "hangup-is-gone", "CONN-11", "A client that hung up is removed before what it sent is read.",
    ("    flush_output(c);\n    go_on(c);\n    for (int reads", "    c->leave |= (events & EPOLLHUP) != 0;\n    flush_output(c);\n    go_on(c);\n    for (int reads"),
)  # fmt: skip
slip(
    "reading-goes-on-after-output", "CONN-3", "When output was taken, what had been read before is not served.",
    ("    flush_output(c);\n    go_on(c);\n    for (int reads", "    flush_output(c);\n    if (c->awaited == SENDING)\n        go_on(c);\n    for (int reads"),
    ("        if (!read_some(c))\n            break;\n        go_on(c);\n    }\n    go_on(c);\n", "        if (!read_some(c))\n            break;\n        go_on(c);\n    }\n"),
)  # fmt: skip
slip(
    "closed-under-the-lock", "FD-15", "What is due is closed while the cache is locked.",
    ("        if (items[i].fd != NONE)\n            close_later(items[i].fd);\n        free_item_of(i);", "        if (items[i].fd != NONE)\n            close(items[i].fd);\n        free_item_of(i);"),
)  # fmt: skip
slip(
    "too-late-is-closed-under-the-lock", "FD-15", "What is put back too late is closed while the cache is locked.",
    ("    } else {\n        close_later(f->fd);\n    }\n    pthread_mutex_unlock(&cache_lock);", "    } else {\n        close(f->fd);\n    }\n    pthread_mutex_unlock(&cache_lock);"),
)  # fmt: skip
slip(
    "clients-are-closed-under-the-lock", "FD-15", "A client's socket is closed while the slots are locked.",
    ("    close_later(c->fd); /*", "    close(c->fd); /*"),
)  # fmt: skip

# The timer.

slip(
    "timer-is-armed-once", "TTL-6 LIMIT-7", "The timer is taken to be set still when it went off.",
    ("    timer_set_to = NEVER;\n    pthread_mutex_unlock(&timer_lock);\n\n    ns_t now", "    pthread_mutex_unlock(&timer_lock);\n\n    ns_t now"),
)  # fmt: skip
slip(
    "timer-counts-from-now", "TTL-6 LIMIT-7 LIFE-2 STAT-7", "The timer is given an instant as if it were a time to wait.",
    ("timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);", "timerfd_settime(timer_fd, 0, &when, NULL);"),
)  # fmt: skip
slip(
    "timer-goes-off-at-the-latest", "TTL-6 LIMIT-7 LIFE-2", "The timer is set anew only for a later instant.",
    ("    if (instant < timer_set_to) {", "    if (instant > timer_set_to || timer_set_to == NEVER) {"),
)  # fmt: skip
slip(
    "statistics-are-not-awaited-again", "STAT-7", "After the first interval the timer is not set for the next.",
    ("    int64_t parked = session_count;\n    wake_at(next_statistics);\n", "    int64_t parked = session_count;\n"),
)  # fmt: skip
slip(
    "time-outs-are-not-awaited", "LIMIT-7", "The timer is not set for the end of a step.",
    ("        c->step_since = now_ns();\n        wake_at(c->step_since + parameter[IPC_TIMEOUT] * NS_PER_S);\n", "        c->step_since = now_ns();\n"),
)  # fmt: skip
slip(
    "leaving-does-not-set-the-timer", "LIFE-2", "The timer is set for idleness at the start alone.",
    ("    wake_at(idle_since + parameter[MAX_IDLE] * NS_PER_S);\n}\n\n/* Do all", "}\n\n/* Do all"),
    ("    if (idle)\n        wake_at(idle_end);\n", ""),
)  # fmt: skip
slip(
    "accepting-is-not-tried-again", "LIMIT-8", "When there was no descriptor for a client, the next client's event is waited for.",
    ("        if (!accepting)\n            wake_at(now_ns() + 50 * NS_PER_MS);\n", ""),
    ("    if (pending)\n        while (let_one_in())\n            ;\n", "    (void)pending;\n"),
)  # fmt: skip

# The dance.

slip(
    "length-is-the-space", "FD-6", "The length of control data is told with its padding: a second descriptor, number 0, goes along.",
    ("    header->cmsg_len = CMSG_LEN(sizeof(int));\n", "    header->cmsg_len = CMSG_SPACE(sizeof(int));\n"),
)  # fmt: skip
slip(
    "handed-over-is-put-back", "FD-8 FD-11", "A session that was handed over is put back when its finder leaves.",
    ("    close_later(c->held.fd);\n    free_found(&c->held);\n    c->awaited = RECEIVED;", "    close_later(c->held.fd);\n    c->awaited = RECEIVED;"),
)  # fmt: skip
slip(
    "broken-list-loses-what-is-held", "FD-10 LIMIT-1", "A client whose list breaks a limit takes the session along that is held for it.",
    ("    if (c->held.fd != NONE)\n        put_back(&c->held);\n    free(c->endpoint);", "    if (c->held.fd != NONE && c->leave)\n        close_later(c->held.fd);\n    else if (c->held.fd != NONE)\n        put_back(&c->held);\n    free(c->endpoint);"),
)  # fmt: skip
slip(
    "time-out-loses-what-is-held", "FD-10 LIMIT-7", "A client whose time is over takes the session along that is held for it.",
    ("        if (c->fd != NONE && is_overdue(c, now))\n            disconnect(c);", "        if (c->fd != NONE && is_overdue(c, now)) {\n            if (c->held.fd != NONE)\n                close_later(c->held.fd);\n            c->held.fd = NONE;\n            disconnect(c);\n        }"),
)  # fmt: skip
slip(
    "time-of-output-is-not-counted", "LIMIT-7", "A client that takes no output stays for ever.",
    ("    ns_t since = c->step_since < c->output_since ? c->step_since : c->output_since;", "    ns_t since = c->step_since;"),
)  # fmt: skip
slip(
    "two-nuls-end-a-list", "WIRE-2", "A list ends at its first two NULs, also where the first one ends an empty value's name.",
    ("    int64_t nuls = 0;\n", "    int64_t nuls = 0;\n    for (size_t i = 1; i < here && i < limit; i++)\n        if (!list[i] && !list[i - 1])\n            return i + 1;\n"),
)  # fmt: skip
slip(
    "lookups-are-swapped", "STAT-2", "Lookups of domains and of addresses are counted in each other's place.",
    ("    statistics.lookups[!by_destination]++;\n    statistics.hits[!by_destination] += f.fd != NONE;", "    statistics.lookups[by_destination]++;\n    statistics.hits[by_destination] += f.fd != NONE;"),
)  # fmt: skip
slip(
    "hits-count-when-handed-over", "STAT-3", "A find counts as a hit when its descriptor is sent.",
    ("    statistics.hits[!by_destination] += f.fd != NONE;\n", "    statistics.lookups[!by_destination] -= f.fd != NONE;\n"),
    ("    close_later(c->held.fd);\n    free_found(&c->held);\n    c->awaited = RECEIVED;", "    statistics.lookups[c->held.binding_properties == NULL]++;\n    statistics.hits[c->held.binding_properties == NULL]++;\n    close_later(c->held.fd);\n    free_found(&c->held);\n    c->awaited = RECEIVED;"),
)  # fmt: skip
