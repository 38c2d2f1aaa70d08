"""What `make lab` does: JupyterLab, opened at the page that says where to begin.

Nothing leaves the machine: no news and no search for updates."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START = "nbs/tutorials/start_here.ipynb"
QUIET = ("--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",)


def without_news(config: Path) -> None:
    "JupyterLab with this folder of settings asks nobody whether there is news."
    path = config / "labconfig" / "page_config.json"
    page = json.loads(path.read_text()) if path.is_file() else {}
    page.setdefault("disabledExtensions", {})["@jupyterlab/apputils-extension:announcements"] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page, indent=2))


def command(args: list[str]) -> list[str]:
    return [sys.executable, "-m", "jupyter", "lab", *QUIET, START, *args]


if __name__ == "__main__":
    without_news(Path(sys.prefix) / "etc" / "jupyter")
    os.chdir(ROOT)
    try:
        sys.exit(subprocess.run(command(sys.argv[1:])).returncode)
    except KeyboardInterrupt:
        sys.exit(0)
