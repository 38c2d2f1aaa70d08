"""The loop beyond one update of each network, against the plain loop written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_train import batches, nets

from gannb.base import draw_z
from gannb.train import Diverged, make_optimizers, state_tensors, train_gan


def shifted(x, stream, step):
    "Stands for DiffAugment: another constant for each stream and step, so that a lost or doubled call shows."
    return x + 0.01 * (sum(map(ord, stream)) % 17 + step)


def as_it_is(x, stream, step):
    return x


def plain_loop(d_steps, g_steps, seen):
    "One epoch with nothing clever in it: the record's first five columns, and the state it ends in."
    G, D = nets()
    adam_G, adam_D = (torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (G, D))
    bce = F.binary_cross_entropy_with_logits
    record = []
    for step, (x, _) in enumerate(batches(0, 0)):
        ones, zeros = torch.ones(len(x)), torch.zeros(len(x))
        for i in range(d_steps):
            fake = G(draw_z(len(x), 4, 0, f"z{i}", step))
            real_out = D(seen(x, f"augment.real{i}", step))
            fake_out = D(seen(fake.detach(), f"augment.fake{i}", step))
            loss_D = bce(real_out, ones) + bce(fake_out, zeros)
            adam_D.zero_grad()
            loss_D.backward()
            adam_D.step()
        first = None
        for i in range(g_steps):
            if i:  # new noise, never D's
                fake = G(draw_z(len(x), 4, 0, f"z{d_steps - 1 + i}", step))
            out = D(seen(fake, f"augment.G{i}", step))
            loss_G = bce(out, ones)
            adam_G.zero_grad()
            loss_G.backward()
            adam_G.step()
            first = first or (loss_G.item(), out.sigmoid().mean().item())  # of the first update
        means = [v.sigmoid().mean().item() for v in (real_out, fake_out)]
        record.append([loss_D.item(), first[0], *means, first[1]])
    return np.array(record), state_tensors(G, D, adam_G, adam_D)


@pytest.mark.parametrize("d_steps, g_steps, augment", [(3, 2, None), (1, 1, shifted), (2, 3, shifted)])
def test_more_updates_and_augmentation_are_the_plain_loop(d_steps, g_steps, augment):
    G, D = nets()
    opts = make_optimizers(G, D)
    how = {"d_steps": d_steps, "g_steps": g_steps, "augment": augment}
    ticks = train_gan(G, D, batches, steps_per_epoch=6, epochs=1, opts=opts, **how)
    rows = np.concatenate([t.rows for t in ticks])
    record, want = plain_loop(d_steps, g_steps, augment or as_it_is)
    assert np.abs(rows[:, :5] - record).max() < 1e-4
    for k, v in state_tensors(G, D, *opts).items():
        assert torch.allclose(v.float(), want[k].float(), atol=1e-4), k


def test_every_draw_has_a_name_of_its_own(monkeypatch):
    "Which noise and which augmentation is drawn, and how often, in one step of 3 + 2 updates."
    drawn = []

    def spy_z(n, nz, seed, stream, step, dist):
        drawn.append(stream)
        return draw_z(n, nz, seed, stream, step, dist)

    def spy_augment(x, stream, step):
        drawn.append(stream)
        return x

    monkeypatch.setattr("gannb.train.draw_z", spy_z)
    G, D = nets()
    how = {"d_steps": 3, "g_steps": 2, "augment": spy_augment, "is_tick": lambda s, e: True}
    next(train_gan(G, D, batches, steps_per_epoch=6, epochs=1, opts=make_optimizers(G, D), **how))
    of_D = [f"{what}{i}" for i in range(3) for what in ("z", "augment.real", "augment.fake")]
    assert drawn == of_D + ["augment.G0", "z3", "augment.G1"]


class Odd(torch.nn.Module):
    "D that overflows once G asks (its weights are frozen then)."

    def __init__(self, D):
        super().__init__()
        self.D = D

    def forward(self, x, y=None):
        out = self.D(x, y)
        return out if next(self.D.parameters()).requires_grad else out * float("nan")


def test_a_loss_of_G_alone_that_is_not_finite_is_a_divergence():
    G, D = nets()
    D = Odd(D)
    with pytest.raises(Diverged) as e:
        list(train_gan(G, D, batches, steps_per_epoch=6, epochs=1, opts=make_optimizers(G, D)))
    assert e.value.step == 1
    assert np.isfinite(e.value.rows[0, 0]) and np.isnan(e.value.rows[0, 1])
