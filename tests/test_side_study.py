"""The side arms of the dataset study: one thing is changed, everything else stays."""

from types import SimpleNamespace

import numpy as np
import pytest

from gannb.studies.registry import report_config
from gannb.data import ImageSet
from gannb.studies.dataset_study.rows import arms, main_arms
from gannb.studies.dataset_study.side import (
    FACES,
    GREY_AT,
    LETTERS,
    SIZES,
    changed,
    dimension_arms,
    grey,
    in_colour,
    side_arms,
    update_arms,
)


def config(**given):
    return report_config("dataset_study", preset="smoke", **given).config


def pixels(s):
    return np.asarray(s.images)


@pytest.fixture(scope="module")
def study():
    cfg = config()
    main = main_arms(cfg)
    return cfg, main, side_arms(cfg, main)


def test_names_and_roles(study):
    _, _, side = study
    assert [k for k in side if not k.startswith("size")] == [
        "contrast 0.25",
        "contrast 0.5",
        "contrast 1",
        "flat background",
        "textured background",
        "natural background",
        "g_steps 2",
        "g_steps 5",
        "quarter of the images",
    ]
    assert {side[k].role for k in LETTERS} == {"emnist"}
    assert {side[k].role for k in FACES if k in side} == {"celeba"}
    assert len([k for k in side if k in LETTERS + FACES]) == 9


def test_keys_are_pairs_and_records_keep_their_names(study):
    cfg, main, side = study
    made = arms(cfg)
    assert [a.key for a in made[:4]] == [
        ("emnist", "dcgan"),
        ("celeba", "dcgan"),
        ("cifar", "dcgan"),
        ("emnist", "contrast 0.25"),
    ]
    assert [a.label for a in made] == [*main, *side]
    assert len({a.key for a in made}) == len(made)


def test_every_training_of_the_desk_setting_takes_one_thread():
    cfg = report_config("dataset_study", preset="desk").config
    assert [cfg.gan(i).threads for i in range(3)] == [1, 1, 1]
    main = {"cifar": SimpleNamespace(config=cfg.gan(2, epochs=26), data=None, held=None)}
    assert {a.config.threads for a in update_arms(cfg, main).values()} == {1}


def test_letters_differ_in_the_changed_thing_alone(study):
    cfg, main, side = study
    letters = [side[k] for k in list(side)[:6]]
    assert (
        len({(len(a.data), len(a.held), a.steps, a.config.batch_size, a.config.ngf) for a in letters}) == 1
    ), "equal images and steps"
    assert len({a.data.fingerprint for a in letters}) == 6 and len({a.held.fingerprint for a in letters}) == 6
    assert all((a.data.labels == letters[0].data.labels).all() for a in letters), (
        "the same letters in the same order"
    )
    for c in (0.25, 0.5):
        assert pixels(side[f"contrast {c}"].data).astype(int).std() == pytest.approx(
            c * pixels(side["contrast 1"].data).astype(int).std(), rel=0.02
        )
    assert (pixels(side["contrast 1"].held) == pixels(main["emnist"].held)).all()
    flat = pixels(side["flat background"].data).astype(int)
    assert all(
        (x >= x.min()).all() and (x == x.min()).sum() >= (o == o.min()).sum()
        for x, o in zip(flat, pixels(side["contrast 1"].data).astype(int))
    )


def test_photos_of_training_and_judging_backgrounds_are_different(study):
    _, main, side = study
    assert not np.intersect1d(
        side["natural background"].data.pixel_hashes(), side["natural background"].held.pixel_hashes()
    ).size
    assert not np.intersect1d(main["cifar"].data.pixel_hashes(), main["cifar"].held.pixel_hashes()).size


def test_faces_at_three_sizes_show_the_same_faces(study):
    cfg, _, side = study
    assert [side[f"size {n}"].data.size for n in SIZES] == list(SIZES)
    assert all((side[f"size {n}"].held.labels == side["size 16"].held.labels).all() for n in SIZES)
    assert len({(side[f"size {n}"].steps, len(side[f"size {n}"].data)) for n in SIZES}) == 1
    assert not [k for k in side if "grey" in k], "digits are grey as they are"


def test_colour_gives_grey_arms_where_the_network_can_see_both(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for k in range(20):
            path = tmp_path / "pictures" / part / "a" / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    given = dict(
        datasets=f"digits,folder:{tmp_path / 'pictures'},folder:{tmp_path / 'pictures'}",
        limit=16,
        side_images=16,
    )
    cfg = config(**given, network="effnet-lite0")
    side = side_arms(cfg, main := main_arms(cfg))
    assert (
        [k for k in side if "grey" in k] == [f"size {GREY_AT} grey"]
        and side["size 32 grey"].data.channels == 1
        and side["size 32"].data.channels == 3
    )
    assert (pixels(side["size 32 grey"].data) == grey(pixels(side["size 32"].data))).mean() > 0.9
    assert side["natural background"].data.channels == main["emnist"].data.channels == 1
    assert not [k for k in dimension_arms(config(**given), main) if "grey" in k], (
        "the network `domain` judges only what has its channels"
    )


def test_more_generator_updates_and_fewer_images(study):
    _, main, side = study
    for g in (2, 5):
        a, b = side[f"g_steps {g}"], main["cifar"]
        assert (
            a.config.g_steps == g
            and a.data is b.data
            and {k for k, v in a.config.model_dump().items() if v != b.config.model_dump()[k]}
            <= {"g_steps", "epochs", "threads"}
        )
    quarter, whole = side["quarter of the images"], main["celeba"]
    assert (
        len(quarter.data) == max(len(whole.data) // 4, whole.config.batch_size)
        and quarter.steps >= whole.steps
    )
    assert set(quarter.data.pixel_hashes()) <= set(whole.data.pixel_hashes())


def test_updates_of_the_desk_setting():
    "A fifth of the epochs with five updates of G: as many updates of G as the control, within one epoch."
    gan = report_config("dataset_study", preset="desk").config.gan(2, epochs=26)
    main = {"cifar": SimpleNamespace(config=gan, data=None, held=None)}
    made = update_arms(report_config("dataset_study", preset="desk").config, main)
    assert (made["g_steps 2"].config.epochs, made["g_steps 5"].config.epochs) == (26, 5)


def test_grey_and_colour():
    x = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8).reshape(1, 2, 2, 3)
    assert grey(x).ravel().tolist() == [76, 150, 29, 9] and (grey(x[..., :1]) == x[..., :1]).all()
    assert (
        in_colour(x[..., :1]).shape == x.shape
        and (in_colour(x[..., :1])[..., 2] == x[..., 0]).all()
        and (in_colour(x) == x).all()
    )


def test_a_changed_set_says_so():
    s = ImageSet("letters", np.full((3, 16, 16, 1), 200, np.uint8))
    t = changed(s, lambda x: x // 2, "halved")
    assert (
        "halved" in t.name
        and t.fingerprint != s.fingerprint
        and (pixels(t) == 100).all()
        and (pixels(s) == 200).all()
    )
    assert changed(s, lambda x: x, "nothing").fingerprint != s.fingerprint, (
        "the change is part of the identity even where no pixel moved"
    )
