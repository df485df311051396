"""Build the site: `python -m scache_docs OUT [--pyodide FOLDER]`; `--serve PORT` serves it on loopback afterwards.

Nothing is fetched here: `make docs-fetch` brings Sphinx, the theme and Pyodide, once.
"""

import argparse
import functools
import shutil
import sys
import tempfile
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from scache_docs.pages import make_pages
from scache_docs.published import ROOT

HERE: Final = Path(__file__).parent
PYODIDE: Final = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip")
IN_THE_PAGE: Final = (
    "spec/scache_spec",
    "docs/scache_docs/play.py",
    "docs/scache_docs/what_if.py",
    "docs/scache_docs/__init__.py",
)


def build(out: Path, pyodide: Path | None) -> int:
    """Build the site into a folder; return Sphinx's exit status. Warnings are errors."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        make_pages(source)
        static = source / "_static"
        shutil.copytree(HERE / "static", static, ignore=shutil.ignore_patterns("play.html"))
        with zipfile.ZipFile(static / "specification.zip", "w") as archive:
            for path in _in_the_page():
                archive.write(path, path.relative_to(ROOT / path.relative_to(ROOT).parts[0]))
        if pyodide is not None:
            (static / "pyodide").mkdir()
            for each in PYODIDE:
                shutil.copy(pyodide / each, static / "pyodide")
        shutil.copy(HERE / "conf.py", source)
        words = ["-q", "-W", "--keep-going", "-b", "html", str(source), str(out)]
        status: int = build_main(words)
        return status


def _in_the_page() -> list[Path]:
    found: list[Path] = []
    for name in IN_THE_PAGE:
        path = ROOT / name
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


def serve(folder: Path, port: int) -> None:
    """Serve a folder on loopback until interrupted."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass  # the way it is ended


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m scache_docs", description="Build the site, and serve it if asked.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the built site")
    parser.add_argument(
        "--pyodide", type=Path, metavar="FOLDER", help="folder of Pyodide, which runs the specification in the page"
    )
    parser.add_argument(
        "--serve",
        type=int,
        metavar="PORT",
        help="then serve the site on 127.0.0.1 at this port (0: any free port), until Ctrl-C",
    )
    chosen = parser.parse_args(arguments)
    try:
        if status := build(chosen.out, chosen.pyodide):
            return status
    except KeyboardInterrupt:
        print("interrupted: the site is not complete", file=sys.stderr)
        return 130
    print(f"the site is in {chosen.out}", flush=True)
    if chosen.serve is not None:
        serve(chosen.out, chosen.serve)
    return 0


if __name__ == "__main__":
    sys.exit(main())
