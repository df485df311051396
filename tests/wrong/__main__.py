"""`python -m tests.wrong NAME --listen PATH`: serve by a wrong rule. `--list` names them all."""

import sys
from importlib import import_module

from tests.wrong.registry import Layer, rules


def listing() -> str:
    """Return a line for each rule: its name, the clauses it breaks, the layers that catch it, what is wrong."""
    lines = []
    for rule in rules().values():
        layers = " ".join(layer.value for layer in Layer if layer not in rule.escapes)
        lines.append(f"{rule.slug:<46} {' '.join(rule.clauses):<24} {layers:<26} {rule.what}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Run the command."""
    name, *others = arguments
    if name == "--list":
        print(listing())
        return
    if name not in rules():
        sys.exit(f"there is no wrong rule {name!r}: --list names them all")
    rule = rules()[name]
    served = import_module({"reference": "scache_reference", "fast": "scache_fast"}[rule.server] + ".__main__")
    with rule.instead():
        served.main(others)


if __name__ == "__main__":
    main(sys.argv[1:])
