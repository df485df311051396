"""How values are spelled: times, counts, file modes, owners, paths. Each function raises ValueError for anything else.

Which setting takes which kind of value is in table.py. Times take Postfix's suffixes, because the people who type them
know those.
"""

import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from scache_fast.settings.accounts import parse_group, parse_user

UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIME: Final = re.compile(r"([0-9]{1,10})([smhdw]?)")
DESCRIPTORS_PASSED_MAX: Final = 253 + 64
"""How many descriptors may be there that nobody asked for: those of one message, and those that wait to be closed."""

_RESERVE_MIN: Final = DESCRIPTORS_PASSED_MAX + 8 + 8
"""Room for these, for what the server itself opens, and for a few clients. Fewer would be no reserve."""

_TIME_S_MAX: Final = 2_147_483_647
"""Postfix keeps times in an int."""

_BUSY_POLL_US_MAX: Final = 1_000
"""What is due waits for no poll longer than epoll would have it wait anyway: epoll counts milliseconds."""

FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
"""syslog facilities, by the names that Postfix's syslog_facility takes."""


class Share(NamedTuple):
    """A part of something that is counted."""

    percent: int

    def of(self, whole: int) -> int:
        """Return the part of a whole, rounded up."""
        return -(-self.percent * whole // 100)


class Owner(NamedTuple):
    """Whose a socket file is to be; None: as it is made."""

    uid: int | None = None
    gid: int | None = None


def parse_time_s(text: str) -> int:
    """Return the seconds that a time spells, at least 1."""
    match = _TIME.fullmatch(text)
    time_s = int(match[1]) * UNITS_S[match[2]] if match else 0
    if not 0 < time_s <= _TIME_S_MAX:
        raise ValueError(
            f"{text!r} is not a time: write a whole number of at least 1 and s, m, h, d or w, like 2s or 10m"
        )
    return time_s


def parse_idle_time_s(text: str) -> int | None:
    """Return the seconds that a time spells, None for `never`."""
    return None if text == "never" else parse_time_s(text)


def parse_count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a count: write a whole number of at least 1")
    return int(text)


def parse_number(text: str) -> int:
    """Return a whole number of at least 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a number: write digits")
    return int(text)


def parse_busy_poll_us(text: str) -> int:
    """Return for how many microseconds the loop may poll before it blocks."""
    number = parse_number(text)
    if number > _BUSY_POLL_US_MAX:
        raise ValueError(f"{text!r} is too long: write a number of microseconds up to {_BUSY_POLL_US_MAX}")
    return number


def parse_part(text: str) -> int | Share | None:
    """Return a whole number of at least 1, a share from `1%` to `100%`, or None for `off`."""
    if text == "off":
        return None
    if re.fullmatch(r"0*([1-9][0-9]?|100)%", text, re.ASCII):
        return Share(int(text[:-1]))
    try:
        return parse_count(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a part: write a whole number of at least 1, a percentage like 90%, or off"
        ) from None


def parse_reserve(text: str) -> int:
    """Return how many descriptors are to be kept in reserve."""
    number = parse_number(text)
    if number < _RESERVE_MIN:
        raise ValueError(
            f"{text!r} is too small a reserve: one client may pass {DESCRIPTORS_PASSED_MAX} descriptors at once that "
            f"have to be closed; write {_RESERVE_MIN} or more"
        )
    return number


def parse_mode(text: str) -> int:
    """Return the bits of a file mode."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is not a file mode: write three octal digits, like 0660")
    return int(text, 8)


def parse_owner(text: str) -> Owner:
    """Return the owner that `USER`, `USER:GROUP` or `:GROUP` names."""
    user, colon, group = text.partition(":")
    if not user and not group:
        raise ValueError(f"{text!r} is not an owner: write USER, USER:GROUP or :GROUP")
    return Owner(parse_user(user) if user else None, parse_group(group) if colon and group else None)


def parse_folder(text: str) -> str:
    """Return the path of a folder that is there."""
    if not os.path.isdir(text):
        raise ValueError(f"{text!r} is not a folder")
    return text


def parse_path(text: str) -> str:
    """Return a path."""
    if not text:
        raise ValueError("the path is empty")
    return text


def parse_own_descriptor(text: str) -> int:
    """Return the number of a descriptor that is closed after use."""
    number = parse_number(text)
    if number <= 2:
        raise ValueError(f"{text} is a standard descriptor, and this one is closed after use: choose 3 or more")
    return number


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes these words and no other."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse
