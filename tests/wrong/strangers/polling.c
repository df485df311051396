/*
 * A shared connection cache written from spec/SPEC.md: one thread, poll(2), and lists that are searched from their
 * beginning. Descriptors alone are closed elsewhere, as a close may wait (FD-15).
 *
 *   polling --listen PATH [--clock FILE] [--ttl-limit S] [--max-idle S] ...
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#define CHUNK 4096     /* what is read of one client in one turn */

/* ---- Parameters ---- */

static const char *listen_path, *clock_path;
static int64_t ttl_limit_s = 2, max_idle_s = -1, ipc_timeout_s = 3600, status_update_time_s = 600;
static int64_t list_bytes_max = 16384, attributes_max = 64, output_bytes_max = 16384;
static int64_t sessions_max = 100000, sessions_per_endpoint_max = 100000, bindings_max = 20000;
static int64_t bindings_per_destination_max = 1000, cached_bytes_max = 67108864;
static int64_t clients_max = 1000, clients_per_user_max = -1;

static const struct { const char *name; int64_t *value; } PARAMETERS[] = {
    {"--ttl-limit", &ttl_limit_s},
    {"--max-idle", &max_idle_s},
    {"--ipc-timeout", &ipc_timeout_s},
    {"--status-update-time", &status_update_time_s},
    {"--attribute-list-bytes-max", &list_bytes_max},
    {"--attributes-max", &attributes_max},
    {"--output-bytes-max", &output_bytes_max},
    {"--sessions-max", &sessions_max},
    {"--sessions-per-endpoint-max", &sessions_per_endpoint_max},
    {"--bindings-max", &bindings_max},
    {"--bindings-per-destination-max", &bindings_per_destination_max},
    {"--cached-bytes-max", &cached_bytes_max},
    {"--clients-max", &clients_max},
    {"--clients-per-user-max", &clients_per_user_max},
};

/* ---- Time ---- */

static const volatile int64_t *clock_word;

static int64_t clock_now(void)
{
    struct timespec t;
    if (clock_word)
        return *clock_word * SECOND;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- Closing, where it may wait ---- */

struct closing {
    struct closing *next;
    int fd;
};

static pthread_mutex_t closing_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t closing_wanted = PTHREAD_COND_INITIALIZER;
static struct closing *to_close;
static pthread_cond_t closing_done = PTHREAD_COND_INITIALIZER;
static int idle_closers, waiting_closings, unfinished_closings; /* under the lock */

static void *close_for_ever(void *nothing)
{
    (void)nothing;
    pthread_mutex_lock(&closing_lock);
    for (;;) {
        while (!to_close) {
            idle_closers++;
            pthread_cond_wait(&closing_wanted, &closing_lock);
            idle_closers--;
        }
        struct closing *one = to_close;
        to_close = one->next;
        waiting_closings--;
        pthread_mutex_unlock(&closing_lock);
        close(one->fd);
        free(one);
        pthread_mutex_lock(&closing_lock);
        unfinished_closings--;
        pthread_cond_signal(&closing_done);
    }
    return NULL;
}

static void discard(int fd)
{
    struct closing *one = malloc(sizeof *one);
    one->fd = fd;
    pthread_mutex_lock(&closing_lock);
    one->next = to_close;
    to_close = one;
    waiting_closings++;
    unfinished_closings++;
    if (waiting_closings > idle_closers) {
        pthread_attr_t small;
        pthread_t thread;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 65536);
        pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
        pthread_create(&thread, &small, close_for_ever, NULL);
        pthread_attr_destroy(&small);
    }
    pthread_cond_signal(&closing_wanted);
    pthread_mutex_unlock(&closing_lock);
}

/* Wait until all is closed, or a second: what is not closed by then is kept by somebody who may never let it go. */
static void finish_closing(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&closing_lock);
    while (unfinished_closings && pthread_cond_timedwait(&closing_done, &closing_lock, &until) != ETIMEDOUT)
        ;
}

/* ---- The cache: all sessions in one list, all bindings in another ---- */

struct session {
    struct session *next;
    int64_t expiry;
    int fd;
    char *endpoint, *properties;
};

struct binding {
    struct binding *next;
    int64_t expiry;
    char *destination, *properties, *endpoint;
};

static struct session *sessions;
static struct binding *bindings;
static int64_t cached_bytes;

static struct {
    int64_t domain_hits, domain_misses, address_hits, address_misses;
    int64_t domains_peak, addresses_peak, connections_peak;
} counted;
static int64_t interval_end;
static time_t interval_start;

static size_t session_bytes(const struct session *s)
{
    return strlen(s->endpoint) + strlen(s->properties);
}

static size_t binding_bytes(const struct binding *b)
{
    return strlen(b->destination) + strlen(b->properties) + strlen(b->endpoint);
}

static void free_session(struct session *s)
{
    free(s->endpoint);
    free(s->properties);
    free(s);
}

static void free_binding(struct binding *b)
{
    free(b->destination);
    free(b->properties);
    free(b->endpoint);
    free(b);
}

/* Remove what is due. */
static void expire(int64_t now)
{
    for (struct session **s = &sessions; *s;) {
        struct session *due = *s;
        if (due->expiry > now) {
            s = &due->next;
            continue;
        }
        *s = due->next;
        cached_bytes -= session_bytes(due);
        discard(due->fd);
        free_session(due);
    }
    for (struct binding **b = &bindings; *b;) {
        struct binding *due = *b;
        if (due->expiry > now) {
            b = &due->next;
            continue;
        }
        *b = due->next;
        cached_bytes -= binding_bytes(due);
        free_binding(due);
    }
}

static int64_t next_expiry(void)
{
    int64_t soonest = NEVER;
    for (struct session *s = sessions; s; s = s->next)
        if (s->expiry < soonest)
            soonest = s->expiry;
    for (struct binding *b = bindings; b; b = b->next)
        if (b->expiry < soonest)
            soonest = b->expiry;
    return soonest;
}

static int64_t count_sessions(const char *endpoint)
{
    int64_t count = 0;
    for (struct session *s = sessions; s; s = s->next)
        if (!endpoint || !strcmp(s->endpoint, endpoint))
            count++;
    return count;
}

static int64_t count_bindings(const char *destination)
{
    int64_t count = 0;
    for (struct binding *b = bindings; b; b = b->next)
        if (!destination || !strcmp(b->destination, destination))
            count++;
    return count;
}

static int64_t count_endpoints(void)
{
    int64_t count = 0;
    for (struct session *s = sessions; s; s = s->next) {
        struct session *first = sessions;
        while (strcmp(first->endpoint, s->endpoint))
            first = first->next;
        if (first == s)
            count++;
    }
    return count;
}

static int64_t count_destinations(void)
{
    int64_t count = 0;
    for (struct binding *b = bindings; b; b = b->next) {
        struct binding *first = bindings;
        while (strcmp(first->destination, b->destination))
            first = first->next;
        if (first == b)
            count++;
    }
    return count;
}

static void raise_to(int64_t *peak, int64_t count)
{
    if (*peak < count)
        *peak = count;
}

/* Park a session, which is taken over if the answer is 1. */
static int save_session(struct session *s)
{
    if (count_sessions(NULL) >= sessions_max || count_sessions(s->endpoint) >= sessions_per_endpoint_max)
        return 0;
    if (cached_bytes + (int64_t)session_bytes(s) > cached_bytes_max)
        return 0;
    cached_bytes += session_bytes(s);
    struct session **end = &sessions;
    while (*end)
        end = &(*end)->next;
    s->next = NULL;
    *end = s;
    raise_to(&counted.addresses_peak, count_endpoints());
    raise_to(&counted.connections_peak, count_sessions(NULL));
    return 1;
}

static void put_back(struct session *s, int64_t now)
{
    if (s->expiry <= now) {
        discard(s->fd);
        free_session(s);
        return;
    }
    cached_bytes += session_bytes(s);
    s->next = sessions;
    sessions = s;
}

/* Save or renew a binding, which is taken over; tell whether there was room. */
static int save_binding(struct binding *new)
{
    struct binding **end = &bindings;
    for (; *end; end = &(*end)->next) {
        struct binding *b = *end;
        if (!strcmp(b->destination, new->destination) && !strcmp(b->endpoint, new->endpoint) &&
            !strcmp(b->properties, new->properties)) {
            b->expiry = new->expiry;
            free_binding(new);
            goto saved;
        }
    }
    if (count_bindings(NULL) >= bindings_max ||
        count_bindings(new->destination) >= bindings_per_destination_max ||
        cached_bytes + (int64_t)binding_bytes(new) > cached_bytes_max) {
        free_binding(new);
        return 0;
    }
    cached_bytes += binding_bytes(new);
    new->next = NULL;
    *end = new;
saved:
    raise_to(&counted.domains_peak, count_destinations());
    raise_to(&counted.addresses_peak, count_endpoints());
    return 1;
}

/* Take the oldest session of an endpoint out of the cache. */
static struct session *take_session(const char *endpoint)
{
    for (struct session **s = &sessions; *s; s = &(*s)->next)
        if (!strcmp((*s)->endpoint, endpoint)) {
            struct session *found = *s;
            *s = found->next;
            cached_bytes -= session_bytes(found);
            return found;
        }
    return NULL;
}

static int percentage(int64_t hits, int64_t misses)
{
    return hits * 100 / (hits + misses);
}

static void print_statistics(void)
{
    char date[32];
    if (counted.domain_hits || counted.domain_misses || counted.address_hits || counted.address_misses ||
        counted.domains_peak || counted.addresses_peak || counted.connections_peak) {
        strftime(date, sizeof date, "%b %e %H:%M:%S", localtime(&interval_start));
        fprintf(stderr, "statistics: start interval %s\n", date);
    }
    if (counted.domain_hits || counted.domain_misses)
        fprintf(stderr, "statistics: domain lookup hits=%lld miss=%lld success=%d%%\n",
                (long long)counted.domain_hits, (long long)counted.domain_misses,
                percentage(counted.domain_hits, counted.domain_misses));
    if (counted.address_hits || counted.address_misses)
        fprintf(stderr, "statistics: address lookup hits=%lld miss=%lld success=%d%%\n",
                (long long)counted.address_hits, (long long)counted.address_misses,
                percentage(counted.address_hits, counted.address_misses));
    if (counted.domains_peak || counted.addresses_peak || counted.connections_peak)
        fprintf(stderr, "statistics: max simultaneous domains=%lld addresses=%lld connection=%lld\n",
                (long long)counted.domains_peak, (long long)counted.addresses_peak,
                (long long)counted.connections_peak);
    memset(&counted, 0, sizeof counted);
}

static void begin_interval(int64_t now)
{
    interval_end = now + status_update_time_s * SECOND;
    interval_start = clock_word ? (time_t)*clock_word : time(NULL);
}

/* ---- Clients ---- */

enum state { REQUEST, DESCRIPTOR, READY, SENDING, RECEIVED };

struct client {
    int fd;
    uid_t uid;
    enum state state;
    char *in;            /* read and not served */
    size_t in_length, in_room;
    char *out;           /* not taken by the socket */
    size_t out_length, out_room;
    int ended;           /* its end was read */
    int deaf;            /* it takes no more output */
    int in_flight;       /* a descriptor was sent, and it is not known to be read */
    int gone;
    int64_t step_since;  /* a list, a descriptor, a ready or a received is awaited since; or NEVER */
    int64_t out_since;   /* output waits since; or NEVER */
    struct session *wanted; /* what a save_endp asked for, without its descriptor */
    int64_t ttl_s;
    struct session *held;
};

static struct client *clients;
static struct pollfd *watched; /* the listening socket, then the clients' */
static int client_count, client_room;
static int64_t idle_since;
static int64_t now;

static void *room_for(void *bytes, size_t *room, size_t wanted)
{
    if (wanted <= *room)
        return bytes;
    *room = wanted * 2;
    bytes = realloc(bytes, *room);
    if (!bytes)
        abort();
    return bytes;
}

static void say(struct client *c, const char *bytes, size_t length)
{
    if (c->deaf)
        return;
    c->out = room_for(c->out, &c->out_room, c->out_length + length);
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
    if (c->out_since == NEVER)
        c->out_since = now;
}

static void say_attribute(struct client *c, const char *name, const char *value)
{
    say(c, name, strlen(name) + 1);
    say(c, value, strlen(value) + 1);
}

static void say_end(struct client *c)
{
    say(c, "", 1);
}

static void say_status(struct client *c, int status)
{
    char digit[2] = {'0' + status, 0};
    say_attribute(c, "status", digit);
    say_end(c);
}

static void flush(struct client *c)
{
    size_t sent = 0;
    while (sent < c->out_length) {
        ssize_t n = send(c->fd, c->out + sent, c->out_length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += n;
        } else if (errno == EINTR) {
            continue;
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            break;
        } else {
            c->deaf = 1;
            sent = c->out_length;
        }
    }
    memmove(c->out, c->out + sent, c->out_length - sent);
    c->out_length -= sent;
    if (!c->out_length)
        c->out_since = NEVER;
}

/* ---- Lists ---- */

/* Return the length of the list that begins here, 0 if it has not ended yet, -1 if it breaks a limit. */
static ssize_t list_length(const char *bytes, size_t length)
{
    size_t at = 0;
    int64_t attributes = 0;
    while (at < length) {
        if (at >= (size_t)list_bytes_max)
            return -1;
        if (!bytes[at])
            return at + 1;
        if (++attributes > attributes_max)
            return -1;
        for (int word = 0; word < 2; word++) {
            const char *end = memchr(bytes + at, 0, length - at);
            if (!end)
                return length >= (size_t)list_bytes_max ? -1 : 0;
            at = end - bytes + 1;
        }
    }
    return length >= (size_t)list_bytes_max ? -1 : 0;
}

/* Return the value of the attribute at *at if it has this name, and go on behind it; NULL otherwise. */
static const char *match(const char **at, const char *name)
{
    if (strcmp(*at, name))
        return NULL;
    const char *value = *at + strlen(*at) + 1;
    *at = value + strlen(value) + 1;
    return value;
}

/* Return the seconds that a ttl says, or 0 if it is none. */
static int64_t parse_ttl(const char *text)
{
    int64_t seconds = 0;
    text += strspn(text, " \t\n\v\f\r");
    if (*text == '+')
        text++;
    if (!*text)
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        seconds = seconds * 10 + (*text - '0');
        if (seconds > INT32_MAX)
            return 0;
    }
    return seconds;
}

/* ---- The conversation ---- */

static int64_t expiry_of(int64_t ttl_s)
{
    return now + (ttl_s < ttl_limit_s ? ttl_s : ttl_limit_s) * SECOND;
}

static void hold(struct client *c, struct session *found, const char *binding_properties)
{
    say_attribute(c, "status", "0");
    if (binding_properties)
        say_attribute(c, "property", binding_properties);
    say_attribute(c, "property", found->properties);
    say_end(c);
    c->held = found;
    c->state = READY;
}

static void say_failure_of_find(struct client *c, const char *status, int properties)
{
    say_attribute(c, "status", status);
    while (properties--)
        say_attribute(c, "property", "");
    say_end(c);
}

static void serve_save_endp(struct client *c, const char *at)
{
    const char *ttl = match(&at, "ttl");
    const char *endpoint = ttl ? match(&at, "label") : NULL;
    const char *properties = endpoint ? match(&at, "property") : NULL;
    if (!properties || !(c->ttl_s = parse_ttl(ttl))) {
        say_status(c, 1);
        return;
    }
    c->wanted = calloc(1, sizeof *c->wanted);
    c->wanted->endpoint = strdup(endpoint);
    c->wanted->properties = strdup(properties);
    say_attribute(c, "dummy", "");
    say_end(c);
    c->state = DESCRIPTOR;
}

static void serve_find_endp(struct client *c, const char *at)
{
    const char *endpoint = match(&at, "label");
    if (!endpoint) {
        say_failure_of_find(c, "1", 1);
        return;
    }
    struct session *found = take_session(endpoint);
    if (!found) {
        counted.address_misses++;
        say_failure_of_find(c, "2", 1);
        return;
    }
    counted.address_hits++;
    hold(c, found, NULL);
}

static void serve_save_dest(struct client *c, const char *at)
{
    const char *ttl = match(&at, "ttl");
    const char *destination = ttl ? match(&at, "label") : NULL;
    const char *properties = destination ? match(&at, "property") : NULL;
    const char *endpoint = properties ? match(&at, "label") : NULL;
    int64_t ttl_s = endpoint ? parse_ttl(ttl) : 0;
    if (!ttl_s) {
        say_status(c, 1);
        return;
    }
    struct binding *b = calloc(1, sizeof *b);
    b->destination = strdup(destination);
    b->properties = strdup(properties);
    b->endpoint = strdup(endpoint);
    b->expiry = expiry_of(ttl_s);
    say_status(c, save_binding(b) ? 0 : 2);
}

static void serve_find_dest(struct client *c, const char *at)
{
    const char *destination = match(&at, "label");
    if (!destination) {
        say_failure_of_find(c, "1", 2);
        return;
    }
    for (struct binding *b = bindings; b; b = b->next) {
        if (strcmp(b->destination, destination))
            continue;
        struct session *found = take_session(b->endpoint);
        if (found) {
            counted.domain_hits++;
            hold(c, found, b->properties);
            return;
        }
    }
    counted.domain_misses++;
    say_failure_of_find(c, "2", 2);
}

/* Serve one list, which is complete. */
static void serve_list(struct client *c, const char *list)
{
    if (c->state == READY) {
        if (!strcmp(list, "dummy")) {
            c->state = SENDING;
        } else {
            put_back(c->held, now);
            c->held = NULL;
            c->state = REQUEST;
        }
        return;
    }
    if (c->state == RECEIVED) {
        c->state = REQUEST;
        return;
    }
    const char *at = list;
    const char *name = *list ? match(&at, "request") : NULL;
    if (!name)
        return;
    if (!strcmp(name, "save_endp"))
        serve_save_endp(c, at);
    else if (!strcmp(name, "find_endp"))
        serve_find_endp(c, at);
    else if (!strcmp(name, "save_dest"))
        serve_save_dest(c, at);
    else if (!strcmp(name, "find_dest"))
        serve_find_dest(c, at);
    else
        say_status(c, 1);
}

/* The byte after the invitation has come, with these descriptors. */
static void serve_descriptor(struct client *c, const int *passed, int count, int cut)
{
    struct session *s = c->wanted;
    c->wanted = NULL;
    c->state = REQUEST;
    if (count == 1 && !cut) {
        struct rlimit descriptors;
        getrlimit(RLIMIT_NOFILE, &descriptors);
        s->fd = passed[0];
        s->expiry = expiry_of(c->ttl_s);
        if ((rlim_t)passed[0] + RESERVE < descriptors.rlim_cur && save_session(s)) {
            say_status(c, 0);
            return;
        }
    }
    for (int i = 0; i < count; i++)
        discard(passed[i]);
    free_session(s);
    say_status(c, 2);
}

/* Send the descriptor, if the socket takes it now. */
static void hand_over(struct client *c)
{
    char byte = 0;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &c->held->fd, sizeof(int));
    ssize_t sent;
    do
        sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
            c->gone = 1;
        return;
    }
    discard(c->held->fd);
    free_session(c->held);
    c->held = NULL;
    c->in_flight = 1;
    c->state = RECEIVED;
    c->step_since = now;
}

/* Tell whether what this client sends must wait. */
static int is_blocked(struct client *c)
{
    int unread;
    if (c->in_flight && (c->deaf || (!ioctl(c->fd, SIOCOUTQ, &unread) && unread == 0)))
        c->in_flight = 0;
    return c->in_flight || c->state == SENDING || (int64_t)c->out_length > output_bytes_max;
}

/* Serve what was read, as far as it goes. */
static void serve(struct client *c)
{
    size_t served = 0;
    for (;;) {
        if (c->state == SENDING) {
            flush(c);
            if (!c->out_length)
                hand_over(c);
        }
        if ((int64_t)c->out_length > output_bytes_max)
            flush(c);
        if (c->gone || is_blocked(c) || served == c->in_length)
            break;
        if (c->state == DESCRIPTOR) {
            served++;
            serve_descriptor(c, NULL, 0, 0);
        } else {
            ssize_t length = list_length(c->in + served, c->in_length - served);
            if (length < 0)
                c->gone = 1;
            if (length <= 0)
                break;
            serve_list(c, c->in + served);
            served += length;
        }
        c->step_since = NEVER;
    }
    memmove(c->in, c->in + served, c->in_length - served);
    c->in_length -= served;
    flush(c);
    if (c->state == REQUEST && !c->in_length)
        c->step_since = NEVER;
    else if (c->step_since == NEVER)
        c->step_since = now;
    if (c->ended && !is_blocked(c) && !c->out_length)
        c->gone = 1;
}

/* Read once from a client, and serve that. Return whether there may be more. */
static int read_from(struct client *c)
{
    char bytes[CHUNK];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    int passed[PASSED_MAX], count = 0;
    struct iovec vector = {bytes, c->state == DESCRIPTOR ? 1 : sizeof bytes};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)
            return errno == EINTR;
        c->ended = c->deaf = 1; /* it left, and left unread what was sent to it */
        c->out_length = 0;
        serve(c);
        return 0;
    }
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
            int n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(passed + count, CMSG_DATA(h), n * sizeof(int));
            count += n;
        }
    if (length == 0) {
        c->ended = 1;
        serve(c);
        return 0;
    }
    if (c->state == DESCRIPTOR) {
        serve_descriptor(c, passed, count, message.msg_flags & MSG_CTRUNC);
        c->step_since = NEVER;
        serve(c);
        return 1;
    }
    for (int i = 0; i < count; i++)
        discard(passed[i]);
    c->in = room_for(c->in, &c->in_room, c->in_length + length);
    memcpy(c->in + c->in_length, bytes, length);
    c->in_length += length;
    serve(c);
    return 1;
}

static int is_readable(struct client *c)
{
    return !c->gone && !c->ended && !is_blocked(c);
}

/* Do what poll says of a client. */
static void attend(struct client *c, short events)
{
    if (events & (POLLOUT | POLLHUP | POLLERR))
        flush(c);
    if (c->in_flight && events & POLLHUP) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error == ECONNRESET)
            c->gone = 1; /* it left without reading the descriptor */
    }
    serve(c);
    if (events & (POLLIN | POLLHUP | POLLERR) && is_readable(c))
        read_from(c);
}

static int is_overdue(struct client *c)
{
    int64_t longest = ipc_timeout_s * SECOND;
    return (c->step_since != NEVER && now - c->step_since >= longest) ||
           (c->out_since != NEVER && now - c->out_since >= longest);
}

static void disconnect(struct client *c)
{
    if (c->held)
        put_back(c->held, now);
    if (c->wanted)
        free_session(c->wanted);
    discard(c->fd); /* descriptors may be left unread in it */
    free(c->in);
    free(c->out);
}

static void remove_gone(void)
{
    for (int i = 0; i < client_count;) {
        if (!clients[i].gone) {
            i++;
            continue;
        }
        disconnect(&clients[i]);
        clients[i] = clients[--client_count];
        if (!client_count)
            idle_since = now;
    }
}

static int count_of_user(uid_t uid)
{
    int count = 0;
    for (int i = 0; i < client_count; i++)
        count += clients[i].uid == uid;
    return count;
}

/* Let clients in. Return 0 if there is no descriptor for one. */
static int let_in(int listener)
{
    for (int tries = 0; tries < 100; tries++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS;
        struct ucred user;
        socklen_t size = sizeof user;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size);
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)); /* else the kernel closes what came with one */
        if (client_count >= clients_max ||
            (clients_per_user_max >= 0 && count_of_user(user.uid) >= clients_per_user_max)) {
            discard(fd);
            continue;
        }
        if (client_count == client_room) {
            client_room = client_room ? client_room * 2 : 16;
            clients = realloc(clients, client_room * sizeof *clients);
            watched = realloc(watched, (client_room + 1) * sizeof *watched);
        }
        struct client *c = &clients[client_count++];
        memset(c, 0, sizeof *c);
        c->fd = fd;
        c->uid = user.uid;
        c->step_since = c->out_since = NEVER;
        say_attribute(c, "protocol", "connection_cache_protocol");
        say_end(c);
        flush(c);
    }
    return 1;
}

/* ---- The loop ---- */

static volatile sig_atomic_t asked_to_exit;

static void ask_to_exit(int signal)
{
    (void)signal;
    asked_to_exit = 1;
}

static int64_t soonest_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Return how long poll may wait. */
static int64_t patience(void)
{
    int64_t until = soonest_of(next_expiry(), interval_end);
    if (max_idle_s >= 0 && !client_count && !sessions)
        until = soonest_of(until, idle_since + max_idle_s * SECOND);
    for (int i = 0; i < client_count; i++) {
        if (clients[i].step_since != NEVER)
            until = soonest_of(until, clients[i].step_since + ipc_timeout_s * SECOND);
        if (clients[i].out_since != NEVER)
            until = soonest_of(until, clients[i].out_since + ipc_timeout_s * SECOND);
    }
    int64_t wait = until - clock_now();
    if (clock_word && wait > 0)
        wait = 50 * MS; /* it moves at any time */
    return wait < 0 ? 0 : wait;
}

static int make_listener(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", listen_path);
    unlink(listen_path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror(listen_path);
        exit(1);
    }
    return listener;
}

static void read_words(int count, char **words)
{
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(words[i], "--listen"))
            listen_path = words[i + 1];
        if (!strcmp(words[i], "--clock"))
            clock_path = words[i + 1];
        for (size_t k = 0; k < sizeof PARAMETERS / sizeof *PARAMETERS; k++)
            if (!strcmp(words[i], PARAMETERS[k].name))
                *PARAMETERS[k].value = atoll(words[i + 1]);
    }
    if (!listen_path) {
        fprintf(stderr, "usage: %s --listen PATH ...\n", words[0]);
        exit(2);
    }
    if (clock_path && *clock_path) {
        int fd = open(clock_path, O_RDONLY);
        void *word = mmap(NULL, sizeof *clock_word, PROT_READ, MAP_SHARED, fd, 0);
        if (word == MAP_FAILED) {
            perror(clock_path);
            exit(1);
        }
        close(fd);
        clock_word = word;
    }
}

int main(int count, char **words)
{
    read_words(count, words);
    sigset_t signals, none;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &none);
    sigdelset(&none, SIGTERM);
    sigdelset(&none, SIGINT);
    struct sigaction action = {.sa_handler = ask_to_exit};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    int listener = make_listener(), has_room = 1;
    now = clock_now();
    watched = malloc(sizeof *watched);
    idle_since = now;
    begin_interval(now);
    while (!asked_to_exit) {
        int polled = client_count, recheck = 0;
        watched[0] = (struct pollfd){has_room ? listener : -1, POLLIN, 0};
        for (int i = 0; i < polled; i++) {
            struct client *c = &clients[i];
            short events = is_readable(c) ? POLLIN : 0;
            int full = c->out_length || c->state == SENDING;
            if (full)
                events |= POLLOUT;
            /* Nothing tells when a client has read its descriptor; a hangup would be told again and again. */
            recheck |= c->in_flight;
            watched[i + 1] = (struct pollfd){c->in_flight && !full ? -1 : c->fd, events, 0};
        }
        int64_t wait = patience();
        if (recheck)
            wait = soonest_of(wait, 2 * MS);
        if (!has_room)
            wait = soonest_of(wait, 50 * MS);
        struct timespec timeout = {wait / SECOND, wait % SECOND};
        int ready = ppoll(watched, polled + 1, &timeout, &none);

        now = clock_now();
        expire(now);
        if (now >= interval_end) {
            print_statistics();
            begin_interval(now);
        }
        for (int i = 0; i < polled; i++) {
            short events = ready > 0 ? watched[i + 1].revents : 0;
            if (clients[i].in_flight && watched[i + 1].fd < 0) {
                struct pollfd one = {clients[i].fd, 0, 0};
                poll(&one, 1, 0);
                events = one.revents;
            }
            if (events || clients[i].in_flight)
                attend(&clients[i], events);
        }
        for (int i = 0; i < client_count; i++) {
            struct client *c = &clients[i];
            if (!is_overdue(c))
                continue;
            flush(c);
            serve(c);
            while (is_readable(c) && is_overdue(c) && read_from(c))
                ;
            if (is_overdue(c))
                c->gone = 1;
        }
        remove_gone();
        if (!has_room || (ready > 0 && watched[0].revents))
            has_room = let_in(listener);
        if (max_idle_s >= 0 && !client_count && !sessions && now - idle_since >= max_idle_s * SECOND)
            break;
    }
    for (int i = 0; i < client_count; i++)
        disconnect(&clients[i]);
    while (sessions) {
        struct session *s = sessions;
        sessions = s->next;
        discard(s->fd);
    }
    print_statistics();
    finish_closing();
    _exit(0);
}
