"COCO: one class for each photograph by a named rule, from the file of annotations beside the photographs."

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_datasets import Server, fill, fill_zip

from gannb import fetch
from gannb.base import GannbError
from gannb.data import ImageSet
from gannb.datasets import coco, registry
from gannb.datasets.coco import LABEL_RULES, NOTHING, RULES, class_shares, coco_labels, read_categories
from gannb.datasets.rare import without_rare
from gannb.datasets.selection import Choice, in_whole_batches
from gannb.files import arrange

# image -> (category, area) of its annotations in their order
THINGS = {
    "1.png": [("dog", 300.0), ("person", 200.0), ("person", 150.5)],
    "2.png": [("cat", 5.0)],
    "3.png": [],
    "4.png": [("person", 10.0), ("person", 1.0)],
    "5.png": [("cat", 7.0), ("dog", 7.0)],
}
STUFF = {
    "1.png": [("grass", 10.0), ("other", 500.0)],
    "2.png": [("other", 9.0)],
    "3.png": [("sky", 3.0), ("grass", 4.0)],
    "4.png": [("sky", 8.0)],
    "5.png": [("sky", 1.0), ("other", 0.5)],
}
WANTED = {
    "largest": ["person", "cat", None, "person", "cat"],
    "first": ["dog", "cat", None, "person", "cat"],
    "single": [None, "cat", None, "person", None],
    "stuff": ["other", "other", "grass", "sky", "sky"],
    "stuff-first": ["grass", "other", "sky", "sky", "sky"],
    "stuff-without-other": ["grass", None, "grass", "sky", "sky"],
}


def official(things, ids=(18, 1, 17, 92, 119, 183)):
    "The official JSON; ids are not consecutive, as COCO's are not."
    names = sorted({name for of in things.values() for name, _ in of})
    number = dict(zip(names, ids))
    return {
        "info": {"year": 2017},
        "images": [{"id": 100 + k, "file_name": f, "height": 20, "width": 20} for k, f in enumerate(things)],
        "categories": [{"id": number[n], "name": n, "supercategory": "x"} for n in names],
        "annotations": [
            {"id": 7 * k + j, "image_id": 100 + k, "category_id": number[name], "area": area, "iscrowd": 0}
            for k, of in enumerate(things.values())
            for j, (name, area) in enumerate(of)
        ],
    }


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch, request):
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "root"
    folder.mkdir()
    if not request.node.get_closest_marker("pack"):
        monkeypatch.setenv("GANNB_DATA", str(folder))
    return folder


def photographs(root):
    fill_zip(root / "coco-val2017.zip", [f"val2017/{f}" for f in THINGS])


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def load(**kw):
    return registry.load("coco-val2017", **{"split": "all", "size": 16, "progress": False, **kw})


def labels_of(s):
    return {bytes(f).decode().rsplit("/", 1)[-1]: s.classes[k] for f, k in zip(s.files, s.labels)}


def given(rule, nothing=None):
    return {f: w if THINGS[f] or rule.startswith("stuff") else nothing for f, w in zip(THINGS, WANTED[rule])}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_on_the_official_files(root, rule):
    photographs(root)
    write(root / "annotations" / "instances_val2017.json", official(THINGS))
    write(root / "annotations" / "stuff_val2017.json", official(STUFF))
    wanted = {f: w for f, w in given(rule).items() if w}
    s = load(labels=rule)
    assert labels_of(s) == wanted and s.classes == tuple(sorted(set(wanted.values())))
    out = 5 - len(wanted)
    assert any(f"(rule '{rule}'" in n and RULES[rule].listing.file in n for n in s.notes)
    assert any(f"{out} of 5 images were left out" in n for n in s.notes) == (out > 0)
    all_named = {f: w for f, w in given(rule, NOTHING).items() if w}
    named = load(labels=f"{rule}-or-none")
    assert labels_of(named) == all_named and any(NOTHING in n for n in named.notes)


def test_without_a_rule_there_are_no_labels_and_no_file_is_needed(root):
    photographs(root)
    s = load()
    assert s.labels is None and len(s) == 5 and s.notes == ("5 images here, 5,000 published",)


def test_rules_make_different_sets(root):
    photographs(root)
    write(root / "annotations" / "instances_val2017.json", official(THINGS))
    prints = {load(labels=r).fingerprint for r in ("largest", "first", "single", "largest-or-none")}
    assert len(prints | {load().fingerprint}) == 5


@pytest.mark.parametrize(
    "place",
    [
        "annotations/instances_val2017.json",
        "instances_val2017.json",
        "coco-val2017/annotations/instances_val2017.json",
        "annotations_trainval2017.zip",
        "coco-val2017/annotations_trainval2017.zip",
    ],
)
def test_where_the_file_may_lie(root, place):
    photographs(root)
    text = json.dumps(official(THINGS))
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("annotations/captions_val2017.json", "{}")
            z.writestr("annotations/instances_val2017.json", text)
    else:
        path.write_text(text)
    assert labels_of(load(labels="largest")) == {f: w for f, w in given("largest").items() if w}


def test_photographs_unpacked_by_hand(root):
    fill(root / "coco-val2017", [f"val2017/{f}" for f in THINGS])
    write(root / "coco-val2017" / "annotations" / "instances_val2017.json", official(THINGS))
    assert load().labels is None, "val2017 is no class"
    assert labels_of(load(labels="first"))["1.png"] == "dog"


def pack(root, content):
    "As the small pack: photographs without folders, a list of categories for each, named by the catalogue."
    fill_zip(root / "mini.zip", list(THINGS))
    write(root / "mini.json", content)
    entry = 'coco-val2017: {source: "folder:mini.zip", labels: "mini.json", complete: false, note: "five"}'
    (root / "catalogue.yaml").write_text(entry)


def largest_first():
    areas = {}
    for file, of in THINGS.items():
        sums = {}
        for name, area in of:
            sums[name] = sums.get(name, 0) + area
        areas[file] = sorted(sums, key=sums.get, reverse=True)
    return areas


def test_the_file_that_a_catalogue_names(root):
    pack(root, largest_first())
    for rule in ("largest", "single"):
        s = load(labels=rule)
        assert labels_of(s) == {f: w for f, w in given(rule).items() if w}
        assert any("mini.json" in n and rule in n for n in s.notes)
    with pytest.raises(
        GannbError, match="does not say which annotation came first.*annotations_trainval2017"
    ):
        load(labels="first")
    with pytest.raises(GannbError, match="stuff_val2017.json is not in"):
        load(labels="stuff")
    pack(root, official(THINGS))
    assert labels_of(load(labels="first"))["1.png"] == "dog", "a catalogue may name the official file"
    (root / "mini.json").unlink()
    with pytest.raises(GannbError, match="mini.json cannot be read"):
        load(labels="largest")


def test_a_missing_file_says_where_to_get_it_and_where_to_put_it(root):
    photographs(root)
    with pytest.raises(
        GannbError,
        match="instances_val2017.json is not in .*root.*Fetch http://images.cocodataset.org/annotations/"
        "annotations_trainval2017.zip and put it there",
    ):
        load(labels="largest")
    with pytest.raises(GannbError, match="stuff_annotations_trainval2017.zip and put it there"):
        load(labels="stuff")
    with pytest.raises(GannbError, match="Did you mean 'largest'"):
        load(labels="larges")
    with zipfile.ZipFile(root / "annotations_trainval2017.zip", "w") as z:
        z.writestr("annotations/captions_val2017.json", "{}")
    with pytest.raises(GannbError, match="holds no instances_val2017.json"):
        load(labels="largest")


BROKEN = official(THINGS)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "7",
        '"images annotations categories"',
        '{"1.png": "dog"}',
        '{"1.png": [3]}',
        '{"images": [], "annotations": [{}], "categories": []}',
        json.dumps(BROKEN | {"images": []}),
        json.dumps(BROKEN | {"categories": []}),
        json.dumps(BROKEN | {"images": [{"id": 1}]}),
        json.dumps(BROKEN | {"annotations": None}),
    ],
)
def test_other_files_are_refused(root, text):
    photographs(root)
    (root / "instances_val2017.json").write_text(text)
    with pytest.raises(GannbError, match="instances_val2017.json is not a file of COCO annotations"):
        load(labels="largest")


def test_damaged_files(root):
    photographs(root)
    (root / "annotations_trainval2017.zip").write_bytes(b"<html>daily limit</html>")
    with pytest.raises(GannbError, match="cannot be read.*Fetch it again"):
        load(labels="largest")
    (root / "instances_val2017.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(GannbError, match="is not a file of COCO annotations"):
        load(labels="largest")


def test_the_file_of_other_images_is_refused(root):
    photographs(root)
    few = {f: of for f, of in THINGS.items() if f != "4.png"}
    write(root / "instances_val2017.json", official(few))
    with pytest.raises(GannbError, match="1 of 5 images are not listed in .*4.png"):
        load(labels="largest")


def test_a_rule_for_a_folder_of_ones_own(root, tmp_path):
    fill(tmp_path / "mine", list(THINGS))
    write(tmp_path / "mine.json", official(THINGS))
    rule = coco_labels(read_categories(tmp_path / "mine.json"), "single")
    s = registry.load(f"folder:{tmp_path / 'mine'}", split="all", size=16, labels=rule, progress=False)
    assert labels_of(s) == {"2.png": "cat", "4.png": "person"}
    with pytest.raises(GannbError, match="Did you mean 'single'"):
        coco_labels(read_categories(tmp_path / "mine.json"), "singel")


def test_class_shares(root):
    with pytest.raises(GannbError, match="gannb data get coco-val2017"):
        class_shares()
    photographs(root)
    write(root / "annotations" / "instances_val2017.json", official(THINGS))
    rows = {r["rule"]: r for r in class_shares()}
    assert list(rows) == list(LABEL_RULES)
    first = rows["largest"]
    assert first["sizes"] == {"cat": 2, "person": 2} and first["commonest"] == "cat" and first["share"] == 0.5
    assert (first["images"], first["left_out"], first["classes"], first["why"]) == (4, 1, 2, "")
    assert list(rows["first"]["sizes"]) == ["cat", "dog", "person"] and rows["single"]["left_out"] == 3
    assert rows["largest-or-none"]["sizes"][NOTHING] == 1
    assert rows["stuff"]["images"] == 0 and rows["stuff"]["share"] is None
    assert "stuff_val2017.json is not in" in rows["stuff"]["why"]
    json.dumps(list(rows.values()))
    for rule in ("largest", "first", "single", "largest-or-none"):
        counts = load(labels=rule).counts()
        assert rows[rule]["sizes"] == {k: n for k, n in counts.items() if n}, "the same as the images have"
    assert [r["rule"] for r in class_shares(rules=["single"])] == ["single"]
    with pytest.raises(GannbError, match="rules"):
        class_shares(rules=["biggest"])


def test_get_fetches_photographs_and_annotations(root, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0)
    s = Server()
    fill_zip(root.parent / "v.zip", [f"val2017/{f}" for f in THINGS])
    with zipfile.ZipFile(root.parent / "a.zip", "w") as z:
        z.writestr("annotations/instances_val2017.json", json.dumps(official(THINGS)))
    for name, file in (("COCO", "v.zip"), ("ANNOTATIONS", "a.zip")):
        s.files[file] = (root.parent / file).read_bytes()
        monkeypatch.setattr(coco, name, (s.url + file, hashlib.md5(s.files[file]).hexdigest()))
    try:
        assert len(load(labels="largest", download=True)) == 4
        assert [f for f, _ in s.asked] == ["a.zip", "v.zip"], "photographs last: where they are, all is there"
        assert registry.get("coco-val2017", progress=False).endswith("coco-val2017.zip!val2017")
        assert len(s.asked) == 2
    finally:
        s.http.shutdown()
        s.http.server_close()


def test_the_addresses_are_cocos():
    files = {p.name: (urls, md5) for urls, md5, p in registry.DATASETS["coco-val2017"].fetching.files(Path())}
    where = "http://images.cocodataset.org"
    assert files == {
        "annotations_trainval2017.zip": (
            [f"{where}/annotations/annotations_trainval2017.zip"],
            "f4bbac642086de4f52a3fdda2de5fa2c",
        ),
        "coco-val2017.zip": ([f"{where}/zips/val2017.zip"], "442b8da7639aecaf257c1dceb8ba8c80"),
    }


# parts named by their year


def test_cocos_folders_are_parts_where_they_lie_side_by_side(tmp_path):
    _, c = arrange(["train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg"], "input")
    assert c.parts == {"train": (0, 2), "val": (2, 3)} and c.labels is None
    _, c = arrange(["coco/train2014/a/1.jpg", "coco/val2014/a/1.jpg", "coco/val2014/b/1.jpg"], "coco")
    assert c.parts == {"train": (0, 1), "val": (1, 3)} and c.classes == ("a", "b")
    _, c = arrange(["val2017/1.jpg", "val2017/2.jpg"], "val2017")
    assert not c.parts and c.labels is None, "the official zip by itself is a flat folder, split as any other"
    _, c = arrange(["val2017/1.jpg", "val2017/2.jpg"], "coco")
    assert not c.parts, "a single one is no part: there would be nothing to train on"
    _, c = arrange(["car/1.jpg", "train2017/2.jpg"], "x")
    assert not c.parts and c.classes == ("car", "train2017")


# classes too rare to be split


def few(labels, images=None, **kw):
    labels = np.asarray(labels)
    if images is None:
        images = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 2, 2, 1)
    return ImageSet("few", images, labels, tuple("abcd"), **kw)


def test_rare_classes_go_and_the_rest_can_be_split():
    s = few([0, 0, 0, 1, 2, 2, 3], notes=("before",))
    with pytest.raises(GannbError):
        s.split(0.5)
    left = without_rare(s)
    assert left.classes == ("a", "c") and left.counts() == {"a": 3, "c": 2}
    assert left.notes[0] == "before" and left.notes[1].startswith("2 of 4 classes have fewer than 2 images")
    assert left.notes[1].endswith("with 2 of 7 images")
    assert all(set(part.counts().values()) and 0 not in part.counts().values() for part in left.split(0.5))
    assert without_rare(s, 3).classes == ("a",)
    assert np.array_equal(left.take(range(5)), s.take([0, 1, 2, 4, 5]))


def test_copies_and_groups_count_once():
    images = np.arange(28, dtype=np.uint8).reshape(-1, 2, 2, 1)
    images[3] = images[4]
    assert without_rare(few([0, 0, 0, 1, 1, 2, 3], images)).classes == ("a",)
    groups = np.array([0, 1, 2, 3, 4, 5, 5])
    assert without_rare(few([0, 0, 1, 1, 2, 3, 3], groups=groups)).classes == ("a", "b")


def test_classes_without_images_go_and_nothing_changes_without_rare_ones():
    assert without_rare(few([0, 0, 1, 1])).classes == ("a", "b")
    s = few([0, 0, 1, 1, 2, 2, 3, 3])
    assert without_rare(s) is s and without_rare(few([0, 1, 2, 3]), 1).classes == tuple("abcd")


@pytest.mark.parametrize("fewest", [0, -1, 1.5, True, "2", None])
def test_fewest_is_a_number(fewest):
    with pytest.raises(GannbError, match="fewest must be a whole number from 1"):
        without_rare(few([0, 0]), fewest)


def test_nothing_left_and_no_labels():
    with pytest.raises(GannbError, match="no class of few has 5 images; the largest has 2"):
        without_rare(few([0, 0, 1]), 5)
    with pytest.raises(GannbError, match="has no labels"):
        without_rare(ImageSet("bare", np.zeros((3, 2, 2, 1), np.uint8)))


# whole batches


@pytest.mark.parametrize(
    "n, limit, left",
    [(7_349, None, 7_296), (70_000, 10_900, 10_880), (136_726, 16_000, 16_000), (5_000, None, 4_992)],
)
def test_whole_batches_of_a_published_study(n, limit, left):
    s = in_whole_batches(
        ImageSet("x", np.zeros((n, 1, 1, 1), np.uint8)), Choice(limit=limit, whole_batches=128)
    )
    assert len(s) == left and f"{left:,} of {n:,} images are taken" in s.notes[-1]
    assert f"{left // 128} whole batches of 128" in s.notes[-1] and "seed 0" in s.notes[-1]
    assert ("at most" in s.notes[-1]) == (limit is not None)


def test_load_says_what_whole_batches_cut(root):
    fill_zip(root / "coco-val2017.zip", [f"val2017/{i}.png" for i in range(25)])
    assert (
        "20 of 25 images are taken: at most 23, then 5 whole batches of 4"
        in (load(limit=23, whole_batches=4).notes[-1])
    )
    for cut in ({"whole_batches": 5}, {"limit": 7}):
        assert load(**cut).notes == ("25 images here, 5,000 published",), "nothing was cut"
    again = load(limit=23, whole_batches=4)
    assert again.fingerprint == load(limit=23, whole_batches=4).fingerprint and len(again) == 20


@pytest.mark.pack
def test_the_pack():
    rows = {r["rule"]: r for r in class_shares()}
    largest, single = rows["largest"], rows["single"]
    assert (largest["images"], largest["left_out"], largest["commonest"]) == (352, 2, "person")
    assert single["images"] == 47 and single["commonest"] == "bear"
    s = load(labels="largest")
    assert s.counts()["person"] == largest["sizes"]["person"] == 100
    left = without_rare(s)
    train, test = left.split(0.8)
    assert len(train) + len(test) == len(left) == 343 and set(train.labels) == set(test.labels)
