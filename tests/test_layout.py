"Which files are what: layouts as people have them, what a system made, near-copies, and the page of a check."

import gzip
import io
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from gannb.cli import main
from gannb.base import GannbError
from gannb.config import split_spec
from gannb.data import ImageSet
from gannb.datasets import near, registry, selection
from gannb.datasets.emnist import EMNIST_PARTS, EMNISTS
from gannb.datasets.info import count_notes
from gannb.datasets.near import MOST_NEAR, near_copies, near_pairs, near_units, small_picture
from gannb.datasets.page import format_check, problems
from gannb.datasets.registry import check, info_of
from gannb.layout import arranged, is_junk, junk_note, parts_among, read_choice, read_part
from gannb.store import cache_dir

load = partial(registry.load, size=16, progress=False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))


def blobs(i, w=48, h=40):
    "A picture that is like no other."
    rng = np.random.default_rng(i)
    return Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((w, h))


def fill(folder, names):
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        blobs(i).save(path)
    return folder


def both(train, test, inside=("cats/1.png", "cats/2.png", "dogs/3.png", "dogs/4.png")):
    return [f"{part}/{f}" for part in (train, test) for f in inside]


# parts under other names


@pytest.mark.parametrize(
    ("train", "test", "part"),
    [
        ("training_set/training_set", "test_set/test_set", "test"),
        ("training_set", "test_set", "test"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("train2017", "val2017", "val"),
        ("train", "test1", "test"),
        ("Training", "Testing", "test"),
        ("TrainImages", "TestImages", "test"),
        ("pets-train", "pets-valid", "val"),
        ("pack/my_train", "pack/my_test", "test"),
        ("trainset", "testset", "test"),
    ],
)
def test_usual_names_of_parts_are_parts(tmp_path, train, test, part):
    box = fill(tmp_path / "box", both(train, test))
    s, held = load(f"folder:{box}"), load(f"folder:{box}", split=part)
    assert s.classes == held.classes == ("cats", "dogs") and len(s) == len(held) == 4
    files = {bytes(f).decode() for f in s.files}
    assert all(f.startswith(train.split("/")[0]) for f in files), "no image of the other part is trained on"


def test_what_was_taken_as_what_is_said_and_can_be_chosen(tmp_path):
    box = fill(tmp_path / "box", both("training_set", "test_set"))
    assert "training_set/ as train, test_set/ as test" in load(f"folder:{box}").notes[0]
    flat = load(f"folder:{box}?parts=none", split="all")
    assert flat.classes == ("test_set", "training_set") and flat.part == "all"
    other = load(f"folder:{box}?parts=train:test_set,test:training_set")
    assert {bytes(f)[:8] for f in other.files} == {b"test_set"}
    with pytest.raises(GannbError, match="no folder 'trainingset'.*Did you mean 'training_set'"):
        load(f"folder:{box}?parts=train:trainingset")
    with pytest.raises(GannbError, match="option='parst' is not known"):
        load(f"folder:{box}?parst=none&parts=none")


@pytest.mark.parametrize("bad", ["tr,te", "train:", "train:a,test:a", "exam:a", ""])
def test_a_choice_that_is_none_is_refused(bad):
    with pytest.raises(GannbError):
        read_choice(bad)


def test_every_other_folder_can_be_a_class_of_the_training_part(tmp_path):
    box = fill(tmp_path / "box", [f"{k}/{i}.png" for k in ("cats", "dogs", "exam") for i in range(3)])
    s = load(f"folder:{box}?parts=train:*,test:exam")
    assert s.classes == ("cats", "dogs") and len(s) == 6
    assert load(f"folder:{box}?parts=train:*,test:exam", split="test").labels is None


def test_a_name_of_a_part_alone_stays_a_class_and_is_said():
    a = arranged(["cats/1.png", "dogs/2.png", "test/3.png"], "x")
    assert a.classes == ("cats", "dogs", "test") and "?parts=train:*,test:test" in a.notes[-1]
    assert not arranged(["train station/1.png", "bus station/2.png", "test tube/3.png"], "x").parts
    assert read_part("train_test") is None and read_part("cats") is None
    assert not parts_among(["train", "train_2"]), "two of one part are not two parts"


def test_a_wrapper_with_a_stray_picture_beside_it():
    files = ["data/train/cat/1.png", "data/test/cat/2.png", "data/test/cat/3.png", "preview.jpg"]
    a = arranged(files, "x")
    assert a.parts == {"train": (0, 1), "test": (1, 3)} and a.order.tolist() == [0, 1, 2]
    assert any("1 image(s) (preview.jpg) belong to no part" in n for n in a.notes)
    a = arranged([*both("train", "test"), "logo.png", "docs/a.png"], "x")
    assert a.classes == ("cats", "dogs") and "2 image(s) in docs/, logo.png" in a.notes[1]


def test_parts_inside_class_folders_and_domains():
    inside = [f"{k}/{p}/{i}.png" for k in ("cat", "dog") for p in ("train", "test") for i in range(2)]
    a = arranged(inside, "x")
    assert a.classes == ("cat", "dog") and a.parts == {"train": (0, 4), "test": (4, 8)}
    a = arranged([f"{p}{k}/1.png" for k in "AB" for p in ("train", "test")], "x")
    assert a.classes == ("A", "B") and a.parts == {"train": (0, 2), "test": (2, 4)}


def test_a_loose_picture_beside_classes_is_an_error(tmp_path):
    box = fill(tmp_path / "box", ["cat/1.png", "cat/2.png", "preview.png"])
    with pytest.raises(GannbError, match="preview.png and cat/1.png; 1 beside, 2 inside"):
        load(f"folder:{box}")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_parts_of_an_archive_can_be_chosen(tmp_path, kind):
    box = fill(tmp_path / "box", both("old", "new"))
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, box)
    assert load(f"folder:{packed}", split="all").classes == ("new", "old")
    s = load(f"folder:{packed}?parts=train:old,test:new")
    assert s.classes == ("cats", "dogs") and len(s) == 4


def test_other_parts_are_decoded_again_where_the_choice_changes(tmp_path):
    box = fill(tmp_path / "box", both("a", "b"))
    assert load(f"folder:{box}", split="all").classes == ("a", "b")
    assert load(f"folder:{box}?parts=train:a,test:b", split="all").classes == ("cats", "dogs")


# a part without labels


@pytest.mark.parametrize("test", ["test/{}.png", "test/test/{}.png", "test/unknown/{}.png"])
def test_a_test_part_without_labels(tmp_path, test):
    names = [f"train/{k}/{i}.png" for k in ("cat", "dog") for i in range(4)]
    box = fill(tmp_path / "box", names + [test.format(i) for i in range(3)])
    s, held, whole = (load(f"folder:{box}", split=p) for p in ("train", "test", "all"))
    assert s.classes == ("cat", "dog") and s.counts() == {"cat": 4, "dog": 4}
    assert held.labels is None and not held.classes and len(held) == 3 and whole.labels is None
    assert any("the test part has no labels" in n for n in held.notes)
    with pytest.raises(GannbError, match=r"\(test\)' has no labels"):
        load(f"folder:{box}", split="test", classes=["cat"])
    for duplicates in ("drop", "clean", "drop-contradictory"):
        again = load(f"folder:{box}", duplicates=duplicates)
        assert again.fingerprint == s.fingerprint and again.classes == s.classes
        assert load(f"folder:{box}", split="test", duplicates=duplicates).labels is None
    assert check(str(box), progress=False)["counts"]["test"] == {"": 3}
    rule = load(f"folder:{box}", labels=lambda files, names: [k or "?" for k in names], split="test")
    assert rule.counts()["?"] == 3, "a rule sees that there is no class"


# what a system made


@pytest.mark.parametrize(
    "junk",
    ["@eaDir/1.png/THUMB.png", "#recycle/1.png", "$RECYCLE.BIN/1.png", "@Recycle/1.png", ".thumbnails/1.png"]
    + [
        ".Trash-1000/files/1.png",
        "__MACOSX/1.png",
        "._1.png",
        "Thumbs.db",
        "System Volume Information/1.png",
    ],
)
@pytest.mark.parametrize("packed", ["", "zip", "tar"])
def test_what_a_system_made_is_left_out_and_counted(tmp_path, junk, packed):
    box = fill(tmp_path / "box", ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"])
    for place in ("", "cat/"):
        path = box / place / junk
        path.parent.mkdir(parents=True, exist_ok=True)
        blobs(9).save(path, "PNG")
    if packed:
        box = Path(shutil.make_archive(str(tmp_path / "packed"), packed, box))
    s = load(f"folder:{box}", split="all")
    assert s.counts() == {"cat": 2, "dog": 2} and any("2 file(s) made by a system" in n for n in s.notes)


def test_pictures_of_a_user_are_no_junk():
    assert not any(map(is_junk, ["eaDir", "recycle", "thumbs", "a.png", "@home", "Trash"]))
    assert junk_note(["cat/1.png", "thumbs/2.png"]) == []


def idx(a):
    return bytes([0, 0, 8, a.ndim]) + b"".join(n.to_bytes(4, "big") for n in a.shape) + a.tobytes()


def write_idx(folder, start, classes=3, first=0, gz=False):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        x = np.random.default_rng(len(part)).integers(0, 256, (classes, 28, 28), np.uint8)
        for what, a in (
            ("images-idx3", x),
            ("labels-idx1", np.arange(first, first + classes, dtype=np.uint8)),
        ):
            path = folder / f"{start}{part}-{what}-ubyte{'.gz' if gz else ''}"
            path.write_bytes(gzip.compress(idx(a)) if gz else idx(a))
    return folder


def test_shadows_beside_idx_files(tmp_path):
    box = write_idx(tmp_path / "box", "")
    for f in list(box.iterdir()):
        (box / f"._{f.name}").write_bytes(bytes.fromhex("00051607") + b"x" * 60)
    s = registry.load(f"idx:{box}", progress=False)
    assert len(s) == 3 and "4 file(s) made by a system" in s.notes[-1]
    only = tmp_path / "only"
    only.mkdir()
    (only / "._train-images-idx3-ubyte").write_bytes(b"x")
    with pytest.raises(GannbError, match="no idx files"):
        load(f"idx:{only}")


# EMNIST


def test_files_named_as_nists_are_said_to_be_transposed(tmp_path):
    box = write_idx(tmp_path / "box", "emnist-letters-", gz=True)
    raw, turned = (registry.load(f"idx:{box}{o}", progress=False) for o in ("", "?transpose"))
    assert "?transpose" in raw.notes[0] and not turned.notes
    assert (raw.take([0])[0, ..., 0] == turned.take([0])[0, ..., 0].T).all()
    assert not registry.load(f"idx:{box}?transpose=false", progress=False).notes
    assert not registry.load(f"idx:{write_idx(tmp_path / 'plain', '')}", progress=False).notes


@pytest.mark.parametrize("part", EMNIST_PARTS)
def test_every_part_of_emnist_has_a_name(tmp_path, part):
    names = EMNIST_PARTS[part][1]
    root = tmp_path / "root"
    write_idx(root / f"emnist-{part}" / "gzip", f"emnist-{part}-", len(names), part == "letters", gz=True)
    s = registry.load(f"emnist-{part}", data_root=root, progress=False)
    assert set(s.classes) == set(names) and s.settings["transposed"] and len(s) == len(names)
    assert [s.classes[k] for k in s.labels] == list(names)
    assert "images here" in s.notes[0] and EMNISTS[f"emnist-{part}"].images == EMNIST_PARTS[part][0]


# published counts


def test_a_named_set_says_what_is_published(tmp_path):
    root = tmp_path / "root"
    fill(root / "celeba" / "img_align_celeba", [f"{i:06}.jpg" for i in range(30)])
    s = load("celeba", data_root=root)
    assert s.labels is None and "30 images here, 202,599 published" in s.notes
    found = check("celeba", root, progress=False)
    assert found["counts"] == {"all": {"": 30}} and "30 images here, 202,599 published" in format_check(found)
    listed = "image_id,partition\n" + "".join(f"{i:06}.jpg,{i % 3}\n" for i in range(30))
    (root / "celeba" / "list_eval_partition.csv").write_text(listed)
    val = load("celeba", data_root=root, split="val")
    assert len(val) == 10 and bytes(val.files[1]).endswith(b"000004.jpg")
    assert (val.take([1]) == load(f"folder:{root / 'celeba'}", split="all").take([4])).all()
    (root / "celeba" / "list_eval_partition.csv").write_text("image_id,partition\n000000.jpg,0\n")
    with pytest.raises(GannbError, match="does not say to which part"):
        load("celeba", data_root=root)


def test_scenes_with_missing_classes(tmp_path):
    root = tmp_path / "root"
    fill(
        root / "intel-scenes", both("seg_train/seg_train", "seg_test/seg_test", ["sea/1.png", "street/2.png"])
    )
    s = load("intel-scenes", data_root=root)
    lacking = "2 classes here, 6 published (not here: buildings, forest, glacier, mountain)"
    assert s.classes == ("sea", "street") and "4 images here, 17,034 published" in s.notes
    assert lacking in s.notes
    assert count_notes(info_of("intel-scenes"), 17_034, info_of("intel-scenes").known) == []
    (root / "catalogue.yaml").write_text("intel-scenes: {source: 'folder:intel-scenes', note: few}\n")
    assert not any("published" in n for n in load("intel-scenes", data_root=root).notes), "it says so already"


# notes on classes


def test_notes_on_classes(tmp_path):
    box = fill(tmp_path / "box", ["train/Cat/1.png", "train/cat/2.png", "train/dog/3.png", "test/dog/4.png"])
    (box / "train" / "bird").mkdir()
    notes = " ".join(load(f"folder:{box}").notes)
    assert "'Cat' and 'cat' are classes of their own" in notes
    assert "the test part has no images of 2 of 3 classes: Cat, cat" in notes
    assert "1 folder(s) beside class folders hold no images and are no classes: train/bird/" in notes
    a = arranged(["caf\u00e9/1.png", "cafe\u0301/2.png"], "x")
    assert len(a.classes) == 1 and "two Unicode spellings" in a.notes[-1]


# near-copies


def changed(image, kind):
    if kind == "smaller":
        return image.resize((24, 20))
    if kind == "mirrored":
        return ImageOps.mirror(image).resize((40, 33))
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=35)
    return Image.open(packed)


@pytest.mark.parametrize("kind", ["smaller", "mirrored", "packed"])
def test_near_copies_across_parts_are_found(tmp_path, kind):
    box = fill(tmp_path / "box", [f"{p}/a/{i}.png" for p in ("train", "test") for i in range(10)])
    for i in range(10):
        changed(blobs(i), kind).save(box / "test" / "a" / f"copy{i}.png")
    found = check(str(box), progress=False)
    assert found["n_groups"] == 0, "no pixel is equal"
    assert found["near_across"] == len(found["near"]) == 10
    assert {g["mirrored"] for g in found["near"]} == {kind == "mirrored"}
    assert [m["file"].split("/")[0] for m in found["near"][0]["images"]] == ["train", "test"]
    assert "20 files (10 groups) are nearly the same picture in two parts" in " ".join(
        format_check(found).split()
    )


def test_unlike_pictures_are_no_near_copies():
    small = np.stack([small_picture(blobs(i)) for i in range(300)])
    assert not len(near_pairs(small))
    noise = np.random.default_rng(0).normal(0, 8, (20, 16, 16, 3))
    crowd = np.clip(small[0] + noise, 0, 255).astype(np.uint8)
    assert not len(near_pairs(crowd)), "alike, and no two more than others"
    assert len(near_pairs(crowd[:5])) == 10, "few pictures have no crowd to tell them from"


def test_too_many_pictures_are_not_compared_and_that_is_said(monkeypatch):
    small = np.zeros((4, 16, 16, 3), np.uint8)
    args = (np.arange(4), ["all"] * 4, [""] * 4, list("abcd"))
    assert near_copies(small, *args)["near"] and MOST_NEAR >= 10_000
    monkeypatch.setattr("gannb.datasets.near.MOST_NEAR", 3)
    assert near_copies(small, *args) == {"near": [], "near_across": 0, "near_looked": False}


def with_smaller(folder, n):
    "Pictures, and each of them once more in half the size."
    box = fill(folder, [f"{i}.png" for i in range(n)])
    for i in range(n):
        changed(blobs(i), "smaller").save(box / f"{i}_small.png")
    return box


def test_near_copies_are_held_out_together_unless_they_may_part(tmp_path):
    box, parted = with_smaller(tmp_path / "box", 24), {}
    for option in ("", "?near=apart", "?near=together"):
        parts = {p: load(f"folder:{box}{option}", split=p) for p in ("train", "test")}
        side = {bytes(f).decode(): p for p, s in parts.items() for f in s.files}
        assert len(side) == 48
        parted[option] = sum(side[f"{i}.png"] != side[f"{i}_small.png"] for i in range(24))
        assert ("near-copies kept together" in parts["test"].notes[-1]) == (option != "?near=apart")
    assert parted[""] == parted["?near=together"] == 0 < parted["?near=apart"]
    s = load(f"folder:{box}?near=together", split="test")
    both_options = load(f"folder:{box}?frames=first&near=together", split="test")
    assert both_options.fingerprint == s.fingerprint, "options of decoding stand beside it"
    pixels = np.stack([np.asarray(blobs(i, 32, 32)) for i in (0, 1, 0, 2)])
    assert len(set(near_units(ImageSet("x", pixels)).tolist())) == 3


def test_without_near_copies_the_split_is_that_of_equal_pictures(tmp_path):
    box = fill(tmp_path / "box", [f"{k}/{i}.png" for k in "ab" for i in range(k == "b", 40, 2)])
    prints = {load(f"folder:{box}{o}", split="test").fingerprint for o in ("", "?near=apart")}
    assert len(prints) == 1


def test_groups_of_near_copies_are_looked_for_once(tmp_path, monkeypatch):
    box, looked = with_smaller(tmp_path / "box", 6), []
    monkeypatch.setattr(near, "near_pairs", lambda *args, **kw: looked.append(1) or near_pairs(*args, **kw))
    first = load(f"folder:{box}", split="test").fingerprint
    assert load(f"folder:{box}", split="test").fingerprint == first and len(looked) == 1
    (kept,) = (cache_dir() / "near").glob("*.npy")
    flipped = bytearray(kept.read_bytes())
    flipped[-12] ^= 1
    for damaged in (b"", kept.read_bytes()[:40], b"\x93NUMPY of something else", flipped):
        kept.write_bytes(damaged)
        assert load(f"folder:{box}", split="test").fingerprint == first
    assert len(looked) == 5


def test_a_large_folder_says_that_near_copies_were_not_looked_for(tmp_path, monkeypatch):
    box = with_smaller(tmp_path / "box", 6)
    monkeypatch.setattr(selection, "MOST_NEAR", 11)
    s = load(f"folder:{box}", split="test")
    assert "copies (near-copies are not looked for in over 11 images) kept together" in s.notes[-1]
    assert "and near-copies kept together" in load(f"folder:{box}?near=together", split="test").notes[-1]


def test_a_class_of_near_copies_names_the_way_out(tmp_path):
    box = fill(tmp_path / "box", [f"cat/{i}.png" for i in range(12)])
    (box / "dog").mkdir()
    blobs(99).save(box / "dog" / "a.png")
    changed(blobs(99), "smaller").save(box / "dog" / "b.png")
    with pytest.raises(GannbError, match=r"dog.*\?near=apart behind the folder's name"):
        load(f"folder:{box}", split="test")
    assert load(f"folder:{box}?near=apart", split="test").classes == ("cat", "dog")


# the page


def test_the_page_says_what_to_do_in_80_columns(tmp_path):
    box = fill(tmp_path / "box", both("training_set", "test_set", [f"cats/{i}.png" for i in range(12)]))
    train, test = box / "training_set" / "cats", box / "test_set" / "cats"
    changed(blobs(0), "smaller").save(test / "small.png")
    (test / "copy.png").write_bytes((train / "1.png").read_bytes())
    (train / "cut.png").write_bytes((train / "2.png").read_bytes()[:60])
    blobs(99).save(fill(box / "training_set", ["Cats/x.png"]) / "Cats" / "x.png")
    changed(blobs(77), "smaller").save(box / "training_set" / "Cats" / "y.png")
    found = check(str(box), progress=False)
    page = format_check(found)
    assert all(len(line) <= 80 for line in page.replace(str(tmp_path), "").splitlines())
    lines = [p.what for p in problems(found)]
    order = [
        "same picture in two parts",
        "nearly the same picture in two",
        "cannot be read",
        "spelled in two",
    ]
    assert all(word in line for word, line in zip(order, lines)), lines
    assert page.index("all classes") < page.index("worst first") < page.index("How the files were understood")
    for said in ("copy.png", "small.png", "cut.png", "training_set/ as train", "--on-error skip"):
        assert said in page


def test_a_folder_of_which_nothing_can_be_read_has_another_remedy(tmp_path, capsys):
    box = tmp_path / "box"
    box.mkdir()
    for name in ("a.png", "b.png"):
        (box / name).write_bytes(b"no picture")
    assert main(["data", "check", str(box)]) == 1
    told = capsys.readouterr().out
    assert (
        "No file here can be read" in told
        and "a.png" in told
        and "b.png" in told
        and "save them anew" in told
    )
    assert "--on-error" not in told and "Sizes" not in told and "Looked for" not in told


def test_a_group_is_shown_by_the_pair_that_tells(tmp_path):
    box = fill(tmp_path / "box", both("train", "test", ["a/1.png", "a/2.png"]))
    for name in ("train/a/1b.png", "train/a/1c.png", "test/a/z.png"):
        blobs(0).save(box / name)
    (row, *_) = problems(check(str(box), progress=False))
    assert row.which == ["train/a/1.png = test/a/z.png (and 2 more)"] and row.what.startswith("4 files")


def test_the_page_of_a_sound_folder(tmp_path):
    page = format_check(check(str(fill(tmp_path / "box", ["a.png", "b.png"])), progress=False))
    assert "No problems were found." in page and "unreadable files, exact copies, near-copies" in page


def test_an_option_and_an_at_sign_in_a_folders_name(tmp_path):
    box = fill(tmp_path / "me@home", both("a", "b"))
    assert split_spec(f"folder:{box}?parts=train:a,test:b") == (f"folder:{box}?parts=train:a,test:b", [])
    assert load(f"folder:{fill(tmp_path / 'really?', ['1.png', '2.png'])}", split="all").labels is None


def test_classes_of_one_image_are_named_where_nothing_can_be_held_out(tmp_path):
    box = fill(tmp_path / "box", ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png", "newt/5.png"])
    (row,) = problems(check(str(box), progress=False))
    assert row.which == ["newt"] and "no part can be held out" in row.what
    sound = fill(tmp_path / "sound", both("train", "test", ["cat/1.png", "dog/2.png"]))
    assert not problems(check(str(sound), progress=False)), "one in each part is not one"
    fill(box, [f"cat/{i}.jpg" for i in range(10, 40)])
    blobs(99).save(box / "newt" / "6.png")
    (row,) = (p for p in problems(check(str(box), progress=False)) if "times the images" in p.what)
    assert row.which == ["cat 32", "dog 2"] and "16 times" in row.what


def test_near_copies_without_parts_are_a_leak_only_where_they_may_part(tmp_path):
    box = fill(tmp_path / "box", [f"{i}.png" for i in range(5)])
    changed(blobs(0), "smaller").save(box / "small.png")
    (box / "cut.png").write_bytes((box / "1.png").read_bytes()[:60])
    rows = problems(check(f"folder:{box}?near=apart", progress=False))
    assert "near=apart" in rows[0].remedy and "0.png ~ small.png" in rows[0].which[0]
    assert "would hold what was trained on" in rows[0].what and "cannot be read" in rows[1].what
    rows = problems(check(str(box), progress=False))
    assert "cannot be read" in rows[0].what and rows[1].what.endswith("nearly the same picture")
    assert "they stay together" in rows[1].remedy and "0.png ~ small.png" in rows[1].which[0]
