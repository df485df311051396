"""Compile the engine of the production server with mypyc, and its accelerator: for a wheel, and for `make compiled`.

    python .make/build_hook.py FOLDER [--accelerator]

copies the sources to FOLDER and compiles them there. As a build hook of hatchling it adds what was compiled to the
wheel, whose name then says for which Python and which machine it is. A wheel is pure Python unless the environment has
`HATCH_BUILD_HOOKS_ENABLE=1`. With --accelerator only the module in C is compiled.
"""

import compileall
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT: Final = Path(__file__).resolve().parents[1]

PACKAGES: Final = ("fast/scache_fast", "spec/scache_spec")
"""What is compiled is of the first one; its types come from both."""

SETUP: Final = """
import sys
from glob import glob
from mypyc.build import mypycify
from setuptools import Extension, setup
sources = [] if sys.argv.pop() == "--accelerator" else sorted(glob("scache_fast/engine/*.py"))
modules = mypycify(sources, group_name="scache_fast") if sources else []
for module in modules:
    module.extra_link_args.append("-Wl,-z,noseparate-code")
options = ["-O3", "-Wall", "-Wextra", "-Werror"]
accelerator = Extension("scache_fast.engine._wire", ["scache_fast/engine/_wire.c"], extra_compile_args=options)
setup(name="scached", ext_modules=[*modules, accelerator])
"""
"""Run by an interpreter of its own in the folder, where mypy looks for what is imported. mypyc makes a library for each
module beside the one with the code; each takes 12 kB of memory less if its segments share pages."""


class CompiledEngine(BuildHookInterface[Any]):
    """What hatchling calls before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the extension modules to the wheel; raises SystemExit where they cannot be made."""
        if version == "editable":
            return  # The sources are what is run; `make compiled` has a folder of its own.
        self._folder = Path(tempfile.mkdtemp(prefix="scached-build-"))
        compile_engine(self._folder)
        for path in self._folder.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            build_data["force_include"][str(path)] = str(path.relative_to(self._folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the wheel was made from."""
        if version != "editable":
            shutil.rmtree(self._folder)


def compile_engine(folder: Path, what: str = "--all") -> None:
    """Leave the sources in an empty folder, and beside them what they were compiled to; raises SystemExit."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    built = subprocess.run(
        [sys.executable, "-c", SETUP, "build_ext", "--inplace", what], cwd=folder, capture_output=True, text=True
    )
    shutil.rmtree(folder / "build", ignore_errors=True)
    if built.returncode != 0:
        shutil.rmtree(folder)
        sys.exit(
            f"{built.stdout}{built.stderr}\nthe engine was not compiled, which takes a C compiler and Python.h "
            "(Debian: apt-get install gcc libc6-dev python3-dev); everything works without"
        )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    compile_engine(target, *sys.argv[2:])
    compileall.compile_dir(target, quiet=1)  # as pip and dpkg do: to compile at each start takes time and memory
