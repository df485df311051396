"""What the system calls of the engine can fail with, by their manual pages."""

import errno
from typing import Final

_MISTAKES: Final = (errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK)
"""They would say that the server made a mistake; the manual pages list them, and even then nobody else is to suffer."""

ERRNOS: Final = {
    "accept": (
        errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO,
        errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH,
        errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ENOSR, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT,
        errno.ETIMEDOUT, errno.EACCES, *_MISTAKES,
    ),
    "recvmsg": (
        errno.EAGAIN, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOMEM, errno.ENOTCONN, errno.EMFILE, errno.EMSGSIZE,
        errno.ETIMEDOUT, errno.EIO, errno.EACCES, *_MISTAKES,
    ),
    "send": (
        errno.EAGAIN, errno.EACCES, errno.ECONNRESET, errno.EDESTADDRREQ, errno.EISCONN, errno.EMSGSIZE, errno.ENOBUFS,
        errno.ENOMEM, errno.ENOTCONN, errno.EOPNOTSUPP, errno.EPIPE, errno.EALREADY, *_MISTAKES,
    ),
    "sendmsg": (
        errno.EAGAIN, errno.EACCES, errno.ECONNRESET, errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM, errno.ENOTCONN,
        errno.EOPNOTSUPP, errno.EPIPE, errno.ETOOMANYREFS, errno.EPERM, *_MISTAKES,
    ),
    "getsockopt": (errno.ENOPROTOOPT, errno.ENOMEM, *_MISTAKES),
    "unread_bytes": (errno.ENOTTY, *_MISTAKES),
    "close": (errno.EINTR, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EBADF),
    "os.close": (errno.EINTR, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EBADF, errno.ECONNRESET),
    "epoll.poll": (errno.EINTR, errno.ENOMEM),
    "epoll.register": (errno.ENOMEM, errno.ENOSPC),
    "epoll.modify": (errno.ENOMEM, errno.ENOSPC),
    "epoll.unregister": (errno.ENOENT, errno.EBADF),
    "domain_of": (),
    "is_alive": (errno.ENOMEM,),
    "may_connect": (errno.ENOMEM,),
    "closer": (),
    "log": (errno.ENOSPC,),
}  # fmt: skip
"""What each call can give: its manual page, accept(2)'s list of errors of the network included."""
