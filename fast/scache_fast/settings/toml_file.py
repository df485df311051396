"""Settings as a TOML file: read from one, and shown as one.

Which TOML values stand for which texts is here; what a text means is in table.py, which source wins in sources.py.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from scache_fast.settings.table import SETTINGS, Setting

Texts = Mapping[str, Sequence[str]]
"""Settings by name, each with the texts that were given for it; for a flag some or none."""

FLAGS: Final[Mapping[str, Sequence[str]]] = {"1": ("true",), "true": ("true",), "0": (), "false": ()}
"""How a flag is spelled, and the texts that stand for it."""

DEFAULT: Final = "default"

_FILE_BYTES_MAX: Final = 1_000_000
"""How much is read of a file. Arbitrary; all settings together need 2 000 bytes, and /dev/zero has no end."""

CHARACTERS_MAX: Final = 1000
"""Longest value of a setting. Arbitrary: an error shows a wrong one as a whole, and a line of the log has 2 000."""

_INTEGER_MAX: Final = 2**63 - 1
"""What TOML promises; Python would take longer ones, and then refuse to write them out in decimal."""

_TYPES: Final = {
    bool: "a boolean", int: "an integer", str: "a string", float: "a float", list: "a list", dict: "a table",
}  # fmt: skip


class ConfigurationError(Exception):
    """A setting or a file cannot be used; the text says why and what to do."""


def read_file(path: str) -> Texts:
    """Return the texts of a TOML file; raises ConfigurationError."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path!r}: {error.strerror}") from None
    if len(raw) > _FILE_BYTES_MAX:
        raise ConfigurationError(f"{path!r} is longer than {_FILE_BYTES_MAX} bytes, so it is no file of settings")
    import tomllib  # 3 ms, and most starts read no file.

    try:
        content: dict[str, object] = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: bytes that are not UTF-8, integers of thousands of digits, brackets without end.
        raise ConfigurationError(f"{path!r} is not TOML: {error}") from None
    known = {setting.name: setting for setting in SETTINGS}
    texts: dict[str, Sequence[str]] = {}
    for name, value in content.items():
        setting = known.get(name)
        if setting is None:
            raise ConfigurationError(f"{path!r}: unknown key {name[:CHARACTERS_MAX]!r}: {_hint(name, known)}")
        try:
            texts[name] = _texts(setting, value)
        except ValueError as error:
            raise ConfigurationError(f"{path!r}: {name}: {error}") from None
    return texts


def show(layers: Mapping[str, Texts]) -> str:
    """Return what is in force as a TOML file, each setting with where it comes from."""
    lines = []
    for setting in SETTINGS:
        origin = next((name for name in reversed(list(layers)) if setting.name in layers[name]), DEFAULT)
        given = layers[origin].get(setting.name)
        if setting.parse is None:
            value = "true" if given else "false"
        elif setting.many:
            value = f"[{', '.join(map(_quoted, given or ()))}]"
        elif given:
            value = _quoted(given[-1])
        else:
            lines.append(f"# {setting.name} is not set")
            continue
        lines.append(f"{setting.name} = {value}  # {_quoted(origin)[1:-1]}")
    return "\n".join(lines) + "\n"


def _hint(name: str, known: Mapping[str, Setting]) -> str:
    import difflib  # For a mistake alone.

    near = difflib.get_close_matches(name.replace("-", "_").lower(), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def _texts(setting: Setting, value: object) -> Sequence[str]:
    """Return the texts of a TOML value; raises ValueError, which says what to write."""
    if setting.parse is None:
        if isinstance(value, bool):
            return FLAGS["true" if value else "false"]
        raise ValueError(f"{_type(value)} is given: write true or false")
    if isinstance(value, list) and setting.many:
        return [_text(setting, item) for item in value]
    return [_text(setting, value)]


def _text(setting: Setting, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and not setting.is_quoted:
        if abs(value) > _INTEGER_MAX:
            raise ValueError("the integer is longer than TOML has them")
        return str(value)
    wanted = "a string" if setting.is_quoted else "a string or an integer"
    raise ValueError(f"{_type(value)} is given: write {wanted}{', or a list of them' if setting.many else ''}")


def _type(value: object) -> str:
    return _TYPES.get(type(value), "a date or a time")


def _quoted(text: str) -> str:
    """Return a TOML basic string: one line, whatever the text holds."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
