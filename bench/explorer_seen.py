"""How long the latent explorer takes in JupyterLab, from a moved slider to the picture on the screen.

    python bench/explorer_seen.py

A 64 x 64 DCGAN of default widths. Single moves, with rest between them; then quick drags, from the last move
to the last picture: what waits there is work for moves that nobody looks at any more. Bar: 150 ms. Needs
Chromium and playwright, as `make test-browser` does; without them it says so."""

import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "browser")]
BAR, SINGLE, DRAGS, MOVES, BETWEEN = 150, 15, 8, 20, 60  # ms; moves; drags; moves of a drag; ms between them
CELL = """
from gannb.models.dcgan import Generator
from gannb.widgets.explorer import LatentExplorer
LatentExplorer(Generator())
"""
WATCH = """e => {
  window.moves = []; window.pictures = [];
  document.addEventListener('keydown', () => window.moves.push(performance.now()), true);
  e.addEventListener('load', () => window.pictures.push(performance.now()));
}"""
LAST = "() => window.pictures.at(-1) - window.moves.at(-1)"
FIRST = "() => window.pictures.find(t => t > window.moves.at(-1)) - window.moves.at(-1)"


def opened(lab, watched):
    "The slider of a notebook with the explorer in it."
    import nbformat

    from conftest import Notebook

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, lab.folder / "explore.ipynb")
    page = Notebook(lab, watched, "explore.ipynb")
    page.run_all()
    page.tab.wait_for_selector(".jp-OutputArea img.widget-image", timeout=120_000).evaluate(WATCH)
    return page.tab, page.tab.locator(".noUi-handle").first


def milliseconds(tab, handle) -> tuple[list[float], list[float]]:  # of single moves, of drags
    "What each took."
    handle.focus()
    single, drags = [], []
    for _ in range(SINGLE):
        handle.press("ArrowRight")
        tab.wait_for_timeout(1500)
        single.append(tab.evaluate(FIRST))
    for n in range(DRAGS):
        for _ in range(MOVES):
            handle.press("ArrowLeft" if n % 2 == 0 else "ArrowRight")
            tab.wait_for_timeout(BETWEEN)
        tab.wait_for_timeout(2500)
        drags.append(tab.evaluate(LAST))
    return single, drags


def main() -> int:
    import browser

    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("not run: playwright is not installed")
        return 0
    if browser.found() is None:
        print("not run: there is no Chromium here")
        return 0
    from conftest import Lab, Watched

    with tempfile.TemporaryDirectory() as tmp, sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=browser.found(), args=["--no-sandbox", "--disable-gpu"])
        lab = Lab(Path(tmp))
        try:
            found = milliseconds(*opened(lab, Watched(chromium)))
        finally:
            lab.stop()
            chromium.close()
    for what, took in zip(("single moves", f"the end of a drag of {MOVES} moves"), found, strict=True):
        print(f"{what}: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms (bar {BAR})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
