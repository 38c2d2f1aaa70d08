"""Classifiers as a part: networks, ordinary augmentation, training, scores, and sets of known answers."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk

from gannb import classify
from gannb.base import GannbError, to_float
from gannb.classify import (
    CALLED_FAKE,
    HALF,
    WHOLE,
    WRONG,
    Recipe,
    Vectors,
    control_sets,
    joined,
    logits_of,
    looks,
    mean_loss,
    moved,
    n_views,
    new_classifier,
    new_head,
    ordinary,
    scores,
    share_of,
    share_rows,
    steps_per_epoch,
    train_classifier,
    view,
    with_wrong_labels,
)
from gannb.data import ImageSet
from gannb.datasets.registry import load
from gannb.features import FeatureNet, resized


@pytest.fixture(scope="module")
def digits():
    "Training, validation and test digits."
    pool, test = (load("digits", split=part, size=16, progress=False) for part in ("train", "test"))
    return *pool.split(0.85, seed=0), test


def squares(n=24, size=32, channels=3, classes=("dark", "bright"), seed=0):
    "Noise images that are dark or bright."
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(classes)
    x = rng.integers(0, 80, (n, size, size, channels)) + labels[:, None, None, None] * 150 // (
        len(classes) - 1
    )
    return ImageSet.of_images(x.astype(np.uint8), "squares", labels, classes)


def state(net):
    return {name: t.clone() for name, t in net.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def learn(digits, seed=0, network="cnn", **recipe):
    train, validation, _ = digits
    net = new_classifier(network, 10, size=16, channels=1, seed=seed)
    curves = train_classifier(net, train, validation, Recipe(**{"epochs": 2} | recipe), seed)
    return net, curves


@pytest.mark.parametrize("augment", ["", "flip,crop"])
def test_the_same_seed_gives_the_same_bytes_whatever_else_happens(digits, augment):
    torch.manual_seed(1)
    net, curves = learn(digits, augment=augment)
    threads = torch.get_num_threads()
    torch.manual_seed(2)
    torch.rand(7)
    np.random.seed(3)
    torch.set_num_threads(threads + 1)
    try:
        again, same_curves = learn(digits, augment=augment)
        assert torch.get_num_threads() == threads + 1, "the caller's threads are put back"
    finally:
        torch.set_num_threads(threads)
    assert same(state(net), state(again)) and curves == same_curves


def test_a_training_leaves_the_global_generators_alone(digits):
    torch.manual_seed(5)
    np.random.seed(5)
    learn(digits, epochs=1, augment="flip,crop")
    for name in ("resnet18", "effnet-lite0", "softmax"):
        new_classifier(name, 3, size=32)
    drawn = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    assert drawn == (torch.rand(1), np.random.rand())


def test_seed_and_augmentation_matter(digits):
    nets = [
        learn(digits, seed, epochs=1, augment=a)[0]
        for seed, a in ((0, ""), (1, ""), (0, "crop"), (0, "flip"))
    ]
    first = [net.head.weight for net in nets]
    assert not any(torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])


def test_first_weights_are_another_matter_than_the_order_of_images(digits):
    train, validation, _ = digits
    found = []
    for first, order in ((0, 0), (0, 1), (1, 0)):
        net = new_classifier("softmax", 10, 16, 1, seed=first)
        found.append(train_classifier(net, train, validation, Recipe(epochs=1), seed=order).train_loss)
    assert len({x[0] for x in found}) == 3


def test_it_learns_digits(digits):
    net, curves = learn(digits, epochs=6, lr=3e-3, batch_size=32)
    assert scores(logits_of(net, digits[2]), digits[2].labels).accuracy > 0.93
    assert curves.train_loss[-1] < curves.train_loss[0] / 3


def test_the_weights_that_stay_have_the_lowest_validation_loss(digits):
    train, validation, _ = digits
    wrong = with_wrong_labels(share_of(train, 0.1), 0.5)  # learning them by heart makes validation worse
    net = new_classifier("cnn", 10, size=16, channels=1)
    curves = train_classifier(
        net, wrong, validation, Recipe(epochs=12, lr=3e-3, batch_size=32, schedule="none")
    )
    assert curves.chosen == int(np.argmin(curves.validation_loss)) < len(curves.steps) - 1
    assert curves.train_loss[-1] < curves.train_loss[curves.chosen]
    kept = mean_loss(logits_of(net, validation), validation.labels)
    assert kept == pytest.approx(min(curves.validation_loss), abs=1e-6)
    assert kept < curves.validation_loss[-1] - 0.01, "not the last weights"


def test_the_choice_follows_the_validation_images_and_nothing_else(digits):
    train, validation, _ = digits
    other = with_wrong_labels(validation, 1.0)
    found = []
    for chooses in (validation, other):
        net = new_classifier("cnn", 10, size=16, channels=1)
        found.append((train_classifier(net, train, chooses, Recipe(epochs=5, lr=3e-3)), state(net)))
    (right, a), (wrong, b) = found
    assert right.train_loss == wrong.train_loss, "what is learnt does not depend on them"
    assert right.chosen > wrong.chosen == 0 and not same(a, b)


def test_of_equal_looks_the_first_stays():
    assert (
        classify._finished([(1, 1.0, 0.5, 0, 0), (2, 0.9, 0.5, 0, 0), (3, 0.8, float("nan"), 0, 0)]).chosen
        == 0
    )


@pytest.mark.parametrize(
    "network, dim", [("softmax", 3072), ("cnn", 128), ("resnet18", 512), ("effnet-lite0", 1280)]
)
def test_each_network_takes_one_step(network, dim):
    images = squares(8)
    net = new_classifier(network, 2, size=32)
    before, x = state(net), torch.from_numpy(to_float(images.images)).permute(0, 3, 1, 2)
    assert net.embed(x).shape == (8, dim) and net(x).shape == (8, 2)
    before = state(net)
    curves = train_classifier(net, images, images, Recipe(epochs=1, batch_size=8))
    assert curves.steps == [1] and np.isfinite(curves.train_loss + curves.validation_loss).all()
    changed = {name for name, t in net.named_parameters() if not torch.equal(t, before[name])}
    assert changed == {name for name, _ in net.named_parameters()}, "everything is trained"
    assert curves.train_loss[0] == pytest.approx(np.log(2), abs=1.5)


@pytest.mark.parametrize("size, channels", [(16, 1), (64, 3)])
@pytest.mark.parametrize("network", classify.NETWORKS)
def test_each_network_takes_grey_and_colour(network, size, channels):
    x = torch.rand(2, channels, size, size) * 2 - 1
    assert new_classifier(network, 5, size, channels).eval()(x).shape == (2, 5)


def random_weights(network):
    "Weights of the right shapes, as if they were ImageNet's."
    if network == "effnet-lite0":
        from gannb.features import _timm_net

        return _timm_net().state_dict()
    from torchvision.models import resnet18

    return resnet18(weights=None).state_dict()


@pytest.mark.parametrize("network", classify.PRETRAINED)
def test_a_frozen_backbone_stays_as_it_came(network):
    images, weights = squares(8), random_weights(network)
    net = new_classifier(network, 2, 32, weights=weights, finetune="head")
    before = state(net)
    train_classifier(net, images, images, Recipe(epochs=2, batch_size=4))
    after = state(net)
    assert not torch.equal(before.pop("head.weight"), after["head.weight"])
    assert not torch.equal(before.pop("head.bias"), after["head.bias"])
    assert same(before, after), "running means too"
    name = next(n for n in before if n.endswith(("conv1.weight", "conv_stem.weight")))
    assert torch.equal(before[name], weights[name.removeprefix("backbone.net.")])


@pytest.mark.parametrize("network", classify.PRETRAINED)
def test_training_the_head_on_features_is_training_the_frozen_network(network):
    images, weights = squares(16), random_weights(network)
    recipe = Recipe(epochs=3, batch_size=8, lr=1e-2)
    net = new_classifier(network, 2, 32, weights=weights, finetune="head")
    whole = train_classifier(net, images, images, recipe)
    x = torch.from_numpy(to_float(images.images)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        vectors = Vectors(net.embed(x).numpy()[None], images.labels, images.classes)
    head = new_head(vectors.x.shape[2], 2)
    found = train_classifier(head, vectors, vectors, recipe)
    assert found.train_loss == pytest.approx(whole.train_loss, rel=1e-3)
    assert torch.allclose(head.weight, net.head.weight, atol=1e-3)


def test_features_are_those_of_the_judging_network():
    from gannb.features import effnet_lite0

    weights, images = random_weights("effnet-lite0"), squares(4).images
    judge = effnet_lite0(weights, "0" * 64, 64)
    net = new_classifier("effnet-lite0", 2, 32, weights=weights, finetune="head").eval()
    assert isinstance(judge, FeatureNet)
    x = torch.from_numpy(to_float(images)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert np.allclose(net.embed(x).numpy(), judge(images), atol=1e-4)


def test_input_size_resizes_as_the_judges_do():
    net = new_classifier("softmax", 2, 32, input_size=64)
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(net.embed(to_float(x)), resized(x, 64).flatten(1))


def test_resnet_sees_imagenet_scaled_pixels():
    net = classify._ResNet18(None)
    net.net = torch.nn.Identity()
    grey = torch.full((1, 1, 2, 2), 0.0)
    assert torch.allclose(
        net(grey)[0, :, 0, 0],
        torch.tensor([(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225]),
    )


def test_moved_by_hand():
    x = torch.arange(9).view(1, 1, 3, 3)
    go = lambda flip, down, right: moved(x, *(torch.tensor([v]) for v in (flip, down, right)))[0, 0].tolist()  # noqa: E731
    assert go(False, 0, 0) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert go(True, 0, 0) == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]
    assert go(False, 1, 0) == [[3, 4, 5], [0, 1, 2], [3, 4, 5]]
    assert go(False, 0, -1) == [[1, 2, 1], [4, 5, 4], [7, 8, 7]]


def test_ordinary_augmentation_is_what_its_words_say():
    x = torch.arange(16 * 16.0).view(1, 1, 16, 16).repeat(200, 1, 1, 1)
    mirrored = ordinary(x, ("flip",), 0, 0)
    flips = (mirrored == x.flip(3)).flatten(1).all(1)
    assert ((mirrored == x).flatten(1).all(1) ^ flips).all() and 70 < flips.sum() < 130
    shifted = ordinary(x, ("crop",), 0, 0)
    middle = shifted[:, 0, 8, 8] - x[:, 0, 8, 8]
    down, right = -torch.round(middle / 16), -(middle - 16 * torch.round(middle / 16))
    assert set(down.tolist()) == set(right.tolist()) == {-2, -1, 0, 1, 2}
    assert torch.equal(ordinary(x, ("flip", "crop"), 3, 4), ordinary(x, ("flip", "crop"), 3, 4))
    assert not torch.equal(ordinary(x, ("flip", "crop"), 3, 4), ordinary(x, ("flip", "crop"), 3, 5))
    assert ordinary(x, (), 0, 0) is x


def test_views_are_few_ways_the_same_for_all_images():
    images = squares(5, 16).images
    assert [n_views(p) for p in ((), ("flip",), ("crop",), ("flip", "crop"))] == [1, 2, 8, 8]
    assert np.array_equal(view(images, ("flip",), 1), images[:, :, ::-1])
    for policy in (("crop",), ("flip", "crop")):
        seen = [view(images, policy, k) for k in range(8)]
        assert np.array_equal(seen[0], images) and len({x.tobytes() for x in seen}) == 8
        assert all(np.array_equal(view(images[2:3], policy, k)[0], seen[k][2]) for k in range(8))
        assert all(x.dtype == np.uint8 and x.shape == images.shape for x in seen)


def test_vectors_come_in_the_order_of_images_and_in_all_views():
    images = squares(10)
    x = np.stack([np.arange(10.0) + 100 * v for v in range(3)]).astype(np.float32)[..., None]
    vectors = Vectors(x, images.labels, images.classes)
    seen = set()
    for epoch in range(4):
        order = [y.tolist() for _, y in images.batches(4, 7, epoch)]
        got = list(vectors.batches(4, 7, epoch))
        assert [y.tolist() for _, y in got] == order
        rows = np.concatenate([x.numpy()[:, 0] for x, _ in got])
        assert sorted(rows % 100) == list(range(10))
        seen |= set((rows // 100).tolist())
    assert seen == {0, 1, 2}
    assert sum(len(y) for _, y in vectors.batches(4, 0, 0, drop_last=True)) == 8
    assert np.array_equal(torch.cat(list(classify._in_order(vectors, 4, torch.device("cpu")))).numpy(), x[0])


@pytest.mark.parametrize(
    "n, batch, steps", [(128, 64, 2), (130, 64, 3), (129, 64, 2), (64, 64, 1), (1, 1, 1), (3, 1, 3)]
)
def test_steps_per_epoch(n, batch, steps):
    assert steps_per_epoch(n, batch) == steps


def test_a_last_batch_of_one_image_is_left_out():
    images = squares(9, 32)
    sizes = [len(y) for _, y in classify._shown(images, Recipe(batch_size=4), 0, 5, "cpu")]
    assert sizes == [4, 4, 4, 4, 4]
    sizes = [len(y) for _, y in classify._shown(squares(10, 32), Recipe(batch_size=4), 0, 5, "cpu")]
    assert sizes == [4, 4, 2, 4, 4]


@pytest.mark.parametrize("total, n, at", [(10, 2, [5, 10]), (7, 3, [2, 5, 7]), (2, 5, [1, 2]), (30, 1, [30])])
def test_looks_are_spread_and_end_at_the_end(total, n, at):
    assert looks(total, n) == at


def test_equal_steps_are_equal_whatever_the_set(digits):
    train, validation, _ = digits
    for images in (train, share_of(train, 0.2)):
        net = new_classifier("softmax", 10, 16, 1)
        curves = train_classifier(net, images, validation, Recipe(epochs=4), steps=50)
        assert curves.steps == [12, 25, 38, 50]
    net = new_classifier("softmax", 10, 16, 1)
    curves = train_classifier(net, train, validation, Recipe(epochs=4))
    assert curves.steps == [20, 40, 60, 80] and len(train) == 1222


def test_training_loss_is_the_mean_over_the_images_shown(digits):
    train, validation, _ = digits
    images = train.rows(np.arange(100))
    net = new_classifier("softmax", 10, 16, 1)
    before = [mean_loss(net(x).detach().numpy(), y.numpy()) for x, y in images.batches(64, 0, 0)]
    curves = train_classifier(net, images, validation, Recipe(epochs=1, lr=1e-12))
    assert curves.train_loss[0] == pytest.approx((64 * before[0] + 36 * before[1]) / 100, rel=1e-5)


@pytest.mark.parametrize(
    "schedule, rates",
    [("none", [1, 1, 1, 1]), ("cosine", [1, 0.8535534, 0.5, 0.1464466]), ("step", [1, 1, 0.1, 0.01])],
)
def test_the_schedule_is_applied(monkeypatch, digits, schedule, rates):
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, *args):
            seen.append(self.param_groups[0]["lr"])
            return super().step(*args)

    monkeypatch.setitem(classify.OPTIMISERS, "sgd", lambda p, lr, wd: Watched(p, lr=lr))
    net = new_classifier("softmax", 10, 16, 1)
    recipe = Recipe(optimiser="sgd", lr=0.01, schedule=schedule, epochs=1)
    train_classifier(net, digits[0], digits[1], recipe, steps=4)
    assert seen == pytest.approx([0.01 * r for r in rates], rel=1e-6)


def test_every_step_is_taken_in_training_mode(digits, monkeypatch):
    "After a look at the validation images too: else batch normalisation stands still from there on."
    net, modes = new_classifier("cnn", 10, 16, 1), []
    forward = net.embed
    monkeypatch.setattr(net, "embed", lambda x: modes.append(net.backbone.training) or forward(x))
    few = digits[0].rows(np.arange(128))
    train_classifier(net, few, few, Recipe(epochs=3))
    assert modes == [True, True, False] * 3


@pytest.mark.parametrize("name, kind", [("adam", "Adam"), ("sgd", "SGD"), ("rmsprop", "RMSprop")])
def test_optimisers_are_those_named_and_learn(digits, name, kind):
    net = new_classifier("softmax", 10, 16, 1)
    opt = classify._optimiser(net, Recipe(optimiser=name, weight_decay=0.01))
    assert type(opt).__name__ == kind and opt.defaults["weight_decay"] == 0.01
    assert opt.defaults["lr"] == classify.LEARNING_RATES[name]
    assert opt.defaults.get("momentum", 0) == (0.9 if name == "sgd" else 0)
    curves = train_classifier(net, digits[0], digits[1], Recipe(optimiser=name, epochs=3))
    assert curves.validation_loss[-1] < 0.75 * np.log(10), "below that of guessing"


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"optimiser": "adamw"}, "optimiser='adamw'.*Did you mean 'adam'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"augment": "flips"}, "augment='flips'.*Did you mean 'flip'"),
        ({"epochs": 0}, "epochs must be a whole number from 1; this is 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"threads": True}, "threads must be a whole number"),
        ({"lr": 0.0}, "lr must be"),
        ({"lr": float("nan")}, "lr must be"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
    ],
)
def test_a_wrong_recipe_is_refused(wrong, words):
    with pytest.raises(GannbError, match=words):
        Recipe(**wrong)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"network": "resnet"}, "Did you mean 'resnet18'"),
        ({"network": "resnet18", "finetune": "heads"}, "Did you mean 'head'"),
        ({"network": "resnet18", "finetune": "head"}, "would stay random"),
        ({"network": "cnn", "finetune": "head"}, "would stay random"),
        ({"network": "cnn", "weights": {}}, "no ImageNet weights for 'cnn'"),
        ({"network": "resnet18", "input_size": 100}, "input_size must be one of 64, 128, 224; this is 100"),
        ({"network": "resnet18", "weights": {}}, "not the weights of torchvision's ResNet-18"),
        ({"network": "effnet-lite0", "weights": {}}, "not the weights of EfficientNet-Lite0"),
        ({"network": "softmax", "n_classes": 1}, "two classes or more"),
        ({"network": "cnn", "size": 50}, "size=50 is not possible"),
    ],
)
def test_an_impossible_network_is_refused(wrong, words):
    with pytest.raises(GannbError, match=words):
        new_classifier(**{"n_classes": 2, "size": 32} | wrong)


@pytest.mark.parametrize(
    "train, validation, words",
    [
        (dataclasses.replace(squares(), labels=None, classes=()), squares(), "the training images have none"),
        (
            squares(),
            dataclasses.replace(squares(), labels=None, classes=()),
            "the validation images have none",
        ),
        (
            dataclasses.replace(squares(), labels=np.zeros(24, np.int64)),
            squares(),
            "the training images are of 1",
        ),
        (squares(), squares(classes=("a", "b")), "same classes; these are dark, bright and a, b"),
        (squares(), squares(size=16), r"one size; these are \(32, 32, 3\), \(16, 16, 3\)"),
        (squares(), squares(channels=1), "of one size"),
        (squares(8), squares(), r"batch_size=16 is larger than the training set \(8 images\)"),
    ],
)
def test_sets_that_nothing_can_be_learnt_from_are_refused(train, validation, words):
    net = new_classifier("softmax", 2, 32)
    before = state(net)
    with pytest.raises(GannbError, match=words):
        train_classifier(net, train, validation, Recipe(batch_size=16))
    assert same(before, state(net))


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(GannbError, match="must be of shape"):
        Vectors(np.zeros((3, 4), np.float32), np.zeros(4, np.int64), ("a", "b"))
    with pytest.raises(GannbError, match="must be of shape"):
        Vectors(np.zeros((1, 3, 4), np.float32), np.zeros(4, np.int64), ("a", "b"))
    with pytest.raises(GannbError, match="not finite"):
        Vectors(np.full((1, 4, 2), np.nan, np.float32), np.zeros(4, np.int64), ("a", "b"))


def test_a_training_that_diverged_says_so(digits):
    net = new_classifier("cnn", 10, 16, 1)
    with torch.no_grad():
        net.head.weight.fill_(float("inf"))
    with pytest.raises(GannbError, match="diverged.*smaller lr"):
        train_classifier(net, digits[0], digits[1], Recipe(epochs=1))


def calibration_by_hand(p, y, bins=15):
    "Expected calibration error (Guo et al. 2017, eq. 3)."
    sure, right = p.max(1), p.argmax(1) == y
    which = np.minimum((sure * bins).astype(int), bins - 1)
    return sum(
        abs(sure[which == b].mean() - right[which == b].mean()) * (which == b).mean() for b in set(which)
    )


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    logits = (rng.normal(size=(300, 5)) + 1.5 * np.eye(5)[y]).astype(np.float32)  # class 4 has no images
    found = scores(logits, y)
    p = torch.from_numpy(logits).double().softmax(1).numpy()
    called = logits.argmax(1)
    assert found.n == 300 and found.accuracy == sk.accuracy_score(y, called)
    assert np.array_equal(found.confusion, sk.confusion_matrix(y, called, labels=range(5)))
    assert found.per_class[:4] == pytest.approx(sk.recall_score(y, called, labels=range(4), average=None))
    assert np.isnan(found.per_class[4])
    assert found.loss == pytest.approx(sk.log_loss(y, p, labels=range(5)), rel=1e-9)
    assert found.calibration_error == pytest.approx(calibration_by_hand(p, y), abs=1e-6)


def test_scores_agree_with_torchmetrics_own_accuracy():
    from torchmetrics.functional.classification import multiclass_accuracy

    y = np.arange(90) % 3
    logits = np.random.default_rng(1).normal(size=(90, 3)).astype(np.float32)
    found, both = scores(logits, y), (torch.from_numpy(logits), torch.from_numpy(y), 3)
    assert found.accuracy == pytest.approx(float(multiclass_accuracy(*both, average="micro")), abs=1e-6)
    assert found.per_class == pytest.approx(multiclass_accuracy(*both, average="none").numpy(), abs=1e-6)


def test_scores_at_known_limits():
    y = np.array([0, 1, 2, 1])
    sure = (np.eye(3)[y] * 100).astype(np.float32)
    perfect = scores(sure, y)
    assert perfect[1] == 1 and perfect.calibration_error < 1e-6 and perfect.loss < 1e-6
    wrong = scores(sure, (y + 1) % 3)
    assert (
        wrong.accuracy == 0
        and wrong.calibration_error == pytest.approx(1)
        and wrong.loss == pytest.approx(100)
    )
    even = scores(np.zeros((4, 3), np.float32), y)
    assert even.loss == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    "logits, labels",
    [(np.zeros((3, 2)), [0, 1]), (np.zeros((2, 2)), [0, 2]), (np.zeros(2), [0, 1]), (np.zeros((0, 2)), [])],
)
def test_answers_without_their_labels_are_refused(logits, labels):
    with pytest.raises(GannbError, match="one row of logits and a label"):
        scores(logits.astype(np.float32), np.array(labels, np.int64))


def test_joined_sets():
    a, b = squares(6), squares(4, seed=1)
    both = joined([a, b], "both")
    assert len(both) == 10 and both.classes == a.classes and both.name == "both"
    assert np.array_equal(both.take(range(6, 10)), b.images) and np.array_equal(both.labels[:6], a.labels)
    plain = ImageSet.of_images(both.images, "both", both.labels, both.classes, both.settings)
    assert np.array_equal(plain.pixel_hashes(), both.pixel_hashes()) and plain.fingerprint == both.fingerprint
    for other in (
        squares(4, size=16),
        squares(4, classes=("a", "b")),
        dataclasses.replace(a, labels=None, classes=()),
    ):
        with pytest.raises(GannbError, match="cannot be one set"):
            joined([a, other], "x")


def test_shares_are_of_each_class_and_nested(digits):
    train = digits[0]
    few, more = share_rows(train, 0.1), share_rows(train, 0.5)
    assert set(few) < set(more) and not np.array_equal(few, share_rows(train, 0.1, seed=1))
    counts = np.bincount(train.labels)
    assert np.array_equal(np.bincount(train.labels[more]), [round(n / 2) for n in counts])
    assert np.array_equal(share_of(train, 0.5).labels, train.labels[more]) and len(
        share_of(train, 1.0)
    ) == len(train)
    for share, words in ((0, "A share"), (1.1, "A share"), (0.001, "is none")):
        with pytest.raises(GannbError, match=words):
            share_of(train, share)


def test_wrong_labels_are_so_many_and_all_of_them_wrong(digits):
    train = digits[0]
    wrong = with_wrong_labels(train, 0.1)
    differ = wrong.labels != train.labels
    assert differ.sum() == round(0.1 * len(train)) and wrong.labels.max() < 10
    assert (with_wrong_labels(train, 1.0).labels != train.labels).all()
    assert np.array_equal(wrong.labels, with_wrong_labels(train, 0.1).labels)
    assert not np.array_equal(wrong.labels, with_wrong_labels(train, 0.1, seed=1).labels)
    assert wrong.fingerprint != train.fingerprint
    for share in (-0.1, 2):
        with pytest.raises(GannbError, match="share from 0 to 1"):
            with_wrong_labels(train, share)


def test_control_sets_are_what_they_are_called(digits):
    train = digits[0]
    sets = control_sets(train, seed=3)
    half, other = sets[HALF].pixel_hashes(), sets[CALLED_FAKE].pixel_hashes()
    assert sorted(np.concatenate([half, other])) == sorted(train.pixel_hashes())
    assert abs(len(half) - len(other)) <= 10 and sets[WHOLE] is train
    assert not np.array_equal(half, control_sets(train, seed=4)[HALF].pixel_hashes())
    assert np.array_equal(sets[WRONG].pixel_hashes(), train.pixel_hashes())


def test_the_controls_show_what_they_must(digits):
    "Half of the images and wrong labels cost accuracy, other real images do not: five draws of 122 digits."
    train, validation, test = digits
    few, found = share_of(train, 0.1), {}
    for seed in range(5):
        for name, images in control_sets(few, seed).items():
            net = new_classifier("softmax", 10, size=16, channels=1, seed=seed)
            train_classifier(net, images, validation, Recipe(batch_size=32), seed, steps=300)
            found.setdefault(name, []).append(scores(logits_of(net, test), test.labels).accuracy)
    whole, half, fake, wrong = (np.array(found[k]) for k in (WHOLE, HALF, CALLED_FAKE, WRONG))
    for worse in (half, wrong):
        loss = whole - worse
        assert loss.mean() > 0.02 and loss.mean() - 2.78 * loss.std(ddof=1) / 5**0.5 > 0, (
            "outside its interval"
        )
    none = half - fake
    assert abs(none.mean()) < 2.78 * none.std(ddof=1) / 5**0.5, "nothing to be seen where nothing is"


def test_softmax_regression_finds_what_scikit_learn_finds():
    "The convex case has one answer: both reach it."
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    y = np.arange(200) % 3
    x = (rng.normal(size=(200, 4)) + np.eye(4)[y] * 1.5).astype(np.float32)
    vectors = Vectors(x[None], y, ("a", "b", "c"))
    head = new_head(4, 3)
    train_classifier(head, vectors, vectors, Recipe(epochs=300, batch_size=200, lr=0.05))
    ours = torch.from_numpy(logits_of(head, vectors)).softmax(1).numpy()
    theirs = LogisticRegression(C=1e6, max_iter=5000).fit(x, y).predict_proba(x)
    assert np.abs(ours - theirs).max() < 0.01
    assert float(
        F.cross_entropy(torch.from_numpy(logits_of(head, vectors)), torch.from_numpy(y))
    ) == pytest.approx(sk.log_loss(y, theirs), abs=1e-4)
