"""Judging networks bound to the store: weights checked before they are read, everything computed once,
nothing damaged ever used."""

import io
import threading
import warnings
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import stagehash
from gannb import store
from gannb.datasets.registry import load
from gannb import features as F
from gannb import fetch as fetching
from gannb.base import GannbError
from gannb.config import gan_config
from gannb.data import ImageSet
from gannb.sample import sample_seeded
from gannb.stages import features as SF
from gannb.stages.gan import train_run


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("GANNB_WEIGHTS", raising=False)
    return tmp_path / "store"


class Mean(nn.Module):
    "Brightness and contrast; counts the images it looks at."

    def __init__(self):
        super().__init__()
        self.weight, self.looked = nn.Parameter(torch.ones(1)), []

    def forward(self, x):
        self.looked.append(len(x))
        x = x.float().flatten(1)
        return torch.stack([x.mean(1), x.std(1)], 1) * self.weight


def net(**kw):
    return F.FeatureNet(
        **{
            "name": "domain",
            "layer": "mean",
            "dim": 2,
            "weights": "ab" * 32,
            "resize": "none",
            "module": Mean(),
            "batch": 8,
        }
        | kw
    )


def pictures(n=20, seed=0, size=16, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def quietly(f, *a):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return f(*a)


# ---- features, once ----------------------------------------------------------------------------------------


def test_reals_are_looked_at_once():
    judge, x = net(), pictures()
    a = SF.features(x, judge)
    assert judge.module.looked == [8, 8, 4] and np.array_equal(a, judge(x))
    judge.module.looked.clear()
    again = net()
    assert (
        np.array_equal(quietly(SF.features, x, judge), a)
        and np.array_equal(SF.features(ImageSet("the same", x), again), a)
        and not judge.module.looked
        and not again.module.looked
    )


@pytest.mark.parametrize(
    "other",
    [
        dict(images=pictures(seed=1)),
        dict(images=pictures()[::-1]),
        dict(images=pictures()[:19]),
        dict(images=pictures(size=8).reshape(-1, 16, 16, 1)),
        dict(judge=net(weights="ac" * 32)),
        dict(judge=net(weights="ab" * 31 + "ac")),
        dict(judge=net(layer="other")),
        dict(judge=net(resize="other")),
        dict(judge=net(scaled=True)),
        dict(judge=net(name="other")),
    ],
    ids=lambda o: str(list(o)),
)
def test_other_images_or_another_network_are_other_features(other):
    judge = net()
    SF.features(pictures(), judge)
    judge.module.looked.clear()
    second = other.get("judge", judge)
    second.module.looked.clear()
    SF.features(other.get("images", pictures()), second)
    assert second.module.looked


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone", "manifest"])
def test_damaged_features_are_made_again_loudly(own_store, damage):
    judge = net()
    a = SF.features(pictures(), judge)
    judge.module.looked.clear()
    [file] = own_store.glob("features/*/features.npy")
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[:-3])
    if damage == "changed":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if damage == "gone":
        file.unlink()
    if damage == "manifest":
        (file.parent / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="It is made again"):
        b = SF.features(pictures(), judge)
    assert judge.module.looked == [8, 8, 4] and np.array_equal(a, b)
    assert np.array_equal(quietly(SF.features, pictures(), judge), a) and [
        p.name for p in (own_store / "features").iterdir()
    ] == [file.parent.name]


def test_of_two_that_make_the_same_the_first_stays(own_store):
    def slow(tmp):
        SF.stored(own_store / "a", lambda t: (t / "x").write_text("first"))
        (tmp / "x").write_text("second")

    assert (SF.stored(own_store / "a", slow) / "x").read_text() == "first" and [
        p.name for p in own_store.iterdir()
    ] == ["a"]


def test_what_fails_leaves_nothing(own_store):
    with pytest.raises(GannbError, match="takes uint8 images"):
        SF.features(pictures(channels=4), net())
    assert not list((own_store / "features").iterdir())


# ---- fakes, once -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = load("digits", split="train", size=16, progress=False).select(limit=64)
    cfg = gan_config(dataset="digits", size=16, epochs=2, batch_size=32, nz=8, ngf=4, ndf=4, threads=1)
    return train_run(cfg, data, 3, tmp_path_factory.mktemp("gan") / "run", "quiet")


def test_fakes_are_drawn_and_looked_at_once(run, monkeypatch):
    judge = net()
    a = SF.fake_features(run, judge, 20)
    assert a.dtype == np.float32 and np.array_equal(a, net()(sample_seeded(run.generator(), 20, 3)))
    judge.module.looked.clear()
    monkeypatch.setattr(SF, "fakes_of", lambda *a: pytest.fail("drawn again"))
    assert np.array_equal(quietly(SF.fake_features, run, judge, 20), a) and not judge.module.looked
    assert np.array_equal(SF.fake_features(run, judge, 20, epoch=2), a), "the last epoch by its number"


@pytest.mark.parametrize("other", [dict(n=19), dict(epoch=1), dict(net=net(weights="ac" * 32))], ids=str)
def test_other_fakes_are_other_features(run, other):
    first = dict(run=run, net=net(), n=20)
    SF.fake_features(**first)
    asked = first | other
    asked["net"].module.looked.clear()
    SF.fake_features(**asked)
    assert asked["net"].module.looked


def test_another_seed_or_noise_is_another_draw(run):
    "The key does not rest on G alone: the same weights with other noise are other fakes."
    a = SF.fake_features(run, net(), 20)
    other_seed = replace(run, fields=run.fields | {"seed": 4})
    uniform = replace(run, fields=run.fields | {"z_dist": "uniform"})
    assert not np.array_equal(SF.fake_features(other_seed, net(), 20), a)
    assert not np.array_equal(SF.fake_features(uniform, net(), 20), a)


def test_fakes_of_an_epoch_that_was_not_kept(run, own_store):
    with pytest.raises(GannbError, match="not kept. Kept: 0, 1, 2"):
        SF.fake_features(run, net(), 20, epoch=7)
    assert not (own_store / "fakes").exists()


# ---- one door ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("inceptoin", {}, "Did you mean 'inception'"),
        ("effnet-lite0", {"sizes": 64}, "Did you mean 'size'"),
        ("inception", {"size": 64}, "option of inception"),
        ("domain", {}, "needs data="),
        ("domain", {"data": "digits"}, "must be an ImageSet"),
        ("effnet-lite0", {"size": 8}, "from 32 to 320"),
        ("inception", {"layer": "204"}, "Did you mean '2048'"),
    ],
)
def test_networks_that_cannot_be_are_refused_before_any_work(name, options, words, own_store):
    with pytest.raises(GannbError, match=words):
        SF.network(name, **options)
    assert not own_store.exists()


# ---- effnet-lite0 ------------------------------------------------------------------------------------------


def test_effnet_gives_the_known_outputs_and_is_converted_once(own_store, monkeypatch):
    judge = SF.network("effnet-lite0")
    assert judge.card() == {
        "network": "effnet-lite0",
        "layer": "pre_logits, scaled to length sqrt(1280)",
        "weights": "579344248a93e230",
        "resize": "bicubic to 64 px, antialiased",
        "rounding": "uint8",
    }
    a = judge(SF.known_image())
    with monkeypatch.context() as m:
        m.setattr(SF, "load_foreign", lambda *a: pytest.fail("converted twice"))
        assert np.array_equal(quietly(SF.network, "effnet-lite0")(SF.known_image()), a) and np.isclose(
            np.linalg.norm(a), 1280**0.5
        )
    file = own_store / "weights" / "effnet-lite0-57934424" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="It is made again"):
        b = SF.network("effnet-lite0")(SF.known_image())
    assert np.array_equal(a, b)
    with torch.no_grad():
        judge.module.net.conv_stem.weight.mul_(1.1)
    with pytest.raises(GannbError, match="does not give the known outputs"):
        SF.check_known(judge)


def test_scaled_vectors_climb_the_ladder_and_raw_ones_do_not():
    """Reals, and a small GAN on digits at epochs 0 to 20: raw vectors find the untrained generator better
    than one trained for five epochs."""
    from gannb.models.dcgan import Discriminator, Generator, init_weights
    from gannb.sample import sample_seeded
    from gannb.train import make_optimizers, train_gan

    parts = load("digits", split="all").split({"judge": 0.4, "train": 0.4, "held": 0.2}, 0)
    data = parts["train"]
    G, D = init_weights(Generator(16, 1, 16, 16), 0, "G"), init_weights(Discriminator(16, 1, 16), 0, "D")
    run = {"0": sample_seeded(G, 150)}

    def batches(epoch, start):
        return data.batches(32, 0, epoch, drop_last=True, start=start)

    for tick in train_gan(
        G,
        D,
        batches,
        steps_per_epoch=data.n_batches(32, True),
        epochs=20,
        opts=make_optimizers(G, D, 5e-4, 5e-4),
        seed=0,
    ):
        if tick.epoch in (5, 10, 20):
            run[str(tick.epoch)] = sample_seeded(G, 150)
    judge = SF.network("effnet-lite0")
    judge.scaled = False

    def kid(a, b):
        def k(x, y):
            return (x.astype(np.float64) @ y.T.astype(np.float64) / x.shape[1] + 1) ** 3

        n, m, A, B = len(a), len(b), k(a, a), k(b, b)
        return (
            (A.sum() - A.trace()) / (n * (n - 1)) + (B.sum() - B.trace()) / (m * (m - 1)) - 2 * k(a, b).mean()
        )

    def climbed(embed):
        return F.ladder(
            embed, kid, data.take(np.arange(300)), parts["held"].take(np.arange(150)), run["0"], run
        )

    scaled = climbed(lambda x: F.scale(torch.from_numpy(SF.features(x, judge))).numpy())
    raw = climbed(lambda x: SF.features(x, judge))
    assert scaled.passed, str(scaled)
    assert any("run 5" in w and "run 0" in w for w in raw.wrong), str(raw)


# ---- inception ---------------------------------------------------------------------------------------------


def test_missing_weights_say_what_to_do(own_store, monkeypatch, tmp_path):
    with pytest.raises(
        GannbError,
        match=r"not here.*weights-inception-2015-12-05-6726825d.pth.*96 MB, sha256 6726825d0af5"
        r".*download=True.*GANNB_WEIGHTS",
    ):
        SF.network("inception")
    monkeypatch.setenv("GANNB_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(GannbError, match="GANNB_WEIGHTS=.*is not a folder"):
        SF.network("inception")


@pytest.mark.parametrize("name", SF.INCEPTION_FILES)
@pytest.mark.parametrize("place", ["GANNB_WEIGHTS", "store"])
def test_local_weights_are_found_and_checked(tmp_path, own_store, monkeypatch, name, place):
    folder = tmp_path / "w" if place == "GANNB_WEIGHTS" else own_store / "weights"
    folder.mkdir(parents=True)
    if place == "GANNB_WEIGHTS":
        monkeypatch.setenv("GANNB_WEIGHTS", str(folder))
    torch.save({"a": torch.arange(3)}, folder / name)
    got = {}
    monkeypatch.setattr(
        SF, "inception", lambda tensors, sha, layer: got.update(tensors, sha=sha, layer=layer) or net()
    )
    SF.network("inception", layer="768", sha256=store.sha256_file(folder / name))
    assert (
        got["a"].tolist() == [0, 1, 2]
        and got["layer"] == "768"
        and got["sha"] == store.sha256_file(folder / name)
    )
    with pytest.raises(GannbError, match="is not the expected file: its sha256 is .*expected 6726825d"):
        SF.network("inception")


def test_code_in_a_weights_file_is_not_run(tmp_path):
    import pickle

    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": Bad()}, tmp_path / "w.pth")
    with pytest.raises(pickle.UnpicklingError):
        SF.load_foreign(tmp_path / "w.pth", store.sha256_file(tmp_path / "w.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0)
    monkeypatch.setattr(fetching, "TRIES", 2)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *a):
            super().__init__(*a, directory=str(tmp_path / "served"))

        def log_message(self, *a):
            pass

    (tmp_path / "served").mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/w.pth"
    http.shutdown()
    http.server_close()


def test_the_whole_way_of_inception(server, tmp_path, own_store, monkeypatch):
    """Random weights in place of the real ones: served, fetched on request, checked, read,
    and the network looks at an image."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Net

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with monkeypatch.context() as m, torch.random.fork_rng(devices=[]):
        m.setattr(Net, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        theirs = Net("theirs", ["2048"], feature_extractor_weights_path=empty)
    torch.save(theirs.state_dict(), tmp_path / "served" / "w.pth")
    sha = store.sha256_file(tmp_path / "served" / "w.pth")
    with pytest.raises(GannbError, match="another hash and was removed.*sha256 6726825d"):
        SF.network("inception", download=True, urls=[server])
    assert not list((own_store / "weights").iterdir())
    judge = SF.network("inception", download=True, urls=[server], sha256=sha)
    x = pictures(1, channels=3)
    assert (own_store / "weights" / SF.INCEPTION_FILES[0]).is_file() and judge.card()["weights"] == sha[:16]
    want = theirs(torch.from_numpy(x).permute(0, 3, 1, 2))[0].numpy()
    assert np.allclose(judge(x), want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    (tmp_path / "served" / "w.pth").unlink()
    SF.network("inception", sha256=sha)  # from now on without the server


def test_no_download_unless_asked(monkeypatch):
    monkeypatch.setattr(SF, "fetch", lambda *a, **k: pytest.fail("fetched"))
    with pytest.raises(GannbError, match="not here"):
        SF.network("inception")


# ---- domain ------------------------------------------------------------------------------------------------


def digits():
    return load("digits", split="all").split({"judge": 0.2, "held": 0.8}, 0)


def test_the_domain_network_is_an_artefact(own_store, monkeypatch):
    parts = digits()
    data = parts["judge"]
    judge = SF.network("domain", data=data, shown=3000)
    [folder] = (own_store / "domain").iterdir()
    card = store.read_json(folder / "card.json")
    assert (
        judge.about == card
        and card["sha256"] == judge.weights == store.sha256_file(folder / "weights.safetensors")
        and judge.card()["weights"] == judge.weights[:16]
    )
    assert (
        card["trained on"]["fingerprint"] == data.fingerprint
        and card["trained on"]["images"] + card["trained on"]["held out"] == len(data)
        and 0.6 < card["held-out accuracy"] <= 1
    )
    a = judge(parts["held"].take(range(20)))
    with monkeypatch.context() as m:
        m.setattr(SF, "train_domain", lambda *a: pytest.fail("trained twice"))
        again = SF.network("domain", data=data, shown=3000)
    assert again.weights == judge.weights and np.array_equal(again(parts["held"].take(range(20))), a)
    SF.network("domain", data=data, shown=3000, seed=1)
    assert len(list((own_store / "domain").iterdir())) == 2
    monkeypatch.setenv("GANNB_STORE", str(own_store.with_name("other")))
    assert (
        SF.network("domain", data=data, shown=3000).weights == judge.weights
    )  # the same bytes in an empty store

    SF.check_unseen(judge, parts["held"])
    SF.check_unseen(net(), data)
    with pytest.raises(GannbError, match="3 of 8 images were used to train the network 'domain'"):
        SF.check_unseen(judge, np.concatenate([parts["held"].take(range(5)), data.take(range(3))]))


def test_domain_needs_labels():
    x = pictures()
    with pytest.raises(GannbError, match="no labels and no classes"):
        SF.network("domain", data=ImageSet("mine", x))
    with pytest.raises(GannbError, match="has 1 class\\."):
        SF.network("domain", data=ImageSet("mine", x, np.zeros(20, np.int64), ("a",)))


# ---- the version of the stage ------------------------------------------------------------------------------


DOMAIN_ENTRIES = (("stages.features", "_domain"),)
DOMAIN_KNOWN = {1: "59835b81575bf8bd"}
FEATURES_ENTRIES = (("stages.features", "features"), ("stages.features", "network"))
FEATURES_KNOWN = {1: "2b4ca4eeb6a4fac8"}
FAKES_ENTRIES = (("stages.features", "fake_features"), ("stages.features", "network"))
FAKES_KNOWN = {1: "433f2fd83f2d5200"}


def test_domain_version_names_this_code():
    stagehash.check("DOMAIN_VERSION", SF.DOMAIN_VERSION, DOMAIN_KNOWN, *DOMAIN_ENTRIES)


def test_features_version_names_this_code():
    stagehash.check("FEATURES_VERSION", SF.FEATURES_VERSION, FEATURES_KNOWN, *FEATURES_ENTRIES)


def test_fakes_version_names_this_code():
    stagehash.check("FAKES_VERSION", SF.FAKES_VERSION, FAKES_KNOWN, *FAKES_ENTRIES)
