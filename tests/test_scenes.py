"""Intel scenes and what a study needs before it trains: the published layout, the counts, copies that must
not stay, the split that comes first and shares inside shares."""

import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb.base import GannbError
from gannb.data import ImageSet, audit, save_folder
from gannb.datasets.registry import check, get, load
from gannb.datasets.scenes import SCENE_CLASSES, SCENES_OFFICIAL, SCENES_PRINTED
from gannb.datasets.selection import clean_rows
from gannb.datasets.shares import nested_shares, train_and_validation
from gannb.datasets.page import format_check
from gannb.datasets.survey import balance, counts_beside, findings
from gannb.files import arrange

LOADS = dict(size=16, progress=False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")


def kaggle(root: Path, n: int = 3) -> Path:
    "The pack as Kaggle makes it: every folder inside another one of its name."
    seed = 0
    for part in ("seg_train", "seg_test"):
        for c in SCENE_CLASSES:
            for i in range(n):
                picture(root / part / part / c / f"{i}.png", seed := seed + 1)
    for i in range(4):
        picture(root / "seg_pred" / "seg_pred" / f"{i}.png", seed := seed + 1)
    return root


def packed(folder: Path, path: Path, above: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as z:
        for p in sorted(folder.rglob("*.png")):
            z.write(p, above + p.relative_to(folder).as_posix())
    return path


# the layout


@pytest.mark.parametrize("kind", ["folder", "zip", "zip in a folder", "by its name"])
def test_the_published_pack_is_read_as_it_is(tmp_path, kind):
    box, root = kaggle(tmp_path / "box"), tmp_path / "root"
    root.mkdir()
    name, options = "intel-scenes", dict(data_root=root)
    if kind == "folder":
        shutil.move(box, root / "intel-scenes")
    elif kind == "zip":
        packed(box, root / "intel-scenes.zip")
    elif kind == "zip in a folder":
        packed(box, root / "intel-scenes.zip", "archive/")
    else:
        name, options = f"folder:{packed(box, tmp_path / 'archive.zip')}", {}
    train, test = (load(name, split=p, **LOADS, **options) for p in ("train", "test"))
    assert train.counts() == test.counts() == dict.fromkeys(SCENE_CLASSES, 3)
    assert train.classes == SCENE_CLASSES and not audit({"train": train, "test": test})["n_groups"]
    assert all(b"seg_pred" not in bytes(f) for s in (train, test) for f in s.files)
    assert any("4 image(s) in seg_pred/ belong to no part" in n for n in train.notes)
    assert len(load(name, split="all", **LOADS, **options)) == 36, "the unlabelled part is in no part at all"


def test_a_part_without_its_double_is_the_same(tmp_path):
    single = [f"seg_{p}/{c}/{i}.jpg" for p in ("train", "test") for c in "ab" for i in range(2)]
    double = [f"seg_{p}/seg_{p}/{c}/{i}.jpg" for p in ("train", "test") for c in "ab" for i in range(2)]
    (_, one), (_, two) = (arrange(names, "pack") for names in (single, double))
    assert one.parts == two.parts == {"train": (0, 4), "test": (4, 8)}
    assert one.classes == two.classes == ("a", "b") and one.labels.tolist() == two.labels.tolist()


def test_a_class_with_the_name_of_its_part_stays_a_class():
    _, c = arrange(["train/train/1.png", "train/other/2.png", "test/train/3.png", "test/other/4.png"], "pack")
    assert c.classes == ("other", "train") and c.parts == {"train": (0, 2), "test": (2, 4)}
    _, c = arrange(["train/train/1.png", "test/test/2.png"], "pack")
    assert not c.classes and len(c.parts) == 2, "a part that only repeats its name has no classes"
    deep = ["train/train/a/1.png", "train/b/2.png", "test/b/3.png", "test/train/4.png"]
    assert arrange(deep, "pack")[1].classes == ("b", "train"), "not all of the part lies in its double"


# fetching


class Client:
    "Stands in for kagglehub: what it gives, or what it raises."

    def __init__(self, gives: Path | Exception):
        self.gives, self.asked = gives, []

    def dataset_download(self, handle: str) -> str:
        self.asked.append(handle)
        if isinstance(self.gives, Exception):
            raise self.gives
        return str(self.gives)


def test_the_pack_comes_through_kaggles_client(tmp_path, monkeypatch):
    client, root = Client(kaggle(tmp_path / "hub")), tmp_path / "root"
    root.mkdir()
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    assert get("intel-scenes", root, progress=False) == str(root / "intel-scenes")
    assert client.asked == ["puneet6060/intel-image-classification"]
    train = load("intel-scenes", data_root=root, **LOADS)
    assert train.counts() == dict.fromkeys(SCENE_CLASSES, 3)
    get("intel-scenes", root, progress=False)
    assert len(client.asked) == 1 and not list(root.glob(".*.tmp")), "what is here is not fetched again"


@pytest.mark.parametrize(
    "gives, words",
    [
        (RuntimeError("403"), r"Kaggle did not give puneet6060/.*RuntimeError: 403.*by hand from https"),
        (None, "has no folder seg_train and no folder seg_test.*by hand"),
    ],
)
def test_what_kaggle_does_not_give(tmp_path, monkeypatch, gives, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "root").mkdir()
    monkeypatch.setitem(sys.modules, "kagglehub", Client(gives or tmp_path / "empty"))
    with pytest.raises(GannbError, match=words):
        load("intel-scenes", data_root=tmp_path / "root", download=True, **LOADS)
    assert not list((tmp_path / "root").iterdir()), "nothing half-fetched"


def test_without_the_client_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # as if it were not there
    with pytest.raises(GannbError, match=r"pip install 'gannb\[kaggle\]'.*by hand"):
        get("intel-scenes", tmp_path, progress=False)
    with pytest.raises(GannbError, match="gannb data get intel-scenes.*from Kaggle `puneet6060"):
        load("intel-scenes", data_root=tmp_path, **LOADS)


# counts


def test_published_counts():
    rows = counts_beside(SCENES_PRINTED, SCENES_OFFICIAL)
    assert len(rows) == 14
    sums = {r["part"]: r for r in rows if r["class"] == "sum"}
    assert (sums["train"]["published"], sums["train"]["here"]) == (14_034, 14_034)
    assert (sums["test"]["published"], sums["test"]["here"], sums["test"]["difference"]) == (3_001, 3_000, -1)
    wrong = [r["class"] for r in rows if r["difference"] and r["class"] != "sum"]
    assert wrong == ["buildings"]


def test_counts_beside_images(tmp_path):
    box = kaggle(tmp_path / "box")
    train = load(f"folder:{box}", split="train", **LOADS)
    rows = counts_beside({"train": {"buildings": 5, "desert": 2}, "test": {"sea": 1}}, {"train": train})
    by = {(r["part"], r["class"]): (r["published"], r["here"], r["difference"]) for r in rows}
    assert by["train", "buildings"] == (5, 3, -2) and by["train", "desert"] == (2, 0, -2)
    assert by["train", "street"] == (0, 3, 3), "a class that the publication does not name is shown"
    assert by["train", "sum"] == (7, 18, 11) and by["test", "sum"] == (1, 0, -1)


def test_balance_and_findings_name_things(tmp_path):
    box = kaggle(tmp_path / "box")
    inside = box / "seg_train" / "seg_train"
    shutil.copy(inside / "sea" / "0.png", inside / "forest" / "sea.png")
    shutil.copy(inside / "sea" / "1.png", box / "seg_test" / "seg_test" / "sea" / "again.png")
    (inside / "street" / "cut.png").write_bytes((inside / "street" / "0.png").read_bytes()[:60])
    found = check(str(box), progress=False)
    rows = {r["what"]: r for r in findings(found)}
    contradiction = rows["exact copies within one part, contradictory labels"]
    assert contradiction["number"] == 1
    assert "forest/sea.png" in contradiction["which"] and "sea/0.png" in contradiction["which"]
    across = rows["exact copies across parts, the same label"]
    assert across["number"] == 1 and "seg_test/seg_test/sea/again.png" in across["which"]
    assert rows["exact copies across parts, contradictory labels"]["number"] == 0
    assert rows["unreadable files"]["number"] == 1 and "cut.png" in rows["unreadable files"]["which"]
    assert rows["train: largest class / smallest"]["number"] == round(4 / 3, 2)
    text = format_check(found)
    assert "2 files (1 group) are the same picture in two parts" in text
    assert "2 files (1 group) are the same picture in two classes" in text


def test_findings_of_loaded_sets_name_the_part():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8)
    a = ImageSet.of_images(pixels, "a", np.array([0, 0, 1, 1]), ("x", "y"))
    found = audit({"train": a, "test": a.rows([0], labels=np.array([1]))})
    rows = {r["what"]: r for r in findings(found)}
    assert (
        rows["exact copies across parts, contradictory labels"]["which"] == "train/x/image 0 = test/y/image 0"
    )
    assert "unreadable files" not in rows, "decoded images cannot say what was unreadable"


def test_balance_of_an_empty_or_single_class():
    assert balance({"train": {"a": 3}, "test": {}}) == {}
    assert balance({"train": {"a": 3, "b": 0}})["train"]["ratio"] == float("inf")


# copies


def test_clean_by_hand():
    #                  train: a test copy | contradiction | an agreeing pair | alone | test
    hashes = np.array([1, 2, 2, 3, 3, 4, 1, 9, 9])
    labels = np.array([0, 0, 1, 1, 1, 0, 1, 0, 1])
    stay, gone = clean_rows(hashes, labels, {"train": (0, 6), "test": (6, 9)})
    assert stay.tolist() == [3, 5, 6, 7, 8], "the test part stays whole, its own copies too"
    assert gone == {"in another part": 1, "contradictory": 2, "agreeing": 1}
    stay, gone = clean_rows(hashes, None, {"train": (0, 6), "test": (6, 9)})
    assert stay.tolist() == [1, 3, 5, 6, 7, 8], "without labels nothing contradicts"
    three = clean_rows(np.array([5, 5, 5, 5]), np.array([0, 0, 1, 1]), {})
    assert three[0].tolist() == [] and three[1]["contradictory"] == 4


def test_clean_with_a_validation_part():
    hashes, labels = np.array([1, 2, 3, 2, 3, 3]), np.zeros(6, np.int64)
    stay, gone = clean_rows(hashes, labels, {"train": (0, 3), "val": (3, 5), "test": (5, 6)})
    assert stay.tolist() == [0, 3, 5] and gone["in another part"] == 3


def test_clean_needs_no_parts_and_changes_no_clean_set(tmp_path):
    box = kaggle(tmp_path / "box")
    for split in ("train", "test", "all"):
        plain, clean = (load(f"folder:{box}", split=split, duplicates=d, **LOADS) for d in ("keep", "clean"))
        assert plain.fingerprint == clean.fingerprint and plain.notes == clean.notes
    inside = box / "seg_train" / "seg_train"
    shutil.copy(inside / "sea" / "0.png", inside / "forest" / "sea.png")
    flat = f"folder:{inside}"
    whole = load(flat, split="all", duplicates="clean", **LOADS)
    assert len(whole) == 17 and "2 have a copy with another label" in whole.notes[-1]


@pytest.mark.pack
def test_the_nine_pairs_of_the_real_pack():
    parts = {p: load("intel-scenes", split=p, size=64, progress=False) for p in ("train", "test")}
    found = audit(parts)
    assert (found["n_groups"], found["n_across"], found["n_labels_differ"]) == (9, 2, 7)
    rows = {r["what"]: r["number"] for r in findings(found)}
    assert rows["exact copies across parts, contradictory labels"] == 2
    assert rows["exact copies within one part, contradictory labels"] == 5
    assert rows["exact copies within one part, the same label"] == 2
    clean = {p: load("intel-scenes", split=p, size=64, duplicates="clean", progress=False) for p in parts}
    assert not audit(clean)["n_groups"]
    assert clean["test"].fingerprint == parts["test"].fingerprint, "the test part stays whole"
    assert len(parts["train"]) - len(clean["train"]) == 2 + 10 + 2
    gone = {bytes(f).decode() for f in parts["train"].files} - {
        bytes(f).decode() for f in clean["train"].files
    }
    said = {m["file"] for g in found["copies"] for m in g["images"] if m["part"] == "train"}
    assert gone <= said and {"train/buildings/4634.jpg", "train/street/10408.jpg"} <= gone
    assert "14 images with exact copies" in clean["train"].notes[-1]
    assert "2 are in another part too, 10 have a copy" in clean["train"].notes[-1]
    beside = {(r["part"], r["class"]): r for r in counts_beside(SCENES_PRINTED, parts)}
    assert beside["train", "sum"]["here"] == 8_741 and beside["test", "sum"]["difference"] == 2_158 - 3_001


# the split that comes first


def planted(n: int = 120) -> ImageSet:
    "Three classes, some images twice."
    pixels = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 1), np.uint8)
    pixels[3::30] = pixels[::30]
    return ImageSet.of_images(pixels, "toy", np.arange(n) % 3, ("a", "b", "c"))


def test_the_split_is_named_stratified_and_keeps_copies_together():
    parts = train_and_validation(planted())
    assert list(parts) == ["train", "validation"] and [s.part for s in parts.values()] == list(parts)
    assert parts["train"].counts() == {"a": 34, "b": 34, "c": 34}
    assert parts["validation"].counts() == {"a": 6, "b": 6, "c": 6}
    assert not audit(parts)["n_across"] and audit(parts)["n_groups"]
    again, other = train_and_validation(planted()), train_and_validation(planted(), seed=1)
    assert again["train"].fingerprint == parts["train"].fingerprint != other["train"].fingerprint
    assert "0.85 of the 120 images of toy train, 0.15 validate (seed 0" in parts["train"].notes[-1]


def test_shares_are_nested_and_stratified():
    train = train_and_validation(planted(600))["train"]
    shares = nested_shares(train, seed=3)
    assert list(shares) == [0.05, 0.1, 0.25, 0.5, 1.0] and shares[1.0] is train
    hashes = [set(s.pixel_hashes().tolist()) for s in shares.values()]
    assert all(small < large for small, large in zip(hashes, hashes[1:]))
    for share, some in shares.items():
        counts = some.counts()
        assert max(counts.values()) - min(counts.values()) <= 1
        assert counts["a"] == int(share * train.counts()["a"] + 0.5)
    assert len({s.fingerprint for s in shares.values()}) == 5
    assert nested_shares(train, (0.1,), seed=3)[0.1].fingerprint == shares[0.1].fingerprint
    assert nested_shares(train, (0.1,), seed=4)[0.1].fingerprint != shares[0.1].fingerprint


def test_every_share_is_inside_every_larger_one():
    "Shares that are rounded for each class by itself never take an image back."
    uneven = planted(200).rows(np.flatnonzero((np.arange(200) % 3 < 2) | (np.arange(200) % 7 == 0)))
    shares = nested_shares(uneven, [k / 40 for k in range(1, 41)])
    rows = [set(s.pixel_hashes().tolist()) for s in shares.values()]
    assert all(small <= large for small, large in zip(rows, rows[1:]))
    assert all(min(s.counts().values()) >= 1 for s in shares.values())


@pytest.mark.parametrize("share", [0, 1, 1.0, -0.1, 1.5, "0.5", None, True, float("nan")])
def test_what_is_no_share_of_a_split(share):
    with pytest.raises(GannbError, match="share must be a share above 0 and below 1"):
        train_and_validation(planted(), share)


@pytest.mark.parametrize("shares", [[0], [1.5], ["x"], [None], [True], [0.1, float("nan")]])
def test_what_is_no_share(shares):
    with pytest.raises(GannbError, match="shares must be a share above 0, at most 1"):
        nested_shares(planted(), shares)


@pytest.mark.parametrize("shares", [[], [0.1, 0.1]])
def test_shares_that_say_nothing_or_twice(shares):
    with pytest.raises(GannbError, match="at least one share, each once"):
        nested_shares(planted(), shares)


def test_a_class_too_small_for_the_split():
    with pytest.raises(GannbError, match="class 'a' has 1 image"):
        train_and_validation(planted().rows([0, 1, 2, 4, 5, 7]))


# more to write beside a folder of images


def test_what_lies_beside_is_in_the_manifest_and_is_no_image(tmp_path):
    from gannb.store import read_json, verify_folder

    folder = save_folder(planted(), tmp_path / "out", {"about.json": {"seed": 3}})
    assert read_json(folder / "about.json") == {"seed": 3} and "about.json" in verify_folder(folder)
    assert len(load(f"folder:{folder}", split="all", progress=False)) == 120
