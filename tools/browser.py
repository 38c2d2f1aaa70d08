"""What `make test-browser` does: find Chromium, or install it where that can be done, then run tests/browser.

Exit status 0 where there is no browser and none can be had: that is said, and is no success of the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def found() -> str | None:
    "The browser: what GANNB_CHROMIUM names, or the first that is installed."
    return os.environ.get("GANNB_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def install() -> None:
    "On Debian and Ubuntu, as root: the distribution's own package."
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    print("== installing Chromium (apt-get install chromium)", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 600}
    for words in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        try:
            subprocess.run(["apt-get", "-qq", *words], check=True, **quiet)
        except (OSError, subprocess.SubprocessError):
            return


def main(args: list[str]) -> int:
    if not found():
        install()
    if not found():
        print(
            "== browser tests: NOT RUN. There is no Chromium here and it could not be installed. "
            "Install it (Debian, Ubuntu: apt install chromium), or name it: GANNB_CHROMIUM=/path/to/chrome"
        )
        return 0
    print(f"== browser tests, with {found()}", flush=True)
    tests = args or ["tests/browser"]
    return subprocess.run([sys.executable, "-m", "pytest", "-m", "browser", *tests], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
