"The latent explorer without a browser: what its controls do to the pictures, and what it refuses."

import asyncio
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gannb import store
from gannb.base import GannbError, draw_z
from gannb.config import gan_config
from gannb.copies import low_passed, nearness
from gannb.data import ImageSet
from gannb.datasets.registry import load
from gannb.features import one_thread
from gannb.models.conditional import LABEL
from gannb.models.dcgan import Generator, init_weights
from gannb.models.registry import MODELS
from gannb.sample import draw_labels, sample, sample_seeded
from gannb.stages import given
from gannb.stages.gan import train_run
from gannb.widgets.explorer import LatentExplorer, Neighbours, explored, path_between
from gannb.widgets.latent import noise_weight, principal_directions, random_directions, sample_mixed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "outputs"))


@pytest.fixture(scope="module")
def digits():
    return load("digits", size=16, progress=False).select(limit=64)


def fresh(**kw) -> torch.nn.Module:
    "A generator as training begins with it, all weights drawn from a seed."
    kind = MODELS[kw.pop("model", "dcgan")].generator
    with torch.random.fork_rng(devices=[]):
        G = kind(**({"size": 16, "channels": 1, "nz": 12, "ngf": 4} | kw))
    init_weights(G, 3, "G")
    return G.eval()


def png(value: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(value)))


def seeded(name: str, n: int, seed: int, **kw) -> np.ndarray:
    card = given.given_card(name)
    with one_thread():
        return sample_seeded(given.load_given(name), n, seed, card["settings"]["z_dist"], **kw)


# ---- samples


@pytest.mark.parametrize("name", ["mnist", "apple", "celeba"])
def test_the_same_seed_gives_the_pictures_of_sample_seeded(name):
    explorer = LatentExplorer(name, n=6, seed=5)
    assert np.array_equal(explorer.pictures, seeded(name, 6, 5))
    explorer.seed.value = 9
    assert np.array_equal(explorer.pictures, seeded(name, 6, 9))


def test_it_opens_on_digits_before_anything_was_trained():
    explorer = LatentExplorer()
    assert explorer.subject.name == "mnist-32px-w24" and explorer.subject.classes[3] == "3"
    assert "CC BY-SA 3.0" in explorer.subject.about


def test_the_screen_shows_these_pictures():
    explorer = LatentExplorer("celeba", n=5)
    sheet = png(explorer.grid.sheet)
    assert explorer.grid.columns == 3 and sheet.shape == (64, 96, 3)
    assert np.array_equal(sheet[32:, 32:64], explorer.pictures[4])
    explorer.pick(4)
    k = 256 // 32
    assert np.array_equal(png(explorer.large.value)[::k, ::k], explorer.pictures[4])
    strip = png(explorer.path.image.value)
    assert np.array_equal(strip[::2, :64:2], explorer.pictures[4])
    assert np.array_equal(strip[::2, -64::2], explorer.pictures[0])


def test_a_click_makes_a_picture_a_and_the_last_one_b():
    explorer = LatentExplorer("mnist", n=6)
    before = explorer.large.value
    explorer.grid.set_state({"picks": [4, 0]})  # as the browser sends it
    assert explorer.large.value != before and list(explorer.grid.picks) == [4, 0]
    explorer.pick(2)
    assert list(explorer.grid.picks) == [2, 4]
    explorer.pick(2)
    assert list(explorer.grid.picks) == [2, 4], "the one that is A already"
    explorer.pick(1, 5)
    assert list(explorer.grid.picks) == [1, 5]


# ---- directions


@pytest.mark.parametrize("kind", ["dcgan", "cgan", "cdcgan", "cdcgan2"])
def test_principal_directions_are_orthonormal_and_strongest_first(kind):
    G = fresh(model=kind)
    ways = principal_directions(G, 12)
    assert torch.allclose(ways @ ways.T, torch.eye(12), atol=1e-5)
    stretch = (ways @ noise_weight(G)).norm(dim=1)
    assert (stretch.diff() <= 1e-5).all() and stretch[0] > 1.2 * stretch[-1]
    assert (ways.gather(1, ways.abs().argmax(1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("kind", ["dcgan", "cgan", "cdcgan", "cdcgan2"])
def test_the_weight_is_what_the_first_layer_does_with_the_noise(kind):
    "The same push through the first layer and through its weight; the label's part does not come in."
    G, seen = fresh(model=kind), []
    path = G.branches["noise z"] if kind == "cdcgan2" else G.main
    path[0].register_forward_hook(lambda _layer, _given, made: seen.append(made.detach().flatten(1)))
    z, push = draw_z(2, 12, 0), draw_z(1, 12, 1)
    y = None if kind == "dcgan" else torch.tensor([1, 2])
    with torch.no_grad():
        G(z, y)
        G(z + push, y)
    expected = (push @ noise_weight(G)).expand(2, -1)
    assert torch.allclose(seen[1] - seen[0], expected, atol=1e-4)


def test_random_directions_are_orthonormal_and_seeded():
    ways = random_directions(20, 7, 3)
    assert torch.allclose(ways @ ways.T, torch.eye(7), atol=1e-5)
    assert torch.equal(ways, random_directions(20, 7, 3))
    assert not torch.equal(ways, random_directions(20, 7, 4))


def test_a_strong_direction_moves_pictures_more_than_a_random_one():
    explorer, moved = LatentExplorer("celeba"), {}
    start = explorer.pictures.astype(int)
    for kind in ("principal", "random"):
        explorer.sliders.kind.value = kind
        explorer.sliders.sliders[0].value = 3.0
        moved[kind] = np.abs(explorer.pictures - start).mean()
        explorer.reset()
    assert moved["principal"] > 2 * moved["random"] > 0


@pytest.mark.parametrize("name", ["mnist", "apple"])
def test_a_slider_moves_the_picture_and_reset_restores_it_to_the_byte(name):
    explorer = LatentExplorer(name, n=4)
    images = [explorer.grid, explorer.large, explorer.path.image]
    shown = [(w.sheet if w is explorer.grid else w.value) for w in images]
    for slider in explorer.sliders.sliders[:2]:
        slider.value = 2.5
    moved = [(w.sheet if w is explorer.grid else w.value) for w in images]
    assert all(a != b for a, b in zip(shown, moved, strict=True))
    explorer.sliders.back.click()
    assert [(w.sheet if w is explorer.grid else w.value) for w in images] == shown
    assert all(s.value == 0 for s in explorer.sliders.sliders)


def drag(explorer, values) -> dict[str, int]:
    "Moves as a browser sends them, each a moment after the other; how often each picture was made meanwhile."

    async def moved():
        for value in values:
            explorer.sliders.sliders[0].value = value
            await asyncio.sleep(0.01)
        during = dict(made)
        await asyncio.sleep(1.5)
        return during

    made = {"large": 0, "grid": 0, "path": 0}
    for name, widget, trait in (
        ("large", explorer.large, "value"),
        ("grid", explorer.grid, "sheet"),
        ("path", explorer.path.image, "value"),
    ):
        widget.observe(lambda _change, name=name: made.update({name: made[name] + 1}), trait)
    during = asyncio.run(moved())
    made["during"] = during
    return made


def test_while_a_slider_is_dragged_the_newest_move_wins():
    explorer, alone = LatentExplorer("celeba"), LatentExplorer("celeba")
    made = drag(explorer, [0.5, 1.0, 1.5, 2.0, 2.5])
    assert made["during"] == {"large": 5, "grid": 0, "path": 0}, "A follows each move, the rest waits"
    assert made["grid"] == made["path"] == 1, "pictures of moves in between were made"
    alone.sliders.sliders[0].value = 2.5
    assert explorer.grid.sheet == alone.grid.sheet and explorer.path.image.value == alone.path.image.value
    assert explorer.large.value == alone.large.value


def test_what_is_asked_for_during_a_drag_is_up_to_date():
    async def moved():
        explorer.sliders.sliders[0].value = 2.0
        before = explorer.grid.sheet
        pictures, sheet = explorer.pictures, explorer.grid.sheet
        await asyncio.sleep(0.3)
        return before, pictures, sheet

    explorer = LatentExplorer("celeba")
    first = explorer.grid.sheet
    before, pictures, sheet = asyncio.run(moved())
    assert before == first != sheet == explorer.grid.sheet
    assert np.array_equal(png(sheet)[:32, :32], pictures[0])


def test_an_explorer_is_whole_from_the_beginning_in_a_notebook_too():
    async def made():
        return LatentExplorer("mnist", n=4).grid.sheet

    assert asyncio.run(made()) == LatentExplorer("mnist", n=4).grid.sheet


def test_a_slider_pushes_by_standard_deviations_along_its_direction():
    for name, spread in (("celeba", 1.0), ("apple", 3**-0.5)):
        explorer = LatentExplorer(name, n=3)
        before = explorer.noise()
        explorer.sliders.sliders[1].value = -2.0
        way = principal_directions(explorer.subject.G, 5)[1]
        assert torch.allclose(explorer.noise() - before, -2 * spread * way.expand(3, -1), atol=1e-5)


def test_a_network_without_such_a_layer_has_random_directions_alone():
    class Odd(torch.nn.Module):
        nz, size, channels = 6, 16, 1

        def __init__(self):
            super().__init__()
            self.net = torch.nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, z, y=None):
            return torch.tanh(self.net(z.mean(1)[:, None, None, None].expand(-1, 1, 16, 16)))

    explorer = LatentExplorer(Odd(), n=2)
    assert explorer.sliders.kind.options == ("random",)
    before = explorer.pictures.copy()
    explorer.sliders.sliders[0].value = 4
    assert not np.array_equal(explorer.pictures, before)
    with pytest.raises(GannbError, match="no principal directions"):
        principal_directions(Odd(), 2)


# ---- classes


def test_the_class_changes_the_picture_and_is_that_of_the_generator():
    explorer = LatentExplorer("mnist", n=5, seed=2)
    as_drawn = explorer.pictures.copy()
    assert np.array_equal(as_drawn, seeded("mnist", 5, 2, y=draw_labels(5, 10, 2)))
    explorer.classes.first.value = 7
    assert not np.array_equal(explorer.pictures, as_drawn)
    assert np.array_equal(explorer.pictures, seeded("mnist", 5, 2, y=torch.full((5,), 7)))
    explorer.classes.first.value = -1
    assert np.array_equal(explorer.pictures, as_drawn)


def test_mixing_at_0_and_1_is_the_pure_class_to_the_byte():
    explorer, pure = LatentExplorer("mnist", n=4), {}
    for c in (3, 8):
        explorer.classes.first.value = c
        pure[c] = explorer.pictures.copy(), explorer.grid.sheet
    explorer.classes.first.value, explorer.classes.second.value = 3, 8
    for share, c in ((0, 3), (1, 8)):
        explorer.classes.share.value = share
        assert np.array_equal(explorer.pictures, pure[c][0]) and explorer.grid.sheet == pure[c][1]
    explorer.classes.share.value = 0.5
    assert not any(np.array_equal(explorer.pictures, p) for p, _ in pure.values())


@pytest.mark.parametrize("kind", ["cgan", "cdcgan", "cdcgan2"])
def test_every_conditional_network_can_be_mixed_and_is_left_as_it_was(kind):
    G = fresh(model=kind, n_classes=3)
    z, y = draw_z(4, 12, 0), torch.tensor([0, 1, 2, 0])
    with one_thread():
        whole = sample(G, z, y)
        assert np.array_equal(sample_mixed(G, z, torch.eye(3)[y], batch=3), whole[:4])
        mixed = sample_mixed(G, z, 0.6 * torch.eye(3)[y] + 0.4 * torch.eye(3)[(y + 1) % 3])
        assert all(not np.array_equal(a, b) for a, b in zip(mixed, whole, strict=True))
        assert np.array_equal(sample(G, z, y), whole), "no hook is left behind"
    assert not G.branches[LABEL]._forward_hooks and not G.branches[LABEL]._forward_pre_hooks


def test_half_of_two_classes_is_the_middle_of_their_entries():
    G, seen = fresh(model="cdcgan", n_classes=3), []
    G.main[0].register_forward_pre_hook(lambda _layer, given: seen.append(given[0].flatten(1)[:, 12:]))
    sample_mixed(G, draw_z(1, 12, 0), torch.tensor([[0.25, 0.0, 0.75]]))
    table = G.branches[LABEL][0].weight.detach()
    assert torch.allclose(seen[0][0], 0.25 * table[0] + 0.75 * table[2], atol=1e-6)


def test_a_generator_without_classes_shows_no_selector():
    explorer = LatentExplorer("celeba", n=2)
    assert explorer.classes is None and explorer.shares() is None


@pytest.mark.parametrize(
    "shares, message",
    [
        (torch.ones(2, 2), r"must be finite and \(2, 3\)"),
        (torch.tensor([[1.0, 0, 0]]), r"must be finite and \(2, 3\)"),
        (torch.full((2, 3), float("nan")), "must be finite"),
        (torch.full((2, 3), 0.5), "add up to 1"),
        (torch.tensor([[1.5, -0.5, 0]] * 2), "0 or more"),
    ],
)
def test_shares_that_are_none_are_refused(shares, message):
    with pytest.raises(GannbError, match=message):
        sample_mixed(fresh(model="cdcgan", n_classes=3), draw_z(2, 12, 0), shares)


def test_a_generator_without_classes_cannot_be_mixed():
    with pytest.raises(GannbError, match="knows no classes"):
        sample_mixed(fresh(), draw_z(1, 12, 0), torch.ones(1, 1))


# ---- the path


def gif_frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as picture:
        return [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)]


def test_the_gif_has_the_frames_and_its_ends_are_the_two_picks(tmp_path):
    explorer = LatentExplorer("mnist", seed=3)
    explorer.pick(2, 9)
    explorer.path.steps.value = 7
    explorer.path.button.click()
    (path,) = (store.outputs_dir() / "samples").glob("*.gif")
    assert path.name == "mnist-32px-w24-path-seed3-2-to-9.gif" and str(path) in explorer.path.said.value
    frames = [f[::8, ::8, :1] for f in gif_frames(path)]
    assert len(frames) == 7
    last, first = frames[0], frames[1]  # it begins with its last frame: see gannb.plot.gif
    assert np.array_equal(first, explorer.pictures[2]) and np.array_equal(last, explorer.pictures[9])
    assert np.abs(frames[4].astype(int) - explorer.frames()[3]).max() <= 1


def test_a_gif_is_not_overwritten_by_another(tmp_path):
    explorer = LatentExplorer("mnist", n=4)
    one = explorer.save_gif(tmp_path)
    assert explorer.save_gif(tmp_path) == one and len(list(tmp_path.glob("*.gif"))) == 1
    explorer.classes.first.value = 4
    two = explorer.save_gif(tmp_path)
    assert two != one and one.is_file() and two.name.endswith("-2.gif")


def test_a_gif_that_cannot_be_written_is_said_beside_the_button(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "file"))
    explorer = LatentExplorer("mnist", n=2)
    explorer.path.button.click()
    assert "Saved" not in explorer.path.said.value and "file" in explorer.path.said.value


def test_the_path_follows_the_great_circle_and_mixes_the_classes():
    explorer = LatentExplorer("mnist", seed=1)
    explorer.pick(0, 5)
    ends = explorer.pictures[[0, 5]]
    z, shares = explorer.noise()[[0, 5]], explorer.shares()[[0, 5]]
    assert not torch.equal(shares[0], shares[1])
    found = path_between(explorer.subject, z, shares, ends, 3)
    from gannb.sample import interpolate

    with one_thread():
        middle = sample_mixed(explorer.subject.G, interpolate(z[0], z[1], 3)[1:2], shares.mean(0)[None])
    assert np.abs(found[1].astype(int) - middle[0]).max() <= 1
    assert np.array_equal(found[[0, -1]], ends)


# ---- nearest images


def test_the_nearest_image_of_a_training_image_is_itself(digits):
    neighbours = Neighbours(digits, fresh())
    for i in (0, 17, 63):
        found = neighbours.find(digits.take([i])[0])
        assert found.rows[0] == i and found.distances[0] == 0 and found.nearness == 0
        assert (np.diff(found.distances) >= 0).all() and len(set(found.rows)) == 6


def test_distances_and_nearness_are_those_of_copies(digits):
    neighbours, flat = Neighbours(digits, fresh()), low_passed(digits.take(range(64)))
    image = np.roll(digits.take([5])[0], 2, 1)
    found, x = neighbours.find(image), low_passed(image[None])
    distance = 255 * np.sqrt(((flat - x) ** 2).mean(1))
    assert found.rows.tolist() == np.argsort(distance)[:6].tolist()
    assert np.allclose(found.distances, np.sort(distance)[:6], rtol=1e-4)
    assert found.nearness == pytest.approx(nearness(x, flat)[0], rel=1e-4)


def test_groups_stay_together_in_nearness(digits):
    images = digits.take(range(64))
    grouped = ImageSet("some", np.concatenate([images, images]), groups=np.tile(np.arange(64), 2))
    image = np.roll(images[5], 2, 1)
    found = Neighbours(grouped, fresh()).find(image)
    expected = nearness(low_passed(image[None]), low_passed(grouped.images), grouped.groups)[0]
    assert found.nearness == pytest.approx(expected, rel=1e-4)


def test_few_images_have_no_nearness(digits):
    found = Neighbours(digits.select(limit=10), fresh()).find(digits.take([0])[0])
    assert found.nearness is None and len(found.rows) == 6
    assert len(Neighbours(digits.select(limit=3), fresh()).find(digits.take([0])[0]).rows) == 3


def test_the_nearest_images_follow_the_pick_and_the_sliders(digits):
    explorer = LatentExplorer(fresh(), data=digits)
    assert "among 64 images of digits" in explorer.nearest.children[0].value
    first = explorer.nearest.said.value
    explorer.sliders.sliders[0].value = 4
    assert "grey levels a pixel away, both pictures slightly blurred" in explorer.nearest.said.value
    assert explorer.nearest.said.value != first


# ---- what can be explored


def test_a_run_is_explored_by_folder_and_by_name(digits, tmp_path):
    run = train_run(gan_config(dataset="digits", size=16, epochs=1, ngf=4, ndf=4, batch_size=32), digits, 0)
    explorer = LatentExplorer(str(run.folder), n=3, data=digits)
    with one_thread():
        assert np.array_equal(explorer.pictures, sample_seeded(run.generator(), 3, 0))
    assert "1 epochs on 64 images" in explorer.subject.about
    assert "among the 64 images that it was trained on" in explorer.nearest.children[0].value
    other = LatentExplorer(run.folder, n=3, data=digits.select(limit=30))
    assert "not the very set" in other.nearest.children[0].value
    for seed in (0, 1):
        shutil.copytree(run.folder, store.outputs_dir() / "runs" / "mine" / f"seed-{seed}")
    named = explored("mine")
    assert named.name == "mine-seed-0" and "the first of 2 seeds" in named.about


def test_a_file_and_a_network_in_memory_are_explored():
    by_file = LatentExplorer(given.given_file("apple"), n=2)
    assert np.array_equal(by_file.pictures, LatentExplorer("apple", n=2).pictures)
    in_memory = LatentExplorer(given.load_given("apple"), n=2, z_dist="uniform")
    assert np.array_equal(in_memory.pictures, by_file.pictures)
    assert not np.array_equal(LatentExplorer(given.load_given("apple"), n=2).pictures, by_file.pictures)


def test_the_network_stays_in_the_mode_it_was_in():
    G = fresh().train()
    LatentExplorer(G, n=2)
    assert G.training


@pytest.mark.parametrize("size, channels", [(16, 1), (28, 3), (64, 3), (96, 1)])
def test_every_size_can_be_shown(size, channels):
    explorer = LatentExplorer(Generator(size, channels, 8, 2), n=5)
    picture, sentence = explorer.still()
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    assert sentence.startswith("5 pictures that Generator makes of the noise of seed 0.")
    assert int(explorer.large.layout.width[:-2]) == png(explorer.large.value).shape[1] >= 128


def test_a_saved_notebook_keeps_the_grid_and_a_sentence():
    import base64

    explorer = LatentExplorer("mnist")
    bundle = explorer._repr_mimebundle_()
    assert "mnist-32px-w24" in bundle["text/plain"] and "text/html" not in bundle
    stored = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    picture = np.asarray(stored.convert("RGB"))  # grey pictures are stored as grey
    still, _ = explorer.still()
    assert np.array_equal(picture[: len(still), : still.shape[1]], still)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n": 1}, "n must be a whole number from 2 to 64"),
        ({"n": 65}, "n must be a whole number from 2 to 64"),
        ({"n": 2.5}, "n must be a whole number"),
        ({"n": True}, "n must be a whole number"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": 2**31}, "seed must be a whole number from 0"),
        ({"seed": "a"}, "seed must be a whole number"),
        ({"what": "mnits"}, "Did you mean 'mnist'"),
        ({"what": ""}, "RUN is empty"),
        ({"what": "none.safetensors"}, "no such file"),
        ({"what": 3}, "this is a int"),
        ({"what": None}, "this is a NoneType"),
        ({"what": torch.nn.Linear(2, 2)}, "does not say its nz, size, channels"),
        ({"what": "apple", "z_dist": "uniform"}, "belongs to a network in memory"),
        ({"what": fresh(), "z_dist": "gauss"}, "z_dist='gauss' is not known"),
        ({"data": "mnist"}, "data must be an ImageSet"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_bad_inputs_are_refused_one_by_one(change, message):
    with pytest.raises(GannbError, match=message):
        LatentExplorer(**change)


def test_data_of_another_kind_is_refused(digits, monkeypatch):
    with pytest.raises(GannbError, match="size=32, channels=1"):
        LatentExplorer("mnist", data=digits)
    monkeypatch.setattr("gannb.widgets.explorer.MOST_NUMBERS", 50 * 16 * 16)
    with pytest.raises(GannbError, match=r"64 images, too many.*limit=50"):
        LatentExplorer(fresh(), data=digits)


@pytest.mark.parametrize("picks", [(0, 0), (0, 6), (-1, 2), (7, None)])
def test_pictures_that_are_not_there_cannot_be_picked(picks):
    explorer = LatentExplorer("mnist", n=6)
    with pytest.raises(GannbError, match="two different pictures are picked, from 0 to 5"):
        explorer.pick(*picks)
    assert list(explorer.grid.picks) == [0, 1]


@pytest.mark.parametrize("n", [0, 13, 1.5, True])
def test_impossible_numbers_of_directions_are_refused(n):
    for ask in (lambda: principal_directions(fresh(), n), lambda: random_directions(12, n)):
        with pytest.raises(GannbError, match="from 1 to 12"):
            ask()


def test_a_broken_generator_says_so():
    G = fresh()
    with torch.no_grad():
        G.main[0].weight.fill_(float("nan"))
    with pytest.raises(GannbError, match="NaN"):
        LatentExplorer(G)
    with pytest.raises(GannbError, match="weights hold NaN or infinity"):
        noise_weight(G)
