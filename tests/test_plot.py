"""Pictures that tell the truth: exact pixels, honest intervals, shared axes, small files."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gannb import plot
from gannb.base import GannbError
from gannb.ledger.intervals import t_interval

RNG = np.random.default_rng(0)


def images(n, size=8, channels=3):
    return RNG.integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def history(n=300, seeds=5):
    return {
        c: np.abs(RNG.normal(0.5, 0.1, (seeds, n)))
        for c in ("loss_D", "loss_G", "D_real", "D_fake_before", "D_fake_after")
    }


@pytest.mark.parametrize("n, cols, channels", [(1, 1, 1), (12, 4, 3), (13, 4, 3), (7, 10, 1)])
def test_untile_is_the_exact_inverse_of_tile(n, cols, channels):
    x = images(n, 5, channels)
    assert np.array_equal(plot.untile(plot.tile(x, cols), 5, n), x)


def test_tile_survives_a_png_file(tmp_path):
    x = images(6, 16, 1)
    plot.save_png(plot.tile(x, 3), tmp_path / "t.png", colors=0)
    assert np.array_equal(plot.untile(np.asarray(Image.open(tmp_path / "t.png")), 16, 6), x)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: plot.tile(images(3) / 255, 2),
        lambda: plot.tile(images(3)[0], 2),
        lambda: plot.untile(plot.tile(images(4), 2), 7),
        lambda: plot.untile(plot.tile(images(4), 2), 8, 5),
        lambda: plot.grid(images(4), cols=2, row_labels=["one"]),
        lambda: plot.grid(images(4, channels=2)),
        lambda: plot.hero([images(4)], [images(4, 16)], ["a"]),
        lambda: plot.hero([images(4)], [images(4)], ["a", "b"]),
        lambda: plot.curves([]),
        lambda: plot.losses({"loss_D": [1, 2]}),
        lambda: plot.seed_dots([]),
        lambda: plot.architecture([], []),
        lambda: plot.gif([], "x.gif"),
        lambda: plot.png(images(1) / 255),
        lambda: plot.grid(images(4), cols=2, col_labels=["one"]),
        lambda: plot.filters(np.zeros(3)),
        lambda: plot.feature_maps(np.zeros(3)),
    ],
)
def test_wrong_input_is_refused_in_words(bad):
    with pytest.raises(GannbError, match=".{20}"):
        bad()


def test_grid_shows_every_pixel_as_a_whole_square():
    x = images(6)
    shown = pixels(plot.png(plot.grid(x, cols=3, scale=5), colors=0))
    k, step = 10, 8 * 10 + 2 * plot.GAP
    for i, image in enumerate(x):
        r, c = divmod(i, 3)
        cell = shown[r * step : r * step + 80, c * step : c * step + 80]
        assert (cell.reshape(8, k, 8, k, 3) == image[:, None, :, None]).all()


def test_combined_filters_are_sums_about_grey_and_have_a_place():
    w = RNG.normal(size=(70, 3, 7, 7))
    w[9] = 0.5  # one colour: light all over
    fig = plot.filters(w, 8, combined=True, numbered=True)
    sheet = fig.axes[0].images[0].get_array()
    step, k = sheet.shape[1] // 8 + 1, 12
    cell = sheet[step + k // 2 : step + 7 * k : k, step + k // 2 : step + 7 * k : k]
    assert len(np.unique(sheet[..., 0] - sheet[..., 2])) == 1 and (cell[:6, :6] == 255).all(), "(2, 2)"
    assert [t.get_text() for t in fig.texts] == list("1234567812345678"), "64 of them, rows and columns"
    a = w[0].sum(0)
    assert sheet[k // 2, k // 2, 0] == round(128 + 127 * a[0, 0] / np.abs(a).max())


def test_the_smallest_maps_can_be_seen():
    for side in (1, 2, 4, 32, 112):
        fig = plot.feature_maps(RNG.normal(size=(100, side, side)))
        width, height = fig.get_size_inches() * 96
        assert 8 * 48 <= width <= 960 and height == pytest.approx(width), "64 maps, eight in a row"


def test_beside_and_hero_show_the_same_number_and_size():
    real, fake = [images(20, 32)], [images(9, 32)]
    fig = plot.hero(real, fake, ["set"], n=12)
    left, right = fig.axes
    assert left.images[0].get_array().shape == right.images[0].get_array().shape
    assert len(plot.beside({"real": real, "before": fake, "after": fake}, ["set"]).axes) == 3


def test_a_hero_is_low_enough_for_the_first_screen():
    for sets in (1, 3, 4):
        fig = plot.hero([images(8, 32)] * sets, [images(8, 32)] * sets, ["airplanes"] * sets)
        width, height = fig.get_size_inches() * 96
        assert height <= 24 + 210 and width <= 960 and len(fig.axes) == 2 * sets


def test_at_most_64_images_and_960_pixels():
    fig = plot.grid(images(200, 16), cols=10)
    assert (
        fig.axes[0].images[0].get_array().shape[0] // (16 * 10) == 6 and fig.get_size_inches()[0] * 96 <= 960
    )
    for size in (16, 28, 32, 64, 128, 256):
        assert (
            plot.hero([images(8, size)] * 3, [images(8, size)] * 3, "abc").get_size_inches()[0] * 96 <= 961
        ), size


def test_curves_share_axes_and_show_every_seed():
    sets = {"a": history(), "b": history(100)}
    fig = plot.losses(sets, smooth=21, paper={"a": {"loss_G": 3.0}})
    a, b = fig.axes
    assert a.get_ylim() == b.get_ylim() and a.get_xlim() == b.get_xlim() and a.get_ylim()[1] > 3.0
    assert len(a.lines) == 2 * (1 + 5 + 1) + 1, (
        "the first seed as recorded, a smoothed line of each seed, a mean, the paper's value"
    )
    assert len(plot.losses(sets, smooth=21, raw=False).axes[0].lines) == 2 * (5 + 1) and "pale" in "".join(
        t.get_text() for t in fig.texts
    )
    text = " ".join(t.get_text() for t in fig.texts)
    assert "5 seeds" in text and "moving mean over 21" in text and "dashed: the paper" in text
    assert {t.get_text() for t in a.texts} == {"loss of D", "loss of G", "paper G"}


def test_band_is_the_t_interval_over_seeds():
    for n in (2, 5, 12):
        y = RNG.normal(size=(n, 1))
        mean, low, high = plot._mean_band(y)
        i = t_interval(y[:, 0])
        assert np.allclose(
            [mean[0], low[0], high[0]], [i.mean, i.low, i.high], atol=2e-3 * (i.high - i.low)
        ), n


def test_smoothing_is_a_centred_mean_that_keeps_holes():
    y = np.array([[0.0, 3, 6, np.nan, 12, 15]])
    assert np.allclose(plot._smooth(y, 3), [[1.5, 3, 4.5, np.nan, 13.5, 13.5]], equal_nan=True)
    assert np.allclose(plot._smooth(np.arange(50.0)[None], 7)[0, 10:40], np.arange(10, 40))


def test_diverged_and_unequal_seeds_are_drawn():
    fig = plot.probabilities(
        {
            "D_real": [[0.5, 0.6, np.nan], [0.5, 0.7, 0.8]],
            "D_fake_before": [[0.5], [0.4, 0.3]],
            "D_fake_after": [[0.1, 0.2, 0.3]],
        },
        smooth=None,
    )
    assert isinstance(fig, Figure) and len(plot.png(fig)) > 1000


def test_end_labels_never_touch():
    for places in ([5, 6, 7], [98, 99, 99.5], [50] * 5, [0, 100]):
        got = plot._spread(places, 15, 0, 100)
        assert np.diff(sorted(got)).min() >= 15 - 1e-9 and min(got) >= -1e-9


def test_seed_dots_show_each_seed_and_the_bounds():
    row = {
        "label": "a",
        "values": [1.0, 2, 3, None, float("nan")],
        "interval": (1.2, 2.8),
        "bound": (0, 4),
        "direction": "between",
        "paper": 2.2,
    }
    fig = plot.seed_dots([row])
    (ax,) = fig.axes
    assert len(ax.collections[0].get_offsets()) == 3
    assert {float(line.get_xdata()[0]) for line in ax.lines if line.get_color() == plot.BOUND} == {0.0, 4.0}
    assert len(plot.seed_dots([{**row, "axis": 0}, {**row, "axis": 1}, {**row, "axis": 0}]).axes) == 2


def test_png_is_small_exact_on_request_and_carries_its_text():
    chart = plot.losses({"a": history(2000), "b": history(2000), "c": history(2000)})
    data = plot.png(chart, alt="ein Bild: ü")
    assert (
        len(data) < 90_000
        and Image.open(io.BytesIO(data)).text["Description"] == "ein Bild: ü"
        and Image.open(io.BytesIO(data)).width == 1920
    )
    error = np.abs(pixels(data).astype(int) - pixels(plot.png(chart, colors=0)))
    assert error.mean() < 1
    photo = RNG.integers(0, 252, (64, 64, 3), dtype=np.uint8)
    assert (
        np.array_equal(pixels(plot.png(photo, colors=0)), photo)
        and np.abs(pixels(plot.png(photo)).astype(int) - photo).max() <= 4
    )


def test_saving_is_atomic_and_animations_play(tmp_path):
    p = plot.save_png(images(1)[0], tmp_path / "new" / "a.png")
    before = p.read_bytes()
    with pytest.raises(GannbError):
        plot.save_png(np.zeros((2, 2)), p)
    assert p.read_bytes() == before and [f.name for f in p.parent.iterdir()] == ["a.png"]
    g = Image.open(plot.gif([images(1)[0] for _ in range(4)], tmp_path / "a.gif", ms=50))
    assert g.n_frames == 4 and g.info["duration"] == 250, "the last frame comes first, and stays"
    g.seek(1)
    assert g.info["duration"] == 50


def test_figures_belong_to_no_window_and_need_no_torch():
    code = (
        "import sys; from gannb import plot; plot.gan_diagram(); plot.training_diagram(); assert "
        "'torch' not in sys.modules; m = sys.modules.get('matplotlib.pyplot'); assert m is None or "
        "not m.get_fignums()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_branch_gets_a_lane_of_its_own():
    def layer(name, **more):
        return {"name": name, "out_shape": (8, 4, 4), "params": 7, "norm": None, "activation": "ReLU"} | more

    plain = [layer("a"), layer("b")]
    branch = [layer("c", branch="label y", joins="beside the noise")]
    one, two = plot.architecture(plain, plain), plot.architecture(branch + plain, plain)
    assert two.get_size_inches()[1] - one.get_size_inches()[1] == pytest.approx(plot.LANE / 96)
    words = [t.get_text() for t in two.axes[0].texts]
    assert {"label y", "beside the noise", "Generator: 21 weights"} <= set(words)
    assert "label y" not in [t.get_text() for t in one.axes[0].texts]


# ---- the forest of claims
POINT = {"at": 62.5, "low": 56.25, "high": 68.75, "hollow": False, "arrow": "", "main": True}


def claim_row(i, key="yes", mark="✓", verdict="reproduced", points=(POINT,), words=""):
    row = {"id": f"c{i}", "short": f"Claim {i} on what comes out", "key": key, "mark": mark}
    return row | {"verdict": verdict, "points": list(points), "words": words}


def silent_row(i, words="needs people"):
    return claim_row(i, "untested", "–", "not testable here", (), words)


def texts(fig):
    return [t.get_text().replace("\n    ", " ").replace("\n", " ") for t in fig.axes[0].texts]


def dots(fig):
    return [line for line in fig.axes[0].lines if line.get_marker() == "o"]


def test_the_forest_names_every_claim_and_heading():
    groups = [("The claims", [claim_row(i) for i in range(20)]), ("Facts", [silent_row(i) for i in (20, 21)])]
    said = texts(plot.forest(groups))
    assert {"The claims", "Facts"} <= set(said)
    assert {f"✓ Claim {i} on what comes out" for i in range(20)} <= set(said)
    assert said.count("needs people") == 2 and said.count("against | for") == 1, "facts have no line"
    assert "✓ reproduced" in said[-1] and "– not testable here" in said[-1] and "~" not in said[-1]


def test_a_dot_stands_right_of_the_line_where_the_page_draws_it():
    left = POINT | {"at": 37.5, "low": 31.25, "high": 43.75, "main": False}
    end = POINT | {"at": 93.75, "arrow": "»"}
    fig = plot.forest([("a", [claim_row(0), claim_row(1, points=[left, POINT]), claim_row(2, points=[end])])])
    zero = {line.get_xdata()[0] for line in fig.axes[0].lines if line.get_color() == "#1c2026"}
    (zero,) = zero
    x = [line.get_xdata()[0] for line in dots(fig)]
    assert x[0] == x[2] > zero > x[1] and x[0] - zero == pytest.approx(zero - x[1])
    assert x[3] - zero == pytest.approx(3.5 * (x[0] - zero)), "in the places of the page: percent of the line"
    assert dots(fig)[1].get_alpha() < 0.5 < dots(fig)[0].get_alpha(), "other parts are pale"
    assert "»" in texts(fig)


@pytest.mark.parametrize("n, columns", [(25, 1), (26, 2), (61, 2)])
def test_many_claims_stand_in_two_columns_that_balance(n, columns):
    long = "A claim whose name is so long that no column can take it on a single line of the sheet"
    rows = [claim_row(i) for i in range(n - 1)] + [silent_row(n, "a reason " * 20) | {"short": long}]
    fig = plot.forest([("One", rows[: n - 2]), ("Two", rows[n - 2 :])])
    names = [t for t in fig.axes[0].texts if t.get_text().startswith(("✓ Claim", "– A claim"))]
    assert len(names) == n and len({t.get_position()[0] for t in names}) == columns
    assert f"– {long}" in texts(fig)
    if columns == 2:
        foot = [max(t.get_position()[1] for t in names if t.get_position()[0] == x) for x in (4, 494)]
        assert abs(foot[0] - foot[1]) < 90 and "One (continued)" in texts(fig)


def test_no_word_of_the_forest_leaves_its_place():
    short = "WWW MMM a claim of many wide letters, WWW MMM WWW MMM WWW"
    rows = [claim_row(i) | {"short": short} for i in range(20)]
    rows += [silent_row(i, "no images of that kind are here, and none can be had") for i in range(10)]
    fig = plot.forest([("The claims of the paper", rows)])
    draw = FigureCanvasAgg(fig).get_renderer()
    width, height = fig.get_size_inches() * fig.dpi
    boxes = [t.get_window_extent(draw) for t in fig.axes[0].texts]
    assert all(b.x0 >= 0 and b.x1 <= width and b.y0 >= 0 and b.y1 <= height for b in boxes)
    for i, a in enumerate(boxes):
        assert not any(a.overlaps(b) for b in boxes[i + 1 :]), fig.axes[0].texts[i].get_text()
    assert width == 1920 and 12 <= plot.FOREST_TEXT * 96 / 72, "12 page pixels can be read at 960"


def test_the_inks_of_the_forest_are_those_of_the_page():
    from gannb.report.blocks import VERDICT_KEYS, template_text

    css = template_text("parts.css")
    assert set(plot.VERDICT_COLORS) == set(VERDICT_KEYS.values())
    assert all(f"--{key}: {ink};" in css for key, ink in plot.VERDICT_COLORS.items())


def test_a_forest_needs_a_claim():
    for nothing in ([], [("The claims", [])]):
        with pytest.raises(GannbError, match="at least one claim"):
            plot.forest(nothing)


def test_small_feature_maps_stand_apart():
    maps = plot._framed(np.zeros((3, 2, 2), np.uint8))
    assert maps.shape == (3, 20, 20), "eight pixels for one, two of white around"
    assert (maps[:, [0, 1, -2, -1]] == 255).all() and (maps[:, :, [0, 1, -2, -1]] == 255).all()
    assert not maps[:, 2:-2, 2:-2].any()
    large = np.zeros((1, 16, 16), np.uint8)
    assert plot._framed(large) is large
