/*
 * A shared connection cache as a C programmer writes one from spec/SPEC.md: a thread for each client, one lock around
 * the cache, a thread that removes what is due.
 *
 *   threaded --listen PATH [--clock FILE] [--ttl-limit S] [--max-idle S] ...
 *
 * --clock names a file of eight bytes that counts whole seconds, instead of the machine's clock, unless it is empty. Every option
 * takes one value. Statistics go to standard error.
 */
#define _GNU_SOURCE
#include <ctype.h>
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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <linux/sockios.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define FOREVER INT64_MAX
#define TICK (SECOND / 20) /* how often a clock in a file is looked at */
#define PASSED_MAX 253     /* the kernel passes no more descriptors with one message */
#define BUCKETS 4096

/* ---- Limits and the clock ---- */

static long ttl_limit = 2, max_idle = -1, status_update_time = 600, ipc_timeout = 3600;
static long attribute_list_bytes_max = 65536, attributes_max = 64, output_bytes_max = 65536;
static long sessions_max = 100000, sessions_per_endpoint_max = 100000, bindings_max = 100000;
static long bindings_per_destination_max = 1000, cached_bytes_max = 67108864, clients_max = 1000;
static long clients_per_user_max = -1;

static const volatile int64_t *clock_word;

static int64_t now(void) {
    struct timespec t;
    if (clock_word)
        return *clock_word * SECOND;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- The cache: entries in two hash tables, each chain in the order of saving, and a list in the order of expiry ---- */

typedef struct entry {
    struct entry *next, *prev;   /* the chain of its bucket */
    struct entry *later, *sooner; /* the list of expiries */
    struct table *table;
    int64_t expiry;
    int fd;                      /* a session's; -1 for a binding */
    char *label, *endpoint, *properties; /* endpoint: a binding's */
} entry;

typedef struct table {
    entry *first[BUCKETS], *last[BUCKETS];
    long count, labels;
} table;

static table sessions, bindings;
static entry *soonest, *latest;
static long cached_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t soonest_changed;

static struct { long hits, misses; } lookups[2]; /* of domains, of addresses */
static long domains_peak, addresses_peak, connections_peak;
static int64_t interval_began;
static time_t interval_date;

static unsigned bucket_of(const char *label) {
    unsigned hash = 5381;
    while (*label)
        hash = hash * 33 + (unsigned char)*label++;
    return hash % BUCKETS;
}

static entry *oldest(table *t, const char *label) {
    entry *e = t->first[bucket_of(label)];
    while (e && strcmp(e->label, label))
        e = e->next;
    return e;
}

static long count_of(table *t, const char *label) {
    long count = 0;
    for (entry *e = t->first[bucket_of(label)]; e; e = e->next)
        count += !strcmp(e->label, label);
    return count;
}

static long bytes_of(const entry *e) {
    return strlen(e->label) + strlen(e->properties) + (e->endpoint ? strlen(e->endpoint) : 0);
}

static void unlink_expiry(entry *e) {
    *(e->sooner ? &e->sooner->later : &soonest) = e->later;
    *(e->later ? &e->later->sooner : &latest) = e->sooner;
}

static void link_expiry(entry *e) {
    entry *before = latest;
    while (before && before->expiry > e->expiry)
        before = before->sooner;
    e->sooner = before;
    e->later = before ? before->later : soonest;
    *(e->sooner ? &e->sooner->later : &soonest) = e;
    *(e->later ? &e->later->sooner : &latest) = e;
    if (soonest == e)
        pthread_cond_signal(&soonest_changed);
}

static void insert(entry *e, int at_front) {
    table *t = e->table;
    unsigned bucket = bucket_of(e->label);
    t->labels += oldest(t, e->label) == NULL;
    t->count++;
    cached_bytes += bytes_of(e);
    e->prev = at_front ? NULL : t->last[bucket];
    e->next = at_front ? t->first[bucket] : NULL;
    *(e->prev ? &e->prev->next : &t->first[bucket]) = e;
    *(e->next ? &e->next->prev : &t->last[bucket]) = e;
    link_expiry(e);
}

static void take_out(entry *e) {
    table *t = e->table;
    unsigned bucket = bucket_of(e->label);
    *(e->prev ? &e->prev->next : &t->first[bucket]) = e->next;
    *(e->next ? &e->next->prev : &t->last[bucket]) = e->prev;
    unlink_expiry(e);
    t->count--;
    cached_bytes -= bytes_of(e);
    t->labels -= oldest(t, e->label) == NULL;
}

static entry *new_entry(table *t, const char *label, const char *endpoint, const char *properties, int64_t expiry) {
    entry *e = calloc(1, sizeof *e);
    e->table = t;
    e->label = strdup(label);
    e->endpoint = endpoint ? strdup(endpoint) : NULL;
    e->properties = strdup(properties);
    e->expiry = expiry;
    e->fd = -1;
    return e;
}

/* Close an entry's descriptor and free it. The lock is not held: closing may wait. */
static void discard(entry *e) {
    if (e->fd >= 0)
        close(e->fd);
    free(e->label);
    free(e->endpoint);
    free(e->properties);
    free(e);
}

/* Take out what is due and return it as a list by `later`. The lock is held. */
static entry *take_due(int64_t instant) {
    entry *due = NULL, *e;
    while ((e = soonest) && e->expiry <= instant) {
        take_out(e);
        e->later = due;
        due = e;
    }
    return due;
}

static atomic_long discarding; /* lists that are not discarded yet */

static void *discard_all(void *list) {
    entry *e = list;
    while (e) {
        entry *later = e->later;
        discard(e);
        e = later;
    }
    discarding--;
    return NULL;
}

/* Discard what is due in a thread of its own: a file that is slow to close keeps nobody waiting. */
static void discard_elsewhere(entry *list) {
    pthread_t thread;
    discarding++;
    if (pthread_create(&thread, NULL, discard_all, list) == 0)
        pthread_detach(thread);
    else
        discard_all(list);
}

static void lock_and_expire(void) {
    entry *due;
    pthread_mutex_lock(&lock);
    while ((due = take_due(now()))) {
        pthread_mutex_unlock(&lock);
        discard_elsewhere(due);
        pthread_mutex_lock(&lock);
    }
}

static int has_room(const entry *e) {
    int is_session = e->table == &sessions;
    if (cached_bytes + bytes_of(e) > cached_bytes_max)
        return 0;
    if (e->table->count >= (is_session ? sessions_max : bindings_max))
        return 0;
    long max = is_session ? sessions_per_endpoint_max : bindings_per_destination_max;
    return max >= (is_session ? sessions_max : bindings_max) || count_of(e->table, e->label) < max;
}

static void raise_peak(long *peak, long value) {
    if (*peak < value)
        *peak = value;
}

/* Save a new entry, or renew the binding that it equals; return the status. Frees it if it is not kept. */
static int save(entry *e) {
    int status = 0;
    lock_and_expire();
    entry *same = NULL;
    if (e->table == &bindings)
        for (same = bindings.first[bucket_of(e->label)]; same; same = same->next)
            if (!strcmp(same->label, e->label) && !strcmp(same->endpoint, e->endpoint) &&
                !strcmp(same->properties, e->properties))
                break;
    entry *useless = e;
    if (same) {
        unlink_expiry(same);
        same->expiry = e->expiry;
        link_expiry(same);
    } else if (has_room(e)) {
        insert(e, 0);
        useless = NULL;
    } else {
        status = 2;
    }
    if (status == 0) {
        raise_peak(&addresses_peak, sessions.labels);
        if (e->table == &sessions)
            raise_peak(&connections_peak, sessions.count);
        else
            raise_peak(&domains_peak, bindings.labels);
    }
    pthread_mutex_unlock(&lock);
    if (useless)
        discard(useless);
    return status;
}

/* Take out the session that a find hands out, and copy the properties of the binding that led to it. */
static entry *find(int by_destination, const char *label, char **binding_properties) {
    entry *found = NULL;
    lock_and_expire();
    if (!by_destination)
        found = oldest(&sessions, label);
    else
        for (entry *b = bindings.first[bucket_of(label)]; b && !found; b = b->next)
            if (!strcmp(b->label, label) && (found = oldest(&sessions, b->endpoint)))
                *binding_properties = strdup(b->properties);
    if (found) {
        take_out(found);
        lookups[!by_destination].hits++;
    } else {
        lookups[!by_destination].misses++;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void put_back(entry *e) {
    pthread_mutex_lock(&lock);
    int lives = now() < e->expiry;
    if (lives)
        insert(e, 1);
    pthread_mutex_unlock(&lock);
    if (!lives)
        discard(e);
}

/* ---- Statistics; the lock is held ---- */

static void print_lookups(const char *what, int which) {
    long hits = lookups[which].hits, misses = lookups[which].misses;
    if (hits || misses)
        fprintf(stderr, "statistics: %s lookup hits=%ld miss=%ld success=%ld%%\n", what, hits, misses,
                hits * 100 / (hits + misses));
}

static void begin_interval(void) {
    interval_began = now();
    interval_date = clock_word ? (time_t)*clock_word : time(NULL);
    memset(lookups, 0, sizeof lookups);
    domains_peak = addresses_peak = connections_peak = 0;
}

static void print_statistics(void) {
    long peaks = domains_peak | addresses_peak | connections_peak;
    if (peaks || lookups[0].hits || lookups[0].misses || lookups[1].hits || lookups[1].misses) {
        char date[32];
        struct tm parts;
        strftime(date, sizeof date, "%b %e %H:%M:%S", localtime_r(&interval_date, &parts));
        fprintf(stderr, "statistics: start interval %s\n", date);
    }
    print_lookups("domain", 0);
    print_lookups("address", 1);
    if (peaks)
        fprintf(stderr, "statistics: max simultaneous domains=%ld addresses=%ld connection=%ld\n", domains_peak,
                addresses_peak, connections_peak);
    begin_interval();
}

/* The thread that removes what is due, and prints statistics. */
static void *keep_time(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        int64_t instant = now(), next = interval_began + status_update_time * SECOND;
        if (instant >= next) {
            print_statistics();
            continue;
        }
        entry *due = take_due(instant);
        if (due) {
            pthread_mutex_unlock(&lock);
            discard_elsewhere(due);
            pthread_mutex_lock(&lock);
            continue;
        }
        if (soonest && soonest->expiry < next)
            next = soonest->expiry;
        int64_t wait = clock_word ? TICK : next - instant;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t end = until.tv_sec * SECOND + until.tv_nsec + wait;
        until.tv_sec = end / SECOND;
        until.tv_nsec = end % SECOND;
        pthread_cond_timedwait(&soonest_changed, &lock, &until);
    }
    return NULL;
}

/* ---- One client ---- */

typedef struct client {
    struct client *next;
    int fd;
    uid_t uid;
    char *data;        /* what was read and not served */
    size_t length;     /* so many bytes */
    int64_t step_began; /* FOREVER: at rest */
    int in_flight;     /* a descriptor was sent, and perhaps not read */
    char *fields[2 * 1024];
    int field_count;
} client;

static client *clients;
static long client_count;
static int64_t idle_since;

enum { GONE = -1 };

/* Wait until the client's socket is ready for this. Return 0, or GONE when the step takes too long. */
static int await(client *c, short events) {
    struct pollfd wanted = {c->fd, events, 0};
    for (;;) {
        int64_t instant = now();
        int is_late = c->step_began != FOREVER && instant - c->step_began >= ipc_timeout * SECOND;
        int64_t wait = c->step_began == FOREVER ? -1 : c->step_began + ipc_timeout * SECOND - instant;
        if (clock_word && wait > TICK)
            wait = TICK;
        int ready = poll(&wanted, 1, is_late ? 0 : wait < 0 ? -1 : (int)((wait + 999999) / 1000000));
        if (ready > 0)
            return 0;
        if (ready == 0 && is_late)
            return GONE;
    }
}

/* Wait until what was sent to the client was read, if a descriptor is among it. */
static int await_taken(client *c) {
    int unread = 0;
    while (c->in_flight) {
        if (ioctl(c->fd, SIOCOUTQ, &unread) < 0 || unread == 0) {
            c->in_flight = 0;
            break;
        }
        struct pollfd hangup = {c->fd, 0, 0};
        if (poll(&hangup, 1, 1) > 0)
            return GONE;
        if (now() - c->step_began >= ipc_timeout * SECOND)
            return GONE;
    }
    return 0;
}

/* Read once; descriptors that come with it go to `passed`, -1 in `count` if the kernel cut them short. */
static ssize_t receive(client *c, char *data, size_t size, int *passed, int *count) {
    char control[CMSG_SPACE(PASSED_MAX * sizeof(int)) + 256];
    struct iovec part = {data, size};
    *count = 0;
    for (;;) {
        if (await(c, POLLIN) || await_taken(c))
            return GONE;
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                                 .msg_controllen = sizeof control};
        ssize_t got = recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return GONE;
        for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
            if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS) {
                int here = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(passed + *count, CMSG_DATA(each), here * sizeof(int));
                *count += here;
            }
        if (message.msg_flags & MSG_CTRUNC) {
            for (int i = 0; i < *count; i++)
                close(passed[i]);
            *count = -1;
        }
        return got;
    }
}

/* Find the end of the first list in what was read. Return its length, 0 if it is not whole, GONE at a limit. */
static long list_length(client *c) {
    size_t at = 0;
    int fields = 0;
    while (at < c->length) {
        if (fields % 2 == 0 && c->data[at] == 0) {
            c->field_count = fields;
            return at + 1 > (size_t)attribute_list_bytes_max ? GONE : (long)at + 1;
        }
        if (fields == 2 * attributes_max)
            return GONE;
        char *end = memchr(c->data + at, 0, c->length - at);
        if (!end)
            break;
        c->fields[fields++] = c->data + at;
        at = end + 1 - c->data;
    }
    return c->length >= (size_t)attribute_list_bytes_max ? GONE : 0;
}

/* Wait for a whole list. Return its length; its bytes stay at the start of c->data until drop() is called. */
static long await_list(client *c) {
    for (;;) {
        long length = list_length(c);
        int passed[PASSED_MAX], count;
        if (length == GONE)
            return GONE;
        if (length && await_taken(c) == 0)
            return length;
        ssize_t got = receive(c, c->data + c->length, attribute_list_bytes_max - c->length, passed, &count);
        if (got == GONE)
            return GONE;
        if (c->step_began == FOREVER)
            c->step_began = now();
        for (int i = 0; i < count; i++)
            close(passed[i]);
        c->length += got;
    }
}

/* Forget the list that was served; `awaits` says whether the client is in the middle of a dance. */
static void drop(client *c, long length, int awaits) {
    memmove(c->data, c->data + length, c->length - length);
    c->length -= length;
    c->step_began = c->length || awaits ? now() : FOREVER;
}

static int send_all(client *c, const char *data, size_t size) {
    int64_t began = c->step_began;
    int status = 0;
    c->step_began = now();
    while (size && status == 0) {
        ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            data += sent;
            size -= sent;
        } else if (errno == EAGAIN) {
            status = await(c, POLLOUT);
        } else if (errno == EPIPE) {
            break; /* the client is gone: what it sent before that is read first, then its end */
        } else if (errno != EINTR) {
            status = GONE;
        }
    }
    c->step_began = began;
    return status;
}

static int reply(client *c, int status, int properties, const char *first, const char *second) {
    const char *values[2] = {first ? first : "", second ? second : ""};
    char *data = malloc(64 + strlen(values[0]) + strlen(values[1]));
    size_t size = sprintf(data, "status%c%d", 0, status) + 1;
    for (int i = 0; i < properties; i++)
        size += sprintf(data + size, "property%c%s", 0, values[i]) + 1;
    data[size++] = 0;
    int sent = send_all(c, data, size);
    free(data);
    return sent;
}

static int send_descriptor(client *c, int fd) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {"", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    while (sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EAGAIN ? await(c, POLLOUT) : errno != EINTR)
            return GONE;
    }
    return 0;
}

/* ---- Requests ---- */

static long parse_ttl(const char *text) {
    long value = 0;
    while (isspace((unsigned char)*text))
        text++;
    if (*text == '+')
        text++;
    if (!isdigit((unsigned char)*text))
        return 0;
    for (; isdigit((unsigned char)*text); text++)
        if ((value = value * 10 + *text - '0') > 2147483647)
            return 0;
    if (*text)
        return 0;
    return value;
}

static int64_t expiry_of(long ttl) {
    return now() + (ttl < ttl_limit ? ttl : ttl_limit) * SECOND;
}

/* Take the wanted attributes in order. Return whether all are there. */
static int match(client *c, const char *const *names, char **values) {
    for (int i = 0; names[i]; i++) {
        if (2 * i + 3 >= c->field_count || strcmp(c->fields[2 * i + 2], names[i]))
            return 0;
        values[i] = c->fields[2 * i + 3];
    }
    return 1;
}

static int save_endp(client *c, long length, char **values) {
    int passed[PASSED_MAX], count;
    char byte;
    char *label = strdup(values[1]), *properties = strdup(values[2]);
    long ttl = parse_ttl(values[0]);
    int status = 2, sent = GONE;
    drop(c, length, 1);
    if (send_all(c, "dummy\0\0", 8) == 0) {
        c->step_began = now();
        ssize_t got = 1;
        if (c->length) { /* it was read with plain bytes, and so carries nothing */
            memmove(c->data, c->data + 1, --c->length);
            count = 0;
        } else {
            got = receive(c, &byte, 1, passed, &count);
        }
        if (got == 1) {
            c->step_began = c->length ? now() : FOREVER;
            if (count == 1) {
                entry *e = new_entry(&sessions, label, NULL, properties, expiry_of(ttl));
                e->fd = passed[0];
                status = save(e);
            } else {
                for (int i = 0; i < count; i++)
                    close(passed[i]);
            }
            sent = reply(c, status, 0, NULL, NULL);
        }
    }
    free(label);
    free(properties);
    return sent;
}

static int hand_over(client *c, entry *e) {
    long length = await_list(c);
    if (length == GONE) {
        put_back(e);
        return GONE;
    }
    int is_ready = c->field_count && !strcmp(c->fields[0], "dummy");
    drop(c, length, is_ready);
    if (!is_ready) {
        put_back(e);
        return 0;
    }
    if (send_descriptor(c, e->fd)) {
        put_back(e);
        return GONE;
    }
    discard(e);
    c->in_flight = 1;
    length = await_list(c);
    if (length == GONE)
        return GONE;
    drop(c, length, 0);
    return 0;
}

static int find_and_hand_over(client *c, long length, int by_destination, char *label) {
    char *binding_properties = NULL;
    entry *e = find(by_destination, label, &binding_properties);
    drop(c, length, e != NULL);
    int status;
    if (!e)
        return reply(c, 2, 1 + by_destination, NULL, NULL);
    if (by_destination)
        status = reply(c, 0, 2, binding_properties, e->properties);
    else
        status = reply(c, 0, 1, e->properties, NULL);
    free(binding_properties);
    if (status) {
        put_back(e);
        return GONE;
    }
    return hand_over(c, e);
}

static const char *const SAVE_ENDP[] = {"ttl", "label", "property", NULL};
static const char *const SAVE_DEST[] = {"ttl", "label", "property", "label", NULL};
static const char *const FIND[] = {"label", NULL};

static int serve_list(client *c, long length) {
    char *values[4];
    if (c->field_count < 2 || strcmp(c->fields[0], "request")) {
        drop(c, length, 0);
        return 0;
    }
    const char *name = c->fields[1];
    if (!strcmp(name, "save_endp") && match(c, SAVE_ENDP, values) && parse_ttl(values[0]))
        return save_endp(c, length, values);
    if (!strcmp(name, "find_endp") && match(c, FIND, values))
        return find_and_hand_over(c, length, 0, values[0]);
    if (!strcmp(name, "find_dest") && match(c, FIND, values))
        return find_and_hand_over(c, length, 1, values[0]);
    int status = 1, properties = !strcmp(name, "find_endp") ? 1 : !strcmp(name, "find_dest") ? 2 : 0;
    if (!strcmp(name, "save_dest") && match(c, SAVE_DEST, values) && parse_ttl(values[0]))
        status = save(new_entry(&bindings, values[1], values[3], values[2], expiry_of(parse_ttl(values[0]))));
    drop(c, length, 0);
    return reply(c, status, properties, NULL, NULL);
}

static void *serve(void *given) {
    static const char greeting[] = "protocol\0connection_cache_protocol\0";
    client *c = given;
    c->data = malloc(attribute_list_bytes_max);
    if (c->data && send_all(c, greeting, sizeof greeting) == 0) {
        long length;
        while ((length = await_list(c)) != GONE)
            if (serve_list(c, length) == GONE)
                break;
    }
    pthread_mutex_lock(&lock);
    client **link = &clients;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    client_count--;
    idle_since = now();
    pthread_mutex_unlock(&lock);
    close(c->fd);
    free(c->data);
    free(c);
    return NULL;
}

/* ---- The process ---- */

static volatile sig_atomic_t ended;

static void end(int number) {
    (void)number;
    ended = 1;
}

static long clients_of(uid_t uid) {
    long count = 0;
    for (client *c = clients; c; c = c->next)
        count += c->uid == uid;
    return count;
}

static void let_in(int fd) {
    struct ucred credentials = {0};
    socklen_t size = sizeof credentials;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
    client *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->uid = credentials.uid;
    c->step_began = FOREVER;
    pthread_mutex_lock(&lock);
    int is_refused = client_count >= clients_max ||
                     (clients_per_user_max >= 0 && clients_of(c->uid) >= clients_per_user_max);
    if (!is_refused) {
        c->next = clients;
        clients = c;
        client_count++;
    }
    pthread_mutex_unlock(&lock);
    pthread_t thread;
    if (is_refused) {
        close(fd);
        free(c);
    } else if (pthread_create(&thread, NULL, serve, c) == 0) {
        pthread_detach(thread);
    } else {
        fputs("no thread for a client\n", stderr);
        pthread_mutex_lock(&lock);
        clients = c->next;
        client_count--;
        pthread_mutex_unlock(&lock);
        close(fd);
        free(c);
    }
}

static int is_idle(void) {
    pthread_mutex_lock(&lock);
    int idle = max_idle >= 0 && client_count == 0 && sessions.count == 0 && now() - idle_since >= max_idle * SECOND;
    pthread_mutex_unlock(&lock);
    return idle;
}

static struct { const char *name; long *value; } OPTIONS[] = {
    {"--ttl-limit", &ttl_limit}, {"--max-idle", &max_idle}, {"--status-update-time", &status_update_time},
    {"--ipc-timeout", &ipc_timeout}, {"--attribute-list-bytes-max", &attribute_list_bytes_max},
    {"--attributes-max", &attributes_max}, {"--output-bytes-max", &output_bytes_max},
    {"--sessions-max", &sessions_max}, {"--sessions-per-endpoint-max", &sessions_per_endpoint_max},
    {"--bindings-max", &bindings_max}, {"--bindings-per-destination-max", &bindings_per_destination_max},
    {"--cached-bytes-max", &cached_bytes_max}, {"--clients-max", &clients_max},
    {"--clients-per-user-max", &clients_per_user_max},
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int count, char **words) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(words[i], "--listen"))
            snprintf(address.sun_path, sizeof address.sun_path, "%s", words[i + 1]);
        if (!strcmp(words[i], "--clock") && *words[i + 1]) {
            int file = open(words[i + 1], O_RDONLY | O_CLOEXEC);
            void *word = mmap(NULL, sizeof *clock_word, PROT_READ, MAP_SHARED, file, 0);
            if (word == MAP_FAILED)
                fail(words[i + 1]);
            clock_word = word;
            close(file);
        }
        for (size_t k = 0; k < sizeof OPTIONS / sizeof *OPTIONS; k++)
            if (!strcmp(words[i], OPTIONS[k].name))
                *OPTIONS[k].value = atol(words[i + 1]);
    }
    if (attributes_max > 1024)
        attributes_max = 1024;

    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    sigdelset(&before, SIGTERM);
    sigdelset(&before, SIGINT);
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    unlink(address.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        fail(address.sun_path);

    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&soonest_changed, &attributes);
    idle_since = now();
    begin_interval();
    pthread_t timekeeper;
    if (pthread_create(&timekeeper, NULL, keep_time, NULL))
        fail("pthread_create");

    struct pollfd wanted = {listener, POLLIN, 0};
    struct timespec tick = {0, TICK};
    while (!ended && !is_idle()) {
        if (ppoll(&wanted, 1, &tick, &before) <= 0)
            continue;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            let_in(fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            nanosleep(&tick, NULL);
    }
    pthread_mutex_lock(&lock);
    print_statistics();
    for (client *c = clients; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    unlink(address.sun_path);
    while (soonest) { /* each in a thread of its own: one that is never closed keeps none of the others */
        entry *e = soonest;
        take_out(e);
        e->later = NULL;
        discard_elsewhere(e);
    }
    for (int ticks = 0; discarding && ticks < 20; ticks++)
        nanosleep(&tick, NULL);
    exit(0);
}
