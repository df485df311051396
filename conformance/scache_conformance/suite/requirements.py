"""How a case states what it expects: `Unmet` is raised where something else is seen."""

from scache_conformance.wire.line import Line, identity
from scache_conformance.wire.peer import Found
from scache_conformance.wire.transcript import show
from scache_conformance.wire.unmet import Unmet


def require(what: str, actual: object, expected: object) -> None:
    """Raise Unmet unless both are equal."""
    if actual != expected:
        raise Unmet(f"{what}: {_shown(expected)}", _shown(actual))


def require_miss(what: str, found: Found | None) -> None:
    """Raise Unmet if something was found."""
    if found is not None:
        raise Unmet(f"{what}: nothing found", f"a session with properties {_shown(found.properties)}")


def require_found(what: str, found: Found | None, *properties: bytes, line: Line | None = None) -> Found:
    """Raise Unmet unless something was found, with these properties, and it is the line's other end."""
    if found is None:
        raise Unmet(f"{what}: a session with properties {_shown(properties)}", "nothing found")
    require(f"{what}: properties", found.properties, properties)
    if line is not None:
        require_other_end(line, found.fd)
    return found


def require_other_end(line: Line, fd: int) -> None:
    """Raise Unmet unless the descriptor is the far end of the line."""
    if not line.is_other_end_of(fd):
        raise Unmet(f"the connection that was parked, {line.identity}", f"another, {identity(fd)}")


def _shown(value: object) -> str:
    match value:
        case bytes():
            return f'"{show(value)}"'
        case tuple() | list():
            return "(" + ", ".join(_shown(each) for each in value) + ")"
        case _:
            return str(value)
