"""The feature study: what is trained, what is asked, what its rows say of known numbers."""

import numpy as np
import pytest
import yaml

from gannb.base import GannbError
from gannb.config import checked
from gannb.data import ImageSet
from gannb.datasets import coco
from gannb.ledger.claims import load_claims
from gannb.stages.probes import ask_all, pixels, probe_rows
from gannb.stages.score import row
from gannb.stages.tables import Results
from gannb.studies.discriminator_features import rows as study
from gannb.studies.discriminator_features import words
from gannb.studies.discriminator_features.plan import CONFIG, LABEL_RULES, PRESETS, SOURCES

YAML = "papers/discriminator_features.yaml"


@pytest.fixture(scope="module")
def published():
    with open(YAML, encoding="utf-8") as file:
        return yaml.safe_load(file)


@pytest.fixture(scope="module")
def cfg():
    return checked(CONFIG, {"preset": "smoke"} | PRESETS["smoke"])


def test_every_source_has_all_images_a_share_and_other_widths(cfg):
    arms = study.arms(cfg)
    own = [a.arm for a in arms if a.role == "pet"]
    assert own == ["all images", "a share", "width 4"], "width 8 is the main arm"
    assert {a.role for a in arms} == {*SOURCES, *cfg.near}
    pet = {a.arm: a for a in arms if a.role == "pet"}
    assert len(pet["a share"].data) < len(pet["all images"].data)
    assert set(pet["a share"].data.pixel_hashes()) <= set(pet["all images"].data.pixel_hashes())
    assert pet["width 4"].config.ndf == 4 and pet["width 4"].config.ngf == cfg.ngf
    assert all(len(a.data) % cfg.batch_size == 0 for a in arms), "whole batches, as the paper"


def test_no_gan_has_seen_what_is_asked(cfg):
    seen = {h for a in study.arms(cfg) if a.role in cfg.near for h in a.data.pixel_hashes()}
    for target in study.targets_of(cfg).values():
        assert not seen & set(target.images.pixel_hashes())


def test_uneven_classes_fall_and_none_is_lost():
    labels = np.repeat(np.arange(4), 12)
    images = np.arange(48, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(4, 1).repeat(4, 2)
    found = study.uneven(ImageSet("a", images, labels, ("a", "b", "c", "d")))
    assert list(found.counts().values()) == [12, 6, 4, 3]


@pytest.mark.parametrize(
    "given, said",
    [
        ({"sources": "celeba"}, "three entries"),
        ({"near": "mnist"}, "near"),
        ({"few_images": "2"}, "above 0"),
        ({"label_rule": "smallest"}, "label_rule"),
        ({"widths": "0"}, "widths"),
        ({"limits": "10,0,0"}, "one batch"),
        ({"targets": "digits,digits", "near": "digits"}, "twice"),
    ],
)
def test_wrong_parameters_are_refused_in_words(given, said):
    with pytest.raises(GannbError, match=said):
        checked(CONFIG, given)


def test_label_rules_are_those_of_coco():
    assert set(LABEL_RULES) == set(coco.LABEL_RULES)


def test_what_the_printed_rates_say(published):
    found = {r["metric"]: r["value"] for r in study.printed_rows(published)}
    assert found["rates_of_999"] == 1 and found["sets_in_whole_batches"] == 4
    assert (found["wrong_svm"], found["wrong_linear"]) == (821, 973)
    assert (found["wrong_knn"], found["wrong_cnn"]) == (831, 806)
    assert (found["commonest_needed"], found["constant_needed"]) == (178, 26)
    assert found["svm_is_lowest"] == 0, "the CNN's rate is lower"
    assert found["svm_less_knn_low"] < 0 < found["svm_less_knn_high"], "ten of 999 images may be chance"


def test_a_rate_that_is_no_whole_number_of_999_is_seen(published):
    table2 = published["table2"] | {"KNN": 83.25}
    found = {r["metric"]: r["value"] for r in study.printed_rows(published | {"table2": table2})}
    assert found["rates_of_999"] == pytest.approx(0.9)


def test_vectors_are_as_long_as_table_1_makes_them():
    found = {r["metric"]: r["value"] for r in study.network_rows()}
    assert found == {"guidelines_met": 5, "numbers_all_layers": 15_360, "numbers_last_layer": 8_192}
    assert [study.n_layers(size) for size in (16, 32, 64, 128)] == [2, 3, 4, 5]


def error_row(arm, value, role="a", metric=f"error_{study.CHOSEN}"):
    return row(arm, role, 0, "end", metric, value, {})


def test_the_mean_of_the_sources_needs_all_three():
    some = [error_row(study.looker_arm(role, "all layers"), v) for role, v in zip(SOURCES, (0.3, 0.4, 0.8))]
    (mean,) = study.means_of_sources(some)
    assert mean["arm"] == "discriminators, all layers" and mean["value"] == pytest.approx(0.5)
    assert study.means_of_sources(some[:2]) == []


def test_what_far_costs_rises_with_the_layer():
    near = [error_row(study.layer_arm("near", k), v, study.NEAR_TARGETS) for k, v in enumerate((0.5, 0.4))]
    far = [error_row(study.layer_arm("far", k), v, study.NEAR_TARGETS) for k, v in enumerate((0.55, 0.65))]
    found = {(r["arm"], r["metric"]): r["value"] for r in study.specific_rows(near + far, 0)}
    assert found["layer 1", "far_less_near"] == pytest.approx(0.05)
    assert found["last layer against first", "specific_rise"] == pytest.approx(0.2)
    assert study.specific_rows(near, 0) == []


def test_means_over_targets_are_of_what_all_targets_have():
    have = [error_row("x", 0.2, "a"), error_row("x", 0.4, "b"), error_row("y", 0.9, "a")]
    (mean,) = study.over_targets(have, ["a", "b"], {"a": None, "b": None})
    assert (mean["arm"], mean["dataset"]) == ("x", "all targets") and mean["value"] == pytest.approx(0.3)


def test_a_tiny_c_names_one_class_where_classes_are_uneven(cfg):
    targets = study.targets_of(checked(CONFIG, PRESETS["smoke"] | {"target_images": 0}))
    role = next(role for role in targets if role.endswith(study.UNEVEN))
    said = ask_all(pixels(), targets[role], 0, study.machines(cfg))
    found = {r["metric"]: r["value"] for r in probe_rows("pixels", targets[role], 0, said)}
    assert found["commonest_rbf"] == 1 and found["commonest_rbf_chosen"] < 0.9
    assert found["error_linear_chosen"] < found["error_rbf"] / 2


def test_known_answers_of_the_probes(cfg):
    class Study:
        pass

    one = Study()
    one.cfg = cfg
    target = next(iter(study.targets_of(checked(CONFIG, PRESETS["smoke"] | {"target_images": 0})).values()))
    found = {(r["arm"], r["metric"]): r["value"] for r in study.control_rows_of(one, target)}
    assert found["label added", "error_linear_chosen"] == 0
    assert found["shuffled labels", "error_linear_chosen"] > 0.6, "five classes, so a guess is wrong on 0.8"
    assert found["majority class", "error_majority"] == pytest.approx(0.8, abs=0.03)


def test_every_measure_of_an_open_choice_is_known(published):
    asked = {choice["measure"] for choice in published["open_choices"] if choice.get("measure")}
    assert asked == set(words.MEASURES) | {"rule"}


def test_every_lettered_item_has_its_claims():
    ids = {claim.id if hasattr(claim, "id") else claim["id"] for claim in load_claims(YAML)}
    items = {
        "a": "same-procedures same-procedures-chosen",
        "b": "same-sources same-as-without",
        "c": "majority-class linear-majority",
        "d": "lowest-printed beats-knn-printed beats-knn beats-knn-chosen",
        "e": "more-images limited-data",
        "f": "late-specific",
        "g": "coco-classes coco-images",
        "h": "larger-vary",
        "i": "beats-untrained beats-pixels imagenet-better",
    }
    assert all(set(names.split()) <= ids for names in items.values())


def test_resnet_looks_where_its_weights_are_here(monkeypatch):
    assert list(study.imagenet_lookers("cpu")) == [study.IMAGENET], "its weights are not here"
    net = study.network("effnet-lite0")
    monkeypatch.setattr(study, "backbone_of", lambda cfg: net)
    found = study.imagenet_lookers("cpu")
    assert list(found) == [study.IMAGENET, study.RESNET] and found[study.RESNET].arm == "ResNet-18"


def test_a_number_that_is_the_same_in_every_seed_stands_alone():
    class Study:
        results = Results([row("a", "x", s, "end", "m", v, {}) for s, v in enumerate((0.5, 0.5, 0.5))])

    assert words.brief(Study, "x", "a", "m") == "0.500"
    Study.results = Results([row("a", "x", s, "end", "m", v, {}) for s, v in enumerate((0.4, 0.5, 0.6))])
    assert words.brief(Study, "x", "a", "m")["mean"] == pytest.approx(0.5)
    Study.results = Results([row("a", "x", 0, "end", "m", 0.4, {})])
    assert words.brief(Study, "x", "a", "m")["mean"] == 0.4, "one seed has no interval"
    assert str(words.brief(Study, "x", "b", "m")) == "n/a (not measured)"


def test_what_is_not_asked_about_is_named(cfg, tmp_path):
    class Study:
        facts = {"targets": {"cifar10": None}}

    Study.cfg = cfg
    assert set(study.not_here(Study)) == {"coco-val2017", "intel-scenes"}
    Study.cfg = checked(CONFIG, {"data_root": str(tmp_path)})
    found = study.not_here(Study)
    assert {"oxford-pets", "ffhq", "compcars", "mnist"} <= set(found)
    assert "gannb data get coco-val2017" in found["coco-val2017"], "where to get it, not what stands in"
