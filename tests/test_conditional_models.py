"""The three conditional pairs: shapes, labels that matter, one step, errors, training that goes on."""

import pytest
import torch

from gannb import store
from gannb.base import SIZES, GannbError, draw_z
from gannb.config import checked, gan_config, GanConfig
from gannb.datasets.registry import load
from gannb.models.conditional import LateDiscriminator, LateGenerator
from gannb.models.dcgan import init_weights, layer_table
from gannb.models.registry import MODELS, model_named
from gannb.stages.gan import gan_fields, train_run
from gannb.stages.run import export_generator, load_generator
from gannb.train import d_step, g_step, make_optimizers

CONDITIONAL = [name for name, model in MODELS.items() if model.conditional]
SMALL = {"dataset": "digits", "size": 16, "nz": 12, "ngf": 4, "ndf": 4, "batch_size": 32, "threads": 1}


def pair(name, size=16, channels=1, width=4, n_classes=10, **more):
    model = model_named(name)
    G = model.generator(size, channels, 12, width, n_classes=n_classes, **more)
    D = model.discriminator(size, channels, width, n_classes=n_classes, **more)
    return init_weights(G, 0, "G"), init_weights(D, 0, "D")


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_images_and_logits(name, size):
    if name == "cgan" and size > 64:
        with pytest.raises(GannbError, match=f"size={size} is too large"):
            pair(name, size)
        return
    for channels, n_classes in ((1, 2), (3, 100)):
        G, D = pair(name, size, channels, 2, n_classes)
        y = torch.tensor([0, n_classes - 1])
        x = G(draw_z(2, 12, 0, "t", 0), y)
        assert x.shape == (2, channels, size, size) and x.abs().max() <= 1
        assert D(x, y).shape == (2,)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_label_matters_before_and_after_a_step(name):
    G, D = pair(name)
    z, y, other = draw_z(8, 12, 0, "t", 0), torch.arange(8), (torch.arange(8) + 1) % 10
    real = torch.rand(8, 1, 16, 16) * 2 - 1
    for _ in range(2):
        G.eval(), D.eval()
        with torch.no_grad():
            x = G(z, y)
            assert ((x - G(z, other)).flatten(1).abs().amax(1) > 0).all(), "another label, another image"
            assert (D(x, y) != D(x, other)).all(), "a wrong label, another answer"
        G.train(), D.train()
        opt_G, opt_D = make_optimizers(G, D)
        d_step(D, opt_D, real, G(z, y).detach(), y)
        g_step(D, opt_G, G(z, y), y)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_one_step_moves_every_weight(name):
    G, D = pair(name, n_classes=4)
    before = {k: v.clone() for net in (G, D) for k, v in net.named_parameters(prefix=type(net).__name__)}
    z, y = draw_z(8, 12, 0, "t", 0), torch.arange(8) % 4
    opt_G, opt_D = make_optimizers(G, D)
    fake = G(z, y)
    d_step(D, opt_D, torch.rand(8, 1, 16, 16) * 2 - 1, fake.detach(), y)
    g_step(D, opt_G, fake, y)
    after = {k: v for net in (G, D) for k, v in net.named_parameters(prefix=type(net).__name__)}
    same = [k for k in before if torch.equal(before[k], after[k])]
    assert not same, f"{same} stayed as they were"


def test_late_concatenation_joins_where_it_is_told():
    weights = set()
    for at in (1, 2, 3):
        G, D = LateGenerator(32, 1, 12, 4, concat_at=at), LateDiscriminator(32, 1, 4, concat_at=at)
        joined = [r for r in layer_table(G) if r["branch"] == "label y"]
        assert len(joined) == at and joined[-1]["joins"] == "beside the noise's map"
        assert len([r for r in layer_table(D) if r["branch"] == "image"]) == at
        main = [r for r in layer_table(G) if not r["branch"]]
        assert len(main) == 4 - at and main[0]["joins"] == "both maps"
        assert main[0]["in_channels"] == 4 * 2 ** (3 - at)
        weights.add(sum(p.numel() for p in G.parameters()))
    assert len(weights) == 3
    with pytest.raises(GannbError, match="concat_at=4: at this size the paths have 3 blocks"):
        LateGenerator(32, concat_at=4)


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize(
    "y, said",
    [
        (None, "needs labels"),
        (torch.tensor([0]), "must hold 2 whole numbers"),
        (torch.tensor([0.0, 1.0]), "must hold 2 whole numbers"),
        (torch.tensor([0, 10]), "labels go from 0 to 9; here are 0 to 10"),
        (torch.tensor([-1, 1]), "labels go from 0 to 9; here are -1 to 1"),
    ],
)
def test_labels_that_cannot_be(name, y, said):
    G, D = pair(name)
    for call in (lambda: G(torch.zeros(2, 12), y), lambda: D(torch.zeros(2, 1, 16, 16), y)):
        with pytest.raises(GannbError, match=said):
            call()


@pytest.mark.parametrize(
    "given, said",
    [
        ({"model": "cgan", "size": 96}, "size=96 is too large for a fully connected network"),
        ({"model": "cgan", "extra_convs": 1}, "model=cgan has no convolutions"),
        ({"model": "cdcgan", "concat_at": 2}, "concat_at=2 is for model=cdcgan2"),
        ({"model": "cdcgan2", "concat_at": 3}, "at size=16 there are 2 blocks"),
        ({"model": "cdcgn"}, "cdcgan"),
    ],
)
def test_a_config_refuses_what_no_network_can_be(given, said):
    with pytest.raises(GannbError, match=said):
        checked(GanConfig, SMALL | given)


def test_a_last_batch_of_one_image_is_refused_before_work():
    digits = load("digits", size=16, progress=False).select(limit=33)
    with pytest.raises(GannbError, match="leave a last batch of 1, and model=cgan needs 2 or more"):
        gan_fields(gan_config(**SMALL, model="cgan"), digits, 0)
    assert gan_fields(gan_config(**SMALL, model="cdcgan"), digits, 0)["n_classes"] == 10
    assert gan_fields(gan_config(**SMALL, model="cgan", drop_last=True), digits, 0)["n"] == 33


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_training_goes_on_to_the_same_bytes(name, tmp_path):
    digits = load("digits", size=16, progress=False).select(limit=96)
    more = {"concat_at": 2} if name == "cdcgan2" else {}
    cfg = gan_config(**SMALL, model=name, epochs=2, **more)
    through = train_run(cfg, digits, 0, tmp_path / "through", "quiet")
    train_run(cfg.having(epochs=1), digits, 0, tmp_path / "stopped", "quiet")
    again = train_run(cfg, digits, 0, tmp_path / "stopped", "quiet")
    assert again.sha256() == through.sha256() and not again.reused
    one, two = (store.load_checkpoint(r.folder / "checkpoints")[0] for r in (through, again))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    path = export_generator(through, tmp_path / f"{name}.safetensors", digits, "a test")
    z, y = draw_z(3, 12, 0, "t", 0), torch.tensor([0, 4, 9])
    assert torch.equal(load_generator(path)(z, y), through.generator()(z, y))


def test_settings_of_labels_are_part_of_the_key():
    digits = load("digits", size=16, progress=False).select(limit=96)
    fields = [
        gan_fields(gan_config(**SMALL, **given), digits, 0)
        for given in ({}, {"model": "cdcgan"}, {"model": "cdcgan2"}, {"model": "cdcgan2", "concat_at": 2})
    ]
    assert "model" not in fields[0] and "concat_at" not in fields[0] | fields[2], (
        "older keys stay as they are"
    )
    assert len({str(sorted(f.items())) for f in fields}) == 4


def test_a_sheet_shows_the_classes_in_turn(tmp_path, monkeypatch):
    from gannb.commands import draw

    digits = load("digits", size=16, progress=False).select(limit=96)
    run = train_run(gan_config(**SMALL, model="cdcgan", epochs=1), digits, 0, tmp_path / "seed-0", "quiet")
    seen = []
    monkeypatch.setattr(
        draw, "sheet", lambda images, cols: seen.append((images, cols)) or images[0].repeat(3, 2)
    )
    draw.draw(str(run.folder), n=20, out=tmp_path / "a.png")
    draw.draw(str(run.folder), n=3, steps=4, out=tmp_path / "b.png")
    (grid, cols), (paths, steps) = seen
    assert (len(grid), cols, len(paths), steps) == (20, 10, 12, 4)
    z = draw_z(20, 12, 0, "sample", 0)
    ours = draw.sample_seeded(run.generator(), 20, 0, "normal", torch.arange(20) % 10)
    assert (grid == ours).all() and len(z) == 20
    ends = draw.sample(
        run.generator(),
        draw.paths_of_noise(run.generator(), 3, 4, 0, "normal"),
        torch.arange(3).repeat_interleave(4),
    )
    assert (paths == ends).all(), "one class a path"
