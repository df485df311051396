"""Which form of the engine this installation runs."""

import platform


def describe() -> str:
    """Return lines that say what the engine is made of."""
    from scache_fast.engine import server  # Only who asks waits for it.

    engine = "plain Python" if server.__file__.endswith(".py") else "compiled"
    return f"engine: {engine}\ninterpreter: {platform.python_implementation()} {platform.python_version()}\n"
