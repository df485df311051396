"""Where settings come from: the command line, a file, the environment, and their defaults.

Which source wins is here. Names, spellings and defaults are in table.py; how a file is written is in toml_file.py.

Precedence: the first source that has a setting gives its value, also the whole of a list:

    1. the command line      --ttl-limit 10m
    2. the file of --config  ttl_limit = "10m"
    3. the environment       SCACHED_TTL_LIMIT=10m     (a list's items on lines of their own)
    4. the default

A mistake in any source is an error, even if another source overrules it. A variable that only looks like a setting is
ignored: Kubernetes sets SCACHED_PORT and the like for every container near a service of that name.
"""

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Final

from scache_fast import __version__
from scache_fast.settings.output import PROGRAM, complain, end
from scache_fast.settings.table import SETTINGS, Setting, Settings, settings_from
from scache_fast.settings.toml_file import CHARACTERS_MAX, DEFAULT, FLAGS, ConfigurationError, Texts, read_file, show

__all__ = ["ConfigurationError", "Texts", "merge", "read", "read_again", "takeover_in"]

_COMMAND_LINE: Final = "command line"
_ENVIRONMENT: Final = "environment"

_OTHERS: Final = {
    "--config": True,
    "--takeover": True,
    "--version": False,
    "--check-config": False,
    "--print-config": False,
}
"""The options that are no settings, and whether they have a value."""

_DEFAULTS: Final[Texts] = {setting.name: [setting.default] for setting in SETTINGS if setting.default is not None}


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings of a process; prints and raises SystemExit for wrong ones, --help and the like."""
    given = _given(arguments)
    given.pop("takeover", None)
    if given.pop("version", False):
        from scache_fast.settings.form import describe

        end(f"{PROGRAM} {__version__}\n{describe() if 'verbose' in given else ''}")
    path = _text_in(given, "config")
    check, shown = given.pop("check_config", False), given.pop("print_config", False)
    try:
        layers = _layers(given, path, environment)
        settings = merge(layers)
    except ConfigurationError as error:
        complain(str(error))
        sys.exit(2)
    if shown:
        end(show({DEFAULT: _DEFAULTS, **layers}))
    if check:
        end(f"{PROGRAM}: the configuration is fine{f': {path}' if path else ''}\n")
    return settings


def _given(arguments: Sequence[str]) -> dict[str, object]:
    """Return what the command line gives; prints and raises SystemExit for a wrong one and for --help."""
    given = plainly_given(arguments)
    if given is None:
        from scache_fast.settings.command_line import parser_of_all  # 10 ms and 1 MB, and most starts do without.

        given = vars(parser_of_all().parse_args(arguments))
    return given


def plainly_given(arguments: Sequence[str]) -> dict[str, object] | None:
    """Return what argparse would, for known options with their values and nothing else; None: ask argparse."""
    options = {setting.option: (setting.name, setting.parse is not None, setting.many) for setting in SETTINGS}
    options["-v"] = options["--verbose"]
    for option, has_value in _OTHERS.items():
        options[option] = option[2:].replace("-", "_"), has_value, False
    given: dict[str, object] = {}
    left = iter(arguments)
    for each in left:
        option, equals, value = each.partition("=")
        if option not in options:
            return None
        name, has_value, is_list = options[option]
        if not has_value:
            if equals:
                return None
            given[name] = True
            continue
        if not equals:
            value = next(left, "-")
            if value.startswith("-"):
                return None
        if value == "--":
            return None  # argparse makes an empty list of it, or not: that depends on Python's version.
        if is_list:
            given[name] = [*_as_texts(given.get(name, [])), value]
        else:
            given[name] = value
    return given


def _text_in(given: dict[str, object], name: str) -> str | None:
    text = given.pop(name, None)
    return None if text is None else str(text)


def takeover_in(arguments: Sequence[str]) -> str | None:
    """Return the admin socket of the server to take over from; None: there is none. For arguments that `read` took.

    It is no setting: a file with it would make every start a takeover.
    """
    return _text_in(_given(arguments), "takeover")


def read_again(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that the same sources amount to now; raises ConfigurationError.

    The file has to be a regular one: a pipe was read at the start, and would be waited for now.
    """
    given = _given(arguments)
    given.pop("takeover", None)
    path = _text_in(given, "config")
    if path is not None:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise ConfigurationError(f"cannot read {path!r}: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            raise ConfigurationError(
                f"{path!r} is not a regular file and can be read at the start only: restart the server"
            )
    return merge(_layers(given, path, environment))


def _layers(given: Mapping[str, object], path: str | None, environment: Mapping[str, str]) -> dict[str, Texts]:
    layers: dict[str, Texts] = {_ENVIRONMENT: _from_environment(environment)}
    if path is not None:
        layers[path] = read_file(path)
    layers[_COMMAND_LINE] = {name: _as_texts(value) for name, value in given.items()}
    return layers


def merge(layers: Mapping[str, Texts]) -> Settings:
    """Return what texts from several origins amount to, the later winning; raises ConfigurationError."""
    values: dict[str, object] = dict.fromkeys(setting.name for setting in SETTINGS)
    for origin, texts in {DEFAULT: _DEFAULTS, **layers}.items():
        for setting in SETTINGS:
            if setting.name in texts:
                values[setting.name] = _value(setting, texts[setting.name], origin)
    return settings_from(SimpleNamespace(**values))


def _value(setting: Setting, texts: Sequence[str], origin: str) -> object:
    """Return what the texts of one setting mean; raises ConfigurationError, which names where they are from."""
    if setting.parse is None:
        return bool(texts)
    try:
        values = [setting.parse(_plain(text)) for text in texts]
    except ValueError as error:
        name = {_COMMAND_LINE: setting.option, _ENVIRONMENT: setting.variable}.get(origin, setting.name)
        raise ConfigurationError(f"{origin}: {name}: {error}") from None
    return values if setting.many else values[-1]


def _plain(text: str) -> str:
    """Return a text that can be a path, a name or a number; raises ValueError."""
    if len(text) > CHARACTERS_MAX:
        raise ValueError(f"it has {len(text)} characters, and {CHARACTERS_MAX} at most are read")
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL character, which no path and no name can have: remove it")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError(f"{os.fsencode(text)!r} is not UTF-8: write it in UTF-8")
    return text


def _from_environment(environment: Mapping[str, str]) -> Texts:
    texts: dict[str, Sequence[str]] = {}
    for setting in SETTINGS:
        value = environment.get(setting.variable)
        if value is None:
            continue
        if setting.parse is not None:
            texts[setting.name] = [line for line in value.split("\n") if line] if setting.many else [value]
        elif value in FLAGS:
            texts[setting.name] = FLAGS[value]
        else:
            raise ConfigurationError(
                f"{_ENVIRONMENT}: {setting.variable}: {value[:CHARACTERS_MAX]!r} is neither true nor false: write one "
                "of them"
            )
    return texts


def _as_texts(value: object) -> Sequence[str]:
    return value if isinstance(value, list) else FLAGS["true"] if value is True else [str(value)]
