/*
 * The load generator: clients in a closed loop on one connection cache server. It prints what it measured as a line of JSON.
 *
 * Nothing here is adapted to one server. A wrong answer ends the run with status 1 and a message on standard error, because
 * figures about wrong answers have no meaning.
 *
 * It has one thread and epoll, because a second thread would compete with the server for the second CPU. Each client has
 * one request under way at a time. Like Postfix's smtp(8), a client writes its "received" and its next request at once.
 *
 *     load SOCKET MIX [--clients N] [--seconds S] [--warmup S] [--stalled N] [--patience S] [--server-pid PID] [--rate R]
 *     load SOCKET park --count N [--first N]
 *
 * --processor N keeps the generator on this CPU.
 *
 * --rate R paces the clients: together they make R operations a second, evenly spread. Without it, they make as many as the
 * server can serve.
 *
 * MIX: endp (save_endp, find_endp), dest (save_dest, save_endp, find_dest), accept (connect, greeting, close) or idle
 * (connect and say nothing).
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ULL
#define CLIENTS_MAX 4096
#define MESSAGE_MAX 1024 /* the longest request and the longest reply have 276 and 195 bytes */

/* Sessions outlive every run. Bindings are renewed all the time and soon gone afterwards, so that they do not pile up in
 * the server from one run to the next; ten seconds are a hundred times what the slowest server needs for one round. */
#define SESSION_TTL "3600"
#define BINDING_TTL "10"

/* ---------------------------------------------------------------------------------------------- small things */

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void check(bool fine, const char *what) {
    if (!fine)
        fail("%s: %s", what, strerror(errno));
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    check(clock_gettime(clock, &now) == 0, "clock_gettime");
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Bytes with NULs in them, as they go over the wire. */
struct message {
    size_t size;
    char bytes[MESSAGE_MAX];
};

static void append(struct message *message, const char *bytes, size_t size) {
    if (message->size + size > sizeof message->bytes)
        fail("a message grows beyond %zu bytes: raise MESSAGE_MAX", sizeof message->bytes);
    memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

static void append_attribute(struct message *message, const char *name, const char *value) {
    append(message, name, strlen(name) + 1);
    append(message, value, strlen(value) + 1);
}

static void end_list(struct message *message) { append(message, "", 1); }

static void show(FILE *out, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] >= ' ' && bytes[i] <= '~')
            fputc(bytes[i], out);
        else
            fprintf(out, "\\x%02x", (unsigned char)bytes[i]);
}

/* ------------------------------------------------------------------------------------------------- histogram */

/* Latencies in buckets that are 1/64 of their value wide: a percentile read from them is off by 1.6 % at most. */
#define SUB_BITS 6
#define SUBS (1u << SUB_BITS)
static uint64_t histogram[(64 - SUB_BITS + 1) * SUBS];

static unsigned bucket_of(uint64_t value) {
    if (value < SUBS)
        return (unsigned)value;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return ((exponent + 1) << SUB_BITS) + (unsigned)((value >> exponent) & (SUBS - 1));
}

static uint64_t bucket_start(unsigned bucket) {
    if (bucket < SUBS)
        return bucket;
    unsigned exponent = (bucket >> SUB_BITS) - 1;
    return (uint64_t)(SUBS + (bucket & (SUBS - 1))) << exponent;
}

/* ------------------------------------------------------------------------------------------------ the script */

enum deed { SAY, HEAR, PASS, TAKE };

struct step {
    enum deed deed;
    bool starts; /* an operation starts with this step */
    bool ends;   /* and ends when this one is done */
    const struct message *message;
};

#define STEPS_MAX 10

/* What one client does over and over. Each has labels of its own and so finds exactly what it saved. */
struct script {
    size_t steps;
    struct step step[STEPS_MAX];
    struct message save_dest, save_endp, find, found;
};

#define MESSAGE(literal) {sizeof(literal) - 1, literal} /* less the NUL that C adds */
static const struct message greeting = MESSAGE("protocol\0connection_cache_protocol\0\0");
static const struct message dummy = MESSAGE("dummy\0\0\0");
static const struct message done = MESSAGE("status\0" "0\0\0");

static void add_step(struct script *script, enum deed deed, bool starts, bool ends, const struct message *message) {
    script->step[script->steps++] = (struct step){deed, starts, ends, message};
}

/* Labels and properties as Postfix's smtp(8) writes them, newlines and all. */
static const char endpoint_properties[] = "tls_level=0\nreuse_count=2\nendpoint_features=34695\nexpire_time=1795345680\n\n";

static void write_save_endp(struct message *message, const char *label) {
    append_attribute(message, "request", "save_endp");
    append_attribute(message, "ttl", SESSION_TTL);
    append_attribute(message, "label", label);
    append_attribute(message, "property", endpoint_properties);
    end_list(message);
}

static void write_script(struct script *script, bool through_destination, unsigned number) {
    char endpoint[64], destination[64], destination_properties[256];
    snprintf(endpoint, sizeof endpoint, "smtp\n127.0.0.1\n%u\n0\n", 10000 + number);
    snprintf(destination, sizeof destination, "smtp\n[127.0.0.1]:%u\n", 10000 + number);
    snprintf(destination_properties, sizeof destination_properties,
             "destination=[127.0.0.1]:%u\nhost_name=127.0.0.1\nhost_addr=127.0.0.1\ndestination_features=4096\n\n",
             10000 + number);

    write_save_endp(&script->save_endp, endpoint);
    append_attribute(&script->find, "request", through_destination ? "find_dest" : "find_endp");
    append_attribute(&script->find, "label", through_destination ? destination : endpoint);
    end_list(&script->find);
    append_attribute(&script->found, "status", "0");
    if (through_destination)
        append_attribute(&script->found, "property", destination_properties);
    append_attribute(&script->found, "property", endpoint_properties);
    end_list(&script->found);

    if (through_destination) {
        struct message *save = &script->save_dest;
        append_attribute(save, "request", "save_dest");
        append_attribute(save, "ttl", BINDING_TTL);
        append_attribute(save, "label", destination);
        append_attribute(save, "property", destination_properties);
        append_attribute(save, "label", endpoint);
        end_list(save);
        add_step(script, SAY, true, false, save);
        add_step(script, HEAR, false, true, &done);
    }
    add_step(script, SAY, true, false, &script->save_endp);
    add_step(script, HEAR, false, false, &dummy);
    add_step(script, PASS, false, false, NULL);
    add_step(script, HEAR, false, true, &done);
    add_step(script, SAY, true, false, &script->find);
    add_step(script, HEAR, false, false, &script->found);
    add_step(script, SAY, false, false, &dummy);
    add_step(script, TAKE, false, true, NULL);
}

/* ------------------------------------------------------------------------------------------------ one client */

struct client {
    unsigned number;
    int fd;
    int parked; /* what it saves: one end of a pair of its own, the other stays open here */
    struct stat parked_as;
    struct script script;
    size_t at;       /* step */
    size_t heard;    /* bytes of the reply so far */
    bool owes_dummy; /* the "received" that goes out with the next request */
    bool finished;
    uint64_t started_ns;
    uint64_t due_ns; /* when its next dance begins, if the clients are paced */
};

static struct sockaddr_un server_address = {.sun_family = AF_UNIX};
static uint64_t deadline_ns, measured_from_ns, operations;
static uint64_t dance_interval_ns = 0; /* between two dances of one client; 0: no pause */

static int connect_to_server(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&server_address, sizeof server_address) != 0)
        fail("cannot connect to %s: %s", server_address.sun_path, strerror(errno));
    return fd;
}

static int make_session(void) {
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    return pair[0];
}

static void say(int fd, const struct message *message, bool with_dummy) {
    struct iovec pieces[2] = {{(void *)dummy.bytes, dummy.size}, {(void *)message->bytes, message->size}};
    struct msghdr header = {.msg_iov = with_dummy ? pieces : pieces + 1, .msg_iovlen = with_dummy ? 2 : 1};
    ssize_t sent = sendmsg(fd, &header, MSG_NOSIGNAL);
    check(sent >= 0, "cannot send a request");
    if ((size_t)sent != message->size + (with_dummy ? dummy.size : 0))
        fail("a request of %zu bytes went out in part: %zd bytes", message->size, sent);
}

static void pass_descriptor(int fd, int descriptor) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    struct iovec byte = {(void *)"", 1};
    struct msghdr message = {
        .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    check(sendmsg(fd, &message, MSG_NOSIGNAL) == 1, "cannot pass a descriptor");
}

/* Returns -1 where nothing has come yet. */
static int take_descriptor(int fd) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    check(size >= 0, "cannot receive a descriptor");
    if (size == 0)
        fail("the server closed the connection instead of passing a descriptor");
    if (message.msg_controllen < CMSG_LEN(sizeof(int)) || control.header.cmsg_type != SCM_RIGHTS ||
        message.msg_flags & MSG_CTRUNC)
        fail("the server sent byte %d without exactly one descriptor", byte);
    int descriptor;
    memcpy(&descriptor, CMSG_DATA(&control.header), sizeof descriptor);
    return descriptor;
}

/* Reads more of a reply and compares it; true when it is complete. Never reads beyond its end. */
static bool hear(int fd, const struct message *expected, size_t *heard) {
    char bytes[MESSAGE_MAX];
    ssize_t size = recv(fd, bytes, expected->size - *heard, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    check(size >= 0, "cannot receive a reply");
    if (size == 0)
        fail("the server closed the connection in the middle of a dance");
    if (memcmp(bytes, expected->bytes + *heard, (size_t)size) != 0) {
        fputs("load: expected \"", stderr);
        show(stderr, expected->bytes + *heard, (size_t)size);
        fputs("\" and received \"", stderr);
        show(stderr, bytes, (size_t)size);
        fputs("\"\n", stderr);
        exit(1);
    }
    *heard += (size_t)size;
    return *heard == expected->size;
}

static void check_descriptor(const struct client *client, int descriptor) {
    struct stat found;
    check(fstat(descriptor, &found) == 0, "fstat of a found descriptor");
    if (found.st_ino != client->parked_as.st_ino || found.st_dev != client->parked_as.st_dev)
        fail("client %u found another session than the one it had saved (inode %lu instead of %lu)", client->number,
             (unsigned long)found.st_ino, (unsigned long)client->parked_as.st_ino);
}

static void count_operation(const struct client *client, uint64_t now) {
    if (client->started_ns >= measured_from_ns && now < deadline_ns) {
        operations++;
        histogram[bucket_of(now - client->started_ns)]++;
    }
}

/* Goes on as far as the client can without hearing from the server; false where it has to wait. */
static bool advance(struct client *client) {
    const struct step *step = &client->script.step[client->at];
    switch (step->deed) {
    case SAY:
        if (client->at == 0 && now_ns() >= deadline_ns) { /* ends with nothing parked and nothing owed */
            if (client->owes_dummy)
                say(client->fd, &dummy, false);
            client->finished = true;
            return false;
        }
        if (client->at == 0 && dance_interval_ns > 0) {
            if (now_ns() < client->due_ns)
                return false;
            client->due_ns += dance_interval_ns;
        }
        if (step->starts)
            client->started_ns = now_ns();
        say(client->fd, step->message, client->owes_dummy && step->starts);
        if (step->starts)
            client->owes_dummy = false;
        break;
    case PASS:
        pass_descriptor(client->fd, client->parked);
        break;
    case HEAR:
        if (!hear(client->fd, step->message, &client->heard))
            return false;
        client->heard = 0;
        break;
    case TAKE: {
        int descriptor = take_descriptor(client->fd);
        if (descriptor < 0)
            return false;
        if (step->ends)
            count_operation(client, now_ns());
        check_descriptor(client, descriptor);
        check(close(descriptor) == 0, "close");
        client->owes_dummy = true;
        client->at = 0;
        return true;
    }
    }
    if (step->ends)
        count_operation(client, now_ns());
    client->at++;
    /* What the server has to say next cannot be there yet: to wait for epoll saves a call that fails. */
    enum deed next = client->script.step[client->at].deed;
    return next == SAY || next == PASS;
}

/* ---------------------------------------------------------------------------------------------- the measures */

static unsigned clients_wanted = 1, stalled_wanted = 0, parked_wanted = 0, parked_first = 0;
static double rate = 0;
static uint64_t window_ns = NS_PER_S, warmup_ns = NS_PER_S / 5, patience_ns = 5 * NS_PER_S;
static pid_t server_pid = 0;

static struct client clients[CLIENTS_MAX];
static uint64_t server_cpu_ns, own_cpu_ns;
static unsigned stalled;
static bool blocked;

/* The processor time of all threads of the server, to the nanosecond. */
static uint64_t server_cpu_now_ns(void) {
    if (server_pid == 0)
        return 0;
    clockid_t clock;
    int failure = clock_getcpuclockid(server_pid, &clock);
    if (failure != 0)
        fail("no processor clock for process %d: %s", server_pid, strerror(failure));
    return clock_ns(clock);
}

/* True when all of it came within the patience. */
static bool hear_in_time(int fd, const struct message *expected) {
    size_t heard = 0;
    struct pollfd one = {.fd = fd, .events = POLLIN};
    uint64_t until_ns = now_ns() + patience_ns;
    for (uint64_t now = now_ns(); now < until_ns; now = now_ns())
        if (poll(&one, 1, (int)((until_ns - now) / 1000000) + 1) == 1 && hear(fd, expected, &heard))
            return true;
    return false;
}

/* Leaves clients in mid-dance: their save_endp is under way, the descriptor does not come. They stay until the end. */
static void stall_clients(void) {
    static struct script script;
    write_script(&script, false, 50000);
    for (unsigned i = 0; i < stalled_wanted; i++) {
        int fd = connect_to_server();
        if (stalled == i && hear_in_time(fd, &greeting)) {
            say(fd, &script.save_endp, false);
            stalled += hear_in_time(fd, &dummy);
        }
    }
}

static void open_client(struct client *client, unsigned number, bool through_destination, int poller) {
    client->number = number;
    client->fd = connect_to_server();
    client->parked = make_session();
    check(fstat(client->parked, &client->parked_as) == 0, "fstat");
    write_script(&client->script, through_destination, number);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) == 0, "epoll_ctl");
}

/* Switches the measuring on at the end of the warm-up and off at the deadline. */
static void keep_time(uint64_t now) {
    static bool on, off;
    if (!on && now >= measured_from_ns) {
        on = true;
        server_cpu_ns = server_cpu_now_ns();
        own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    }
    if (on && !off && now >= deadline_ns) {
        off = true;
        server_cpu_ns = server_cpu_now_ns() - server_cpu_ns;
        own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own_cpu_ns;
    }
}

static void start_clock(void) {
    measured_from_ns = now_ns() + warmup_ns;
    deadline_ns = measured_from_ns + window_ns;
}

/* How long until the next paced client begins, patience at most. */
static int next_dance_ms(int patience_ms) {
    uint64_t now = now_ns(), next = now + (uint64_t)patience_ms * 1000000;
    for (unsigned i = 0; i < clients_wanted; i++)
        if (clients[i].at == 0 && !clients[i].finished && clients[i].due_ns < next)
            next = clients[i].due_ns;
    return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

/* Lets paced clients that rest begin, if they are due; returns how many of them have finished. */
static unsigned begin_dances(void) {
    unsigned finished = 0;
    for (unsigned i = 0; i < clients_wanted; i++)
        if (clients[i].at == 0 && !clients[i].finished) {
            while (advance(&clients[i]))
                ;
            if (clients[i].finished) {
                check(close(clients[i].fd) == 0, "close");
                finished++;
            }
        }
    return finished;
}

/* What a server costs while its clients are connected and say nothing. */
static void measure_rest(void) {
    for (unsigned i = 0; i < clients_wanted; i++)
        if (!hear_in_time(connect_to_server(), &greeting)) {
            blocked = true;
            return;
        }
    start_clock();
    for (uint64_t now = now_ns(); now < deadline_ns; now = now_ns()) {
        keep_time(now);
        uint64_t until = now < measured_from_ns ? measured_from_ns : deadline_ns;
        struct timespec rest = {(time_t)((until - now) / NS_PER_S), (long)((until - now) % NS_PER_S)};
        nanosleep(&rest, NULL);
    }
}

static void measure_dances(bool through_destination) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    check(poller >= 0, "epoll_create1");
    for (unsigned i = 0; i < clients_wanted; i++)
        open_client(&clients[i], i, through_destination, poller);
    for (unsigned i = 0; i < clients_wanted; i++)
        if (!hear_in_time(clients[i].fd, &greeting)) {
            blocked = true;
            return;
        }
    start_clock();
    if (rate > 0) {
        dance_interval_ns = (uint64_t)((through_destination ? 3 : 2) * clients_wanted * (double)NS_PER_S / rate);
        for (unsigned i = 0; i < clients_wanted; i++)
            clients[i].due_ns = now_ns() + i * dance_interval_ns / clients_wanted;
    }
    for (unsigned i = 0; i < clients_wanted; i++)
        while (advance(&clients[i]))
            ;
    struct epoll_event events[64];
    unsigned finished = 0;
    while (finished < clients_wanted) {
        int patience_ms = (int)(patience_ns / 1000000);
        int ready = epoll_wait(poller, events, 64, rate > 0 ? next_dance_ms(patience_ms) : patience_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        check(ready >= 0, "epoll_wait");
        keep_time(now_ns());
        if (ready == 0 && rate == 0) {
            blocked = true;
            return;
        }
        if (rate > 0)
            finished += begin_dances();
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            while (advance(client))
                ;
            if (client->finished) {
                check(close(client->fd) == 0, "close");
                finished++;
            }
        }
    }
    keep_time(now_ns());
}

/* How many connections a second are accepted, greeted and closed; an operation is all three. */
static void measure_accepts(void) {
    start_clock();
    while (true) {
        struct { int fd; uint64_t started_ns; } calls[CLIENTS_MAX];
        for (unsigned i = 0; i < clients_wanted; i++) {
            calls[i].started_ns = now_ns();
            keep_time(calls[i].started_ns);
            if (calls[i].started_ns >= deadline_ns && i == 0)
                return;
            calls[i].fd = connect_to_server();
        }
        for (unsigned i = 0; i < clients_wanted; i++) {
            if (!hear_in_time(calls[i].fd, &greeting)) {
                blocked = true;
                return;
            }
            struct client as_client = {.started_ns = calls[i].started_ns};
            count_operation(&as_client, now_ns());
            check(close(calls[i].fd) == 0, "close");
        }
    }
}

static void report_measures(void) {
    keep_time(now_ns());
    printf("{\"operations\": %lu, \"seconds\": %.6f, \"server_cpu_ns\": %lu, \"own_cpu_ns\": %lu, \"stalled\": %u, "
           "\"blocked\": %s, \"histogram_ns\": [",
           (unsigned long)operations, (double)window_ns / NS_PER_S, (unsigned long)server_cpu_ns,
           (unsigned long)own_cpu_ns, stalled, blocked ? "true" : "false");
    const char *separator = "";
    for (unsigned bucket = 0; bucket < sizeof histogram / sizeof *histogram; bucket++)
        if (histogram[bucket] > 0) {
            printf("%s[%lu, %lu, %lu]", separator, (unsigned long)bucket_start(bucket),
                   (unsigned long)bucket_start(bucket + 1), (unsigned long)histogram[bucket]);
            separator = ", ";
        }
    puts("]}");
}

/* Parks sessions under labels of their own and leaves. All are the same open file: to the server that makes no
 * difference, and this process needs one descriptor instead of thousands. */
static void park(void) {
    int fd = connect_to_server(), session = make_session();
    size_t label_bytes = 0;
    if (!hear_in_time(fd, &greeting))
        fail("no greeting within %lu s", (unsigned long)(patience_ns / NS_PER_S));
    for (unsigned i = parked_first; i < parked_first + parked_wanted; i++) {
        char label[64];
        struct message save = {.size = 0};
        int size = snprintf(label, sizeof label, "smtp\n10.%u.%u.%u\n25\n0\n", i >> 16 & 255, i >> 8 & 255, i & 255);
        write_save_endp(&save, label);
        say(fd, &save, false);
        if (!hear_in_time(fd, &dummy))
            fail("no answer to save %u within %lu s", i, (unsigned long)(patience_ns / NS_PER_S));
        pass_descriptor(fd, session);
        if (!hear_in_time(fd, &done))
            fail("no status of save %u within %lu s", i, (unsigned long)(patience_ns / NS_PER_S));
        label_bytes += (size_t)size;
    }
    printf("{\"parked\": %u, \"label_bytes\": %zu, \"property_bytes\": %zu}\n", parked_wanted, label_bytes,
           parked_wanted * (sizeof endpoint_properties - 1));
}

/* --------------------------------------------------------------------------------------------- command line */

static double number_in(const char *text, double least, double most) {
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most)
        fail("%s is not a number from %g to %g", text, least, most);
    return number;
}

static void stay_on(unsigned processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    check(sched_setaffinity(0, sizeof set, &set) == 0, "cannot stay on one processor");
}

static void read_option(const char *name, const char *value) {
    if (strcmp(name, "--clients") == 0)
        clients_wanted = (unsigned)number_in(value, 1, CLIENTS_MAX);
    else if (strcmp(name, "--stalled") == 0)
        stalled_wanted = (unsigned)number_in(value, 0, CLIENTS_MAX);
    else if (strcmp(name, "--count") == 0)
        parked_wanted = (unsigned)number_in(value, 0, 1 << 24);
    else if (strcmp(name, "--first") == 0)
        parked_first = (unsigned)number_in(value, 0, 1 << 24);
    else if (strcmp(name, "--seconds") == 0)
        window_ns = (uint64_t)(number_in(value, 0.01, 3600) * NS_PER_S);
    else if (strcmp(name, "--warmup") == 0)
        warmup_ns = (uint64_t)(number_in(value, 0, 3600) * NS_PER_S);
    else if (strcmp(name, "--patience") == 0)
        patience_ns = (uint64_t)(number_in(value, 0.1, 3600) * NS_PER_S);
    else if (strcmp(name, "--rate") == 0)
        rate = number_in(value, 0, 1e7);
    else if (strcmp(name, "--server-pid") == 0)
        server_pid = (pid_t)number_in(value, 1, 1 << 22);
    else if (strcmp(name, "--processor") == 0)
        stay_on((unsigned)number_in(value, 0, CPU_SETSIZE - 1));
    else
        fail("unknown option %s; the head of load.c lists them", name);
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

int main(int count, char **words) {
    if (count < 3 || count % 2 == 0)
        fail("usage: load SOCKET endp|dest|accept|idle|park [--OPTION VALUE]…");
    if (strlen(words[1]) >= sizeof server_address.sun_path)
        fail("%s is too long for a UNIX socket: %zu bytes at most", words[1], sizeof server_address.sun_path - 1);
    strcpy(server_address.sun_path, words[1]);
    for (int i = 3; i < count; i += 2)
        read_option(words[i], words[i + 1]);
    raise_descriptor_limit();
    const char *mix = words[2];
    if (strcmp(mix, "park") == 0) {
        park();
        return 0;
    }
    stall_clients();
    if (strcmp(mix, "accept") == 0)
        measure_accepts();
    else if (strcmp(mix, "idle") == 0)
        measure_rest();
    else if (strcmp(mix, "endp") == 0 || strcmp(mix, "dest") == 0)
        measure_dances(strcmp(mix, "dest") == 0);
    else
        fail("unknown mix %s: one of endp, dest, accept, idle, park", mix);
    report_measures();
    return 0;
}
