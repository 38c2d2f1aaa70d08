"""What `make eyes` does: the eye test as a page for a class (voila), without its code.

    python tools/eyes.py [--port=8866] [--Voila.ip=0.0.0.0]

Nothing leaves the machine: voila's own page asks for an icon font on the internet, the one in tools/voila
does not. GANNB_EYE_TEST=PAPER/CLAIM asks about a claim of a report that has run here."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = "nbs/tutorials/eye_test.ipynb"


def command(args: list[str]) -> list[str]:
    return [sys.executable, "-m", "voila", PAGE, "--template=offline", *args]


def surroundings() -> dict[str, str]:
    "The environment in which voila finds the template."
    paths = [str(ROOT / "tools" / "voila"), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    try:
        sys.exit(subprocess.run(command(sys.argv[1:]), cwd=ROOT, env=surroundings()).returncode)
    except KeyboardInterrupt:
        sys.exit(0)
