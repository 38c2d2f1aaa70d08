"""The loop: losses against torch's own, the meaning of every recorded number, resume to the bit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gannb.base import GannbError, draw_z
from gannb.models.dcgan import Discriminator, Generator, init_weights
from gannb.sample import sample_seeded
from gannb.train import (
    COLUMNS,
    Diverged,
    History,
    load_state,
    log_line,
    loss_D,
    loss_G,
    make_optimizers,
    state_tensors,
    train_gan,
)

DATA = torch.rand(44, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def batches(epoch, start):  # 44 images in batches of 8: five whole ones and a last one of four
    return ((DATA[i : i + 8], None) for i in range(start * 8, 44, 8))


def nets(seed=0):
    return init_weights(Generator(16, 1, nz=4, ngf=4), seed, "G"), init_weights(
        Discriminator(16, 1, ndf=4), seed, "D"
    )


def run(epochs=2, is_tick=lambda s, e: e, start=0, state=None, seed=0, **kw):
    G, D = nets(seed)
    opts = make_optimizers(G, D)
    if state:
        load_state(state, G, D, *opts)
    rows = [
        t.rows
        for t in train_gan(
            G,
            D,
            batches,
            steps_per_epoch=6,
            epochs=epochs,
            opts=opts,
            start=start,
            is_tick=is_tick,
            seed=seed,
            **kw,
        )
    ]
    return {k: v.clone() for k, v in state_tensors(G, D, *opts).items()}, np.concatenate(
        rows
    ) if rows else np.empty((0, 7))


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_losses_are_binary_cross_entropy_on_logits():
    a, b = torch.randn(500) * 20, torch.randn(500) * 20
    bce = F.binary_cross_entropy_with_logits
    assert torch.allclose(loss_D(a, b), bce(a, torch.ones_like(a)) + bce(b, torch.zeros_like(b)), rtol=1e-6)
    assert torch.allclose(loss_G(b), bce(b, torch.ones_like(b)), rtol=1e-6)
    assert torch.isfinite(loss_D(torch.tensor([-1e4]), torch.tensor([1e4])))


def test_one_step_is_the_textbook_step():
    "Against the plain step written out: D on real and fake apart, its weights not frozen, Adam not fused."
    state, rows = run(epochs=1, is_tick=lambda s, e: s == 1 or e)
    G, D = nets()
    adam = [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (G, D)]
    bce = F.binary_cross_entropy_with_logits
    record = []
    for step, (x, _) in enumerate(batches(0, 0)):
        n = len(x)
        ones, zeros = torch.ones(n), torch.zeros(n)
        fake = G(draw_z(n, 4, 0, "z0", step))
        D.zero_grad()
        real_out = D(x)
        l_real = bce(real_out, ones)
        l_real.backward()
        fake_out = D(fake.detach())
        l_fake = bce(fake_out, zeros)
        l_fake.backward()
        adam[1].step()
        G.zero_grad()
        after = D(fake)
        l_G = bce(after, ones)
        l_G.backward()
        adam[0].step()
        record.append(
            [
                v.item()
                for v in (
                    l_real + l_fake,
                    l_G,
                    real_out.sigmoid().mean(),
                    fake_out.sigmoid().mean(),
                    after.sigmoid().mean(),
                    (real_out > 0).float().mean(),
                    (fake_out <= 0).float().mean(),
                )
            ]
        )
    assert np.abs(rows - np.array(record)).max() < 2e-5
    for k, v in G.state_dict().items():
        assert torch.allclose(state[f"G.{k}"].float(), v.float(), atol=2e-5), k
    for k, v in D.state_dict().items():
        assert torch.allclose(state[f"D.{k}"].float(), v.float(), atol=2e-5), k


def test_second_printed_value_is_inside_loss_G_and_before_Gs_update():
    _, rows = run(epochs=1)
    h = History(rows, 6)
    assert (
        h["loss_G"] >= -np.log(h["D_fake_after"]) - 1e-5
    ).all()  # Jensen: mean of -log is at least -log of the mean
    assert (h["D_fake_after"] != h["D_fake_before"]).all()


@pytest.mark.parametrize("cut", [1, 5, 6, 7, 11, 15])
def test_resume_anywhere_gives_the_same_bytes(cut):
    whole, rows = run(epochs=3)
    G, D = nets()
    opts = make_optimizers(G, D)
    head = []
    saved = None
    for t in train_gan(G, D, batches, steps_per_epoch=6, epochs=3, opts=opts, is_tick=lambda s, e: s == cut):
        head.append(t.rows)
        saved = {k: v.clone() for k, v in t.tensors().items()}
        break
    end, tail = run(epochs=3, start=cut, state=saved)
    assert same(whole, end) and np.array_equal(rows, np.concatenate([*head, tail]))


def test_looking_never_moves_training():
    quiet, _ = run(epochs=2)
    G, D = nets()
    opts = make_optimizers(G, D)
    for t in train_gan(G, D, batches, steps_per_epoch=6, epochs=2, opts=opts, is_tick=lambda s, e: True):
        sample_seeded(t.G, 3, seed=t.step)
        torch.randn(7)
        np.random.rand(3)
        t.G.eval()
        t.D.eval()
    assert same(quiet, state_tensors(G, D, *opts))


def test_seed_decides():
    a, b, c = run()[0], run()[0], run(seed=1)[0]
    assert same(a, b) and not same(a, c)


def test_last_small_batch_is_used():
    seen = []

    def spy(epoch, start):
        for x, y in batches(epoch, start):
            seen.append(len(x))
            yield x, y

    G, D = nets()
    list(train_gan(G, D, spy, steps_per_epoch=6, epochs=1, opts=make_optimizers(G, D)))
    assert seen == [8, 8, 8, 8, 8, 4]


def test_updates_per_batch():
    state, rows = run(epochs=1, d_steps=3, g_steps=2)
    assert (
        state["opt_D.main.0.weight.step"] == 18 and state["opt_G.main.0.weight.step"] == 12 and len(rows) == 6
    )
    assert not same(state, run(epochs=1)[0])


def test_D_is_thawed_again():
    G, D = nets()
    list(train_gan(G, D, batches, steps_per_epoch=6, epochs=1, opts=make_optimizers(G, D)))
    assert all(p.requires_grad for p in D.parameters())


def test_separate_learning_rates():
    G, D = nets()
    opts = make_optimizers(G, D, lr_G=1e-3, lr_D=1e-9)
    first = D.main[0].weight.clone()
    list(train_gan(G, D, batches, steps_per_epoch=6, epochs=1, opts=opts))
    assert (D.main[0].weight - first).abs().max() < 1e-6 and opts[0].param_groups[0]["lr"] == 1e-3


def test_divergence_says_where_and_what_to_try():
    def poisoned(epoch, start):
        for i, (x, y) in enumerate(batches(epoch, start), start):
            yield (torch.full_like(x, float("nan")) if epoch == 1 and i == 2 else x), y

    G, D = nets()
    seen = []
    with pytest.raises(Diverged, match="learning rate") as e:
        for t in train_gan(G, D, poisoned, steps_per_epoch=6, epochs=3, opts=make_optimizers(G, D)):
            seen.append(t.step)
    assert (
        seen == [6]
        and e.value.step == 9
        and np.isfinite(e.value.rows[:2]).all()
        and np.isnan(e.value.rows[-1, 0])
    )


def test_state_of_another_network_is_refused():
    state, _ = run(epochs=1)
    G, D = Generator(16, 1, nz=4, ngf=8), Discriminator(16, 1, ndf=4)
    with pytest.raises(GannbError, match="another network.*G.main.0.weight"):
        load_state(state, G, D, *make_optimizers(G, D))


def test_memory_layout_survives_resume():
    G, D = (n.to(memory_format=torch.channels_last) for n in nets())
    opts = make_optimizers(G, D)
    list(train_gan(G, D, batches, steps_per_epoch=6, epochs=1, opts=opts))
    saved = {k: v.clone(memory_format=torch.contiguous_format) for k, v in state_tensors(G, D, *opts).items()}
    G2, D2 = (n.to(memory_format=torch.channels_last) for n in nets(3))
    opts2 = make_optimizers(G2, D2)
    load_state(saved, G2, D2, *opts2)
    for net, other, opt, opt_other in ((G, G2, opts[0], opts2[0]), (D, D2, opts[1], opts2[1])):
        for p, q in zip(net.parameters(), other.parameters()):
            assert (
                p.stride() == q.stride()
                and opt.state[p]["exp_avg"].stride() == opt_other.state[q]["exp_avg"].stride()
            )


def test_log_line():
    row = np.array([0.127, 6.9989, 0.9127, 0.0117, 0.0036, 1, 1], dtype=np.float32)
    assert (
        log_line(row, 9, 10, 2800, 3166)
        == "[9/10][2800/3166] Loss_D: 0.1270 Loss_G: 6.9989 D(x): 0.9127 D(G(z)): 0.0117 / 0.0036"
    )


@pytest.mark.parametrize("kw", [{"d_steps": 0}, {"g_steps": 1.5}, {"precision": "fp8"}, {"z_dist": "gauss"}])
def test_impossible_settings(kw):
    with pytest.raises(GannbError):
        run(epochs=1, **kw)


def test_history_mean_does_not_hide_nan():
    h = History(np.array([[1.0] * 7, [np.nan] * 7, [3.0] * 7], dtype=np.float32), 3)
    assert np.isnan(h.mean("loss_D", 2)) and h.mean("loss_D", 1) == 3 and len(COLUMNS) == 7
    with pytest.raises(GannbError, match="loss_D"):
        h["loss_d"]


@pytest.mark.parametrize(
    "lengths, words",
    [((5, 5), "only 5"), ((0, 0), "only 0"), ((7, 7), "more"), ((6, 0), "epoch 2 has only 0")],
)
def test_an_epoch_of_another_length_is_refused(lengths, words):
    "A short, a long and an empty loader, and one that can be walked through once only."
    G, D = Generator(16, 1, 4, 4), Discriminator(16, 1, 4)
    x, steps = torch.zeros(2, 1, 16, 16), []

    def batches(epoch, start):
        return [(x, None)] * (lengths[epoch] - start)

    ticks = train_gan(
        *(G, D, batches),
        steps_per_epoch=6,
        epochs=2,
        opts=make_optimizers(G, D),
        is_tick=lambda step, epoch_ends: True,
    )
    with pytest.raises(GannbError, match=f"steps_per_epoch=6, but .*{words}.*batches"):
        for tick in ticks:
            steps.append(tick.step)
    assert steps == list(range(1, min(lengths[0], 6) + 1)), (
        "what came before is right; nothing is trained beyond"
    )
