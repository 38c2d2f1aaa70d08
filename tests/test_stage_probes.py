"""What machines learn from a discriminator: cuts, lookers, answers that are kept, rows."""

from dataclasses import replace

import numpy as np
import pytest

from gannb.base import GannbError
from gannb.config import gan_config
from gannb.datasets.registry import load
from gannb.extract import Extraction
from gannb.probes import Machine
from gannb.stages import probes as room
from gannb.stages.gan import load_data, train_run
from gannb.stages.probes import (
    Looker,
    Target,
    ask_all,
    identical_rows,
    pixels,
    probe_rows,
    trained_d,
    untrained_d,
)

MACHINES = {"paper": Machine("rbf-svm", 1e-4, scaled=False), "chosen": Machine("linear-svm")}


@pytest.fixture(scope="module")
def run():
    cfg = gan_config(dataset="digits", size=16, epochs=1, batch_size=32, ngf=8, ndf=8, nz=8, threads=1)
    return train_run(cfg, load_data(cfg), 0, show="quiet")


@pytest.fixture(scope="module")
def target():
    return Target("digits", load("digits", split="test", size=16, progress=False))


def test_a_cut_is_another_for_each_seed_and_holds_every_image_once(target):
    (teach, test), (_, other) = target.cut(0), target.cut(1)
    assert sorted([*teach, *test]) == list(range(len(target.images))) and len(test) == 72
    assert set(test) != set(other) and (target.cut(0)[1] == test).all()
    labels = np.asarray(target.images.labels)
    assert set(np.bincount(labels[test])) <= {7, 8}, "each class keeps its share"


def test_fewer_images_that_teach_are_some_of_them(target):
    few, all_of_them = replace(target, teach_share=0.25).cut(0), target.cut(0)
    assert set(few[0]) < set(all_of_them[0]) and (few[1] == all_of_them[1]).all()
    assert len(few[0]) == pytest.approx(len(all_of_them[0]) / 4, abs=1)


def test_a_given_cut_is_taken_as_it_is(target):
    teach, test = replace(target, n_teach=300).cut(5)
    assert (teach == np.arange(300)).all() and test[0] == 300 and test[-1] == len(target.images) - 1


def test_the_vectors_are_made_once_and_only_if_an_answer_is_missing(target):
    seen = []

    def look(x):
        seen.append(len(x))
        return x.reshape(len(x), -1).astype(np.float32)

    looker = Looker("counted", {"what": "counted"}, look)
    first = ask_all(looker, target, 0, MACHINES)
    again = ask_all(looker, target, 0, MACHINES)
    assert seen == [len(target.images)]
    assert (first["chosen"].predictions == again["chosen"].predictions).all()
    ask_all(looker, target, 1, MACHINES)
    assert len(seen) == 2, "another seed is another question"


def test_answers_belong_to_all_that_decides_them(target):
    base = pixels()
    places = {
        room._belongs(room._fields(looker, t, seed, machine))
        for looker in (base, Looker("other", {"what": "other"}, base.look))
        for t in (target, replace(target, teach_share=0.5), replace(target, n_teach=300))
        for seed in (0, 1)
        for machine in (MACHINES["paper"], Machine("rbf-svm", 1e-4), Machine("rbf-svm", 1e-3, scaled=False))
    }
    assert len(places) == 2 * 3 * 2 * 3


def test_a_trained_d_is_not_the_one_before_training(run, target):
    how = Extraction(batch_norm="target")
    lookers = [
        trained_d("after", run, how),
        untrained_d("before", run, how, 0),
        untrained_d("other", run, how, 1),
    ]
    x = np.asarray(target.images.images[:40])
    found = [looker.look(x) for looker in lookers]
    assert found[0].shape == found[1].shape == found[2].shape
    assert not np.allclose(found[0], found[1]) and not np.allclose(found[1], found[2])
    assert len({str(sorted(map(str, looker.fields.items()))) for looker in lookers}) == 3


def test_the_first_weights_are_those_of_the_run(run, target):
    from gannb.stages.gan import build_networks
    from gannb.extract import extract

    x, how = np.asarray(target.images.images[:40]), Extraction(batch_norm="target")
    D = build_networks(run.fields)[1]
    assert untrained_d("before", run, how, run.seed).look(x) == pytest.approx(extract(D, x, how), abs=1e-5)


def test_rows_say_error_balance_and_the_commonest_answer(target):
    said = ask_all(pixels(), target, 0, {"guess": Machine("majority")})
    found = {r["metric"]: r for r in probe_rows("guess", target, 3, said)}
    assert found["commonest_guess"]["value"] == 1 and found["balanced_guess"]["value"] == pytest.approx(0.9)
    assert found["error_guess"]["value"] == pytest.approx(1 - 8 / 72, abs=0.02)
    assert found["error_guess"]["seed"] == 3 and found["error_guess"]["protocol"]["n_test"] == 72


def test_identical_answers_are_counted(target):
    said = ask_all(pixels(), target, 0, MACHINES)
    (one, two) = identical_rows("both", target, 0, said, said)
    assert (one["metric"], one["value"]) == ("identical_paper", 1.0) and two["value"] == 1.0
    flipped = replace(said["chosen"], predictions=(said["chosen"].predictions + 1) % 10)
    (row,) = identical_rows(
        "both", target, 0, {"chosen": said["chosen"]}, {"chosen": flipped, "other": flipped}
    )
    assert row["value"] == 0.0


def test_too_many_neighbours_are_refused_in_words(target):
    with pytest.raises(GannbError, match="neighbours"):
        ask_all(pixels(), target, 0, {"knn": Machine("knn", k=1000)})
