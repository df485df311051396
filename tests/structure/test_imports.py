"""Who may import whom. The point of the layout: a bug shared by two parts that check each other would be invisible."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.checkout import ROOT

PACKAGES = {
    "spec": "scache_spec",
    "reference": "scache_reference",
    "fast": "scache_fast",
    "client": "scache_client",
    "ctl": "scache_ctl",
    "conformance": "scache_conformance",
    "proof": "scache_proof",
    "bench": "scache_bench",
    "docs": "scache_docs",
}

MAY_IMPORT = {
    "spec": set[str](),
    "reference": {"scache_spec"},
    "fast": {"scache_spec.vocabulary"},
    "client": {"scache_spec.vocabulary"},
    "ctl": {
        "scache_client",
        "scache_fast.admin.client",
        "scache_fast.__version__",
        "scache_fast.DATE",
        "prometheus_client",
    },
    "conformance": {"scache_spec", "hypothesis"},
    "proof": {"scache_spec", "z3"},
}
"""Besides the standard library and themselves. bench, docs and tests may import anything."""

FAKE_CACHE = "client/scache_client/testing.py"
"""May import the specification: it is the specification behind a client's interface, and no module imports it."""

INSIDE_FAST = {
    "engine": {"engine"},
    "policy": {"engine", "policy"},
    "settings": {"engine", "policy", "settings"},
    "admin": {"engine", "policy", "settings", "admin"},
    "takeover": {"engine", "policy", "settings", "admin", "takeover"},
    "process": {"engine", "policy", "settings", "admin", "takeover", "process"},
}
"""Which folders of scache_fast each of them may import. What is compiled is `engine`, and it stands alone."""

NOT_IN_SPEC = {
    "socket",
    "os",
    "time",
    "select",
    "selectors",
    "random",
    "datetime",
    "threading",
    "asyncio",
    "subprocess",
}


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, `from x import y` as x.y and x."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder / PACKAGES[folder]).rglob("*.py"))
    assert found, f"no Python files in {folder}"
    return found


def allowed(name: str, permitted: set[str]) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names or any(
        name == each or name.startswith(each + ".") for each in permitted
    )


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_only_permitted_imports(folder: str) -> None:
    permitted = MAY_IMPORT[folder] | {PACKAGES[folder]}
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path in sources(folder) for name in imports(path)
             if path != ROOT / FAKE_CACHE and not allowed(name, permitted)]  # fmt: skip
    assert wrong == []


def test_fake_cache_imports_the_specification_and_no_part_of_the_client_imports_it() -> None:
    assert [name for name in imports(ROOT / FAKE_CACHE) if not allowed(name, {"scache_spec", "scache_client"})] == []
    assert [path.name for path in sources("client") for name in imports(path) if "scache_client.testing" in name] == []


def test_folders_of_fast_are_all_known() -> None:
    folder = ROOT / "fast/scache_fast"
    assert {entry.parent.name for entry in folder.glob("*/__init__.py")} == set(INSIDE_FAST)


@pytest.mark.parametrize("folder", INSIDE_FAST)
def test_folders_of_fast_import_what_lies_further_in(folder: str) -> None:
    permitted = {f"scache_fast.{name}" for name in (*INSIDE_FAST[folder], "__version__", "DATE")} | {"scache_spec"}
    files = sorted((ROOT / "fast/scache_fast" / folder).rglob("*.py"))
    assert len(files) > 1
    assert [f"{path.name}: {name}" for path in files for name in imports(path) if not allowed(name, permitted)] == []


def test_specification_does_no_input_or_output() -> None:
    wrong = [
        f"{path.name}: {name}"
        for path in sources("spec")
        for name in imports(path)
        if name.split(".")[0] in NOT_IN_SPEC
    ]
    assert wrong == []


def test_vocabulary_imports_nothing_of_the_specification() -> None:
    names = list(imports(ROOT / "spec/scache_spec/vocabulary.py"))
    assert names
    assert not [name for name in names if name.startswith("scache_")]


@pytest.mark.parametrize("folder", sorted(PACKAGES))
def test_one_package_a_folder(folder: str) -> None:
    entries = {entry.name for entry in (ROOT / folder).iterdir() if entry.name != "__pycache__"}
    assert PACKAGES[folder] in entries
    assert not [name for name in entries if name.endswith(".py")]
    assert (ROOT / folder / PACKAGES[folder] / "py.typed").exists()
