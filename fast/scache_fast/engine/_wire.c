/* The twin of wire.py in C: the functions that the engine calls for each request. Optional; wire.py is complete.

   Each function takes and returns what the function of its name in wire.py does, and raises OSError where that one does.
   Two release the interpreter lock: poll, and close_at_once, whose close may wait after all (stalls.py). Every other call
   here is told not to wait, and giving the lock away and back costs as much as some of the calls. The interface of
   CPython is its stable one. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES_MAX 16384  /* of conversation.py; who asks for more gets no more */
#define DESCRIPTORS_MAX 253   /* the kernel's SCM_MAX_FD */
#define EVENTS_MAX 64         /* of poller.py; who asks for more gets no more */
#define EVENTS_KEPT 1024      /* pairs that are made once; the default for how many clients there may be */
#define ATTRIBUTES_MAX 32     /* of attributes.py; lists of more are not whole ones */
#define SHORT_FIELD_MAX 16    /* longer than all names, requests and ttls */
#define SHORT_FIELDS_KEPT 64
#define FREED_BYTES_MAX 64    /* of plain.py */
#define DROPPED (-1)          /* of wire.py */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

/* The number of a descriptor. What is none becomes -1, of which every system call says EBADF; an exception is set for
   what is no number at all. */
static int to_fd(PyObject *number)
{
    long fd = PyLong_AsLong(number);
    return fd < 0 || fd > INT_MAX ? -1 : (int)fd;
}

static bool has_arguments(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, %zd given", name, wanted, given);
    return false;
}

/* What came with a message. */
struct passed {
    int descriptors[DESCRIPTORS_MAX];
    Py_ssize_t count;
};

/* Note the descriptors of a message. All of them are ours from here on. */
static void collect(struct msghdr *message, struct passed *passed)
{
    const char *end = (const char *)message->msg_control + message->msg_controllen;
    passed->count = 0;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each != NULL; each = CMSG_NXTHDR(message, each)) {
        if (each->cmsg_level != SOL_SOCKET)
            continue;
        const char *payload = (const char *)CMSG_DATA(each);
        const char *payload_end = (const char *)each + each->cmsg_len;
        if (payload_end > end)
            payload_end = end;
        /* Truncated control data may end in the middle of a number that names nothing. */
        for (; payload_end - payload >= (ptrdiff_t)sizeof(int); payload += sizeof(int)) {
            int descriptor;
            memcpy(&descriptor, payload, sizeof descriptor);
            if (each->cmsg_type == SCM_PIDFD)
                close(descriptor);  /* See wire.py. That of a process never waits. */
            else if (each->cmsg_type == SCM_RIGHTS && passed->count < DESCRIPTORS_MAX)
                passed->descriptors[passed->count++] = descriptor;
        }
    }
}

static bool append(PyObject *list, long number)
{
    PyObject *object = PyLong_FromLong(number);
    bool is_appended = object != NULL && PyList_Append(list, object) == 0;
    Py_XDECREF(object);
    return is_appended;
}

/* The pair of a descriptor and EPOLLIN, which nearly every event is. A pair does not change, so it can be returned again. */
static PyObject *readable(int fd)
{
    static struct {
        PyObject *pair;
        int fd;
    } last[EVENTS_KEPT];
    unsigned place = (unsigned)fd % EVENTS_KEPT;
    if (last[place].pair == NULL || last[place].fd != fd) {
        PyObject *pair = Py_BuildValue("iI", fd, (unsigned)EPOLLIN);
        if (pair == NULL)
            return NULL;
        Py_XDECREF(last[place].pair);
        last[place].pair = pair;
        last[place].fd = fd;
    }
    return Py_NewRef(last[place].pair);
}

/* What `poller` returns; it is bound to the number of the epoll. Waiting gives the interpreter lock away. */
static PyObject *poll_events(PyObject *number, PyObject *const *arguments, Py_ssize_t count)
{
    struct epoll_event events[EVENTS_MAX];
    if (!has_arguments("poll", count, 2))
        return NULL;
    int fd = to_fd(number);
    double wait_ms = PyFloat_AsDouble(arguments[0]) * 1000;
    Py_ssize_t events_max = PyLong_AsSsize_t(arguments[1]);
    if (PyErr_Occurred())
        return NULL;
    if (events_max < 1 || events_max > EVENTS_MAX)
        events_max = EVENTS_MAX;
    int wait = wait_ms >= INT_MAX ? INT_MAX : (int)wait_ms;
    wait += wait < wait_ms && wait < INT_MAX;  /* rounded up, as Python does */
    PyThreadState *state = PyEval_SaveThread();
    int ready = epoll_wait(fd, events, (int)events_max, wait);
    PyEval_RestoreThread(state);  /* keeps errno */
    if (ready < 0)
        return PyErr_SetFromErrno(PyExc_OSError);  /* of EINTR: handlers of signals are called first */
    PyObject *list = PyList_New(ready);
    for (int i = 0; list != NULL && i < ready; i++) {
        int fd = events[i].data.fd;
        PyObject *pair = events[i].events == EPOLLIN ? readable(fd) : Py_BuildValue("iI", fd, events[i].events);
        if (pair == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i, pair);  /* takes the reference */
    }
    return list;
}

static PyMethodDef poll_definition = {
    "poll", (PyCFunction)(void (*)(void))poll_events, METH_FASTCALL, "See wire.poller.",
};

static PyObject *poller(PyObject *module, PyObject *epoll)
{
    int fd = PyObject_AsFileDescriptor(epoll);
    (void)module;
    PyObject *number = fd < 0 ? NULL : PyLong_FromLong(fd);
    PyObject *poll = number == NULL ? NULL : PyCFunction_New(&poll_definition, number);
    Py_XDECREF(number);
    return poll;
}

static PyObject *receive(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    static char data[READ_BYTES_MAX];  /* The interpreter lock makes it ours. */
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    (void)module;
    if (!has_arguments("receive", count, 4))
        return NULL;
    int fd = to_fd(arguments[1]);
    Py_ssize_t bytes_max = PyLong_AsSsize_t(arguments[2]);
    PyObject *list = arguments[3];
    if ((fd < 0 || bytes_max < 0) && PyErr_Occurred())
        return NULL;
    if (!PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "receive() takes a list for descriptors");
        return NULL;
    }
    if (bytes_max < 0 || bytes_max > READ_BYTES_MAX)
        bytes_max = READ_BYTES_MAX;
    struct iovec room = {data, (size_t)bytes_max};
    struct msghdr message = {
        .msg_iov = &room, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes,
    };
    ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (length < 0)
        return PyErr_SetFromErrno(PyExc_OSError);

    PyObject *bytes = PyBytes_FromStringAndSize(data, length);
    if (message.msg_controllen == 0 && !(message.msg_flags & MSG_CTRUNC))
        return bytes;  /* NULL: there is no memory */
    struct passed passed;
    collect(&message, &passed);
    bool is_told = bytes != NULL;
    for (Py_ssize_t i = 0; is_told && i < passed.count; i++)
        is_told = append(list, passed.descriptors[i]);
    if (is_told && message.msg_flags & MSG_CTRUNC)
        is_told = append(list, DROPPED);
    if (!is_told) {
        Py_XDECREF(bytes);
        PyList_SetSlice(list, 0, PyList_Size(list), NULL);
        for (Py_ssize_t i = 0; i < passed.count; i++)
            close(passed.descriptors[i]);  /* Nobody else knows of them. */
        return NULL;
    }
    return bytes;
}

static PyObject *send_bytes(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    char *data;
    Py_ssize_t length;
    (void)module;
    if (!has_arguments("send", count, 3))
        return NULL;
    int fd = to_fd(arguments[1]);
    if ((fd < 0 && PyErr_Occurred()) || PyBytes_AsStringAndSize(arguments[2], &data, &length) < 0)
        return NULL;
    ssize_t sent = send(fd, data, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(sent);
}

static PyObject *send_descriptor(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    char carrier = '\0';  /* DESCRIPTOR_BYTE of the vocabulary */
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    (void)module;
    if (!has_arguments("send_descriptor", count, 3))
        return NULL;
    int fd = to_fd(arguments[1]), number = to_fd(arguments[2]);
    if ((fd < 0 || number < 0) && PyErr_Occurred())
        return NULL;
    struct iovec what = {&carrier, 1};
    struct msghdr message = {
        .msg_iov = &what, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes,
    };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof number);
    memcpy(CMSG_DATA(rights), &number, sizeof number);
    if (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *unread_bytes(PyObject *module, PyObject *number)
{
    int unread, fd = to_fd(number);
    (void)module;
    if (fd < 0 && PyErr_Occurred())
        return NULL;
    if (ioctl(fd, TIOCOUTQ, &unread) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(unread > FREED_BYTES_MAX ? unread : 0);
}

/* The first number of a socket's option, -1 if it cannot be had. */
static int option(int fd, int name)
{
    int value;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

static PyObject *domain_of(PyObject *module, PyObject *number)
{
    int fd = to_fd(number);
    (void)module;
    if (fd < 0 && PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(option(fd, SO_DOMAIN));
}

/* Whether a UNIX socket is bound to a path. */
static bool has_path(int fd)
{
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &size) < 0)
        return true;
    return size > offsetof(struct sockaddr_un, sun_path) && name.sun_path[0] != '\0';
}

static bool close_may_wait(int fd, long domain)
{
    struct pollfd queue = {fd, POLLIN, 0};
    if (domain == AF_UNIX)
        return poll(&queue, 1, 0) != 0 || has_path(fd);
    return (domain != AF_INET && domain != AF_INET6) || option(fd, SO_PROTOCOL) != IPPROTO_TCP ||
           option(fd, SO_LINGER) != 0 || option(fd, SO_ACCEPTCONN) != 0;
}

static PyObject *may_wait(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    if (!has_arguments("may_wait", count, 2))
        return NULL;
    int fd = to_fd(arguments[0]);
    long domain = PyLong_AsLong(arguments[1]);
    if ((fd < 0 || domain < 0) && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(close_may_wait(fd, domain));
}

static PyObject *close_at_once(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    if (!has_arguments("close_at_once", count, 2))
        return NULL;
    int fd = to_fd(arguments[0]);
    long domain = PyLong_AsLong(arguments[1]);
    if ((fd < 0 || domain < 0) && PyErr_Occurred())
        return NULL;
    if (close_may_wait(fd, domain))
        Py_RETURN_FALSE;
    PyThreadState *state = PyEval_SaveThread();
    int status = close(fd);
    PyEval_RestoreThread(state);  /* keeps errno */
    if (status < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_TRUE;
}

/* A field. Names, requests and ttls are the same in nearly every list, so the last short one of its length and its first
   and last bytes is kept, and returned again if it is this one. */
static PyObject *to_field(const char *data, Py_ssize_t length)
{
    static PyObject *kept[SHORT_FIELDS_KEPT];
    if (length == 0 || length > SHORT_FIELD_MAX)
        return PyBytes_FromStringAndSize(data, length);
    unsigned first = (unsigned char)data[0], last = (unsigned char)data[length - 1];
    PyObject **place = &kept[((unsigned)length + 5 * first + 3 * last) % SHORT_FIELDS_KEPT];
    if (*place == NULL || PyBytes_Size(*place) != length || memcmp(PyBytes_AsString(*place), data, (size_t)length) != 0) {
        PyObject *field = PyBytes_FromStringAndSize(data, length);
        if (field == NULL)
            return NULL;
        Py_XDECREF(*place);
        *place = field;
    }
    return Py_NewRef(*place);
}

static PyObject *whole_list(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    char *data;
    Py_ssize_t length;
    (void)module;
    if (!has_arguments("whole_list", count, 2) || PyBytes_AsStringAndSize(arguments[0], &data, &length) < 0)
        return NULL;
    Py_ssize_t attributes_max = PyLong_AsSsize_t(arguments[1]);
    if (attributes_max < 0 && PyErr_Occurred())
        return NULL;
    if (attributes_max > ATTRIBUTES_MAX)
        attributes_max = ATTRIBUTES_MAX;
    const char *starts[2 * ATTRIBUTES_MAX + 1], *end = data + length;
    Py_ssize_t fields = 0;
    for (starts[0] = data; starts[fields] < end; fields++) {
        const char *start = starts[fields];
        if (fields % 2 == 0 && *start == '\0')
            break;  /* the empty name that ends a list */
        const char *nul = fields < 2 * attributes_max ? memchr(start, '\0', (size_t)(end - start)) : NULL;
        if (nul == NULL)
            Py_RETURN_NONE;
        starts[fields + 1] = nul + 1;
    }
    if (starts[fields] + 1 != end)
        Py_RETURN_NONE;  /* something is behind it, or it does not end */
    PyObject *list = PyList_New(fields);
    for (Py_ssize_t i = 0; list != NULL && i < fields; i++) {
        PyObject *field = to_field(starts[i], starts[i + 1] - starts[i] - 1);
        if (field == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i, field);  /* takes the reference */
    }
    return list;
}

static PyMethodDef functions[] = {
    {"poller", poller, METH_O, "See wire.poller."},
    {"receive", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, "See wire.receive."},
    {"send", (PyCFunction)(void (*)(void))send_bytes, METH_FASTCALL, "See wire.send."},
    {"send_descriptor", (PyCFunction)(void (*)(void))send_descriptor, METH_FASTCALL, "See wire.send_descriptor."},
    {"unread_bytes", unread_bytes, METH_O, "See plain.unread_bytes."},
    {"domain_of", domain_of, METH_O, "See plain.domain_of."},
    {"may_wait", (PyCFunction)(void (*)(void))may_wait, METH_FASTCALL, "See plain.may_wait."},
    {"close_at_once", (PyCFunction)(void (*)(void))close_at_once, METH_FASTCALL, "See plain.close_at_once."},
    {"whole_list", (PyCFunction)(void (*)(void))whole_list, METH_FASTCALL, "See attributes.whole_list."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_wire", "The twin of wire.py in C.", 0, functions,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__wire(void)
{
    return PyModuleDef_Init(&definition);
}
