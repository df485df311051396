/*
 * A shared connection cache written from spec/SPEC.md: edge-triggered epoll, clients in slots that are used again, hash
 * tables with open addressing, and a wheel of seconds for what expires. Lists are scanned as they come, once.
 *
 *   slots --listen PATH [--clock FILE] [--ttl-limit S] [--max-idle S] ...
 *
 * --clock names a file of eight bytes that counts whole seconds, instead of the machine's clock, unless it is empty.
 * Every option takes one value. Statistics go to standard error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/sockios.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define NEVER INT64_MAX
#define PASSED_MAX 253 /* the kernel passes no more descriptors with one message */
#define RESERVE 261    /* LIMIT-8 */
#define SPOKES 16      /* of the wheel: what expires later than that is met more than once */
#define READS_MAX 4    /* of one client in one turn */

/* ---- Parameters and the clock ---- */

static int64_t ttl_limit_s = 2, max_idle_s = -1, ipc_timeout_s = 3600, status_update_time_s = 600;
static int64_t list_bytes_max = 16384, attributes_max = 64, output_bytes_max = 16384;
static int64_t sessions_max = 100000, sessions_per_endpoint_max = 100000, bindings_max = 20000;
static int64_t bindings_per_destination_max = 1000, cached_bytes_max = 67108864;
static int64_t clients_max = 1000, clients_per_user_max = -1;

static const struct { const char *name; int64_t *value; } PARAMETERS[] = {
    {"--ttl-limit", &ttl_limit_s}, {"--max-idle", &max_idle_s}, {"--ipc-timeout", &ipc_timeout_s},
    {"--status-update-time", &status_update_time_s}, {"--attribute-list-bytes-max", &list_bytes_max},
    {"--attributes-max", &attributes_max}, {"--output-bytes-max", &output_bytes_max},
    {"--sessions-max", &sessions_max}, {"--sessions-per-endpoint-max", &sessions_per_endpoint_max},
    {"--bindings-max", &bindings_max}, {"--bindings-per-destination-max", &bindings_per_destination_max},
    {"--cached-bytes-max", &cached_bytes_max}, {"--clients-max", &clients_max},
    {"--clients-per-user-max", &clients_per_user_max},
};

static const volatile int64_t *clock_word;
static int64_t now; /* of this turn, or of this request */

static int64_t clock_now(void) {
    struct timespec t;
    if (clock_word)
        return *clock_word * SECOND;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- Closing: each in a thread of its own, because it may wait ---- */

static atomic_int closings;

static void *close_one(void *fd) {
    close((int)(intptr_t)fd);
    closings--;
    return NULL;
}

static void close_elsewhere(int fd) {
    pthread_attr_t small;
    pthread_t thread;
    closings++;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &small, close_one, (void *)(intptr_t)fd))
        close_one((void *)(intptr_t)fd);
    pthread_attr_destroy(&small);
}

/* ---- Texts with their length ---- */

typedef struct text {
    uint32_t length;
    char bytes[];
} text;

static text *new_text(const char *bytes, size_t length) {
    text *t = malloc(sizeof *t + length);
    t->length = length;
    memcpy(t->bytes, bytes, length);
    return t;
}

static int equal(const text *a, const text *b) {
    return a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);
}

static uint32_t hash_of(const text *t) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < t->length; i++)
        hash = (hash ^ (unsigned char)t->bytes[i]) * 16777619u;
    return hash;
}

/* ---- The cache ---- */

typedef struct item { /* a session if endpoint is NULL */
    struct item *next, *previous; /* in its queue */
    struct item *spoke_next, **spoke_link; /* in the wheel */
    int64_t expiry;
    int fd;
    text *label, *properties, *endpoint;
} item;

typedef struct queue {
    text *label; /* of its own; NULL: this place is free */
    item *first, *last;
    int64_t length;
} queue;

typedef struct table {
    queue *places;
    uint32_t mask;
    int64_t queues, items;
} table;

static table sessions, bindings;
static item *wheel[SPOKES];
static int64_t wheel_second; /* all spokes before it are done */
static int64_t cached_bytes;

static struct {
    int64_t domain_hits, domain_misses, address_hits, address_misses;
    int64_t domains_peak, addresses_peak, connections_peak;
} counted;
static int64_t interval_end;
static time_t interval_start;

static int64_t bytes_of(const item *i) {
    return i->label->length + i->properties->length + (i->endpoint ? i->endpoint->length : 0);
}

static queue *place_of(table *t, const text *label) {
    uint32_t at = hash_of(label) & t->mask;
    while (t->places[at].label && !equal(t->places[at].label, label))
        at = (at + 1) & t->mask;
    return &t->places[at];
}

static void grow(table *t) {
    table old = *t;
    t->mask = old.places ? old.mask * 2 + 1 : 15;
    t->places = calloc(t->mask + 1, sizeof *t->places);
    for (uint32_t at = 0; old.places && at <= old.mask; at++)
        if (old.places[at].label)
            *place_of(t, old.places[at].label) = old.places[at];
    free(old.places);
}

/* Free a place, and move up what stands behind it only because it was taken. */
static void vacate(table *t, queue *q) {
    uint32_t hole = q - t->places, at = hole;
    free(q->label);
    for (;;) {
        at = (at + 1) & t->mask;
        if (!t->places[at].label)
            break;
        uint32_t home = hash_of(t->places[at].label) & t->mask;
        if (((at - home) & t->mask) >= ((at - hole) & t->mask)) {
            t->places[hole] = t->places[at];
            hole = at;
        }
    }
    memset(&t->places[hole], 0, sizeof *q);
    t->queues--;
}

static void onto_wheel(item *i) {
    item **spoke = &wheel[i->expiry / SECOND % SPOKES];
    i->spoke_next = *spoke;
    i->spoke_link = spoke;
    if (*spoke)
        (*spoke)->spoke_link = &i->spoke_next;
    *spoke = i;
}

static void off_wheel(item *i) {
    *i->spoke_link = i->spoke_next;
    if (i->spoke_next)
        i->spoke_next->spoke_link = i->spoke_link;
}

static table *table_of(const item *i) {
    return i->endpoint ? &bindings : &sessions;
}

static void insert(item *i, int at_front) {
    table *t = table_of(i);
    if (t->queues * 4 >= (int64_t)t->mask * 3)
        grow(t);
    queue *q = place_of(t, i->label);
    if (!q->label) {
        q->label = new_text(i->label->bytes, i->label->length);
        t->queues++;
    }
    i->next = at_front ? q->first : NULL;
    i->previous = at_front ? NULL : q->last;
    *(i->next ? &i->next->previous : &q->last) = i;
    *(i->previous ? &i->previous->next : &q->first) = i;
    q->length++;
    t->items++;
    cached_bytes += bytes_of(i);
    onto_wheel(i);
}

static void take_out(item *i) {
    table *t = table_of(i);
    queue *q = place_of(t, i->label);
    *(i->next ? &i->next->previous : &q->last) = i->previous;
    *(i->previous ? &i->previous->next : &q->first) = i->next;
    q->length--;
    t->items--;
    cached_bytes -= bytes_of(i);
    off_wheel(i);
    if (!q->length)
        vacate(t, q);
}

static void discard(item *i) {
    if (!i->endpoint && i->fd >= 0)
        close_elsewhere(i->fd);
    free(i->label);
    free(i->properties);
    free(i->endpoint);
    free(i);
}

static void expire_spoke(int64_t second) {
    item *i = wheel[second % SPOKES];
    while (i) {
        item *next = i->spoke_next;
        if (i->expiry <= now) {
            take_out(i);
            discard(i);
        }
        i = next;
    }
}

/* Remove what is due. The last second is done again next time: it is not over. */
static void expire(void) {
    int64_t second = now / SECOND;
    if (wheel_second + SPOKES <= second)
        wheel_second = second - SPOKES + 1;
    for (; wheel_second < second; wheel_second++)
        expire_spoke(wheel_second);
    expire_spoke(second);
}

static int64_t next_expiry(void) {
    int64_t soonest = NEVER;
    for (int spoke = 0; spoke < SPOKES; spoke++)
        for (item *i = wheel[spoke]; i; i = i->spoke_next)
            if (i->expiry < soonest)
                soonest = i->expiry;
    return soonest;
}

static void raise_to(int64_t *peak, int64_t count) {
    if (*peak < count)
        *peak = count;
}

static int has_room(const item *i) {
    queue *q = place_of(table_of(i), i->label);
    int64_t most = i->endpoint ? bindings_max : sessions_max;
    int64_t most_here = i->endpoint ? bindings_per_destination_max : sessions_per_endpoint_max;
    return table_of(i)->items < most && q->length < most_here && cached_bytes + bytes_of(i) <= cached_bytes_max;
}

/* Save an item, which belongs to the cache from now on, or renew the binding that it equals. Return the status. */
static int save(item *new) {
    item *same = NULL;
    if (new->endpoint)
        for (same = place_of(&bindings, new->label)->first; same; same = same->next)
            if (equal(same->endpoint, new->endpoint) && equal(same->properties, new->properties))
                break;
    if (same) {
        off_wheel(same);
        same->expiry = new->expiry;
        onto_wheel(same);
        discard(new);
    } else if (has_room(new)) {
        insert(new, 0);
    } else {
        discard(new);
        return 2;
    }
    if (same || new->endpoint)
        raise_to(&counted.domains_peak, bindings.queues);
    else
        raise_to(&counted.connections_peak, sessions.items);
    raise_to(&counted.addresses_peak, sessions.queues);
    return 0;
}

static void put_back(item *i) {
    if (i->expiry <= clock_now())
        discard(i);
    else
        insert(i, 1);
}

/* ---- Statistics ---- */

static void print_lookups(const char *what, int64_t hits, int64_t misses) {
    if (hits || misses)
        fprintf(stderr, "statistics: %s lookup hits=%lld miss=%lld success=%d%%\n", what, (long long)hits,
                (long long)misses, (int)(hits * 100 / (hits + misses)));
}

static void print_statistics(void) {
    int64_t peaks = counted.domains_peak | counted.addresses_peak | counted.connections_peak;
    if (peaks | counted.domain_hits | counted.domain_misses | counted.address_hits | counted.address_misses) {
        char date[32];
        strftime(date, sizeof date, "%b %e %H:%M:%S", localtime(&interval_start));
        fprintf(stderr, "statistics: start interval %s\n", date);
    }
    print_lookups("domain", counted.domain_hits, counted.domain_misses);
    print_lookups("address", counted.address_hits, counted.address_misses);
    if (peaks)
        fprintf(stderr, "statistics: max simultaneous domains=%lld addresses=%lld connection=%lld\n",
                (long long)counted.domains_peak, (long long)counted.addresses_peak,
                (long long)counted.connections_peak);
    memset(&counted, 0, sizeof counted);
}

static void begin_interval(void) {
    interval_end = now + status_update_time_s * SECOND;
    interval_start = clock_word ? (time_t)*clock_word : time(NULL);
}

/* ---- Clients ---- */

enum state { FREE, REQUEST, DESCRIPTOR, READY, SENDING, RECEIVED };

typedef struct client {
    enum state state;
    uint32_t generation; /* of its slot: events for an earlier client of the slot are not for this one */
    int fd;
    uid_t uid;
    char *in, *out;
    size_t in_length, in_room, out_start, out_length, out_room;
    size_t scanned; /* so many bytes of the list are known to have no end of it */
    int fields;     /* so many NULs are among these */
    int can_read, ended, deaf, in_flight, gone;
    int64_t step_since, out_since; /* or NEVER */
    int64_t ttl_s;                 /* of the save_endp whose descriptor is awaited */
    item *wanted, *held;
} client;

static client *slots;
static uint32_t slot_count;
static int64_t client_count, idle_since;
static int poller;

static void *room_for(void *bytes, size_t *room, size_t wanted) {
    if (wanted <= *room)
        return bytes;
    *room = wanted < 512 ? 512 : wanted * 2;
    bytes = realloc(bytes, *room);
    if (!bytes)
        abort();
    return bytes;
}

static void say(client *c, const char *bytes, size_t length) {
    if (c->deaf)
        return;
    if (c->out_start && c->out_start + c->out_length + length > c->out_room) {
        memmove(c->out, c->out + c->out_start, c->out_length);
        c->out_start = 0;
    }
    c->out = room_for(c->out, &c->out_room, c->out_start + c->out_length + length);
    memcpy(c->out + c->out_start + c->out_length, bytes, length);
    c->out_length += length;
    if (c->out_since == NEVER)
        c->out_since = now;
}

static void say_status(client *c, int status) {
    char bytes[] = {'s', 't', 'a', 't', 'u', 's', 0, '0' + status, 0};
    say(c, bytes, sizeof bytes);
}

static void say_property(client *c, const text *value) {
    say(c, "property", 9);
    if (value)
        say(c, value->bytes, value->length);
    say(c, "", 1);
}

static void say_end(client *c) {
    say(c, "", 1);
}

static void flush(client *c) {
    while (c->out_length) {
        ssize_t n = send(c->fd, c->out + c->out_start, c->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            c->out_start += n;
            c->out_length -= n;
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            return;
        } else if (errno != EINTR) {
            c->deaf = 1;
            c->out_length = 0;
        }
    }
    c->out_start = 0;
    c->out_since = NEVER;
}

/* Scan on. Return the length of the list at the start of what was read, 0 if it has not ended, -1 at a limit. */
static ssize_t scan(client *c) {
    for (; c->scanned < c->in_length; c->scanned++) {
        int begins_name = c->fields % 2 == 0 && (c->scanned == 0 || c->in[c->scanned - 1] == 0);
        if ((int64_t)c->scanned >= list_bytes_max)
            return -1;
        if (c->in[c->scanned] == 0) {
            if (begins_name)
                return c->scanned + 1;
            c->fields++;
        } else if (begins_name && c->fields / 2 >= attributes_max) {
            return -1;
        }
    }
    return (int64_t)c->in_length >= list_bytes_max ? -1 : 0;
}

/* Return the value of the attribute that is next in a list, if it has this name, and step over it. */
static const char *match(const char **list, const char *name) {
    const char *at = *list;
    if (!*at || strcmp(at, name))
        return NULL;
    const char *value = at + strlen(at) + 1;
    *list = value + strlen(value) + 1;
    return value;
}

static int64_t parse_ttl(const char *word) {
    int64_t value = 0;
    word += strspn(word, "\t\n\v\f\r ");
    word += *word == '+';
    const char *first = word;
    for (; *word >= '0' && *word <= '9'; word++)
        if ((value = value * 10 + *word - '0') > INT32_MAX)
            return 0;
    return word == first || *word ? 0 : value;
}

static int64_t expiry_of(int64_t ttl_s) {
    return now + (ttl_s < ttl_limit_s ? ttl_s : ttl_limit_s) * SECOND;
}

static item *new_item(const char *label, const char *properties, const char *endpoint) {
    item *i = calloc(1, sizeof *i);
    i->fd = -1;
    i->label = new_text(label, strlen(label));
    i->properties = new_text(properties, strlen(properties));
    i->endpoint = endpoint ? new_text(endpoint, strlen(endpoint)) : NULL;
    return i;
}

static void serve_save(client *c, const char *at, int of_binding) {
    const char *ttl = match(&at, "ttl"), *label = ttl ? match(&at, "label") : NULL;
    const char *properties = label ? match(&at, "property") : NULL;
    const char *endpoint = properties && of_binding ? match(&at, "label") : NULL;
    if (!properties || (of_binding && !endpoint) || !parse_ttl(ttl)) {
        say_status(c, 1);
        say_end(c);
        return;
    }
    item *new = new_item(label, properties, endpoint);
    if (of_binding) {
        new->expiry = expiry_of(parse_ttl(ttl));
        say_status(c, save(new));
        say_end(c);
        return;
    }
    c->wanted = new;
    c->ttl_s = parse_ttl(ttl);
    c->state = DESCRIPTOR;
    say(c, "dummy\0\0", 8);
}

static void serve_find(client *c, const char *at, int by_destination) {
    const char *bytes = match(&at, "label");
    const text *binding_properties = NULL;
    item *found = NULL;
    if (bytes) {
        text *label = new_text(bytes, strlen(bytes));
        if (!by_destination)
            found = place_of(&sessions, label)->first;
        else
            for (item *b = place_of(&bindings, label)->first; b && !found; b = b->next)
                if ((found = place_of(&sessions, b->endpoint)->first))
                    binding_properties = b->properties;
        free(label);
        int64_t *hits = by_destination ? &counted.domain_hits : &counted.address_hits;
        int64_t *misses = by_destination ? &counted.domain_misses : &counted.address_misses;
        ++*(found ? hits : misses);
    }
    say_status(c, found ? 0 : bytes ? 2 : 1);
    if (by_destination)
        say_property(c, binding_properties);
    say_property(c, found ? found->properties : NULL);
    say_end(c);
    if (found) {
        take_out(found);
        c->held = found;
        c->state = READY;
    }
}

static void serve_list(client *c, const char *list) {
    now = clock_now();
    expire();
    if (c->state == READY) {
        c->state = strcmp(list, "dummy") ? REQUEST : SENDING;
        if (c->state == REQUEST) {
            put_back(c->held);
            c->held = NULL;
        }
        return;
    }
    if (c->state == RECEIVED) {
        c->state = REQUEST;
        return;
    }
    const char *name = match(&list, "request");
    if (!name)
        return;
    if (!strcmp(name, "save_endp") || !strcmp(name, "save_dest")) {
        serve_save(c, list, !strcmp(name, "save_dest"));
    } else if (!strcmp(name, "find_endp") || !strcmp(name, "find_dest")) {
        serve_find(c, list, !strcmp(name, "find_dest"));
    } else {
        say_status(c, 1);
        say_end(c);
    }
}

static void serve_descriptor(client *c, const int *passed, int count, int is_cut) {
    item *new = c->wanted;
    struct rlimit descriptors;
    int status = 2;
    now = clock_now();
    expire();
    c->wanted = NULL;
    c->state = REQUEST;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    if (count == 1 && !is_cut && (rlim_t)passed[0] + RESERVE < descriptors.rlim_cur) {
        new->fd = passed[0];
        new->expiry = expiry_of(c->ttl_s);
        status = save(new);
    } else {
        for (int i = 0; i < count; i++)
            close_elsewhere(passed[i]);
        discard(new);
    }
    say_status(c, status);
    say_end(c);
}

static void hand_over(client *c) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec vector = {"", 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &c->held->fd, sizeof(int));
    if (sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM)
            c->gone = 1;
        return;
    }
    discard(c->held);
    c->held = NULL;
    c->in_flight = 1;
    c->state = RECEIVED;
    c->step_since = now;
}

/* Find out whether the client has read its descriptor, or left it. */
static void look_at_flight(client *c) {
    int unread, error = 0;
    socklen_t size = sizeof error;
    struct pollfd one = {c->fd, 0, 0};
    if (poll(&one, 1, 0) > 0 && !getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) && error)
        c->gone = 1;
    else if (!ioctl(c->fd, SIOCOUTQ, &unread) && unread == 0)
        c->in_flight = 0;
}

static int is_blocked(const client *c) {
    return c->gone || c->in_flight || c->state == SENDING || (int64_t)c->out_length > output_bytes_max;
}

/* Do all that can be done without reading. */
static void advance(client *c) {
    size_t served = 0;
    for (;;) {
        flush(c);
        if (c->state == SENDING && !c->out_length)
            hand_over(c);
        if (c->in_flight)
            look_at_flight(c);
        if (is_blocked(c) || !c->in_length)
            break;
        if (c->state == DESCRIPTOR) { /* read with plain bytes, it carries nothing */
            served = 1;
            serve_descriptor(c, NULL, 0, 0);
        } else {
            ssize_t length = scan(c);
            if (length < 0)
                c->gone = 1;
            if (length <= 0)
                break;
            served = length;
            serve_list(c, c->in);
        }
        memmove(c->in, c->in + served, c->in_length - served);
        c->in_length -= served;
        c->scanned = c->fields = 0;
        c->step_since = NEVER;
    }
    if (c->state == REQUEST && !c->in_length)
        c->step_since = NEVER;
    else if (c->step_since == NEVER)
        c->step_since = now;
    if (c->ended && !is_blocked(c) && !c->out_length)
        c->gone = 1;
}

/* Read once. */
static void receive(client *c) {
    static char bytes[8192];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    int passed[PASSED_MAX], count = 0;
    struct iovec vector = {bytes, c->state == DESCRIPTOR ? 1 : sizeof bytes};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EINTR || errno == ENOBUFS || errno == ENOMEM))
        return;
    if (length < 0 && errno == EAGAIN) {
        c->can_read = 0;
        return;
    }
    if (length <= 0) {
        c->ended = 1;
        if (length < 0) { /* it left, and left unread what was sent to it */
            c->deaf = 1;
            c->out_length = 0;
        }
        return;
    }
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
            int n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(passed + count, CMSG_DATA(h), n * sizeof(int));
            count += n;
        }
    if (c->state == DESCRIPTOR) {
        serve_descriptor(c, passed, count, message.msg_flags & MSG_CTRUNC);
        c->step_since = NEVER;
        return;
    }
    for (int i = 0; i < count; i++)
        close_elsewhere(passed[i]);
    c->in = room_for(c->in, &c->in_room, c->in_length + length);
    memcpy(c->in + c->in_length, bytes, length);
    c->in_length += length;
}

static int may_read(const client *c) {
    return !is_blocked(c) && !c->ended && c->can_read;
}

/* Serve a client: up to so many reads. */
static void attend(client *c, int reads) {
    advance(c);
    while (reads-- && may_read(c)) {
        receive(c);
        advance(c);
    }
}

static int is_overdue(const client *c) {
    int64_t since = c->step_since < c->out_since ? c->step_since : c->out_since;
    return since != NEVER && now - since >= ipc_timeout_s * SECOND;
}

static void leave(client *c) {
    if (c->held)
        put_back(c->held);
    if (c->wanted)
        discard(c->wanted);
    close_elsewhere(c->fd); /* descriptors may be left unread in it */
    free(c->in);
    free(c->out);
    uint32_t generation = c->generation + 1;
    memset(c, 0, sizeof *c);
    c->generation = generation;
    if (!--client_count)
        idle_since = now;
}

/* ---- Letting clients in ---- */

static int count_of_user(uid_t uid) {
    int count = 0;
    for (uint32_t i = 0; i < slot_count; i++)
        count += slots[i].state != FREE && slots[i].uid == uid;
    return count;
}

static client *free_slot(void) {
    for (uint32_t i = 0; i < slot_count; i++)
        if (slots[i].state == FREE)
            return &slots[i];
    uint32_t more = slot_count ? slot_count : 8;
    slots = realloc(slots, (slot_count + more) * sizeof *slots);
    memset(slots + slot_count, 0, more * sizeof *slots);
    slot_count += more;
    return &slots[slot_count - more];
}

/* Let one client in. Return whether there may be another. */
static int let_in(int listener) {
    static const char greeting[] = "protocol\0connection_cache_protocol\0";
    struct ucred user;
    socklen_t size = sizeof user;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)); /* else the kernel closes what came with one */
    if (client_count >= clients_max || (clients_per_user_max >= 0 && count_of_user(user.uid) >= clients_per_user_max)) {
        close_elsewhere(fd);
        return 1;
    }
    client *c = free_slot();
    c->state = REQUEST;
    c->fd = fd;
    c->uid = user.uid;
    c->step_since = c->out_since = NEVER;
    client_count++;
    uint64_t key = (uint64_t)c->generation << 32 | (uint32_t)(c - slots);
    struct epoll_event wanted = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u64 = key}};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
    say(c, greeting, sizeof greeting);
    flush(c);
    return 1;
}

/* ---- The loop ---- */

static volatile sig_atomic_t asked_to_exit;

static void ask_to_exit(int number) {
    (void)number;
    asked_to_exit = 1;
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Return how long the poller may wait, in nanoseconds. */
static int64_t patience(int may_accept) {
    int64_t until = sooner(next_expiry(), interval_end), wait;
    if (max_idle_s >= 0 && !client_count && !sessions.items)
        until = sooner(until, idle_since + max_idle_s * SECOND);
    for (uint32_t i = 0; i < slot_count; i++) {
        if (slots[i].state == FREE)
            continue;
        int64_t since = sooner(slots[i].step_since, slots[i].out_since);
        if (since != NEVER)
            until = sooner(until, since + ipc_timeout_s * SECOND);
    }
    wait = until - clock_now();
    if (clock_word && wait > 0)
        wait = 50 * MS; /* it moves at any time */
    for (uint32_t i = 0; i < slot_count; i++) {
        if (slots[i].in_flight)
            wait = sooner(wait, 2 * MS);
        if (slots[i].state != FREE && may_read(&slots[i]))
            wait = 0;
    }
    if (may_accept)
        wait = sooner(wait, 50 * MS); /* there was no descriptor for a client */
    return wait < 0 ? 0 : wait;
}

static int make_listener(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    unlink(path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror(path);
        exit(1);
    }
    return listener;
}

static void use_clock(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *word = mmap(NULL, sizeof *clock_word, PROT_READ, MAP_SHARED, fd, 0);
    if (word == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    clock_word = word;
}

int main(int count, char **words) {
    const char *listen_path = NULL;
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(words[i], "--listen"))
            listen_path = words[i + 1];
        if (!strcmp(words[i], "--clock") && *words[i + 1])
            use_clock(words[i + 1]);
        for (size_t k = 0; k < sizeof PARAMETERS / sizeof *PARAMETERS; k++)
            if (!strcmp(words[i], PARAMETERS[k].name))
                *PARAMETERS[k].value = atoll(words[i + 1]);
    }
    if (!listen_path) {
        fprintf(stderr, "usage: %s --listen PATH ...\n", words[0]);
        return 2;
    }
    sigset_t signals, none;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sigemptyset(&none);
    struct sigaction action = {.sa_handler = ask_to_exit};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    grow(&sessions);
    grow(&bindings);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = make_listener(listen_path), may_accept = 0;
    struct epoll_event events[64] = {{EPOLLIN | EPOLLET, {.u64 = UINT64_MAX}}};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &events[0]);
    now = idle_since = clock_now();
    wheel_second = now / SECOND;
    begin_interval();
    while (!asked_to_exit) {
        int64_t wait = patience(may_accept);
        struct timespec timeout = {wait / SECOND, wait % SECOND};
        int ready = epoll_pwait2(poller, events, 64, &timeout, &none);
        now = clock_now();
        expire();
        if (now >= interval_end) {
            print_statistics();
            begin_interval();
        }
        for (int k = 0; k < ready; k++) {
            if (events[k].data.u64 == UINT64_MAX) {
                may_accept = 1;
                continue;
            }
            client *c = &slots[(uint32_t)events[k].data.u64];
            if (c->state == FREE || c->generation != events[k].data.u64 >> 32)
                continue;
            if (events[k].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                c->can_read = 1;
            advance(c);
        }
        for (uint32_t i = 0; i < slot_count; i++) {
            client *c = &slots[i];
            if (c->state == FREE)
                continue;
            if (c->in_flight || may_read(c))
                attend(c, READS_MAX);
            if (is_overdue(c)) {
                c->can_read = 1; /* what has come is read first */
                for (int reads = 0; reads < 64 && is_overdue(c) && may_read(c); reads++)
                    attend(c, 1);
                c->gone |= is_overdue(c);
            }
            if (c->gone)
                leave(c);
        }
        for (int entered = 0; may_accept && entered < 100; entered++)
            if (!let_in(listener)) {
                may_accept = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
                break;
            }
        if (max_idle_s >= 0 && !client_count && !sessions.items && now - idle_since >= max_idle_s * SECOND)
            break;
    }
    for (uint32_t i = 0; i < slot_count; i++)
        if (slots[i].state != FREE)
            leave(&slots[i]);
    for (uint32_t at = 0; at <= sessions.mask; at++)
        while (sessions.places[at].label) {
            item *i = sessions.places[at].first;
            take_out(i);
            discard(i);
        }
    print_statistics();
    for (int ms = 0; closings && ms < 1000; ms++)
        usleep(1000);
    _exit(0);
}
