"""Paths through the noise: exact ends, lengths kept, corner cases of a sphere; images of their own z."""

import math

import numpy as np
import pytest
import torch

from gannb.base import GannbError, draw_z
from gannb.models.dcgan import Generator, init_weights
from gannb.sample import interpolate, sample, sample_seeded

E = torch.eye(3)


@pytest.mark.parametrize("dist", ["normal", "uniform"])
@pytest.mark.parametrize("steps", [2, 3, 10])
def test_ends_are_exact(dist, steps):
    z0, z1 = draw_z(2, 50, 3, "ends", dist=dist)
    path = interpolate(z0, z1, steps, dist)
    assert path.shape == (steps, 50) and path.dtype == z0.dtype
    assert torch.equal(path[0], z0) and torch.equal(path[-1], z1)


def test_known_points_of_a_quarter_circle():
    path = interpolate(2 * E[0], 2 * E[1], 4)
    want = [[2 * math.cos(a), 2 * math.sin(a), 0] for a in (0, math.pi / 6, math.pi / 3, math.pi / 2)]
    assert torch.allclose(path, torch.tensor(want), atol=1e-6)


def test_agrees_with_the_published_formula():
    z0, z1 = draw_z(2, 100, 1, "ends")
    z1 = z1 * z0.norm() / z1.norm()
    t = torch.linspace(0, 1, 7)[:, None]
    w = torch.arccos((z0 / z0.norm()) @ (z1 / z1.norm()))
    assert torch.allclose(
        interpolate(z0, z1, 7),
        torch.sin((1 - t) * w) / torch.sin(w) * z0 + torch.sin(t * w) / torch.sin(w) * z1,
        atol=1e-5,
    )


def test_length_is_kept_on_the_sphere_and_even_between_two_spheres():
    z0, z1 = draw_z(2, 100, 2, "ends")
    assert torch.allclose(
        interpolate(z0 / z0.norm(), z1 / z1.norm(), 9).norm(dim=1), torch.ones(9), atol=1e-6
    )
    lengths = interpolate(z0, z1, 9).norm(dim=1)
    assert torch.allclose(lengths, torch.linspace(float(z0.norm()), float(z1.norm()), 9), atol=1e-4)


def test_angles_are_even():
    path = interpolate(E[0], torch.tensor([-0.3, 0.8, 0.5]), 8)
    unit = path / path.norm(dim=1, keepdim=True)
    turns = (unit[1:] * unit[:-1]).sum(1).arccos()
    assert torch.allclose(turns, turns[:1].expand(7), atol=1e-4)


@pytest.mark.parametrize("z", [E[0], torch.tensor([1.0, 1, 1]), torch.tensor([3.0, -4])])
def test_opposite_ends(z):
    path = interpolate(z, -z, 9)
    assert torch.isfinite(path).all() and torch.allclose(path.norm(dim=1), z.norm().expand(9), atol=1e-5)
    assert abs(float(path[4] @ z)) < 1e-5, "half-way it stands at a right angle"


def test_equal_ends():
    z = draw_z(1, 20, 0)[0]
    assert torch.allclose(interpolate(z, z.clone(), 5), z.expand(5, 20), atol=1e-6)
    assert torch.allclose(interpolate(z, 2 * z, 3)[1], 1.5 * z, atol=1e-6)


def test_nearly_opposite_and_nearly_equal_ends():
    z = draw_z(1, 20, 0)[0]
    tiny = 1e-6 * draw_z(1, 20, 1)[0]
    for end in (z + tiny, -z + tiny):
        path = interpolate(z, end, 7)
        assert torch.isfinite(path).all() and torch.allclose(path.norm(dim=1), z.norm().expand(7), atol=1e-4)


def test_uniform_takes_the_line_and_stays_inside_the_cube():
    a, b = torch.tensor([1.0, 1]), torch.tensor([-1.0, 1])
    assert torch.equal(interpolate(a, b, 3, "uniform"), torch.tensor([[1.0, 1], [0, 1], [-1, 1]]))
    assert float(interpolate(a, b, 3)[1, 1]) > 1.4, "the circle would leave it"


def test_one_number_has_no_circle():
    assert torch.equal(
        interpolate(torch.tensor([1.0]), torch.tensor([-1.0]), 3), torch.tensor([[1.0], [0], [-1]])
    )


@pytest.mark.parametrize(
    "args, words",
    [
        ((E[0], E[1], 1), "steps"),
        ((E[0], E[1], True), "steps"),
        ((E[0], E[1], 2.0), "steps"),
        ((E[0], E[1][:2], 3), "one shape"),
        ((E[:2], E[:2], 3), "one shape"),
        ((E[0], 0 * E[1], 3), "no direction"),
        ((torch.empty(0), torch.empty(0), 3), "one shape"),
        ((E[0], E[1], 3, "normale"), "normal"),
    ],
)
def test_refused(args, words):
    with pytest.raises(GannbError, match=words):
        interpolate(*args)


def test_an_image_depends_on_its_own_z_alone():
    G = init_weights(Generator(16, 1, nz=8, ngf=4), 0, "G")
    z = draw_z(6, 8, 0)
    assert np.abs(sample(G, z).astype(int) - sample(G, z, batch=4)).max() <= 1
    assert np.array_equal(sample_seeded(G, 3, 5), sample_seeded(G, 3, 5)) and not np.array_equal(
        sample_seeded(G, 3, 5), sample_seeded(G, 3, 6)
    )
