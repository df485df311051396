/* Takes up a parked connection, says one line over it and prints what comes back. Written from spec/SPEC.md alone.
 *
 *     cc -Wall -o find examples/find.c
 *     ./find cache.sock LABEL 'a line'
 *
 * Exit status: 0 done, 1 nothing is parked there, 2 anything else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void fail(const char *what) { perror(what); exit(2); }

/* An attribute list is pairs of words that end in NUL, and one NUL more (WIRE-1). Read up to there and no further: what
 * is read together with the byte that carries a descriptor loses the descriptor. Returns the value of the attribute
 * with this name, or NULL. */
static const char *read_list(int server, char *list, size_t size, const char *wanted)
{
    const char *value = NULL;
    char *name = list;
    size_t used = 0;
    for (;;) {
        char *word = list + used;
        do {
            if (used == size || read(server, list + used, 1) != 1) fail("reading a list");
        } while (list[used++]);
        if (word == name && !*word) return value;
        if (word != name) {
            if (!strcmp(name, wanted)) value = word;
            name = list + used;
        }
    }
}

int main(int argc, char **argv)
{
    char list[65536], byte, control[CMSG_SPACE(sizeof(int))], answer[1000];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), connection;

    if (argc != 4) { fprintf(stderr, "usage: find SOCKET LABEL LINE\n"); return 2; }
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address)) fail(argv[1]);
    const char *protocol = read_list(server, list, sizeof list, "protocol");       /* CONN-1: the server speaks first */
    if (!protocol || strcmp(protocol, "connection_cache_protocol")) { fprintf(stderr, "no connection cache\n"); return 2; }

    dprintf(server, "request%cfind_endp%clabel%c%s%c%c", 0, 0, 0, argv[2], 0, 0);
    const char *status = read_list(server, list, sizeof list, "status");
    if (!status || strcmp(status, "0")) { fprintf(stderr, "nothing is parked there\n"); return 1; }

    if (write(server, "dummy\0\0", 8) != 8) fail("ready");                          /* now the descriptor may come */
    if (recvmsg(server, &message, MSG_CMSG_CLOEXEC) != 1) fail("receiving");
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (!rights || rights->cmsg_type != SCM_RIGHTS) { fprintf(stderr, "no descriptor came\n"); return 2; }
    memcpy(&connection, CMSG_DATA(rights), sizeof connection);
    if (write(server, "dummy\0\0", 8) != 8) fail("received");
    close(server);

    dprintf(connection, "%s\n", argv[3]);
    ssize_t length = read(connection, answer, sizeof answer);
    if (length < 0) fail("reading the answer");
    return write(STDOUT_FILENO, answer, length) == length ? 0 : 2;
}
