"""Users and groups, by name or number. They are looked up when the settings are read, and never again."""

import grp
import pwd
import re
from typing import Final, NamedTuple

_NUMBER_MAX: Final = 2**32 - 2
"""User and group numbers have 32 bits, and the highest stands for "nobody in particular" in chown(2)."""


class Account(NamedTuple):
    """A user that a process can become."""

    name: str
    uid: int
    gid: int


def parse_account(text: str) -> Account:
    """Return the account of a user given by name or number; raises ValueError if there is no entry for it."""
    number = _number(text, "user")
    try:
        entry = pwd.getpwnam(text) if number is None else pwd.getpwuid(number)
    except KeyError:
        what = repr(text) if number is None else f"with the number {number}"
        raise ValueError(f"there is no user {what}") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def parse_user(text: str) -> int:
    """Return the number of a user given by name or number; raises ValueError."""
    number = _number(text, "user")
    return parse_account(text).uid if number is None else number


def parse_group(text: str) -> int:
    """Return the number of a group given by name or number; raises ValueError."""
    number = _number(text, "group")
    if number is not None:
        return number
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {text!r}") from None


def _number(text: str, what: str) -> int | None:
    """Return the number that a text spells, None if it is not a number; raises ValueError for one too high."""
    if not re.fullmatch(r"[0-9]+", text):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_NUMBER_MAX)) or int(digits) > _NUMBER_MAX:
        raise ValueError(f"there is no {what} {text[:20]}: numbers end at {_NUMBER_MAX}")
    return int(digits)
