"""`python -m tests.docs.browser SITE [--pictures FOLDER]`: load every page of the built site in headless Chromium.

Fails on errors in the console, on links within the site that lead nowhere, on a search that does not find a clause, and
on an example that cannot be stepped through. With a folder it leaves pictures there of each kind of page and of the
tools on a terminal, at the width of a desk and of a phone, light and dark.
"""

import argparse
import functools
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, urldefrag, urljoin

from playwright.sync_api import ConsoleMessage, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from tests.docs import terminals
from tests.support.commands import status_of

from scache_spec.dances import EXAMPLES

SWITCHES: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

KINDS: Final = ("index", "tutorial", "spec/index", "spec/what-if", "spec/play", "spec/conversation", "spec/examples",
                "spec/FD", "spec/clauses/FD-10", "conformance/matrix", "how-to/tls", "reference/settings",
                "reference/client", "reference/messages", "explanation/dance")  # fmt: skip
"""A page of each kind, of which pictures are taken."""

PATIENCE_MS: Final = 120_000
"""How long a page may take on a busy machine. Arbitrary."""

VIEWS: Final = {"desk": (1280, 900), "phone": (390, 844)}
"""Width and height."""

SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing about it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


class Patient(ThreadingHTTPServer):
    """Takes no notice of a browser that leaves before it has everything."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: what a page lacks is seen in its console."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; give its address."""
    with Patient(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def listen(page: Page, said: list[str]) -> None:
    """Note each error that a page tells its console."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            said.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: said.append(str(error)))


def look_at(page: Page, address: str, names: list[str], said: list[str]) -> list[str]:
    """Load every page; return what is wrong."""
    wrong: list[str] = []
    anchors: dict[str, set[str]] = {}
    links: list[tuple[str, str]] = []
    for name in names:
        said.clear()
        page.goto(address + name)
        wrong += [f"{name}: console: {each}" for each in said]
        anchors[address + name] = set(page.eval_on_selector_all("[id]", "all => all.map(each => each.id)"))
        targets = page.eval_on_selector_all("a[href]", "all => all.map(each => each.getAttribute('href'))")
        links += [(name, urljoin(address + name, target)) for target in targets]
    for name, link in links:
        target, anchor = urldefrag(link)
        if target.startswith(address) and target.endswith(".html"):
            if target not in anchors:
                wrong.append(f"{name}: a link leads nowhere: {link}")
            elif anchor and anchor not in anchors[target] and not target.endswith("spec/play.html"):
                wrong.append(f"{name}: an anchor is missing: {link}")
    return wrong


def search(page: Page, address: str, words: str, wanted: str) -> list[str]:
    """Search; return what is wrong."""
    page.goto(f"{address}search.html?q={quote(words)}")
    try:  # results appear one after the other
        page.wait_for_selector(f'#search-results a[href*="{wanted}"]', timeout=PATIENCE_MS)
    except PlaywrightTimeout:
        return [f"a search for {words} does not find {wanted}"]
    return []


def two_clicks(page: Page, address: str) -> list[str]:
    """Ask what happens if a client sends dummy in READY: one click from the front page, one on the answer."""
    page.goto(address + "index.html")
    page.click("text=what happens if my client sends X in state Y")
    page.locator("tr", has=page.locator("td:first-child", has_text=re.compile("^dummy$"))).get_by_role("link").nth(
        2
    ).click()
    story = page.locator("section", has=page.locator("h3", has_text="dummy in READY")).last
    wrong = [] if page.url.endswith("#ready-dummy") else [f"what if: the second click leads to {page.url}"]
    wrong += [] if page.locator("h3", has_text="dummy in READY").is_visible() else ["what if: no answer is shown"]
    wrong += [
        f"what if: the answer does not name {clause}"
        for clause in ("FD-6", "FD-8")
        if not story.locator(f"text={clause}").count()
    ]
    page.goto(address + "spec/index.html")
    page.locator("article").get_by_role("link", name="The conversation").click()
    page.locator("svg a", has_text="dummy list: send").click()
    page.wait_for_url("**/clauses/FD-6.html")
    return wrong


def play(page: Page, address: str) -> list[str]:
    """Step through each example; return what is wrong."""
    wrong = []
    page.goto(address + "spec/play.html")
    page.wait_for_selector("#play[data-ready=yes]", timeout=PATIENCE_MS)
    if "nothing has happened yet" not in page.evaluate(
        "getComputedStyle(document.querySelector('#play ol'), '::before').content"
    ):
        wrong.append("play: the empty log does not say what it is")
    for title, steps in EXAMPLES.items():
        page.select_option("[data-part=example]", title)
        for _ in steps:
            page.click("[data-part=next]")
        if page.is_enabled("[data-part=next]"):
            wrong.append(f"{title}: there are more steps than in the specification")
        if not page.locator("#play li.play-row").count():
            wrong.append(f"{title}: no row fired")
    rights = page.eval_on_selector_all("#play fieldset", "all => all.map(each => each.getBoundingClientRect().right)")
    if max(rights) > page.evaluate("innerWidth"):
        wrong.append("play: a form is cut off on the right")
    page.click("button[data-do=begin]")
    page.click("button[data-do=request]")  # the form begins with a save
    page.click("button[data-do=descriptors]")
    if "60 s" not in page.inner_text("[data-part=state]"):
        wrong.append("a session that was parked by the form is not shown")
    return wrong


def take_pictures(page: Page, address: str, view: str, folder: Path) -> None:
    """Leave a picture of each kind of page and of each tool on a terminal, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    tools = list(terminals.pages(view))
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for name in KINDS:
            page.goto(f"{address}{name}.html")
            if name == "spec/play":
                page.wait_for_selector("#play[data-ready=yes]", timeout=PATIENCE_MS)
                page.click("[data-part=next]")
            page.screenshot(path=folder / f"{name.replace('/', '-')}-{view}-{scheme}.png", full_page=True)
        for name, text in tools:
            page.set_content(text)
            page.screenshot(path=folder / f"{name}-{view}-{scheme}.png", full_page=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.browser")
    parser.add_argument("site", type=Path, metavar="SITE")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    names = sorted(str(path.relative_to(chosen.site)) for path in chosen.site.rglob("*.html"))
    wrong: list[str] = []
    with served(chosen.site) as address, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or sys.exit("chromium is not installed: apt-get install chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(SWITCHES))
        for view, (width, height) in VIEWS.items():
            page, said = browser.new_page(viewport={"width": width, "height": height}), list[str]()
            listen(page, said)
            if view == "desk":
                wrong += look_at(page, address, names, said)
                wrong += search(page, address, "FD-10", "clauses/FD-10")
                wrong += search(page, address, "handed out at most once", "clauses/ENDP-4")
                wrong += two_clicks(page, address)
            said.clear()
            wrong += play(page, address) + [f"play, {view}: console: {each}" for each in said]
            if chosen.pictures:
                take_pictures(page, address, view, chosen.pictures)
        browser.close()
    print("\n".join([*wrong, f"{len(names)} pages, {len(wrong)} faults"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(status_of(main))
