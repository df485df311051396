"""Becoming less than root: groups, chroot, user, in the order that works.

Decides that order and looks everything up before the first step. Refuses to know why. Nothing may be imported and no
file opened by name after `drop` with a chroot.
"""

import os
import pwd
import resource
import time
from dataclasses import dataclass

from scache_fast.policy.access import parse_group
from scache_fast.process.logger import Logger


class PrivilegeError(Exception):
    """Privileges cannot be changed as asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom to become, and where. None: stay."""

    user: str | None = None
    group: str | None = None
    chroot: str | None = None


def drop(identity: Identity) -> None:
    """Become somebody else, for good; raises PrivilegeError."""
    if identity == Identity():
        return
    try:
        account = pwd.getpwnam(identity.user) if identity.user is not None else None
    except KeyError:
        raise PrivilegeError(f"there is no user {identity.user!r}") from None
    gid = parse_group(identity.group) if identity.group is not None else account.pw_gid if account else None
    # The zone file is read when local time is first asked for; in a chroot it may not be there.
    time.localtime()
    try:
        if gid is not None:
            os.setgid(gid)
            if account is not None:
                os.initgroups(account.pw_name, gid)
            else:
                os.setgroups([])
        if identity.chroot is not None:
            os.chroot(identity.chroot)
            os.chdir("/")
        if account is not None:
            os.setuid(account.pw_uid)
    except OSError as error:
        raise PrivilegeError(
            f"cannot become user {identity.user}, group {identity.group}, chroot {identity.chroot}: {error.strerror}; "
            "only root can"
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
