"""Giving up root privileges (groups, chroot, user, in this order), and the limit on open descriptors.

Users and groups were looked up when the settings were read. After `drop` with a chroot, nothing may be imported and no
file may be opened by its name.
"""

import os
import resource
import time
from typing import NamedTuple

from scache_fast.process.errors import StartError
from scache_fast.process.logger import Logger
from scache_fast.settings.accounts import Account


class Identity(NamedTuple):
    """Whom to become, and where. None: stay."""

    user: Account | None = None
    gid: int | None = None
    chroot: str | None = None


def drop(identity: Identity) -> None:
    """Become somebody else, for good; raises StartError."""
    if identity == Identity():
        return
    user = identity.user
    gid = identity.gid if identity.gid is not None else user.gid if user else None
    # The zone file is read when local time is first asked for; in a chroot it may not be there.
    time.localtime()
    try:
        if gid is not None:
            os.setgid(gid)
            if user is not None:
                os.initgroups(user.name, gid)
            else:
                os.setgroups([])
        if identity.chroot is not None:
            os.chroot(identity.chroot)
            os.chdir("/")
        if user is not None:
            os.setuid(user.uid)
    except OSError as error:
        raise StartError(
            f"cannot become user {user.name if user else None}, group {gid}, chroot {identity.chroot}: "
            f"{error.strerror}; only root can"
        ) from None


def raise_descriptor_limit(log: Logger) -> int:
    """Allow as many descriptors as the process may have, each parked connection being one; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        # An unlimited hard limit cannot be had where the kernel's own maximum (fs.nr_open) is lower.
        log.warning(f"the limit of {soft} open descriptors stays: {error}")
        return soft
    return hard
