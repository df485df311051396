/*
 * The floor: the least that a server can do for the dance, in C. For benchmarks only.
 *
 * It has no limits, no expiry and no statistics. It expects well-formed requests and clients that behave.
 *
 * It makes the system calls that scached makes for the dance. Some of them exist only to keep clients from blocking the
 * server: room for descriptors in every read, and the questions "what is the family of the parked socket?", "is something
 * queued in it?" before a close, and "has the client read its last descriptor?".
 *
 * It keeps sessions in a hash table. The difference between the floor and a real server is the price of everything else.
 *
 *     floor SOCKET
 */

#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHAINS (1u << 16)
#define LIST_MAX 2048

struct session {
    struct session *next;
    int descriptor;
    int domain; /* its address family, -1 for what is no socket */
    char *properties;
    char endpoint[];
};

struct binding {
    struct binding *next;
    char *properties;
    char *endpoint;
    char destination[];
};

enum state { REQUEST, DESCRIPTOR, READY, RECEIVED };

struct client {
    int fd;
    enum state state;
    size_t size;
    bool is_in_flight; /* a descriptor was sent, and was not seen to be taken */
    struct session *session; /* about to be parked, or about to be sent */
    char bytes[LIST_MAX];
};

static struct session *sessions[CHAINS];
static struct binding *bindings[CHAINS];

static void check(bool fine, const char *what) {
    if (!fine) {
        perror(what);
        exit(1);
    }
}

static unsigned chain_of(const char *label) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *label != '\0'; label++)
        hash = (hash ^ (unsigned char)*label) * 16777619u;
    return (hash ^ hash >> 16) & (CHAINS - 1);
}

static void park(struct session *session) {
    struct session **place = &sessions[chain_of(session->endpoint)];
    while (*place != NULL) /* the newest goes last */
        place = &(*place)->next;
    session->next = NULL;
    *place = session;
}

static struct session *find_endp(const char *label) {
    for (struct session **place = &sessions[chain_of(label)]; *place != NULL; place = &(*place)->next)
        if (strcmp((*place)->endpoint, label) == 0) {
            struct session *found = *place;
            *place = found->next;
            return found;
        }
    return NULL;
}

static struct binding *find_binding(const char *destination) {
    struct binding *binding = bindings[chain_of(destination)];
    while (binding != NULL && strcmp(binding->destination, destination) != 0)
        binding = binding->next;
    return binding;
}

static void save_dest(const char *destination, const char *properties, const char *endpoint) {
    struct binding *binding = find_binding(destination);
    if (binding != NULL && strcmp(binding->properties, properties) == 0 && strcmp(binding->endpoint, endpoint) == 0)
        return;
    size_t size = strlen(destination) + 1;
    binding = malloc(sizeof *binding + size);
    check(binding != NULL, "malloc");
    memcpy(binding->destination, destination, size);
    binding->properties = strdup(properties);
    binding->endpoint = strdup(endpoint);
    binding->next = bindings[chain_of(destination)];
    bindings[chain_of(destination)] = binding;
}

static struct session *new_session(const char *endpoint, const char *properties) {
    size_t size = strlen(endpoint) + 1;
    struct session *session = malloc(sizeof *session + size);
    check(session != NULL, "malloc");
    memcpy(session->endpoint, endpoint, size);
    session->properties = strdup(properties);
    return session;
}

static void reply(int fd, const char *bytes, size_t size) { check(send(fd, bytes, size, MSG_NOSIGNAL) >= 0, "send"); }

static const char dummy[8] = "dummy\0\0";
static const char done[10] = "status\0" "0\0";
static const char failed_endp[20] = "status\0" "2\0" "property\0\0";
static const char failed_dest[30] = "status\0" "2\0" "property\0\0" "property\0\0";

static void reply_found(struct client *client, const char *destination_properties) {
    char bytes[LIST_MAX];
    size_t size = 0;
    const char *properties[2] = {destination_properties, client->session->properties};
    memcpy(bytes, done, 9);
    size = 9;
    for (int i = 0; i < 2; i++)
        if (properties[i] != NULL) {
            memcpy(bytes + size, "property", 9);
            size += 9;
            size_t length = strlen(properties[i]) + 1;
            memcpy(bytes + size, properties[i], length);
            size += length;
        }
    bytes[size++] = '\0';
    reply(client->fd, bytes, size);
    client->state = READY;
}

/* Values of a list in their order: the names are taken for granted. */
static void serve_request(struct client *client, const char *list, size_t size) {
    const char *values[6] = {0};
    const char *end = list + size - 1;
    for (int i = 0; i < 6 && list < end; i++) {
        values[i] = list + strlen(list) + 1;
        list = values[i] + strlen(values[i]) + 1;
    }
    if (strcmp(values[0], "save_endp") == 0) {
        client->session = new_session(values[2], values[3]);
        client->state = DESCRIPTOR;
        reply(client->fd, dummy, sizeof dummy);
    } else if (strcmp(values[0], "save_dest") == 0) {
        save_dest(values[2], values[3], values[4]);
        reply(client->fd, done, sizeof done);
    } else if (strcmp(values[0], "find_endp") == 0) {
        client->session = find_endp(values[1]);
        if (client->session != NULL)
            reply_found(client, NULL);
        else
            reply(client->fd, failed_endp, sizeof failed_endp);
    } else {
        struct binding *binding = find_binding(values[1]);
        client->session = binding == NULL ? NULL : find_endp(binding->endpoint);
        if (client->session != NULL)
            reply_found(client, binding->properties);
        else
            reply(client->fd, failed_dest, sizeof failed_dest);
    }
}

#define DESCRIPTORS_MAX 253 /* the kernel's SCM_MAX_FD */

union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

static void forget(struct client *client) {
    close(client->fd);
    free(client);
}

static void take_descriptor(struct client *client) {
    union control control;
    char byte;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    if (recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC) != 1) {
        forget(client);
        return;
    }
    memcpy(&client->session->descriptor, CMSG_DATA(&control.header), sizeof(int));
    socklen_t size = sizeof client->session->domain;
    if (getsockopt(client->session->descriptor, SOL_SOCKET, SO_DOMAIN, &client->session->domain, &size) != 0)
        client->session->domain = -1;
    park(client->session);
    client->state = REQUEST;
    reply(client->fd, done, sizeof done);
}

static void pass_descriptor(struct client *client) {
    union control control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &client->session->descriptor, sizeof(int));
    struct iovec byte = {(void *)"", 1};
    struct msghdr message = {
        .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = CMSG_SPACE(sizeof(int))};
    check(sendmsg(client->fd, &message, MSG_NOSIGNAL) == 1, "sendmsg");
    struct pollfd queue = {client->session->descriptor, POLLIN, 0};
    check(poll(&queue, 1, 0) >= 0, "poll"); /* whatever it says: here nothing is queued in what is parked */
    struct sockaddr_un name;
    socklen_t name_size = sizeof name;
    check(getsockname(queue.fd, (struct sockaddr *)&name, &name_size) == 0, "getsockname"); /* and it has no path */
    check(close(client->session->descriptor) == 0, "close");
    free(client->session->properties);
    free(client->session);
    client->state = RECEIVED;
    client->is_in_flight = true;
}

static void serve_list(struct client *client, const char *list, size_t size) {
    if (client->state == REQUEST)
        serve_request(client, list, size);
    else if (client->state == READY)
        pass_descriptor(client);
    else
        client->state = REQUEST;
}

/* The size of the list at the start of the bytes, 0 while its end has not come. */
static size_t list_size(const char *bytes, size_t size) {
    size_t at = 0;
    while (at < size && bytes[at] != '\0')
        for (int i = 0; i < 2; i++) {
            const char *end = memchr(bytes + at, '\0', size - at);
            if (end == NULL)
                return 0;
            at = (size_t)(end - bytes) + 1;
        }
    return at < size ? at + 1 : 0;
}

static void serve(struct client *client) {
    if (client->state == DESCRIPTOR) {
        take_descriptor(client);
        return;
    }
    union control control;
    struct iovec piece = {client->bytes + client->size, sizeof client->bytes - client->size};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    ssize_t received = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
    if (received <= 0) {
        forget(client);
        return;
    }
    if (client->is_in_flight) {
        int unread;
        check(ioctl(client->fd, SIOCOUTQ, &unread) == 0, "ioctl"); /* whatever it says: here everybody takes it */
        client->is_in_flight = false;
    }
    client->size += (size_t)received;
    size_t at = 0, size;
    while ((size = list_size(client->bytes + at, client->size - at)) > 0) {
        serve_list(client, client->bytes + at, size);
        at += size;
    }
    client->size -= at;
    memmove(client->bytes, client->bytes + at, client->size);
}

static const char greeting[] = "protocol\0connection_cache_protocol\0";

static void accept_client(int poller, int listener) {
    struct client *client = calloc(1, sizeof *client);
    check(client != NULL, "calloc");
    client->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(client->fd >= 0, "accept4");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) == 0, "epoll_ctl");
    reply(client->fd, greeting, sizeof greeting);
}

int main(int count, char **words) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 2 || strlen(words[1]) >= sizeof address.sun_path) {
        fputs("usage: floor SOCKET\n", stderr);
        return 1;
    }
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    strcpy(address.sun_path, words[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0, words[1]);
    check(listen(listener, 1024) == 0, "listen");
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
    struct epoll_event events[64];
    while (true) {
        int ready = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr == NULL)
                accept_client(poller, listener);
            else
                serve(events[i].data.ptr);
    }
}
