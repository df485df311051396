/*
 * A shared connection cache written from spec/SPEC.md: four threads wait on one edge-triggered epoll. Everything lies
 * in arrays and is known by its index: clients, sessions, bindings, labels in a hash table, expiries in a heap.
 *
 *   workers --listen PATH [--clock FILE] [--ttl-limit S] [--max-idle S] ...
 *
 * --clock names a file of eight bytes that counts whole seconds, instead of the machine's clock, unless it is empty.
 * Every option takes one value. Statistics go to standard error.
 *
 * Locks: a client's is taken first, then the cache's or the timer's. Nothing that may wait is done under the cache's.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <linux/sockios.h>
#include <time.h>
#include <unistd.h>

typedef int64_t ns_t;
typedef int32_t index_t; /* into one of the arrays; NONE for nothing */

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NEVER INT64_MAX
#define NONE (-1)
#define WORKERS 4
#define DESCRIPTORS_PER_MESSAGE 253 /* the kernel's own limit */
#define DESCRIPTORS_KEPT 261        /* LIMIT-8 */
#define BUCKETS 8192
#define ARRAY_BYTES ((size_t)1 << 28) /* reserved, not used: pages that nobody touches cost nothing */

/* ======== parameters ======== */

enum parameter {
    TTL_LIMIT, MAX_IDLE, IPC_TIMEOUT, STATUS_UPDATE_TIME, ATTRIBUTE_LIST_BYTES_MAX, ATTRIBUTES_MAX, OUTPUT_BYTES_MAX,
    SESSIONS_MAX, SESSIONS_PER_ENDPOINT_MAX, BINDINGS_MAX, BINDINGS_PER_DESTINATION_MAX, CACHED_BYTES_MAX,
    CLIENTS_MAX, CLIENTS_PER_USER_MAX, PARAMETERS
};

static const char *const parameter_names[PARAMETERS] = {
    "ttl-limit", "max-idle", "ipc-timeout", "status-update-time", "attribute-list-bytes-max", "attributes-max",
    "output-bytes-max", "sessions-max", "sessions-per-endpoint-max", "bindings-max", "bindings-per-destination-max",
    "cached-bytes-max", "clients-max", "clients-per-user-max",
};

static int64_t parameter[PARAMETERS] = {
    2, INT32_MAX, 3600, 600, 16384, 64, 16384, 100000, 100000, 20000, 1000, 67108864, 1000, 1000,
};

/* ======== clock and timer ======== */

static const volatile int64_t *clock_file;
static int timer_fd, epoll_fd, listen_fd, signal_fd;
static pthread_mutex_t timer_lock = PTHREAD_MUTEX_INITIALIZER;
static ns_t timer_set_to = NEVER; /* under timer_lock */

static ns_t now_ns(void)
{
    if (clock_file)
        return *clock_file * NS_PER_S;
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* See to it that the timer goes off then, or sooner. With a clock in a file it goes off all the time. */
static void wake_at(ns_t instant)
{
    pthread_mutex_lock(&timer_lock);
    if (instant < timer_set_to) {
        timer_set_to = instant;
        if (!clock_file) {
            ns_t at = instant > 0 ? instant : 1;
            struct itimerspec when = {.it_value = {at / NS_PER_S, at % NS_PER_S}};
            timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
        }
    }
    pthread_mutex_unlock(&timer_lock);
}

/* ======== closing ======== */

/* Each close may wait for ever, so there are as many threads for it as are waiting, and one more. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t more, done;
    int *fds;
    size_t length, room, open; /* open: not closed yet, those in the threads' hands too */
    size_t free_threads;
} closing = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static void *closer(void *unused)
{
    pthread_mutex_lock(&closing.lock);
    for (;;) {
        while (closing.length == 0) {
            closing.free_threads++;
            pthread_cond_wait(&closing.more, &closing.lock);
            closing.free_threads--;
        }
        int fd = closing.fds[--closing.length];
        pthread_mutex_unlock(&closing.lock);
        close(fd);
        pthread_mutex_lock(&closing.lock);
        closing.open--;
        pthread_cond_broadcast(&closing.done);
    }
    return unused;
}

static void start_thread(void *(*function)(void *))
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_create(&thread, &attributes, function, NULL);
    pthread_attr_destroy(&attributes);
}

static void close_later(int fd)
{
    pthread_mutex_lock(&closing.lock);
    if (closing.length == closing.room) {
        closing.room = closing.room * 2 + 64;
        closing.fds = realloc(closing.fds, closing.room * sizeof *closing.fds);
    }
    closing.fds[closing.length++] = fd;
    closing.open++;
    if (closing.length > closing.free_threads)
        start_thread(closer);
    pthread_cond_signal(&closing.more);
    pthread_mutex_unlock(&closing.lock);
}

/* Wait until everything is closed, at most a second: what is not closed then, nobody may ever close. */
static void finish_closing(void)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 1;
    pthread_mutex_lock(&closing.lock);
    while (closing.open > 0)
        if (pthread_cond_timedwait(&closing.done, &closing.lock, &deadline))
            break;
}

/* ======== the cache: everything here is under cache_lock ======== */

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

/* What is parked, or bound. One kind of record for both: the fields that differ are marked. */
struct item {
    index_t label;      /* under which it is found */
    index_t next, prev; /* among those of its label, the oldest first */
    index_t place;      /* in the heap, or NONE */
    ns_t expiry;
    int fd;             /* a session's; NONE for a binding */
    char *endpoint;     /* a binding's */
    char *properties;
};

/* A name of one of the two name spaces that something is under. */
struct label {
    index_t next; /* in its bucket, or among the free ones */
    index_t first, last, count;
    char space;   /* 'e' or 'd' */
    char *name;
};

static struct item *items;
static struct label *labels;
static index_t items_used, labels_used, free_item = NONE, free_label = NONE;
static index_t bucket[BUCKETS];
static index_t *heap;
static index_t heap_length;
static int64_t session_count, binding_count, endpoint_count, destination_count, byte_count;

static struct {
    int64_t lookups[2], hits[2]; /* of domains, of addresses */
    int64_t peak[3];             /* of domains, of addresses, of connections */
} statistics;
static time_t interval_date;
static ns_t next_statistics;

static unsigned hash_of(char space, const char *name)
{
    uint32_t hash = 2166136261u ^ (unsigned char)space;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % BUCKETS;
}

static index_t look_up(char space, const char *name)
{
    index_t l = bucket[hash_of(space, name)];
    while (l != NONE && (labels[l].space != space || strcmp(labels[l].name, name) != 0))
        l = labels[l].next;
    return l;
}

static index_t look_up_or_make(char space, const char *name)
{
    index_t l = look_up(space, name);
    if (l != NONE)
        return l;
    if (free_label != NONE) {
        l = free_label;
        free_label = labels[l].next;
    } else {
        l = labels_used++;
    }
    unsigned b = hash_of(space, name);
    labels[l] = (struct label){bucket[b], NONE, NONE, 0, space, strdup(name)};
    bucket[b] = l;
    *(space == 'e' ? &endpoint_count : &destination_count) += 1;
    return l;
}

static void drop_label(index_t l)
{
    index_t *link = &bucket[hash_of(labels[l].space, labels[l].name)];
    while (*link != l)
        link = &labels[*link].next;
    *link = labels[l].next;
    *(labels[l].space == 'e' ? &endpoint_count : &destination_count) -= 1;
    free(labels[l].name);
    labels[l].next = free_label;
    free_label = l;
}

static void heap_put(index_t at, index_t i)
{
    heap[at] = i;
    items[i].place = at;
}

static void heap_settle(index_t at, index_t i)
{
    while (at > 0 && items[heap[(at - 1) / 2]].expiry > items[i].expiry) {
        heap_put(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        index_t child = 2 * at + 1;
        if (child >= heap_length)
            break;
        if (child + 1 < heap_length && items[heap[child + 1]].expiry < items[heap[child]].expiry)
            child++;
        if (items[heap[child]].expiry >= items[i].expiry)
            break;
        heap_put(at, heap[child]);
        at = child;
    }
    heap_put(at, i);
}

static void heap_remove(index_t i)
{
    index_t at = items[i].place, last = heap[--heap_length];
    if (last != i)
        heap_settle(at, last);
    items[i].place = NONE;
}

static int64_t bytes_of(index_t i)
{
    const struct item *it = &items[i];
    return strlen(labels[it->label].name) + strlen(it->properties) + (it->endpoint ? strlen(it->endpoint) : 0);
}

static index_t make_item(void)
{
    index_t i = free_item;
    if (i == NONE)
        return items_used++;
    free_item = items[i].next;
    return i;
}

static void free_item_of(index_t i)
{
    free(items[i].endpoint);
    free(items[i].properties);
    items[i].next = free_item;
    free_item = i;
}

static void enter(index_t i, char space, const char *name, int in_front)
{
    struct item *it = &items[i];
    it->label = look_up_or_make(space, name);
    struct label *l = &labels[it->label];
    if (in_front) {
        it->prev = NONE;
        it->next = l->first;
        *(l->first == NONE ? &l->last : &items[l->first].prev) = i;
        l->first = i;
    } else {
        it->next = NONE;
        it->prev = l->last;
        *(l->last == NONE ? &l->first : &items[l->last].next) = i;
        l->last = i;
    }
    l->count++;
    *(space == 'e' ? &session_count : &binding_count) += 1;
    byte_count += bytes_of(i);
    heap_settle(heap_length++, i);
    wake_at(items[heap[0]].expiry);
}

static void leave(index_t i)
{
    struct item *it = &items[i];
    struct label *l = &labels[it->label];
    byte_count -= bytes_of(i);
    *(it->prev == NONE ? &l->first : &items[it->prev].next) = it->next;
    *(it->next == NONE ? &l->last : &items[it->next].prev) = it->prev;
    *(l->space == 'e' ? &session_count : &binding_count) -= 1;
    heap_remove(i);
    if (--l->count == 0)
        drop_label(it->label);
}

static void remove_due(ns_t now)
{
    while (heap_length > 0 && items[heap[0]].expiry <= now) {
        index_t i = heap[0];
        leave(i);
        if (items[i].fd != NONE)
            close_later(items[i].fd);
        free_item_of(i);
    }
}

static void take_peak(int which, int64_t count)
{
    if (statistics.peak[which] < count)
        statistics.peak[which] = count;
}

static ns_t expiry_after(ns_t now, int64_t ttl)
{
    if (ttl > parameter[TTL_LIMIT])
        ttl = parameter[TTL_LIMIT];
    return now + ttl * NS_PER_S;
}

/* Return 1 if the session was parked. Otherwise the descriptor is still the caller's. */
static int save_endp(const char *endpoint, const char *properties, int64_t ttl, int fd)
{
    int saved = 0;
    pthread_mutex_lock(&cache_lock);
    ns_t now = now_ns();
    remove_due(now);
    index_t l = look_up('e', endpoint);
    if (session_count < parameter[SESSIONS_MAX] &&
        (l == NONE ? 0 : labels[l].count) < parameter[SESSIONS_PER_ENDPOINT_MAX] &&
        byte_count + (int64_t)(strlen(endpoint) + strlen(properties)) <= parameter[CACHED_BYTES_MAX]) {
        index_t i = make_item();
        items[i] = (struct item){.expiry = expiry_after(now, ttl), .fd = fd, .properties = strdup(properties)};
        enter(i, 'e', endpoint, 0);
        take_peak(1, endpoint_count);
        take_peak(2, session_count);
        saved = 1;
    }
    pthread_mutex_unlock(&cache_lock);
    return saved;
}

/* Return 1 if the binding was saved or renewed. */
static int save_dest(const char *destination, const char *properties, const char *endpoint, int64_t ttl)
{
    int saved = 0;
    pthread_mutex_lock(&cache_lock);
    ns_t now = now_ns();
    remove_due(now);
    index_t l = look_up('d', destination), i = l == NONE ? NONE : labels[l].first;
    while (i != NONE && (strcmp(items[i].endpoint, endpoint) != 0 || strcmp(items[i].properties, properties) != 0))
        i = items[i].next;
    int64_t bytes = strlen(destination) + strlen(properties) + strlen(endpoint);
    if (i != NONE) {
        items[i].expiry = expiry_after(now, ttl);
        heap_settle(items[i].place, i);
        wake_at(items[heap[0]].expiry);
        saved = 1;
    } else if (binding_count < parameter[BINDINGS_MAX] &&
               (l == NONE ? 0 : labels[l].count) < parameter[BINDINGS_PER_DESTINATION_MAX] &&
               byte_count + bytes <= parameter[CACHED_BYTES_MAX]) {
        i = make_item();
        items[i] = (struct item){.expiry = expiry_after(now, ttl), .fd = NONE,
                                 .endpoint = strdup(endpoint), .properties = strdup(properties)};
        enter(i, 'd', destination, 0);
        saved = 1;
    }
    if (saved) {
        take_peak(0, destination_count);
        take_peak(1, endpoint_count);
    }
    pthread_mutex_unlock(&cache_lock);
    return saved;
}

/* A session that was found: out of the cache, and owned by its finder. */
struct found {
    int fd; /* NONE if there is none */
    ns_t expiry;
    char *endpoint, *properties, *binding_properties;
};

static struct found take(index_t l)
{
    index_t i = labels[l].first;
    struct found f = {items[i].fd, items[i].expiry, strdup(labels[l].name), strdup(items[i].properties), NULL};
    leave(i);
    free_item_of(i);
    return f;
}

static struct found find(int by_destination, const char *name)
{
    struct found f = {.fd = NONE};
    pthread_mutex_lock(&cache_lock);
    remove_due(now_ns());
    index_t l = look_up(by_destination ? 'd' : 'e', name);
    if (!by_destination && l != NONE)
        f = take(l);
    if (by_destination && l != NONE)
        for (index_t b = labels[l].first; b != NONE; b = items[b].next) {
            index_t e = look_up('e', items[b].endpoint);
            if (e == NONE)
                continue;
            f = take(e);
            f.binding_properties = strdup(items[b].properties);
            break;
        }
    statistics.lookups[!by_destination]++;
    statistics.hits[!by_destination] += f.fd != NONE;
    pthread_mutex_unlock(&cache_lock);
    return f;
}

static void free_found(struct found *f)
{
    free(f->endpoint);
    free(f->properties);
    free(f->binding_properties);
    *f = (struct found){.fd = NONE};
}

static void put_back(struct found *f)
{
    pthread_mutex_lock(&cache_lock);
    if (f->expiry > now_ns()) {
        index_t i = make_item();
        items[i] = (struct item){.expiry = f->expiry, .fd = f->fd, .properties = strdup(f->properties)};
        enter(i, 'e', f->endpoint, 1);
    } else {
        close_later(f->fd);
    }
    pthread_mutex_unlock(&cache_lock);
    free_found(f);
}

static void begin_interval(ns_t now)
{
    interval_date = clock_file ? now / NS_PER_S : time(NULL);
    next_statistics = now + parameter[STATUS_UPDATE_TIME] * NS_PER_S;
    memset(&statistics, 0, sizeof statistics);
}

static void print_lookups(const char *what, int which)
{
    long hits = statistics.hits[which], lookups = statistics.lookups[which];
    if (lookups)
        fprintf(stderr, "statistics: %s lookup hits=%ld miss=%ld success=%ld%%\n", what, hits, lookups - hits,
                hits * 100 / lookups);
}

static void print_statistics(void)
{
    static const char nothing[sizeof statistics];
    if (memcmp(&statistics, nothing, sizeof statistics) == 0)
        return;
    char date[64];
    struct tm local;
    strftime(date, sizeof date, "%b %e %H:%M:%S", localtime_r(&interval_date, &local));
    fprintf(stderr, "statistics: start interval %s\n", date);
    print_lookups("domain", 0);
    print_lookups("address", 1);
    if (statistics.peak[0] || statistics.peak[1] || statistics.peak[2])
        fprintf(stderr, "statistics: max simultaneous domains=%ld addresses=%ld connection=%ld\n",
                (long)statistics.peak[0], (long)statistics.peak[1], (long)statistics.peak[2]);
}

/* ======== clients ======== */

enum awaited { REQUEST, DESCRIPTOR, READY, SENDING, RECEIVED };

struct buffer {
    char *bytes;
    size_t length, room;
};

struct client {
    pthread_mutex_t lock; /* of all that follows */
    uint32_t generation;  /* how many clients have had this slot; part of what epoll tells */
    int fd;               /* NONE: the slot is free */
    uid_t uid;
    enum awaited awaited;
    struct buffer input, output;
    int at_end;           /* its end was read */
    int broken;           /* output is of no use any more */
    int in_flight;        /* a descriptor was sent and may be unread */
    int leave;            /* to be disconnected */
    ns_t step_since, output_since; /* NEVER: none */
    int64_t ttl;
    char *endpoint, *properties; /* of a save_endp */
    struct found held;
};

static struct client *clients;
static index_t slots_used;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER; /* of the following, and of fd and uid of all slots */
static int64_t client_count;
static ns_t idle_since;
static int accepting = 1; /* whether clients are let in, or there was no descriptor for one */

#define CLIENT_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static uint64_t known_as(const struct client *c)
{
    return (uint64_t)c->generation << 32 | (uint32_t)(c - clients);
}

static void append(struct buffer *b, const void *bytes, size_t length)
{
    if (b->length + length > b->room) {
        b->room = (b->length + length) * 2;
        b->bytes = realloc(b->bytes, b->room);
    }
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
}

static void take_off(struct buffer *b, size_t length)
{
    b->length -= length;
    memmove(b->bytes, b->bytes + length, b->length);
}

static void write_attribute(struct client *c, const char *name, const char *value)
{
    append(&c->output, name, strlen(name) + 1);
    append(&c->output, value, strlen(value) + 1);
}

static void write_end(struct client *c)
{
    append(&c->output, "", 1);
}

static void write_reply(struct client *c, const char *status, int properties)
{
    write_attribute(c, "status", status);
    for (int i = 0; i < properties; i++)
        write_attribute(c, "property", "");
    write_end(c);
}

static void flush_output(struct client *c)
{
    size_t done = 0;
    while (done < c->output.length && !c->broken) {
        ssize_t n = send(c->fd, c->output.bytes + done, c->output.length - done, MSG_NOSIGNAL);
        if (n >= 0)
            done += n;
        else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
            break;
        else if (errno != EINTR)
            c->broken = 1;
    }
    take_off(&c->output, c->broken ? c->output.length : done);
    if (c->output.length == 0) {
        c->output_since = NEVER;
    } else if (c->output_since == NEVER) {
        c->output_since = now_ns();
        wake_at(c->output_since + parameter[IPC_TIMEOUT] * NS_PER_S);
    }
}

/* Walk over a list. Return its length, 0 if its end has not come, -1 if it is longer than a limit. */
static ssize_t measure(const struct buffer *b, size_t from)
{
    size_t limit = parameter[ATTRIBUTE_LIST_BYTES_MAX], here = b->length - from;
    const char *list = b->bytes + from;
    int64_t nuls = 0;
    for (size_t i = 0; i < here && i < limit; i++) {
        int begins = i == 0 || (list[i - 1] == 0 && nuls % 2 == 0);
        if (begins && list[i] == 0)
            return i + 1;
        if (begins && nuls / 2 >= parameter[ATTRIBUTES_MAX])
            return -1;
        nuls += list[i] == 0;
    }
    return here >= limit ? -1 : 0;
}

/* Step over the attribute at the cursor if it has that name, and return its value. */
static const char *expect(const char **cursor, const char *name)
{
    const char *value;
    if (*cursor == NULL || strcmp(*cursor, name) != 0)
        return *cursor = NULL;
    value = *cursor + strlen(name) + 1;
    *cursor = value + strlen(value) + 1;
    return value;
}

/* Return what a ttl says in seconds, 0 if it is not one. */
static int64_t seconds_in(const char *text)
{
    int64_t seconds = 0;
    while (*text == ' ' || (*text >= '\t' && *text <= '\r'))
        text++;
    text += *text == '+';
    do {
        if (*text < '0' || *text > '9')
            return 0;
        seconds = seconds * 10 + *text++ - '0';
        if (seconds > 2147483647)
            return 0;
    } while (*text);
    return seconds;
}

static void carry_out(struct client *c, const char *list)
{
    const char *cursor = list;
    const char *request = expect(&cursor, "request");
    if (request == NULL)
        return;
    if (strcmp(request, "save_endp") == 0) {
        const char *ttl = expect(&cursor, "ttl"), *endpoint = expect(&cursor, "label");
        const char *properties = expect(&cursor, "property");
        if (properties == NULL || (c->ttl = seconds_in(ttl)) == 0) {
            write_reply(c, "1", 0);
            return;
        }
        c->endpoint = strdup(endpoint);
        c->properties = strdup(properties);
        write_attribute(c, "dummy", "");
        write_end(c);
        c->awaited = DESCRIPTOR;
    } else if (strcmp(request, "save_dest") == 0) {
        const char *ttl = expect(&cursor, "ttl"), *destination = expect(&cursor, "label");
        const char *properties = expect(&cursor, "property"), *endpoint = expect(&cursor, "label");
        int64_t seconds = endpoint == NULL ? 0 : seconds_in(ttl);
        write_reply(c, seconds == 0 ? "1" : save_dest(destination, properties, endpoint, seconds) ? "0" : "2", 0);
    } else if (strcmp(request, "find_endp") == 0 || strcmp(request, "find_dest") == 0) {
        int by_destination = strcmp(request, "find_dest") == 0;
        const char *name = expect(&cursor, "label");
        if (name == NULL) {
            write_reply(c, "1", 1 + by_destination);
            return;
        }
        c->held = find(by_destination, name);
        if (c->held.fd == NONE) {
            write_reply(c, "2", 1 + by_destination);
            return;
        }
        write_attribute(c, "status", "0");
        if (by_destination)
            write_attribute(c, "property", c->held.binding_properties);
        write_attribute(c, "property", c->held.properties);
        write_end(c);
        c->awaited = READY;
    } else {
        write_reply(c, "1", 0);
    }
}

static void take_list(struct client *c, const char *list)
{
    switch (c->awaited) {
    case READY:
        if (strcmp(list, "dummy") == 0) {
            c->awaited = SENDING;
        } else {
            put_back(&c->held);
            c->awaited = REQUEST;
        }
        break;
    case RECEIVED:
        c->awaited = REQUEST;
        break;
    default:
        carry_out(c, list);
    }
}

static void take_descriptors(struct client *c, const int *fds, int count, int truncated)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int saved = count == 1 && !truncated && (rlim_t)fds[0] + DESCRIPTORS_KEPT < limit.rlim_cur &&
                save_endp(c->endpoint, c->properties, c->ttl, fds[0]);
    if (!saved)
        for (int i = 0; i < count; i++)
            close_later(fds[i]);
    free(c->endpoint);
    free(c->properties);
    c->endpoint = c->properties = NULL;
    write_reply(c, saved ? "0" : "2", 0);
    c->awaited = REQUEST;
}

static void send_descriptor(struct client *c)
{
    char nul = 0, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec vector = {&nul, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &c->held.fd, sizeof(int));
    while (sendmsg(c->fd, &message, MSG_NOSIGNAL) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
            c->leave = 1;
        return;
    }
    close_later(c->held.fd);
    free_found(&c->held);
    c->awaited = RECEIVED;
    c->in_flight = 1;
    c->step_since = NEVER;
}

/* Tell whether nothing of this client may be served now. */
static int must_wait(struct client *c)
{
    int unread = 1;
    if (c->in_flight && ioctl(c->fd, SIOCOUTQ, &unread) == 0 && unread == 0)
        c->in_flight = 0;
    return c->in_flight || c->awaited == SENDING || (int64_t)c->output.length > parameter[OUTPUT_BYTES_MAX];
}

/* Serve what is there, and go on with what the socket takes. */
static void go_on(struct client *c)
{
    size_t taken = 0;
    while (!c->leave) {
        if (c->awaited == SENDING || (int64_t)c->output.length > parameter[OUTPUT_BYTES_MAX])
            flush_output(c);
        if (c->awaited == SENDING && c->output.length == 0)
            send_descriptor(c);
        if (c->leave || must_wait(c) || taken == c->input.length)
            break;
        if (c->awaited == DESCRIPTOR) {
            take_descriptors(c, NULL, 0, 0);
            taken++;
        } else {
            ssize_t length = measure(&c->input, taken);
            c->leave = length < 0;
            if (length <= 0)
                break;
            take_list(c, c->input.bytes + taken);
            taken += length;
        }
        c->step_since = NEVER;
    }
    take_off(&c->input, taken);
    flush_output(c);
    if (c->awaited == REQUEST && c->input.length == 0) {
        c->step_since = NEVER;
    } else if (c->step_since == NEVER) {
        c->step_since = now_ns();
        wake_at(c->step_since + parameter[IPC_TIMEOUT] * NS_PER_S);
    }
}

/* Read once. Return whether there may be more to read. */
static int read_some(struct client *c)
{
    char bytes[8192];
    char control[CMSG_SPACE(DESCRIPTORS_PER_MESSAGE * sizeof(int)) + 64] __attribute__((aligned(8)));
    int fds[DESCRIPTORS_PER_MESSAGE], count = 0;
    struct iovec vector = {bytes, c->awaited == DESCRIPTOR ? 1 : sizeof bytes};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0 && errno == EINTR)
        return 1;
    if (length < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
        return 0;
    if (length <= 0) {
        c->at_end = 1;
        c->broken |= length < 0;
        return 0;
    }
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
            int more = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds + count, CMSG_DATA(h), more * sizeof(int));
            count += more;
        }
    if (c->awaited == DESCRIPTOR) {
        take_descriptors(c, fds, count, message.msg_flags & MSG_CTRUNC);
        c->step_since = NEVER;
    } else {
        append(&c->input, bytes, length);
        while (count > 0)
            close_later(fds[--count]);
    }
    return 1;
}

static void disconnect(struct client *c)
{
    if (c->held.fd != NONE)
        put_back(&c->held);
    free(c->endpoint);
    free(c->properties);
    free(c->input.bytes);
    free(c->output.bytes);
    pthread_mutex_lock(&slots_lock);
    close_later(c->fd); /* what was passed and not read is closed with it */
    c->fd = NONE;
    client_count--;
    idle_since = now_ns();
    pthread_mutex_unlock(&slots_lock);
    wake_at(idle_since + parameter[MAX_IDLE] * NS_PER_S);
}

/* Do all that can be done for a client now: nothing tells again what was told once. Its lock is held. */
static void attend(struct client *c, uint32_t events)
{
    if (c->in_flight && events & EPOLLHUP) {
        int error = 0;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
        if (error == ECONNRESET)
            c->leave = 1; /* it closed, and the descriptor was not read */
    }
    flush_output(c);
    go_on(c);
    for (int reads = 0; !c->leave && !c->at_end && !must_wait(c); reads++) {
        if (reads == 64) { /* the others have their turn, and epoll tells of this client once more */
            struct epoll_event again = {CLIENT_EVENTS, {.u64 = known_as(c)}};
            epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &again);
            break;
        }
        if (!read_some(c))
            break;
        go_on(c);
    }
    go_on(c);
    if (c->in_flight)
        wake_at(now_ns() + 5 * NS_PER_MS); /* the event may have come a moment before the kernel's count is right */
    if (c->leave || (c->at_end && !must_wait(c) && c->output.length == 0))
        disconnect(c);
}

static int is_overdue(struct client *c, ns_t now)
{
    ns_t since = c->step_since < c->output_since ? c->step_since : c->output_since;
    return since != NEVER && now - since >= parameter[IPC_TIMEOUT] * NS_PER_S;
}

/* ======== letting in ======== */

static int let_one_in(void)
{
    pthread_mutex_lock(&slots_lock);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        accepting = errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS;
        if (!accepting)
            wake_at(now_ns() + 50 * NS_PER_MS);
        pthread_mutex_unlock(&slots_lock);
        return 0;
    }
    accepting = 1;
    struct ucred user;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &(socklen_t){sizeof user});
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
    int64_t of_user = 0;
    index_t slot = NONE;
    for (index_t i = 0; i < slots_used; i++) {
        if (clients[i].fd == NONE && slot == NONE)
            slot = i;
        of_user += clients[i].fd != NONE && clients[i].uid == user.uid;
    }
    if (client_count >= parameter[CLIENTS_MAX] || of_user >= parameter[CLIENTS_PER_USER_MAX]) {
        pthread_mutex_unlock(&slots_lock);
        close_later(fd);
        return 1;
    }
    if (slot == NONE) {
        slot = slots_used;
        pthread_mutex_init(&clients[slot].lock, NULL);
        slots_used++;
    }
    client_count++;
    struct client *c = &clients[slot];
    pthread_mutex_lock(&c->lock); /* whoever has it still is about to see that the slot is free */
    c->generation++;
    c->uid = user.uid;
    c->awaited = REQUEST;
    c->input = c->output = (struct buffer){0};
    c->at_end = c->broken = c->in_flight = c->leave = 0;
    c->step_since = c->output_since = NEVER;
    c->endpoint = c->properties = NULL;
    c->held = (struct found){.fd = NONE};
    c->fd = fd;
    pthread_mutex_unlock(&slots_lock);
    write_attribute(c, "protocol", "connection_cache_protocol");
    write_end(c);
    flush_output(c);
    struct epoll_event event = {CLIENT_EVENTS, {.u64 = known_as(c)}};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    pthread_mutex_unlock(&c->lock);
    return 1;
}

/* ======== the workers ======== */

enum { LISTENER = -1, TIMER = -2, SIGNAL = -3 }; /* what epoll tells for them: no client has such a slot */

static void leave_process(void)
{
    pthread_mutex_lock(&slots_lock);
    for (index_t i = 0; i < slots_used; i++)
        if (clients[i].fd != NONE) {
            if (clients[i].held.fd != NONE)
                close_later(clients[i].held.fd);
            close_later(clients[i].fd);
        }
    pthread_mutex_lock(&cache_lock);
    for (index_t i = 0; i < heap_length; i++)
        if (items[heap[i]].fd != NONE)
            close_later(items[heap[i]].fd);
    print_statistics();
    finish_closing();
    _exit(0);
}

static void attend_slot(index_t slot, uint32_t generation, uint32_t events)
{
    struct client *c = &clients[slot];
    pthread_mutex_lock(&c->lock);
    if (c->fd != NONE && c->generation == generation)
        attend(c, events);
    pthread_mutex_unlock(&c->lock);
}

static void look_at_the_clock(void)
{
    uint64_t times;
    ssize_t got = read(timer_fd, &times, sizeof times);
    (void)got; /* another worker may have been quicker */
    pthread_mutex_lock(&timer_lock);
    timer_set_to = NEVER;
    pthread_mutex_unlock(&timer_lock);

    ns_t now = now_ns();
    pthread_mutex_lock(&cache_lock);
    remove_due(now);
    if (now >= next_statistics) {
        print_statistics();
        begin_interval(now);
    }
    int64_t parked = session_count;
    wake_at(next_statistics);
    if (heap_length > 0)
        wake_at(items[heap[0]].expiry);
    pthread_mutex_unlock(&cache_lock);

    pthread_mutex_lock(&slots_lock);
    index_t used = slots_used;
    int pending = !accepting, idle = client_count == 0 && parked == 0;
    ns_t idle_end = idle_since + parameter[MAX_IDLE] * NS_PER_S;
    pthread_mutex_unlock(&slots_lock);
    if (idle && now >= idle_end)
        leave_process();
    if (idle)
        wake_at(idle_end);
    if (pending)
        while (let_one_in())
            ;
    for (index_t i = 0; i < used; i++) {
        struct client *c = &clients[i];
        pthread_mutex_lock(&c->lock);
        if (c->fd != NONE && (c->in_flight || c->input.length > 0 || is_overdue(c, now)))
            attend(c, 0);
        if (c->fd != NONE && is_overdue(c, now))
            disconnect(c);
        if (c->fd != NONE && c->step_since != NEVER)
            wake_at(c->step_since + parameter[IPC_TIMEOUT] * NS_PER_S);
        if (c->fd != NONE && c->output_since != NEVER)
            wake_at(c->output_since + parameter[IPC_TIMEOUT] * NS_PER_S);
        pthread_mutex_unlock(&c->lock);
    }
}

static void *work(void *unused)
{
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(epoll_fd, &event, 1, -1) <= 0)
            continue;
        index_t slot = (index_t)(uint32_t)event.data.u64;
        switch (slot) {
        case LISTENER:
            while (let_one_in())
                ;
            break;
        case TIMER:
            look_at_the_clock();
            break;
        case SIGNAL:
            leave_process();
            break;
        default:
            attend_slot(slot, event.data.u64 >> 32, event.events);
        }
    }
    return unused;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void *reserve(size_t bytes)
{
    void *array = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (array == MAP_FAILED)
        fail("mmap");
    return array;
}

static void watch(int fd, index_t as, uint32_t events)
{
    struct epoll_event event = {events, {.u64 = (uint32_t)as}};
    if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
        fail("epoll");
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--listen") == 0)
            strncpy(address.sun_path, argv[i + 1], sizeof address.sun_path - 1);
        if (strcmp(argv[i], "--clock") == 0 && argv[i + 1][0]) {
            int fd = open(argv[i + 1], O_RDONLY | O_CLOEXEC);
            clock_file = mmap(NULL, sizeof *clock_file, PROT_READ, MAP_SHARED, fd, 0);
            if (clock_file == MAP_FAILED)
                fail(argv[i + 1]);
            close(fd);
        }
        for (int p = 0; p < PARAMETERS; p++)
            if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, parameter_names[p]) == 0)
                parameter[p] = atoll(argv[i + 1]);
    }
    items = reserve(ARRAY_BYTES);
    labels = reserve(ARRAY_BYTES);
    heap = reserve(ARRAY_BYTES);
    clients = reserve(ARRAY_BYTES);
    for (int b = 0; b < BUCKETS; b++)
        bucket[b] = NONE;

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    unlink(address.sun_path);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof address) || listen(listen_fd, 1024))
        fail(address.sun_path);
    watch(listen_fd, LISTENER, EPOLLIN | EPOLLET);
    watch(timer_fd, TIMER, EPOLLIN | EPOLLET);
    watch(signal_fd, SIGNAL, EPOLLIN);
    if (clock_file) {
        struct itimerspec often = {{0, 50 * NS_PER_MS}, {0, 50 * NS_PER_MS}};
        timerfd_settime(timer_fd, 0, &often, NULL);
    }
    idle_since = now_ns();
    begin_interval(idle_since);
    wake_at(next_statistics);
    wake_at(idle_since + parameter[MAX_IDLE] * NS_PER_S);
    for (int i = 1; i < WORKERS; i++)
        start_thread(work);
    work(NULL);
}
