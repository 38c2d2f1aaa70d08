"""A headless Chromium, and a JupyterLab on this machine alone; both watch that no request leaves it.

Run with `make test-browser`. Screenshots go to outputs/screenshots/: look at them."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import browser as chromium_here
import lab as make_lab

TOKEN = "only-for-this-test"
LOCAL = {"127.0.0.1", "localhost", ""}
# what Chromium says about itself, not about the page
HARMLESS = ("favicon", "WebGL", "GPU stall", "Synchronous XMLHttpRequest")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    "The browser, started once."
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = chromium_here.found()
    if path is None:
        pytest.skip("no Chromium here: install it, or name it with GANNB_CHROMIUM")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Watched:
    "A tab of 1280 x 800 that remembers console errors and requests to other machines."

    def __init__(self, browser, width: int = 1280, height: int = 800):
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.tab = self.open()

    def open(self):
        "Another tab that is watched too."
        self.tab = self.context.new_page()
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda e: self.errors.append(str(e)))
        self.tab.on("request", self._request)
        return self.tab

    def _console(self, message) -> None:
        if message.type == "error" and not any(word in message.text for word in HARMLESS):
            self.errors.append(message.text)

    def _request(self, request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in LOCAL:
            self.outside.append(request.url)

    def shot(self, name: str, **how) -> Path:
        "Keep a screenshot."
        folder = ROOT / "outputs" / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.tab.screenshot(path=path, **how)
        return path

    def check(self) -> None:
        assert not self.outside, f"requests left the machine: {self.outside}"
        assert not self.errors, f"errors in the console: {self.errors}"


@pytest.fixture
def watched(chromium):
    "A function that opens a watched tab; all are checked at the end."
    opened = []

    def open_one(width: int = 1280, height: int = 800) -> Watched:
        opened.append(Watched(chromium, width, height))
        return opened[-1]

    yield open_one
    for one in opened:
        one.check()
        one.context.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Lab:
    "A JupyterLab server on a folder of its own."

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.place = folder / "place"  # outputs, store, cache
        env = {f"GANNB_{n}": str(self.place / n.lower()) for n in ("OUTPUTS", "STORE", "CACHE")}
        self.env = os.environ | env | {"JUPYTER_CONFIG_DIR": str(folder / "config")}
        make_lab.without_news(folder / "config")
        self.log = open(folder / "lab.log", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
            + [f"--port={self.port}", f"--IdentityProvider.token={TOKEN}", f"--notebook-dir={folder}"]
            + ["--LabApp.extension_manager=readonly", *make_lab.QUIET],
            cwd=folder,
            env=self.env,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(600):
            try:
                urllib.request.urlopen(self.address("api"), timeout=1)
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "lab.log").read_text()
                time.sleep(0.1)
        raise AssertionError("JupyterLab did not come up")

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={TOKEN}"

    def api(self, method: str, path: str) -> bytes:
        "Ask the server itself."
        request = urllib.request.Request(self.address(path), method=method)
        return urllib.request.urlopen(request, timeout=30).read()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture
def lab(tmp_path):
    server = Lab(tmp_path)
    yield server
    server.stop()


class Notebook:
    "A notebook opened in a tab of JupyterLab."

    def __init__(self, lab: Lab, watched: Watched, name: str):
        self.lab, self.watched, self.name = lab, watched, name
        self.open()

    def open(self) -> None:
        self.watched.tab.goto(self.lab.address(f"lab/tree/{self.name}") + "&reset")
        self.wait_idle()

    @property
    def tab(self):
        return self.watched.tab

    def wait_idle(self, timeout: float = 120) -> None:
        status = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
        self.tab.wait_for_selector(status, state="attached", timeout=1000 * timeout)
        self.tab.wait_for_timeout(500)

    def run_all(self, timeout: float = 240) -> None:
        "Run > Run All Cells, until nothing runs. A click before the kernel is there is lost: click again."
        for _ in range(3):
            self.tab.click('.lm-MenuBar-itemLabel:text-is("Run")')
            self.tab.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
            self.wait_begun()
            self.wait_idle(timeout)
            prompts = self.tab.locator(".jp-Notebook .jp-InputPrompt").all_inner_texts()
            if any(re.search(r"\d", prompt) for prompt in prompts):
                return
        raise AssertionError("no cell was run")

    def wait_begun(self) -> None:
        "Idle right after the click means: not begun. What is over within two seconds was not seen busy."
        busy = '.jp-Notebook-ExecutionIndicator[data-status="busy"]'
        try:
            self.tab.wait_for_selector(busy, state="attached", timeout=2000)
        except Exception as e:
            assert type(e).__name__ == "TimeoutError", e

    def text(self, selector: str) -> str:
        return self.tab.inner_text(selector)


@pytest.fixture
def notebook(lab, watched):
    "A function that writes a notebook from cells of code and opens it."
    import nbformat

    def make(name: str, *cells: str) -> Notebook:
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nb, lab.folder / name)
        return Notebook(lab, watched(), name)

    return make


def until(question, seconds: float = 60, every: float = 0.2):
    "The first answer that is true. Fails when the time is up."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(every)
    raise AssertionError(f"it did not come true within {seconds} s")
