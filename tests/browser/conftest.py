"""One JupyterLab for all browser tests, in which each has a folder of its own."""

import os
from pathlib import Path

import pytest
from lab import BROWSER_OPTIONS, SCREENSHOTS, Notebook, running_lab


@pytest.fixture(scope="session")
def lab(root, tmp_path_factory):
    with running_lab(root, tmp_path_factory.mktemp("lab")) as lab:
        yield lab


# Not for the whole session: Playwright's event loop would be in the way of the tests that run notebooks.
@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def opened(lab, browser, tmp_path_factory):
    """Open a notebook file in a page of its own; nothing may complain in the browser's console."""
    contexts, books = [], []

    def open_(path, **options):
        options = {"viewport": {"width": 1280, "height": 900}, "accept_downloads": True} | options
        contexts.append(browser.new_context(**options))
        books.append(Notebook(contexts[-1].new_page(), lab, path))
        return books[-1]

    yield open_
    screens = Path(os.environ.get(SCREENSHOTS) or tmp_path_factory.mktemp("screens"))
    for book in books:
        if not book.page.is_closed():
            book.page.screenshot(path=str(screens / f"last_{book.path.stem}.png"))
    for context in contexts:
        context.close()
    lab.end_kernels()
    assert [complaint for book in books for complaint in book.complaints] == []
