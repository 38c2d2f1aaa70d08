"""Every knob of the config reaches the loop; labels and other networks reach a stored training."""

import inspect

import numpy as np
import pytest
import torch
from test_stages import contents
from torch import nn

from gannb import store
from gannb.base import GannbError, draw_z
from gannb.config import GanConfig, gan_config
from gannb.datasets.registry import load
from gannb.models import registry
from gannb.models.dcgan import Discriminator, Generator
from gannb.sample import cycled_labels, draw_labels, sample, sample_seeded
from gannb.stages import gan
from gannb.stages.run import export_generator, fixed_noise, load_generator, open_run
from gannb.train import train_gan

SMALL = dict(dataset="digits", size=16, epochs=1, batch_size=32, nz=8, ngf=4, ndf=4, threads=1)
CHANGES = [
    {"g_steps": 2},
    {"d_steps": 2},
    {"z_dist": "uniform"},
    {"lr_G": 1e-3},
    {"lr_D": 1e-3},
    {"beta1": 0.1},
    {"beta2": 0.9},
    {"augment": "color"},
    {"extra_convs": 1},
    {"batch_size": 16},
    {"precision": "bf16"},
]


def digits(limit=64):
    return load("digits", size=16, progress=False).select(limit=limit)


def trained(folder, data=None, **change):
    return gan.train_run(gan_config(**SMALL | change), data or digits(), 0, folder, "quiet")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("first") / "run")


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: next(iter(c)))
def test_a_setting_changes_what_is_trained(change, first, tmp_path):
    "A setting that is in the key but not in the loop would train the same bytes under another name."
    other = trained(tmp_path / "other", **change)
    same_end = np.array_equal(first.history().rows[-1], other.history().rows[-1])
    assert not same_end or first.sha256() != other.sha256()


def test_updates_of_a_stored_training_are_the_configs(tmp_path):
    run = trained(tmp_path / "r", d_steps=2, g_steps=3)
    tensors, _, _ = store.load_checkpoint(run.folder / "checkpoints")
    assert tensors["opt_D.main.0.weight.step"] == 2 * run.steps
    assert tensors["opt_G.main.0.weight.step"] == 3 * run.steps


def test_the_loop_has_no_knob_that_the_stage_forgets(tmp_path, monkeypatch):
    seen = {}

    def spy(*args, **kwargs):
        seen.update(kwargs)
        return train_gan(*args, **kwargs)

    monkeypatch.setattr(gan, "train_gan", spy)
    trained(tmp_path / "r")
    knobs = inspect.signature(train_gan).parameters.values()
    assert {p.name for p in knobs if p.kind is p.KEYWORD_ONLY} <= set(seen)


def test_weights_that_are_not_finite_are_never_written(tmp_path, monkeypatch):
    "The last losses are finite, the weights that the step leaves are not."

    def poisoned(*args, **kwargs):
        for tick in train_gan(*args, **kwargs):
            with torch.no_grad():
                tick.D.main[0].weight[0] = float("inf")
            yield tick

    monkeypatch.setattr(gan, "train_gan", poisoned)
    run = trained(tmp_path / "r")
    assert run.diverged == 2 and not store.list_checkpoints(tmp_path / "r" / "checkpoints")


# ---- a conditional pair ----------------------------------------------------------------------------------


class LabelledGenerator(Generator):
    "A label picks the vector that is added to z."

    def __init__(self, size, channels, nz, ngf, extra_convs=0, *, n_classes):
        super().__init__(size, channels, nz, ngf, extra_convs)
        self.n_classes = n_classes
        self.branches = nn.ModuleDict({"label": nn.Sequential(nn.Embedding(n_classes, nz))})
        self.joins = {"label": "added to z"}

    def forward(self, z, y=None):
        return super().forward(z + self.branches["label"](y))


class LabelledDiscriminator(Discriminator):
    "A label adds its own number to the logit."

    def __init__(self, size, channels, ndf, extra_convs=0, *, n_classes):
        super().__init__(size, channels, ndf, extra_convs)
        self.n_classes = n_classes
        self.branches = nn.ModuleDict({"label": nn.Sequential(nn.Embedding(n_classes, 1))})
        self.joins = {"label": "added to the logit"}

    def forward(self, x, y=None):
        return super().forward(x) + self.branches["label"](y).flatten()


class WithModel(GanConfig):
    "A config that may name any registered model."

    model: str = "dcgan"


def labelled_config(**change):
    return WithModel(**SMALL | {"model": "labelled", "lr_G": 1e-2, "lr_D": 1e-2} | change)


@pytest.fixture
def labelled(monkeypatch):
    pair = registry.Model(LabelledGenerator, LabelledDiscriminator, conditional=True)
    monkeypatch.setitem(registry.MODELS, "labelled", pair)


def test_a_conditional_pair_trains_and_learns_its_labels(labelled, tmp_path):
    run = gan.train_run(labelled_config(), digits(), 0, tmp_path / "r", "quiet")
    assert (run.n_classes, run.fields["model"], run.fields["n_classes"]) == (10, "labelled", 10)
    tensors, _, _ = store.load_checkpoint(run.folder / "checkpoints")
    begun = gan.build_networks(run.fields)
    for net, name in zip(begun, "GD", strict=True):
        weight = net.branches["label"][0].weight
        moved = (tensors[f"{name}.branches.label.0.weight"] - weight).abs().sum(1) > 0
        assert moved.all(), f"every label of the batches gives {name} a gradient"
    assert run.generator().n_classes == run.discriminator().n_classes == 10


def test_each_image_gets_the_label_that_belongs_to_it(labelled, tmp_path, monkeypatch):
    "The labels that the networks are told are those of the batch: of reals, and of the fakes beside them."
    told = {"G": [], "D": []}
    for name, kind in (("G", LabelledGenerator), ("D", LabelledDiscriminator)):
        real = kind.forward

        def spy(self, x, y=None, real=real, name=name):
            if self.training:
                told[name].append(y)
            return real(self, x, y)

        monkeypatch.setattr(kind, "forward", spy)
    data = digits()
    gan.train_run(labelled_config(), data, 0, tmp_path / "r", "quiet")
    labels = [y for _, y in data.batches(32, 0, 0)]
    assert len(told["G"]) == 2 and len(told["D"]) == 6
    for step, y in enumerate(labels):
        for seen in (told["G"][step], *told["D"][3 * step : 3 * step + 3]):
            assert torch.equal(seen, y)


def test_a_conditional_pair_resumes_to_the_same_bytes(labelled, tmp_path):
    data = digits()
    whole = gan.train_run(labelled_config(epochs=3), data, 0, tmp_path / "whole", "quiet")
    for epochs in (1, 3):
        parts = gan.train_run(labelled_config(epochs=epochs), data, 0, tmp_path / "parts", "quiet")
    assert contents(whole.folder) == contents(parts.folder)
    assert open_run(parts.folder).sha256() == whole.sha256()


def test_pictures_and_samples_by_class(labelled, tmp_path):
    run = gan.train_run(labelled_config(), digits(), 0, tmp_path / "r", "quiet")
    G, (z, y) = run.generator(), fixed_noise(run.fields)
    assert torch.equal(y, torch.arange(64) % 10)
    assert np.abs(run.samples().astype(int) - sample(G, z, y)).max() <= 1
    threes = sample_seeded(G, 5, y=torch.full((5,), 3))
    assert np.array_equal(threes, sample(G, draw_z(5, 8, 0, "sample"), torch.full((5,), 3)))
    assert not np.array_equal(threes, sample_seeded(G, 5, y=torch.full((5,), 4)))
    drawn = sample_seeded(G, 5)
    assert np.array_equal(drawn, sample_seeded(G, 5, y=draw_labels(5, 10, 0)))


def test_the_card_of_a_conditional_generator(labelled, tmp_path):
    data = digits()
    run = gan.train_run(labelled_config(), data, 0, tmp_path / "r", "quiet")
    path = export_generator(run, tmp_path / "g.safetensors", data, "BSD-3")
    card = store.read_json(path.with_suffix(".json"))
    assert card["classes"] == {str(i): name for i, name in enumerate(data.classes)}
    assert card["settings"]["model"] == "labelled" and "labels" in card["what"]
    assert np.array_equal(sample_seeded(load_generator(path), 9), sample_seeded(run.generator(), 9))


def test_the_fields_of_a_dcgan_name_no_model():
    fields = gan.gan_fields(WithModel(**SMALL), digits(), 0)
    assert fields == gan.gan_fields(gan_config(**SMALL), digits(), 0)
    assert not {"model", "n_classes"} & set(fields)


def test_the_card_of_a_dcgan_speaks_of_no_labels(first, tmp_path):
    path = export_generator(first, tmp_path / "g.safetensors", digits(), "BSD-3")
    card = store.read_json(path.with_suffix(".json"))
    assert "classes" not in card and card["what"].startswith("DCGAN generator: z (N, nz) -> images")
    assert fixed_noise(first.fields)[1] is None and first.n_classes == 0


def test_a_conditional_pair_needs_labels(labelled):
    from dataclasses import replace

    with pytest.raises(GannbError, match="two classes or more"):
        gan.gan_fields(labelled_config(), replace(digits(), labels=None, classes=()), 0)


def test_an_unknown_model_is_named():
    with pytest.raises(GannbError, match="model='dcgam' is not known. Did you mean 'dcgan'"):
        gan.gan_fields(WithModel(**SMALL | {"model": "dcgam"}), digits(), 0)


def test_labels_in_turn_and_by_chance():
    assert cycled_labels(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    counts = torch.bincount(draw_labels(3000, 3, seed=1), minlength=3)
    assert counts.min() > 900 and not torch.equal(draw_labels(50, 3, 1), draw_labels(50, 3, 2))
    assert torch.equal(draw_labels(10, 3, 1), draw_labels(20, 3, 1)[:10])
