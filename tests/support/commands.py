"""How `python -m tests.…` ends when it is interrupted."""

import sys
from collections.abc import Callable


def status_of(main: Callable[[], int | None]) -> int:
    """Return main's exit status; after an interrupt (Ctrl-C), print one line and return 130, as shells do."""
    try:
        return main() or 0
    except KeyboardInterrupt:
        print(f"\n{_name()}: interrupted", file=sys.stderr)
        return 130


def _name() -> str:
    spec = sys.modules["__main__"].__spec__
    return "tests" if spec is None else spec.name.removesuffix(".__main__")
