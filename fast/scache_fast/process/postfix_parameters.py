"""Postfix's parameters, as postconf(1) expands them.

Which settings of ours they amount to is in child.py.

Sources: postconf(1), postconf(5) of Postfix 3.7.
"""

import os
import pwd
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Final

from scache_fast.process.errors import StartError
from scache_fast.settings.accounts import Account
from scache_fast.settings.values import FACILITIES, parse_time_s

OWN_PREFIX: Final = "scached_"
"""What the names of our settings begin with on a line of master.cf."""

_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec/postfix")
"""Where postconf(1) is looked for if main.cf does not say; master(8) gives its children no PATH."""

_POSTCONF_TIMEOUT_S: Final = 30
"""Arbitrary; it takes 10 ms."""

_PARAMETERS: Final = (
    "connection_cache_ttl_limit",
    "connection_cache_status_update_time",
    "max_idle",
    "ipc_timeout",
    "daemon_timeout",
    "mail_owner",
    "queue_directory",
    "syslog_name",
    "syslog_facility",
    "maillog_file",
    "postlog_service_name",
    "myhostname",
)


class Parameters:
    """Postfix's parameters, with what the line in master.cf overrides."""

    def __init__(self, values: Mapping[str, str], overrides: Mapping[str, str]) -> None:
        self._values = values
        self._overrides = overrides
        self.own = {
            name.removeprefix(OWN_PREFIX): value for name, value in overrides.items() if name.startswith(OWN_PREFIX)
        }
        """Settings of ours that the line in master.cf gives, by name."""

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def is_overridden(self, name: str) -> bool:
        """Say whether the line in master.cf gives a parameter."""
        return name in self._overrides

    def time_s(self, name: str) -> int:
        """Return the seconds that a parameter spells; raises StartError."""
        try:
            return parse_time_s(self[name])
        except ValueError as error:
            raise StartError(f"parameter {name}: {error}") from None

    def facility(self) -> str:
        """Return the syslog facility; raises StartError."""
        facility = self["syslog_facility"]
        if facility not in FACILITIES:
            raise StartError(f"parameter syslog_facility: {facility!r} is none of {', '.join(FACILITIES)}")
        return facility

    def owner(self) -> Account:
        """Return the account of mail_owner; raises StartError."""
        name = self["mail_owner"]
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise StartError(f"parameter mail_owner: there is no user {name!r}") from None
        if entry.pw_uid == 0:
            raise StartError(f"parameter mail_owner: user {name} has all privileges; name one without")
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


class Question:
    """postconf(1), which is running since this was made, and its answer.

    What was given with -o takes part in the expansion, as it does in Postfix's own programs.
    """

    def __init__(self, folder: str, overrides: Mapping[str, str]) -> None:
        """Start it with a configuration folder; raises StartError."""
        self._folder = folder
        self._overrides = overrides
        self._program = _postconf(folder, overrides)
        changed = [f"-o{name}={value}" for name, value in overrides.items() if not name.startswith(OWN_PREFIX)]
        command = [self._program, "-c", folder, *changed, "-xh", *_PARAMETERS]
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise StartError(f"cannot run {self._program}: {error.strerror}") from None

    def answer(self) -> Parameters:
        """Wait for it to end, and return what it says; raises StartError."""
        with self._process as process:
            try:
                output, complaints = process.communicate(timeout=_POSTCONF_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise StartError(
                    f"{self._program} -c {self._folder} gave no answer in {_POSTCONF_TIMEOUT_S} s"
                ) from None
        # One line each, and nothing but a newline ends it.
        values = output.decode(errors="surrogateescape").split("\n")[:-1]
        if process.returncode != 0 or len(values) != len(_PARAMETERS):
            lines = complaints.decode(errors="backslashreplace").strip().splitlines()
            raise StartError(f"cannot read the configuration in {self._folder}: {lines[-1] if lines else 'no answer'}")
        return Parameters(dict(zip(_PARAMETERS, values, strict=True)), self._overrides)


def _postconf(folder: str, overrides: Mapping[str, str]) -> str:
    """Return the path of the postconf(1) that belongs to a configuration; raises StartError."""
    named = [overrides.get("command_directory"), _command_directory(folder)]
    folders = [each for each in named if each is not None and each.startswith("/") and "$" not in each]
    programs = [f"{each}/postconf" for each in [*folders[:1], *_FOLDERS]]
    for program in programs:
        if os.access(program, os.X_OK):
            return program
    raise StartError(f"there is no postconf command at {', '.join(programs)}: set command_directory in main.cf")


def _command_directory(folder: str) -> str | None:
    """Return what main.cf says about where Postfix's commands are; None if it says nothing, or cannot be read."""
    try:
        with open(f"{folder}/main.cf", encoding="utf-8", errors="surrogateescape") as file:
            found = [value for name, value in _assignments(file) if name == "command_directory"]
    except OSError:
        return None  # postconf(1) will say what is wrong.
    return found[-1] if found else None


def _assignments(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values of main.cf: a line that begins with a blank goes on with the one before, postconf(5)."""
    whole = ""
    for line in [*lines, "end"]:
        if re.match(r"\s*(#|$)", line):
            continue
        if line[0].isspace():
            whole += line
            continue
        name, _, value = whole.partition("=")
        yield name.strip(), " ".join(value.split())
        whole = line
