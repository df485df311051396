"""Every public name of the client shows an example of its use, and every example does what it says."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import scache_client
from scache_client import smtp, testing

MODULES = [
    name
    for _, name, _ in pkgutil.iter_modules(scache_client.__path__, "scache_client.")
    if not name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def public() -> Iterator[tuple[str, object]]:
    for module in (scache_client, smtp, testing):
        for name in module.__all__:
            thing = getattr(module, name)
            if thing.__module__.startswith("scache_client"):
                yield name, thing
                if inspect.isclass(thing) and not issubclass(thing, Exception):
                    yield from _methods(name, thing)


def _methods(owner: str, kind: type) -> Iterator[tuple[str, object]]:
    for name, member in vars(kind).items():
        if (inspect.isfunction(member) or isinstance(member, property)) and not name.startswith("_"):
            yield f"{owner}.{name}", member


@pytest.mark.parametrize("thing", [pytest.param(thing, id=name) for name, thing in public()])
def test_public_name_shows_an_example(thing: object) -> None:
    assert ">>> " in (inspect.getdoc(thing) or "")
