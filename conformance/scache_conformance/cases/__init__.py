"""The cases: a module or a folder for each area. Importing this package registers them all."""

import importlib

from scache_conformance.suite.registry import AREAS

for _area in AREAS:
    importlib.import_module(f"{__name__}.{_area}")
