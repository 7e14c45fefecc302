"""The documentation is built without a warning, is whole, fetches nothing from elsewhere, and works in a browser."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from dreamer.config import registry
from tests.helpers.pages import CHECKOUT

# attributes from which a browser fetches by itself, and the links that it merely shows
FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "srcset", "video": "src", "link": "href"}
LOOKED_AT = ("index.html", "concepts.html", "parts/generators/vae.html", "api/training/module.html", "faq.html")


class Links(HTMLParser):
    """What a page fetches, and where it leads."""

    def __init__(self, page: Path):
        super().__init__()
        self.fetched: list[str] = []
        self.led: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(FETCHED.get(tag, ""))
        if address is not None and given.get("rel") != "canonical":
            self.fetched.append(address)
        if tag == "a" and given.get("href"):
            self.led.append(given["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as ``make docs`` builds it."""
    pytest.importorskip("mkdocstrings", reason="needs what builds the site: pip install 'dreamer[docs]'")
    out = tmp_path_factory.mktemp("site")
    # never with --quiet, which keeps --strict from seeing any warning
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The address of the site on this machine."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_every_page_of_the_docs_is_there(site):
    for page in (CHECKOUT / "docs").rglob("*.md"):
        assert (site / page.relative_to(CHECKOUT / "docs")).with_suffix(".html").is_file(), page.name


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_every_part_has_an_api_page_that_shows_it(site, family):
    for name in registry.names(family):
        part = registry.resolve(family, name)
        page = site / "api" / family / f"{name}.html"
        assert page.is_file(), f"no API page of {name}"
        assert f'id="{part.__module__}.{part.__qualname__}"' in page.read_text(encoding="utf-8"), page.name


def test_no_page_fetches_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert not [address for address in Links(page).fetched if urlsplit(address).netloc], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\W?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_every_link_within_the_site_leads_to_a_file(site):
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 100
    for page in pages:
        links = Links(page)
        for address in (*links.fetched, *links.led):
            parted = urlsplit(address)
            if not parted.scheme and parted.path:
                target = page.parent / unquote(parted.path)
                assert target.exists(), f"{page.relative_to(site)} leads to {address}"


def test_roles_of_docstrings_are_links(site):
    for page in (site / "api").rglob("*.html"):
        assert not re.search(r":(class|func|meth|attr|data|mod):", page.read_text(encoding="utf-8")), page.name
    assert 'href="data.html#dreamer.training.data.StreamDataModule"' in (site / "api/training/module.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_pages_fit_the_screen_and_raise_no_error(browser, served, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("response", lambda response: None if response.ok else said.append(f"{response.status} {response.url}"))
    context.on(
        "request", lambda request: None if request.url.startswith((served, "data:")) else said.append(request.url)
    )
    for name in LOOKED_AT:
        tab = context.new_page()
        tab.goto(served + name, wait_until="networkidle")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
    context.close()
    assert not said


def test_the_search_finds_a_part_without_a_network(browser, served):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.route("**/*", lambda route: route.continue_() if route.request.url.startswith(served) else route.abort())
    tab.goto(served + "index.html", wait_until="networkidle")
    found = tab.locator(".md-search-result__link")
    for _ in range(60):
        # what is typed before the page listens is lost; then the browser makes its index, which takes its time
        tab.get_by_placeholder("Search").fill("")
        tab.get_by_placeholder("Search").press_sequentially("herding")
        tab.wait_for_timeout(3000)
        if found.count():
            break
    assert "herding" in " ".join(link.get_attribute("href") for link in found.all())
    context.close()
