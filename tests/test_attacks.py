"""What each ruler sees and what fools it, on real images: the signs of the lesson `stages.attacks`."""

import numpy as np
import pytest

from gannb.base import GannbError
from gannb.damage import DAMAGES
from gannb.datasets.fruits import varieties
from gannb.datasets.registry import load
from gannb.stages.attacks import (
    WORSE,
    Sight,
    attacks,
    parts_of,
    sight_rows,
    sights_of,
    what_rulers_see,
)
from gannb.stages.features import network

SETS = {
    "letters": {"name": "emnist-balanced"},
    "faces": {"name": "celeba"},
    "airplanes": {"name": "cifar10", "classes": ["airplane"]},
    "apples": {"name": "fruits360", "classes": ["Apple"]},
}
NAMES = ["real images", "slight blur", "strong blur", "invisible noise", "20 images repeated", "chimeras"]
N = 200


@pytest.fixture(scope="module", params=SETS)
def shown(request, tmp_path_factory):
    "Name of the set, and what its rulers see."
    name = request.param
    train, held = (load(**SETS[name], split=part, size=32, progress=False) for part in ("train", "test"))
    parts = parts_of(train, held, varieties(train) if name == "apples" else None)
    extra = None
    names = [*NAMES, "20 % copies"] + (["half of the classes"] if parts.kinds is not None else [])
    if name == "letters":
        paper = np.zeros((N, 32, 32, train.channels), np.uint8)
        extra, names = (
            {"background alone": DAMAGES["invisible noise"](paper, 0)},
            [*names, "background alone"],
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANNB_STORE", str(tmp_path_factory.mktemp("store")))
        sights = what_rulers_see(parts, network("effnet-lite0"), N, extra, names=names)
    return (
        name,
        {(s.attack, s.ruler) for s in sights if s.seen},
        {(s.attack, s.ruler): s.value for s in sights},
    )


@pytest.mark.pack
def test_signs_on_real_images(shown):
    name, seen, value = shown
    assert not [pair for pair in seen if pair[0] == "real images"]
    for ruler in ("kid", "gist_kid", "c2st", "recall", "coverage"):
        assert ("strong blur", ruler) in seen, (name, ruler)
    assert {("20 images repeated", r) for r in ("recall", "coverage", "c2st")} <= seen, name
    assert ("chimeras", "c2st") in seen and ("invisible noise", "gist_kid") not in seen, name
    for ruler in ("kid", "gist_kid", "c2st"):
        assert ("20 % copies", ruler) not in seen, (name, ruler)
    if name == "apples":
        assert np.isnan(value["20 % copies", "copies"]), "neighbouring frames are as near as copies"
    else:
        assert ("20 % copies", "copies") in seen and abs(value["20 % copies", "copies"] - 0.2) < 0.05


@pytest.mark.pack
def test_what_fools_kid(shown):
    name, seen, value = shown
    if name != "airplanes":
        assert value["20 images repeated", "kid"] < value["slight blur", "kid"], name
    if name == "letters":
        assert ("half of the classes", "kid") not in seen and (
            "half of the classes",
            "classes_covered",
        ) in seen
        assert ("invisible noise", "kid") in seen, "it cries wolf"
        assert {("background alone", r) for r in WORSE if r != "copies"} <= seen
    if name == "apples":
        assert ("half of the classes", "classes_covered") in seen and ("half of the classes", "c2st") in seen


def found(**moved):
    "Real images, slight blur, and one attack."
    real = {"kid": 0.0, "recall": 0.9, "copies": 0.0}
    return {
        "real images": real,
        "slight blur": {"kid": 0.4, "recall": 0.7, "copies": 0.0},
        "it": real | moved,
    }


@pytest.mark.parametrize(
    "moved, seen",
    [
        ({"kid": 0.21}, True),
        ({"kid": 0.19}, False),
        ({"kid": -0.5}, False),
        ({"recall": 0.79}, True),
        ({"recall": 0.81}, False),
        ({"recall": 1.0}, False),
        ({"copies": 0.06}, True),
        ({"copies": 0.04}, False),
        ({"copies": float("nan")}, False),
    ],
)
def test_what_counts_as_seeing(moved, seen):
    (ruler,) = moved
    sights = {(s.attack, s.ruler): s.seen for s in sights_of(found(**moved))}
    assert sights["it", ruler] is seen


def test_comparison_needs_real_images_and_blur():
    with pytest.raises(GannbError, match="slight blur"):
        sights_of({"real images": {"kid": 0.0}})


def test_the_table_says_no_minus_zero_and_marks_what_is_seen():
    rows = sight_rows([Sight("a", "kid", -0.001, False), Sight("a", "copies", float("nan"), False)])
    rows += sight_rows([Sight("b", "kid", 0.5, True)])
    assert rows == [{"attack": "a", "kid": "0.00", "copies": "n/a"}, {"attack": "b", "kid": "0.50 ●"}]


def test_parts_share_no_image_and_no_group():
    train, held = (load("digits", split=part, size=16, progress=False) for part in ("train", "test"))
    groups = np.arange(len(train)) // 3
    parts = parts_of(train.rows(np.arange(len(train)), groups=groups), held)
    assert not set(parts.trained.groups.tolist()) & set(parts.drawn.groups.tolist())
    assert len(parts.trained) + len(parts.drawn) == len(train)
    shown = attacks(parts, 50, names=("real images", "20 % copies"))
    copied = (shown["20 % copies"] != shown["real images"]).any((1, 2, 3))
    originals = {image.tobytes() for image in np.asarray(parts.trained.images)}
    assert copied.sum() == 10 and all(x.tobytes() in originals for x in shown["20 % copies"][copied])
    with pytest.raises(GannbError, match="attack"):
        attacks(parts, 50, names=("no such thing",))
