"Sets with folders of their own: Oxford's pets by the official lists, FFHQ and CompCars by hand."

import hashlib
import io
import tarfile
import zipfile

import pytest
from test_datasets import Server, fill, fill_zip, png

from gannb import fetch
from gannb.base import GannbError
from gannb.datasets import pets, registry
from gannb.datasets.by_hand import WEB
from gannb.datasets.pets import listed_pets

TRAIN = ["Birman_1", "Birman_2", "great_pyrenees_10", "great_pyrenees_2"]
TEST = ["Birman_3", "great_pyrenees_7"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def load(name="oxford-pets", **kw):
    return registry.load(name, **{"size": 16, "progress": False, **kw})


def lists(names):
    return "".join(f"{n} {1 + n.startswith('g')} 1 1\n" for n in names)


def contents():
    "Member -> bytes of both archives; one photograph more than the lists name."
    images = {f"images/{n}.jpg": png(i) for i, n in enumerate([*TRAIN, *TEST, "Birman_9"])}
    notes = {"annotations/trainval.txt": lists(TRAIN).encode(), "annotations/test.txt": lists(TEST).encode()}
    notes |= {"annotations/trimaps/Birman_1.png": png(99)}
    return {"images": images, "annotations": notes}


def archive(members):
    f = io.BytesIO()
    with tarfile.open(fileobj=f, mode="w:gz") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return f.getvalue()


def unpacked(folder):
    for members in contents().values():
        for name, data in members.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0)
    s = Server()
    for name, members in contents().items():
        s.files[f"{name}.tar.gz"] = archive(members)
    serve(s, monkeypatch)
    yield s
    s.http.shutdown()
    s.http.server_close()


def serve(s, monkeypatch):
    there = {n: (s.url + f"{n}.tar.gz", hashlib.md5(s.files[f"{n}.tar.gz"]).hexdigest()) for n in pets.PETS}
    monkeypatch.setattr(pets, "PETS", there)


def files_of(s):
    return [bytes(f).decode() for f in s.files]


@pytest.mark.parametrize("place", ["oxford-iiit-pet", "oxford-pets"])
def test_the_lists_say_what_is_in_the_set(root, place):
    unpacked(root / place)
    train, test, whole = (load(split=p) for p in ("train", "test", "all"))
    assert files_of(train) == [f"{n}.jpg" for n in TRAIN] and files_of(test) == [f"{n}.jpg" for n in TEST]
    assert train.classes == ("Birman", "great_pyrenees") and train.counts() == {
        "Birman": 2,
        "great_pyrenees": 2,
    }
    assert len(whole) == 6, "the photograph that no list names is not in it"
    assert train.notes == ("6 images here, 7,349 published", "2 classes here, 37 published")
    with pytest.raises(GannbError, match="It has: train, test, all"):
        load(split="val")


def test_torchvision_reads_the_same(root):
    from torchvision.datasets import OxfordIIITPet

    unpacked(root / "oxford-iiit-pet")
    theirs = OxfordIIITPet(str(root), split="trainval")
    ours = load(split="train")
    assert [p.name for p in theirs._images] == files_of(ours)
    assert [c.lower().replace(" ", "_") for c in theirs.classes] == [c.lower() for c in ours.classes]
    assert theirs._labels == list(ours.labels)


def test_addresses_and_hashes_are_torchvisions():
    from torchvision.datasets import OxfordIIITPet

    assert tuple(pets.PETS.values()) == OxfordIIITPet._RESOURCES


@pytest.mark.parametrize("place", ["oxford-iiit-pet", "oxford-pets"])
def test_corrupt_files_are_skipped_with_a_note(root, place):
    box = unpacked(root / place)
    whole = (box / "images" / "Birman_2.jpg").read_bytes()
    (box / "images" / "Birman_2.jpg").write_bytes(whole[: len(whole) // 2])
    (box / "images" / "great_pyrenees_2.jpg").unlink()
    with pytest.raises(GannbError, match=r"Birman_2.jpg cannot be decoded: .*1 other file.*--on-error skip"):
        load()
    s = load(on_error="skip")
    assert files_of(s) == ["Birman_1.jpg", "great_pyrenees_10.jpg"]
    assert "2 file(s) could not be decoded and were left out: Birman_2.jpg" in s.notes[-1]
    assert len(load(split="test", on_error="skip")) == 2


def test_get_fetches_and_unpacks(server, root):
    server.cut = 1_000
    place = registry.get("oxford-pets", progress=False)
    assert place.endswith("oxford-iiit-pet") and len(load(split="all")) == 6
    assert any(r for _, r in server.asked), "broken transfers went on"
    asked = len(server.asked)
    assert registry.get("oxford-pets", progress=False) == place and len(server.asked) == asked
    assert not (root / "oxford-iiit-pet" / ".unpacking").exists()


def test_a_stopped_unpacking_goes_on(server, root, monkeypatch):
    rename = pets.os.rename

    def stop(a, b):
        if str(b).endswith("annotations"):
            raise KeyboardInterrupt
        rename(a, b)

    monkeypatch.setattr(pets.os, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        registry.get("oxford-pets", progress=False)
    assert (root / "oxford-iiit-pet" / "images").is_dir() and registry.available("oxford-pets") is None
    monkeypatch.setattr(pets.os, "rename", rename)
    half = root / "oxford-iiit-pet" / ".unpacking" / "annotations"
    half.mkdir(parents=True)
    (half / "stale.txt").write_text("what a killed process left")
    registry.get("oxford-pets", progress=False)
    assert len(load(split="all")) == 6
    assert not (root / "oxford-iiit-pet" / "annotations" / "stale.txt").exists()


def test_archives_that_are_damaged_or_mean_harm(server, root, monkeypatch):
    server.files["images.tar.gz"] = archive({"images/Birman_1.jpg": png(1), "../../escaped.jpg": png(0)})
    serve(server, monkeypatch)
    with pytest.raises(GannbError, match="images.tar.gz is refused: its member '../../escaped.jpg'"):
        registry.get("oxford-pets", progress=False)
    assert not list(root.parent.rglob("escaped.jpg"))
    assert not list(root.parent.rglob(".unpacking"))
    (root / "oxford-iiit-pet" / "images.tar.gz").unlink()
    server.files["images.tar.gz"] = archive(contents()["images"])[:2_000]
    serve(server, monkeypatch)
    with pytest.raises(GannbError, match="images.tar.gz cannot be unpacked"):
        registry.get("oxford-pets", progress=False)
    assert registry.available("oxford-pets") is None
    monkeypatch.setitem(pets.PETS, "images", (server.url + "images.tar.gz", "0" * 32))
    (root / "oxford-iiit-pet" / "images.tar.gz").unlink()
    with pytest.raises(GannbError, match="another hash"):
        registry.get("oxford-pets", progress=False)


def test_links_of_an_archive_are_not_made(root, tmp_path):
    (tmp_path / "secret").write_text("not ours")
    with tarfile.open(tmp_path / "a.tar", "w") as t:
        for name, kind in (
            ("x", tarfile.SYMTYPE),
            ("images/y", tarfile.LNKTYPE),
            ("images/z", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret")
            t.addfile(info)
        info = tarfile.TarInfo("x/inside.txt")
        t.addfile(info)
    pets._write_files(tmp_path / "a.tar", tmp_path / "out")
    made = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*"))
    assert made == ["x", "x/inside.txt"] and not (tmp_path / "out" / "x").is_symlink()


def test_lists_that_cannot_be_read(root):
    box = unpacked(root / "oxford-pets")
    (box / "annotations" / "test.txt").write_text("Birman_1.jpg\n")
    with pytest.raises(GannbError, match="test.txt cannot be used: line 1 is not of the form"):
        load()
    (box / "annotations" / "test.txt").unlink()
    unpacked(root / "oxford-iiit-pet")
    (root / "oxford-iiit-pet" / "annotations" / "test.txt").unlink()
    box.rename(root / "elsewhere")
    with pytest.raises(GannbError, match="test.txt cannot be used"):
        load()


STRANGE = ["Birman 1 1 1", "Birman_1 1 1", "Birman_x 1 1 1", "_1 1 1 1", "Birman_1 1 1 1 1"]


@pytest.mark.parametrize("line", STRANGE)
def test_lines_of_another_kind(line):
    with pytest.raises(GannbError, match="line 2 is not of the form"):
        listed_pets(f"Birman_1 1 1 1\n{line}\n")


def test_changed_lists_are_read_again(root):
    box = unpacked(root / "oxford-pets")
    assert len(load()) == 4
    (box / "annotations" / "trainval.txt").write_text(lists(TRAIN[:3]))
    assert len(load()) == 3


def test_a_folder_a_breed_is_read_as_any_other(root):
    fill(root / "oxford-pets", [f"{c}/{i}.png" for c in "ab" for i in range(5)])
    assert load(split="all").counts() == {"a": 5, "b": 5}


# by hand


NUMBERED = [f"thumbnails128x128/0{i}000/0{i}000.png" for i in range(4)]


def test_ffhqs_folders_are_no_classes(root, tmp_path):
    fill(root / "ffhq", NUMBERED)
    s = load("ffhq", split="all")
    assert len(s) == 4 and s.labels is None and not s.classes
    assert len(load(f"folder:{root / 'ffhq'}", split="all").classes) == 4, "the same files as a plain folder"
    assert load("ffhq", split="all").labels is None, "the two do not share a cache"
    (root / "ffhq").rename(tmp_path / "gone")
    fill_zip(root / "ffhq.zip", NUMBERED)
    packed = load("ffhq", split="all")
    assert packed.labels is None and packed.fingerprint == s.fingerprint
    fill(root / "ffhq", ["1.txt"])
    assert load("ffhq", split="all").fingerprint == s.fingerprint, "a folder without images hides no zip"


CARS = [f"image/{maker}/{model}/2014/{i}.jpg" for maker in (1, 78) for model in (1, 2) for i in range(2)]
PARTS = [f"part/1/1/2014/{i}.jpg" for i in range(3)]


@pytest.mark.parametrize("above", ["", "data/"])
def test_compcars_are_the_whole_cars_of_the_web_part(root, above):
    fill(root / "compcars", [above + n for n in CARS + PARTS])
    s = load("compcars", split="all")
    assert s.counts() == {"1": 4, "78": 4} and s.notes[0] == WEB and "surveillance" in WEB


def test_compcars_as_a_zip(root):
    fill_zip(root / "compcars.zip", CARS)
    s = load("compcars", split="all")
    assert s.counts() == {"1": 4, "78": 4} and WEB in s.notes


def test_sets_by_hand_say_how_to_ask(root):
    with pytest.raises(
        GannbError,
        match="136,726 images.*by hand.*on request only.*mmlab.ie.cuhk.edu.hk/datasets/comp_cars/.*"
        "agreement.*compcars.zip",
    ):
        registry.get("compcars")
    with pytest.raises(GannbError, match="70,000 images.*1.9 GB.*thumbnails128x128.*ffhq.zip"):
        load("ffhq")
    with pytest.raises(GannbError, match="7,349 images, 811 MB.*gannb data get oxford-pets"):
        load()


def test_encrypted_zips_are_refused(root):
    fill_zip(root / "compcars.zip", CARS)
    data = bytearray((root / "compcars.zip").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag that the member is encrypted
    (root / "compcars.zip").write_bytes(bytes(data))
    assert zipfile.ZipFile(root / "compcars.zip").infolist()[0].flag_bits & 1
    with pytest.raises(GannbError, match="is encrypted"):
        load("compcars", split="all")
