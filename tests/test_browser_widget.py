"""The data browser without a browser: counts, pages, copies, unreadable files, what it leaves behind."""

import io

import numpy as np
import pytest
from PIL import Image

from gannb.base import GannbError
from gannb.data import ImageSet
from gannb.widgets.browser import COLUMNS, GROUPS, ROWS, DataBrowser, Shelf, bars, sheet_of

PAGE = COLUMNS * ROWS


def a_set(n=70, name="example", part="", classes=("cat", "dog", "none")):
    "n unlike images, classes in turn; the last class is empty."
    images = np.zeros((n, 16, 16, 1), np.uint8)
    images[np.arange(n), 0, 0, 0] = np.arange(n)
    images[:, 1, 1, 0] = len(part)
    s = ImageSet.of_images(images, name, np.arange(n) % 2, classes)
    s.part = part
    return s


def with_copies():
    "One copy under the same name, one under another."
    s = a_set()
    images, labels = s.images.copy(), s.labels.copy()
    images[4], images[9] = images[2], images[6]
    return ImageSet.of_images(images, "copies", labels, s.classes)


def test_counts_name_every_class_also_an_empty_one():
    b = DataBrowser(a_set())
    assert b.shelf.counts() == {"all": {"cat": 35, "dog": 35, "none": 0}}
    svg = bars(b.shelf.counts())
    assert svg.count("<rect") == 3 and 'width="0"' in svg and ">none<" in svg and ">35<" in svg
    assert bars({"all": {"<b>": 3}}).count("&lt;b&gt;") == 1


def test_samples_by_class_page_by_page():
    s = DataBrowser(a_set()).samples
    assert s.words.value == f"1 to {PAGE} of 70" and s.back.disabled and not s.on.disabled
    before = s.picture.value
    s.on.click()
    assert s.words.value == f"{PAGE + 1} to {2 * PAGE} of 70" and s.picture.value != before
    s.on.click()
    assert s.words.value == "65 to 70 of 70" and s.on.disabled
    s.on.click()
    assert s.words.value == "65 to 70 of 70", "there is no page behind the last"
    s.label.value = ("dog", "all")
    assert s.words.value == f"1 to {PAGE} of 35" and s.shelf.rows("dog")[:3] == [1, 3, 5]
    s.label.value = ("none", "all")
    assert s.words.value == "no images" and s.on.disabled and s.back.disabled
    assert [text for text, _ in s.label.options] == ["all images", "cat (35)", "dog (35)", "none (0)"]


def test_a_picture_keeps_its_own_size():
    s = DataBrowser(a_set()).samples
    assert s.picture.layout.width == f"{sheet_of([np.zeros((16, 16, 3), np.uint8)]).shape[1]}px"
    large = sheet_of([np.full((256, 256, 3), 7, np.uint8)], columns=1)
    assert large.shape == (80, 80, 3) and (large[:72, :72] == 7).all()


def test_copies_stand_side_by_side_contradictory_ones_first():
    b = DataBrowser(with_copies())
    assert [(g["rows"], g["labels_differ"]) for g in b.groups] == [([6, 9], True), ([2, 4], False)]
    said = b.copies.words.value
    assert said == (
        "2 pictures there more than once (2 too many): 1 under different labels, 0 in more than one part."
    )
    picture = np.asarray(Image.open(io.BytesIO(b.copies.picture.value)))
    assert (picture[:150, :150] == picture[:150, 158:308]).all(), "the two of a group are the same picture"
    assert DataBrowser(a_set()).copies.words.value == "No image is there twice."


def test_parts_are_told_apart():
    train, test = a_set(10, part="train"), a_set(10, part="test")
    images = test.images.copy()
    images[0] = train.images[1]
    test = ImageSet.of_images(images, "example", test.labels, test.classes)
    b = DataBrowser({"train": train, "test": test})
    assert [g["across"] for g in b.groups] == [True] and b.groups[0]["rows"] == [1, 10]
    assert np.array_equal(b.shelf.image(10)[..., 0], test.images[0, ..., 0])
    assert "train: cat (5)" in [text for text, _ in b.samples.label.options]
    assert b.copies._words(10) == "cat · test · image 0"
    b.samples.label.value = ("cat", "test")
    assert b.samples.words.value == "1 to 5 of 5"


def test_many_groups_have_pages():
    s = a_set(20)
    images = s.images.copy()
    images[10:] = images[:10]
    b = DataBrowser(ImageSet.of_images(images, "twice", s.labels, s.classes))
    assert len(b.groups) == 10 and b.copies.of == -(-10 // GROUPS)
    before = b.copies.picture.value
    b.copies.on.click()
    assert b.copies.picture.value != before and not b.copies.back.disabled


def test_unreadable_files_are_named_with_their_reason(tmp_path):
    for k in range(6):
        place = tmp_path / ("cats", "dogs")[k % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32), 40 * k, np.uint8)).save(place / f"{k}.png")
    (tmp_path / "cats" / "<i>broken.png").write_bytes(b"no picture")
    b = DataBrowser(f"folder:{tmp_path}")
    [(file, why)] = b.unreadable
    assert file.endswith("<i>broken.png") and why
    shown = b.children[1].children[3].value
    assert "1 file cannot be read." in shown and "&lt;i&gt;broken.png" in shown and "<i>" not in shown
    assert b.shelf.counts()["all"] == {"cats": 3, "dogs": 3} and "1 unreadable file." in b.sentence()
    assert "Not looked at" in DataBrowser(a_set()).children[1].children[3].value
    assert "Every file can be read." in DataBrowser(a_set(), unreadable=[]).children[1].children[3].value


def test_images_without_labels_and_unlike_sizes(tmp_path):
    plain = DataBrowser(ImageSet.of_images(a_set().images, "plain"))
    assert plain.shelf.counts() == {"all": {"images": 70}} and "no labels" in plain.sentence()
    assert [text for text, _ in plain.samples.label.options] == ["all images"]
    assert plain.still()[0].shape[2] == 3
    for k, side in enumerate((32, 48)):
        Image.fromarray(np.full((side, side, 3), 90 * k, np.uint8)).save(tmp_path / f"{k}.png")
    assert DataBrowser(f"folder:{tmp_path}").shelf.first.size == 64


def test_what_it_leaves_behind():
    picture, sentence = DataBrowser(with_copies()).still()
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert sentence == (
        "copies: 70 images of 16x16, 3 classes; 2 copies too many, 1 picture under different labels."
    )
    bundle = DataBrowser(with_copies())._repr_mimebundle_()
    assert bundle["text/plain"] == sentence and "image/png" in bundle


@pytest.mark.parametrize("thing", [np.zeros((2, 16, 16, 1), np.uint8), {}, {"a": 1}, None, 5])
def test_what_is_no_set_is_refused(thing):
    with pytest.raises(GannbError, match="takes an ImageSet"):
        Shelf(thing)


def test_an_unknown_name_is_refused():
    with pytest.raises(GannbError, match="Did you mean 'digits'"):
        DataBrowser("digitz")
