"""Postfix's parameters, as postconf(1) expands them, and the settings that they amount to.

Besides Postfix's own parameters, `-o scached_NAME=VALUE` in master.cf sets whatever `scached --help` lists.

Sources: postconf(1), postconf(5) of Postfix 3.7.
"""

import os
import pwd
import subprocess
from collections.abc import Mapping
from typing import Final

from scache_fast.process.errors import StartError
from scache_fast.settings.accounts import Account
from scache_fast.settings.sources import Texts
from scache_fast.settings.table import SETTINGS
from scache_fast.settings.values import FACILITIES, parse_time_s

_OWN_PREFIX: Final = "scached_"

_POSTCONF: Final = ("/usr/sbin/postconf", "/usr/local/sbin/postconf", "/usr/libexec/postfix/postconf")
"""Where postconf(1) is looked for; master(8) gives its children no PATH."""

_POSTCONF_TIMEOUT_S: Final = 30
"""Arbitrary; it takes 10 ms."""

_SETTINGS_OF: Final = {
    "connection_cache_ttl_limit": "ttl_limit",
    "connection_cache_status_update_time": "status_update_time",
    "max_idle": "max_idle",
    "ipc_timeout": "ipc_timeout",
}
"""Which of Postfix's parameters are settings of ours."""

_PARAMETERS: Final = (
    *_SETTINGS_OF,
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

    def layers(self) -> dict[str, Texts]:
        """Return the texts of our settings by where they come from; raises StartError."""
        own = {
            name.removeprefix(_OWN_PREFIX): value
            for name, value in self._overrides.items()
            if name.startswith(_OWN_PREFIX)
        }
        known = {setting.name for setting in SETTINGS}
        for name in own:
            if name not in known:
                raise StartError(f"unknown parameter -o {_OWN_PREFIX}{name}: scached --help lists what there is")
        return {
            "main.cf": {setting: [f"{self.time_s(name)}s"] for name, setting in _SETTINGS_OF.items()},
            "-o": {name: [value] for name, value in own.items()},
        }


def read_parameters(folder: str, overrides: Mapping[str, str]) -> Parameters:
    """Ask postconf(1) for the parameters that matter here; raises StartError.

    What was given with -o takes part in the expansion, as it does in Postfix's own programs.
    """
    postconf = next((path for path in _POSTCONF if os.access(path, os.X_OK)), None)
    if postconf is None:
        raise StartError(f"there is no postconf command at {', '.join(_POSTCONF)}: install Postfix's tools")
    changed = [f"-o{name}={value}" for name, value in overrides.items() if not name.startswith(_OWN_PREFIX)]
    command = [postconf, "-c", folder, *changed, "-xh", *_PARAMETERS]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_POSTCONF_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise StartError(f"{postconf} -c {folder} gave no answer in {_POSTCONF_TIMEOUT_S} s") from None
    except OSError as error:
        raise StartError(f"cannot run {postconf}: {error.strerror}") from None
    # One line each, and nothing but a newline ends it.
    values = done.stdout.decode(errors="surrogateescape").split("\n")[:-1]
    if done.returncode != 0 or len(values) != len(_PARAMETERS):
        complaint = done.stderr.decode(errors="backslashreplace").strip().splitlines()
        raise StartError(f"cannot read the configuration in {folder}: {complaint[-1] if complaint else 'no answer'}")
    return Parameters(dict(zip(_PARAMETERS, values, strict=True)), overrides)
