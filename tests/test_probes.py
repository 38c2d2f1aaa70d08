"""Machines on feature vectors: against scikit-learn's own, against known answers, and what they refuse."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from gannb import classify, probes
from gannb.base import GannbError, numpy_rng
from gannb.datasets.registry import load
from gannb.probes import (
    C_GRID,
    PAPER_KNN,
    PAPER_LINEAR,
    PAPER_RBF,
    Machine,
    Prepared,
    ask,
    fit_and_ask,
    gamma_of,
    identical_share,
    in_span,
    kernel_of,
    linear_machine,
    probe,
    products_of,
    score_answers,
    split_rows,
    vectors_of,
)

X, Y = load_digits(return_X_y=True)
TRAIN, TEST, _ = split_rows(Y, 0.3, 0)
FREE = [Machine("linear-svm", 1e-2), Machine("rbf-svm", 10.0), Machine("knn")]
named = pytest.mark.parametrize("machine", FREE, ids=lambda m: m.kind)
both = pytest.mark.parametrize("scaled", [False, True])


def noise(name, *shape):
    return numpy_rng(0, name).normal(size=shape)


def wide(offset=0.0, dtype=np.float64):
    "Digits as 900 numbers that span 64 directions, and 900 more that span all; more numbers than 200 images."
    x = np.concatenate([X @ noise("wide", 64, 900) / 8, noise("all", len(X), 900)], 1)
    return (x + offset).astype(dtype)


def as_sklearn(train, test, scaled):
    scaler = StandardScaler().fit(train.astype(np.float64))
    return [scaler.transform(x.astype(np.float64)) if scaled else x for x in (train, test)]


# The same as scikit-learn's own


@both
@pytest.mark.parametrize("C", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize("x", [X, wide().astype(np.float32), X + 1e6], ids=["digits", "float32", "offset"])
def test_rbf_answers_as_sklearn_does(x, C, scaled):
    a, b = as_sklearn(x[TRAIN], x[TEST], scaled)
    theirs = SVC(C=C, kernel="rbf").fit(a, Y[TRAIN]).predict(b)
    assert (
        fit_and_ask(Machine("rbf-svm", C, scaled), x[TRAIN], Y[TRAIN], x[TEST]).predictions == theirs
    ).all()


@both
def test_the_kernel_is_that_of_sklearn(scaled, monkeypatch):
    from sklearn.metrics.pairwise import rbf_kernel

    monkeypatch.setattr(probes, "COLUMNS", 7)  # 64 columns in ten steps
    v = Prepared(X[TRAIN], X[TEST])
    a, b = as_sklearn(X[TRAIN], X[TEST], scaled)
    gamma = 1 / (64 * a.var())
    assert np.isclose(gamma_of(v, scaled), gamma)
    assert np.allclose(kernel_of(v, "test", scaled), rbf_kernel(b, a, gamma), atol=1e-12)
    assert np.allclose(np.diag(kernel_of(v, "train", scaled)), 1)


def test_a_large_offset_costs_no_digits():
    small = Prepared(X[TRAIN], X[TEST])
    large = Prepared(X[TRAIN] + 1e9, X[TEST] + 1e9)
    for scaled in (False, True):
        a, b = (kernel_of(v, "test", scaled) for v in (small, large))
        assert np.allclose(a, b, atol=1e-9)


def test_the_kernel_is_computed_once(monkeypatch):
    counted = []
    inner = probes._around
    monkeypatch.setattr(probes, "_around", lambda *a: counted.append(a[1]) or inner(*a))
    v = Prepared(X[TRAIN], X[TEST], X[TEST])
    ask(Machine("rbf-svm", 1.0), v, Y[TRAIN])
    once = len(counted)
    ask(Machine("rbf-svm", 10.0), v, Y[TRAIN])
    ask(Machine("rbf-svm", 1.0), v, numpy_rng(0, "mixed").permutation(Y[TRAIN]))
    assert len(counted) == once > 0
    assert kernel_of(v, "train", True) is kernel_of(v, "train", True)
    ask(Machine("rbf-svm"), v, Y[TRAIN], Y[TEST])
    assert len(counted) > once and set(counted[once:]) <= {"validation", "train"}


def test_many_vectors_go_without_a_stored_kernel(monkeypatch):
    kept = fit_and_ask(Machine("rbf-svm", 10.0), X[TRAIN], Y[TRAIN], X[TEST])
    monkeypatch.setattr(probes, "KERNEL_MOST", 10)
    monkeypatch.setattr(probes, "kernel_of", None)
    again = fit_and_ask(Machine("rbf-svm", 10.0), X[TRAIN], Y[TRAIN], X[TEST])
    assert (kept.predictions == again.predictions).all()


@both
@pytest.mark.parametrize("columns", [1800, 900])  # of full rank; of rank 64
@pytest.mark.parametrize("offset", [0.0, 5.0])  # raw vectors far from 0: the intercept is penalised too
def test_turned_into_their_span_vectors_give_the_values_of_linear_svc(columns, offset, scaled):
    x = wide(offset)[:, :columns]
    few = TRAIN[:200]
    v = Prepared(x[few], x[TEST])
    a, b = as_sklearn(x[few], x[TEST], scaled)
    machine, C = Machine("linear-svm", 1e-5, scaled), 1e-5
    theirs = LinearSVC(C=C, dual=True, random_state=0, tol=1e-4).fit(a, Y[few])
    decide, asks, converged = linear_machine(v, Y[few], machine, C)
    assert converged and theirs.n_iter_ < 1000
    span = in_span(v, scaled)
    assert span["train"].shape[1] <= (65 if columns == 900 else 200) < columns
    assert np.allclose(span["train"] @ span["train"].T, a @ a.T, rtol=1e-9, atol=1e-6)
    values = theirs.decision_function(b)
    assert np.abs(values).max() > 0.1 and np.allclose(decide("test"), values, atol=1e-3)
    assert identical_share(asks("test"), theirs.predict(b)) > 0.99
    primal = LinearSVC(C=C, dual=False, tol=1e-8).fit(a, Y[few])  # another solver, the same optimum
    assert np.allclose(decide("test"), primal.decision_function(b), atol=0.02)


@both
def test_linear_with_few_numbers_is_plain_linear_svc(scaled):
    a, b = as_sklearn(X[TRAIN], X[TEST], scaled)
    theirs = LinearSVC(C=0.01, dual="auto").fit(a, Y[TRAIN]).predict(b)
    own = fit_and_ask(Machine("linear-svm", 0.01, scaled), X[TRAIN], Y[TRAIN], X[TEST])
    assert identical_share(own.predictions, theirs) > 0.995 and own.converged


@both
def test_knn_answers_as_sklearn_does(scaled):
    a, b = as_sklearn(X[TRAIN], X[TEST], scaled)
    theirs = KNeighborsClassifier(3).fit(a, Y[TRAIN]).predict(b)
    own = fit_and_ask(Machine("knn", k=3, scaled=scaled), X[TRAIN], Y[TRAIN], X[TEST])
    assert identical_share(own.predictions, theirs) > 0.99


def test_vectors_are_standardised_by_the_training_vectors_and_constant_numbers_stay_finite():
    x = np.concatenate([X, np.full((len(X), 1), 0.1)], 1)
    x[TEST, -1] = 0.3
    a, b = as_sklearn(x[TRAIN], x[TEST], True)
    for kind in (np.float64, np.float32):
        v = Prepared(x[TRAIN].astype(kind), x[TEST].astype(kind))
        train, test = (vectors_of(v, part, True) for part in ("train", "test"))
        assert train.dtype == kind and np.allclose(train[:, :-1], a[:, :-1], atol=1e-5)
        assert np.allclose(test[:, :-1], b[:, :-1], atol=1e-4) and (train[:, -1] == 0).all()
        assert v.spread[-1] == 0 and np.allclose(test[:, -1], 0.2)
        assert vectors_of(v, "train", False) is v.parts["train"]


def test_vectors_may_lie_in_a_file(tmp_path):
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    v = Prepared(x, x[:9])
    assert isinstance(v.parts["train"], np.memmap), "a large file must not be copied whole"
    assert np.allclose(products_of(v, "test", False).inner, (X[:9] - X.mean(0)) @ (X - X.mean(0)).T)


# Answers that are known


@named
def test_shuffled_labels_leave_the_error_of_the_commonest_class(machine):
    mixed = np.where(numpy_rng(0, "third").random(len(X)) < 0.3, 0, Y)  # class 0 has more than a third
    mixed = numpy_rng(0, "mixed").permutation(mixed)
    error, plain = (
        score_answers(fit_and_ask(m, X[TRAIN], mixed[TRAIN], X[TEST]).predictions, mixed[TEST]).error
        for m in (machine, Machine("majority"))
    )
    assert 0.55 < plain < 0.68 and error > plain - 0.04


@named
@pytest.mark.parametrize("weight", [10.0])
def test_a_label_that_was_added_is_found(machine, weight):
    mixed = numpy_rng(0, "mixed").permutation(Y)
    told = np.concatenate([X / 16, weight * np.eye(10)[mixed]], 1)
    machine = Machine(machine.kind, machine.C, scaled=False)
    answers = fit_and_ask(machine, told[TRAIN], mixed[TRAIN], told[TEST])
    assert score_answers(answers.predictions, mixed[TEST]).error < 0.01


@named
def test_digits_are_read(machine):
    answers = fit_and_ask(machine, X[TRAIN], Y[TRAIN], X[TEST])
    assert score_answers(answers.predictions, Y[TEST]).error < 0.07


def uneven():
    keep = np.sort(np.concatenate([np.flatnonzero(Y == c)[: 178 if c == 0 else 60] for c in range(10)]))
    train, test, _ = split_rows(Y[keep], 0.2, 0)
    return X[keep][train], Y[keep][train], X[keep][test], Y[keep][test]


def test_the_small_C_says_one_word_whatever_the_features_hold():
    x, y, asked, right = uneven()
    found = fit_and_ask(PAPER_RBF, x, y, asked)
    other = fit_and_ask(PAPER_RBF, noise("a", len(x), 64), y, noise("b", len(asked), 64))
    scores = score_answers(found.predictions, right)
    assert scores.commonest_share == 1 and np.isclose(scores.error, (right != 0).mean())
    assert (
        np.isclose(scores.balanced_error, 0.9) and identical_share(found.predictions, other.predictions) == 1
    )
    free = fit_and_ask(Machine("rbf-svm", scaled=False), x, y, asked)
    assert free.C > 1e-4 and score_answers(free.predictions, right).commonest_share < 0.4


def test_the_machines_of_the_paper():
    assert (PAPER_RBF.C, PAPER_RBF.scaled, PAPER_RBF.kind) == (1e-4, False, "rbf-svm")
    assert (PAPER_LINEAR.C, PAPER_LINEAR.scaled, PAPER_LINEAR.kind) == (1e-4, False, "linear-svm")
    assert (PAPER_KNN.k, PAPER_KNN.scaled, PAPER_KNN.kind) == (5, False, "knn")


def test_majority_takes_the_smallest_of_equals_and_looks_at_no_feature():
    answers = fit_and_ask(Machine("majority"), np.zeros((5, 2)), np.array([3, 1, 1, 3, 2]), np.ones((4, 2)))
    assert answers.predictions.tolist() == [1, 1, 1, 1] and answers.C is None and answers.converged
    assert fit_and_ask(Machine("majority"), np.zeros((2, 1)), [7, 7], np.zeros((1, 1))).predictions == [7]


@named
def test_labels_may_be_words_and_their_order_changes_nothing(machine):
    words = np.array([f"digit {c}" for c in Y])
    a = fit_and_ask(machine, X[TRAIN], words[TRAIN], X[TEST]).predictions
    b = fit_and_ask(machine, X[TRAIN], Y[TRAIN], X[TEST]).predictions
    assert identical_share(a, np.array([f"digit {c}" for c in b])) == 1


# Choosing C


def test_C_is_the_best_of_the_grid_on_the_validation_vectors():
    rows = TRAIN[:600], TRAIN[600:]
    sets = X[rows[0]], Y[rows[0]], X[TEST], (X[rows[1]], Y[rows[1]])
    for kind in C_GRID:
        wrong = {}
        for C in C_GRID[kind]:
            p = fit_and_ask(Machine(kind, C), sets[0], sets[1], X[rows[1]]).predictions
            wrong[C] = int((p != Y[rows[1]]).sum())
        best = min(wrong, key=lambda c: (wrong[c], c))
        found = fit_and_ask(Machine(kind), *sets)
        assert found.C == best and found.n_train == 600
        fixed = fit_and_ask(Machine(kind, best), *sets[:3])
        assert (found.predictions == fixed.predictions).all(), "it learns from the training vectors alone"
        assert fixed.n_train == 600


def test_without_validation_vectors_a_fifth_is_put_aside_class_by_class():
    found = fit_and_ask(Machine("linear-svm"), X[TRAIN], Y[TRAIN], X[TEST], seed=3)
    assert found.n_train == len(TRAIN) - int(np.ceil(0.2 * len(TRAIN)))
    again = fit_and_ask(Machine("linear-svm"), X[TRAIN], Y[TRAIN], X[TEST], validation=3)
    assert (found.predictions == again.predictions).all()
    stay, aside, note = split_rows(Y[TRAIN], 0.2, 3)
    assert not note and np.abs(np.bincount(Y[TRAIN][aside]) - 0.2 * np.bincount(Y[TRAIN])).max() < 1
    assert sorted([*stay, *aside]) == list(range(len(TRAIN)))
    by_hand = fit_and_ask(
        Machine("linear-svm"), X[TRAIN][stay], Y[TRAIN][stay], X[TEST], (X[TRAIN][aside], Y[TRAIN][aside])
    )
    assert by_hand.C == found.C and (by_hand.predictions == found.predictions).all()


def test_choosing_stops_after_two_that_are_worse(monkeypatch):
    asked = []

    def fit(v, y, machine, C, seed):
        asked.append(C)
        wrong = {1.0: 5, 2.0: 3, 3.0: 4, 4.0: 3, 5.0: 4, 6.0: 4, 7.0: 0}[C]
        return lambda part: np.repeat([1, 0], [wrong, 10 - wrong]), C != 2.0

    monkeypatch.setitem(probes._FITS, "rbf-svm", fit)
    monkeypatch.setitem(C_GRID, "rbf-svm", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0))
    zeros = np.zeros((10, 1))
    found = ask(Machine("rbf-svm"), Prepared(zeros, zeros, zeros), np.arange(10), np.zeros(10, int))
    assert asked == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert found.C == 2.0 and not found.converged and (found.predictions != 0).sum() == 3


def test_a_machine_that_stopped_early_says_so_and_prints_nothing(capfd):
    hard = noise("hard", 60, 300) * 100
    labels = numpy_rng(0, "any").integers(2, size=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        easy = fit_and_ask(Machine("linear-svm", 1e-6), hard, labels, hard)
        stuck = fit_and_ask(
            Machine("linear-svm", 1e3, scaled=False), np.tile(hard[:30], (2, 1)), labels, hard
        )
    assert easy.converged and not stuck.converged
    assert capfd.readouterr() == ("", "")


def test_the_same_seed_gives_the_same_answers():
    a, b = (
        fit_and_ask(Machine("linear-svm"), wide()[TRAIN[:300]], Y[TRAIN[:300]], wide()[TEST]) for _ in "ab"
    )
    assert a.C == b.C and (a.predictions == b.predictions).all()


# Scores


def test_scores_by_hand():
    s = score_answers(np.array([0, 0, 0, 1, 0, 2]), np.array([0, 0, 0, 1, 1, 1]))
    assert (s.wrong, s.n, s.error) == (2, 6, 2 / 6)
    assert np.isclose(s.balanced_error, 1 - (1 + 1 / 3) / 2) and np.isclose(s.commonest_share, 4 / 6)
    assert identical_share([1, 2, 3, 4], [1, 2, 0, 0]) == 0.5


def test_the_balanced_error_counts_classes_of_the_test_labels_alone():
    assert np.isclose(score_answers(np.array([5, 5, 1]), np.array([0, 0, 1])).balanced_error, 0.5)


# For people


def test_a_probe_says_one_sentence():
    found = probe(X, Y, seed=1)
    assert found.n_test == 360 and found.error < 0.08 and found.majority_error > 0.85
    assert found.low < found.error < found.high and found.C in C_GRID["linear-svm"] and not found.note
    text = str(found)
    assert text.endswith(".") and text.count(". ") == 0 and "\n" not in text and "better than" in text
    assert (
        f"{100 * found.error:.1f} % of 360 images" in text and f"{100 * found.majority_error:.1f} %" in text
    )
    assert classify.probe is probe and "probe" in classify.__all__


def test_a_probe_of_shuffled_labels_claims_nothing():
    text = str(probe(X, numpy_rng(0, "mixed").permutation(Y), machine=Machine("knn")))
    assert "not shown to be better than" in text


def test_the_interval_is_wilsons():
    found = probe(X, Y, machine=Machine("majority"))
    p, n, z = found.error, found.n_test, 1.959964
    middle, reach = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert np.allclose([found.low, found.high], np.array([middle - reach, middle + reach]) / (1 + z * z / n))
    assert found.error == found.majority_error


def test_a_class_of_one_image_is_named():
    y = (np.arange(50) >= 25).astype(int)
    assert probe(np.arange(50.0)[:, None], y, machine=Machine("knn")).note == ""
    y[-1] = 2
    found = probe(np.arange(50.0)[:, None], y, machine=Machine("knn"))
    assert "one image only" in found.note and found.note in str(found)
    many = np.repeat(np.arange(20), 2)
    assert "too few images" in probe(np.arange(40.0)[:, None], many, machine=Machine("knn")).note


# What is refused


@pytest.mark.parametrize(
    "word, call",
    [
        ("Did you mean 'rbf-svm'", lambda: Machine("rbf_svm")),
        ("C must be", lambda: Machine("rbf-svm", 0)),
        ("C must be", lambda: Machine("rbf-svm", -1.0)),
        ("C must be", lambda: Machine("rbf-svm", float("nan"))),
        ("k must be", lambda: Machine("knn", k=0)),
        ("k must be", lambda: Machine("knn", k=2.5)),
        ("train_x holds NaN", lambda: fit_and_ask(FREE[0], X * np.nan, Y, X)),
        ("test_x holds NaN", lambda: fit_and_ask(FREE[1], X, Y, X + np.inf)),
        ("validation_x holds NaN", lambda: fit_and_ask(Machine("rbf-svm"), X, Y, X, (X * np.nan, Y))),
        ("train_y must be one label", lambda: fit_and_ask(FREE[0], X, Y[1:], X)),
        ("train_y must be one label", lambda: fit_and_ask(Machine("rbf-svm"), X, Y[1:], X)),
        ("validation_y must be one", lambda: fit_and_ask(Machine("rbf-svm"), X, Y, X, (X, Y[1:]))),
        ("same number of features", lambda: fit_and_ask(FREE[0], X, Y, X[:, 1:])),
        ("of class 4", lambda: fit_and_ask(FREE[0], X, Y * 0 + 4, X)),
        ("of class 4", lambda: fit_and_ask(Machine("rbf-svm"), X, Y * 0 + 4, X)),
        ("k=10", lambda: fit_and_ask(Machine("knn", k=10), X[:9], Y[:9], X)),
        ("whole numbers or words", lambda: fit_and_ask(FREE[0], X, Y + 0.5, X)),
        ("train_x must be numbers", lambda: fit_and_ask(FREE[0], X[0], Y, X)),
        ("test_x must be numbers", lambda: fit_and_ask(FREE[0], X, Y, X[:0])),
        ("train_x must be numbers", lambda: fit_and_ask(FREE[0], X.astype(str), Y, X)),
        ("validation vectors", lambda: ask(Machine("rbf-svm"), Prepared(X, X), Y)),
        ("put aside", lambda: probe(X, Y, test=0)),
        ("put aside", lambda: probe(X, Y, test=1.0)),
        ("put aside", lambda: probe(X[:1], Y[:1])),
        ("labels must be one", lambda: probe(X, Y[1:])),
        ("features holds NaN", lambda: probe(X * np.nan, Y)),
        ("one length", lambda: score_answers(Y, Y[1:])),
        ("one length", lambda: score_answers(Y[:0], Y[:0])),
        ("one length", lambda: identical_share(Y, Y[1:])),
    ],
)
def test_what_cannot_be_is_refused_in_words(word, call):
    with pytest.raises(GannbError) as e:
        call()
    assert word in str(e.value)


# Published figures


@pytest.mark.pack
def test_pixels_of_digits_are_as_hard_as_published():
    "A part of MNIST: the whole of it stands in bench/probes.py."
    x, y = {}, {}
    for split, n in (("train", 3000), ("test", 1000)):
        data = load("mnist", size=28, split=split, progress=False)
        rows = numpy_rng(0, split).permutation(len(data))[:n]
        x[split], y[split] = np.asarray(data.images)[rows].reshape(n, -1) / 255, np.asarray(data.labels)[rows]
    knn, linear = (
        score_answers(fit_and_ask(m, x["train"], y["train"], x["test"]).predictions, y["test"]).error
        for m in (Machine("knn", k=3, scaled=False), Machine("linear-svm", 1e-2, scaled=False))
    )
    assert 0.05 < knn < 0.11 and 0.08 < linear < 0.14
