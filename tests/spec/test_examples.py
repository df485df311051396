"""The examples in the specification's docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import scache_spec

MODULES = sorted(module.name for module in pkgutil.iter_modules(scache_spec.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"scache_spec.{name}")).failed == 0


def test_there_are_examples() -> None:
    attributes = importlib.import_module("scache_spec.attributes")
    assert doctest.testmod(attributes).attempted >= 2
