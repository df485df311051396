"""Which form of the engine this installation runs."""

import platform


def engine() -> str:
    """Return what the engine is made of."""
    from scache_fast.engine import server  # Only who asks waits for it.

    return "plain Python" if server.__file__.endswith(".py") else "compiled"


def python() -> str:
    """Return which interpreter runs it."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def describe() -> str:
    """Return lines that say both."""
    return f"engine: {engine()}\ninterpreter: {python()}\n"
