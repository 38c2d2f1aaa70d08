"""The small generators as script files: a page opened from disk may load a script and nothing else."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "outputs" / "reference" / "generators"
DIRECTIONS = 5
EPS = 1e-5  # of batch norm, torch's own
DRAWABLE = ("dcgan", "cdcgan")  # what static/play.js can draw
CALLED = {"celeba": "faces", "stanford-cars": "cars", "emnist-balanced": "letters", "mnist": "digits"}
FIRST = ("digits", "apple", "faces")  # the order of the buttons; then the others


def cards() -> dict[str, dict[str, Any]]:
    "The card of every generator that lies in the repository, by its name."
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }
    place = {name: i for i, name in enumerate(FIRST)}
    return dict(sorted(found.items(), key=lambda item: place.get(called(item[1]), len(place))))


def called(card: dict[str, Any]) -> str:
    "What a generator draws, in a word."
    data = card["data"]
    if len(data["classes"]) == 1:
        return data["classes"][0].lower()
    return CALLED.get(data["name"], data["name"])


def is_drawable(card: dict[str, Any]) -> bool:
    "Whether the site's script can draw it."
    settings = card["settings"]
    return settings.get("model", "dcgan") in DRAWABLE and not settings.get("extra_convs", 0)


def directions(path: Path, nz: int, n: int = DIRECTIONS) -> np.ndarray:  # (n, nz), of length 1
    """The directions of z that move the first map most: SeFa (Shen and Zhou 2021), equation 5.

    The first map is a linear function of z with its batch norm in evaluation mode, which is taken along."""
    tensors = load_file(path)
    scale = tensors["G.main.1.weight"] / np.sqrt(tensors["G.main.1.running_var"] + EPS)
    first = tensors["G.main.0.weight"][:nz] * scale[:, None, None]
    flat = first.reshape(nz, -1).astype(np.float64)
    found = np.linalg.eigh(flat @ flat.T)[1].T[::-1][:n]
    largest = found[np.arange(len(found)), np.abs(found).argmax(1)]
    return found * np.sign(largest)[:, None]


def lacking(notes: list[str]) -> str:
    "What of the data set was here, where a note says that it is not complete."
    said = [note.partition("not complete here: ")[2] for note in notes]
    return next(filter(None, said), "")


def facts(name: str, card: dict[str, Any]) -> dict[str, Any]:
    "What the page says of a generator."
    data, settings = card["data"], card["settings"]
    return {
        "name": name,
        "called": called(card),
        "size": settings["size"],
        "channels": settings["channels"],
        "nz": settings["nz"],
        "dist": settings["z_dist"],
        "classes": list(card.get("classes", {}).values()),
        "data": data["name"],
        "images": data["images"],
        "licence": data["licence"],
        "notes": data["notes"],
        "lacks": lacking(data["notes"]),
        "steps": card["steps"],
    }


def script(name: str, card: dict[str, Any]) -> str:
    "A generator as a script: its facts, its directions, and its safetensors file in base64."
    path = FOLDER / f"{name}.safetensors"
    found = np.round(directions(path, card["settings"]["nz"]), 5).tolist()
    weights = base64.b64encode(path.read_bytes()).decode()
    return f"window.gannb.receive({json.dumps(name)}, {json.dumps(found)}, {json.dumps(weights)});\n"


def write_scripts(site: Path) -> None:
    "One script for each generator that the page can draw."
    folder = site / "_static" / "generators"
    folder.mkdir(parents=True, exist_ok=True)
    for name, card in cards().items():
        if is_drawable(card):
            (folder / f"{name}.js").write_text(script(name, card), encoding="utf-8")
