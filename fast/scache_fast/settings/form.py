"""Which form of the engine this installation runs."""

import platform


def engine() -> str:
    """Return what the engine is made of."""
    from scache_fast.engine import server  # Only who asks waits for it.

    return "plain Python" if server.__file__.endswith(".py") else "compiled"


def accelerator() -> str:
    """Return whether the part of the engine that is in C is there."""
    from scache_fast.engine.calls import ACCELERATED

    return "not installed" if ACCELERATED is None else "installed"


def python() -> str:
    """Return which interpreter runs it."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def describe() -> str:
    """Return lines that say all of it."""
    return f"engine: {engine()}\naccelerator: {accelerator()}\ninterpreter: {python()}\n"
