/* A client of a connection cache in C, written from spec/SPEC.md alone, to be copied into a program: four requests, each
 * with a time limit, no memory allocated, nothing kept but the connection to the server.
 *
 * main() takes the scripts of `scache-conformance client`, which holds this client against the specification:
 *
 *     cc -Wall -o client examples/client.c
 *     scache-conformance client --exec './client {socket} {script} {timeout_s}'
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = -1, DONE = 0, MALFORMED = 1, REFUSED = 2 };     /* what a request returns; see the statuses in SPEC.md */

struct cache {
    const char *path;
    double timeout_s;
    int server;                                                 /* the connection to the server, or -1 */
    char list[65536];                                           /* the last list that came */
    size_t length;
};

/* The connection to the server is of no use after a failure: both sides may be out of step (CLNT-8). */
static int fail(struct cache *cache)
{
    if (cache->server >= 0) close(cache->server);
    cache->server = -1;
    return FAILED;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static int wait_for(int file, short what, double deadline_s)
{
    struct pollfd wanted = {file, what, 0};
    double left_s = deadline_s - now_s();
    return left_s > 0 && poll(&wanted, 1, (int)(left_s * 1000) + 1) == 1;
}

static int send_all(int file, const char *data, size_t length, double deadline_s)
{
    while (length) {
        ssize_t sent = send(file, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) { data += sent; length -= sent; }
        else if (errno != EAGAIN || !wait_for(file, POLLOUT, deadline_s)) return FAILED;
    }
    return DONE;
}

/* Read one list and no byte more: a descriptor is lost if the byte that carries it is read with plain bytes (FD-2). */
static int read_list(struct cache *cache, double deadline_s)
{
    int is_name = 1, word = 1;                                  /* whether a name is read, and whether a word begins */
    for (cache->length = 0; cache->length < sizeof cache->list; ) {
        char *byte = cache->list + cache->length;
        if (!wait_for(cache->server, POLLIN, deadline_s) || recv(cache->server, byte, 1, 0) != 1) return FAILED;
        cache->length++;
        if (!*byte && is_name && word) return DONE;             /* a NUL where a name would begin (WIRE-2) */
        word = !*byte;
        if (!*byte) is_name = !is_name;
    }
    return FAILED;
}

/* Return the value of the attribute that stands at this place if it has this name, else NULL (WIRE-6). */
static const char *value(struct cache *cache, int place, const char *name)
{
    const char *at = cache->list, *end = cache->list + cache->length - 1;
    for (; at < end; place--) {
        const char *its_value = at + strlen(at) + 1;
        if (!place) return strcmp(at, name) ? NULL : its_value;
        at = its_value + strlen(its_value) + 1;
    }
    return NULL;
}

static int connect_to(struct cache *cache, double deadline_s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *protocol;
    long left_us = (long)((deadline_s - now_s()) * 1e6);
    struct timeval limit = {left_us / 1000000, left_us % 1000000};
    if (cache->server >= 0) return DONE;
    if (left_us <= 0) return FAILED;                            /* to the kernel, 0 is no limit */
    if (strlen(cache->path) >= sizeof address.sun_path) return FAILED;
    strcpy(address.sun_path, cache->path);
    cache->server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (cache->server < 0) return FAILED;
    /* connect waits while a server that hangs accepts nobody; this limits it, and sendmsg. */
    setsockopt(cache->server, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(cache->server, (struct sockaddr *)&address, sizeof address)) return fail(cache);
    if (read_list(cache, deadline_s)) return fail(cache);       /* the server speaks first (CONN-1, CLNT-1) */
    protocol = value(cache, 0, "protocol");
    return protocol && !strcmp(protocol, "connection_cache_protocol") ? DONE : fail(cache);
}

/* Send a request of so many attributes, `request` not counted, and read the reply. */
static int request(struct cache *cache, const char *name, const char *const attributes[][2], int count, double deadline_s)
{
    char list[65536];
    size_t length = 0;
    const char *words[2] = {"request", name};
    for (int number = 0; number <= count; number++) {
        for (int half = 0; half < 2; half++) {
            size_t size = strlen(words[half]) + 1;
            if (length + size >= sizeof list) return FAILED;
            memcpy(list + length, words[half], size);
            length += size;
        }
        if (number < count) { words[0] = attributes[number][0]; words[1] = attributes[number][1]; }
    }
    list[length++] = 0;
    if (send_all(cache->server, list, length, deadline_s) || read_list(cache, deadline_s)) return fail(cache);
    return DONE;
}

static int status(struct cache *cache)
{
    const char *text = value(cache, 0, "status");
    if (!text || strlen(text) != 1 || *text < '0' || *text > '2') return fail(cache);
    return *text - '0';
}

/* A server that has gone is tried once more over a new connection: an idle one may have been closed (CLNT-8). */
static int begin(struct cache *cache, const char *name, const char *const attributes[][2], int count, double deadline_s)
{
    int is_old = cache->server >= 0;
    if (connect_to(cache, deadline_s)) return FAILED;
    if (!request(cache, name, attributes, count, deadline_s)) return DONE;
    if (!is_old || connect_to(cache, deadline_s)) return FAILED;
    return request(cache, name, attributes, count, deadline_s);
}

int save_endp(struct cache *cache, const char *ttl, const char *label, const char *properties, int parked)
{
    double deadline_s = now_s() + cache->timeout_s;
    const char *const attributes[][2] = {{"ttl", ttl}, {"label", label}, {"property", properties}};
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = {.room = {0}};
    struct iovec data = {"", 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    if (begin(cache, "save_endp", attributes, 3, deadline_s)) return FAILED;
    if (!value(cache, 0, "dummy")) return status(cache);        /* no invitation: the request was refused (CLNT-4) */
    control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &parked, sizeof parked);
    if (sendmsg(cache->server, &message, MSG_NOSIGNAL) != 1 || read_list(cache, deadline_s)) return fail(cache);
    return status(cache);                                       /* only 0 says that it is parked (CLNT-3) */
}

int save_dest(struct cache *cache, const char *ttl, const char *label, const char *properties, const char *endpoint)
{
    double deadline_s = now_s() + cache->timeout_s;
    const char *const attributes[][2] = {{"ttl", ttl}, {"label", label}, {"property", properties}, {"label", endpoint}};
    return begin(cache, "save_dest", attributes, 4, deadline_s) ? FAILED : status(cache);
}

/* find_endp or find_dest: on DONE the descriptor is in *found, and the properties are in the list. */
int find(struct cache *cache, const char *name, const char *label, int *found)
{
    double deadline_s = now_s() + cache->timeout_s;
    const char *const attributes[][2] = {{"label", label}};
    union { struct cmsghdr header; char room[CMSG_SPACE(253 * sizeof(int))]; } control;
    char byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    int count = 0, descriptors[253], answer;
    struct cmsghdr *header;
    if (begin(cache, name, attributes, 1, deadline_s)) return FAILED;
    if ((answer = status(cache)) != DONE) return answer;
    if (send_all(cache->server, "dummy\0\0", 8, deadline_s) || !wait_for(cache->server, POLLIN, deadline_s) ||
        recvmsg(cache->server, &message, MSG_CMSG_CLOEXEC) != 1) return fail(cache);
    if ((header = CMSG_FIRSTHDR(&message)) && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors, CMSG_DATA(header), count * sizeof(int));
    }
    if (count != 1 || message.msg_flags & MSG_CTRUNC ||         /* cut off: another one came, and there was no room */
        send_all(cache->server, "dummy\0\0", 8, deadline_s)) {
        while (count) close(descriptors[--count]);              /* none of several is known to be the right one (CLNT-7) */
        return fail(cache);
    }
    *found = descriptors[0];
    return DONE;
}

static int is_socket(int file)
{
    struct stat about;
    return !fstat(file, &about) && S_ISSOCK(about.st_mode);
}

static const char *found(struct cache *cache, const char *name, const char *label)
{
    int connection, answer = find(cache, name, label, &connection);
    if (answer == DONE) {
        int is_used = is_socket(connection) && send(connection, "!", 1, MSG_NOSIGNAL) == 1;
        close(connection);                                      /* also what is no socket (CLNT-10) */
        return is_used ? "found" : "failed";
    }
    return answer == REFUSED ? "nothing" : "failed";
}

int main(int argc, char **argv)
{
    static struct cache cache = {.server = -1};
    char line[10000], answer[100], *words[8];
    FILE *script = argc == 4 ? fopen(argv[2], "r") : NULL;
    if (!script) { fprintf(stderr, "usage: client SOCKET SCRIPT TIMEOUT_S\n"); return 2; }
    cache.path = argv[1];
    cache.timeout_s = atof(argv[3]);
    while (fgets(line, sizeof line, script)) {
        int count = 0;
        const char *said = "failed";
        line[strcspn(line, "\n")] = 0;
        for (char *word = strtok(line, " "); word && count < 8; word = strtok(NULL, " ")) words[count++] = word;
        if (!strcmp(words[0], "pause")) {
            puts("paused");
            fflush(stdout);
            if (!fgets(answer, sizeof answer, stdin)) return 2;
            continue;
        } else if (!strcmp(words[0], "close")) {
            fail(&cache);
            said = "closed";
        } else if (!strcmp(words[0], "save_endp")) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            strncpy(address.sun_path, words[4], sizeof address.sun_path - 1);
            if (!connect(peer, (struct sockaddr *)&address, sizeof address) &&
                save_endp(&cache, words[3], words[1], words[2], peer) == DONE) said = "saved";
            close(peer);                                        /* parked or not, this copy is not used (CLNT-9) */
        } else if (!strcmp(words[0], "save_dest")) {
            if (save_dest(&cache, words[4], words[1], words[2], words[3]) == DONE) said = "saved";
        } else {
            said = found(&cache, words[0], words[1]);
        }
        puts(said);
        fflush(stdout);
    }
    fail(&cache);
    fclose(script);
    return 0;
}
