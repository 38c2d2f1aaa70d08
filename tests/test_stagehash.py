"""The hash behind the versions of stages: what must change it, what must not, on a copy of the package."""

import ast
import re
import shutil

import pytest

import stagehash
from test_controls import ENTRIES as CONTROL_ENTRIES
from test_layers_rooms import ENTRIES as LAYER_ENTRIES
from test_score import ENTRIES as SCORE_ENTRIES

ENTRIES = (*SCORE_ENTRIES, *CONTROL_ENTRIES, *LAYER_ENTRIES)


@pytest.fixture
def copy(tmp_path):
    "A copy of the package, and a function that edits it."
    root = tmp_path / "gannb"
    shutil.copytree(stagehash.PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(file: str, pattern: str, new: str) -> str:
        path = root / file
        text, n = re.subn(pattern, new, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
        assert n == 1, f"{file}: nothing matches {pattern!r}; mend this test"
        path.write_text(text, encoding="utf-8")
        return stagehash.code_hash(*ENTRIES, root=root)

    return edit


@pytest.mark.parametrize(
    "file, pattern, new",
    [
        ("metrics.py", r"degree=3", "degree=2"),
        ("metrics.py", r"\(0\.025, 0\.975\)", "(0.05, 0.95)"),
        ("metrics.py", r"(def _radii\(.*?return )", r"\g<1>2 * "),
        ("metrics.py", r"(def inception_score\(.*?)q = p\.mean", r"\g<1>q = p.sum"),
        ("damage.py", r"(def distort\(.*?)255 \*", r"\g<1>128 *"),
        ("damage.py", r'"shuffle": 0.25', '"shuffle": 0.5'),
        ("stages/score.py", r"metrics.coverage\(real, fake\)", "metrics.coverage(fake, real)"),
        ("stages/features.py", r"sample_seeded\(run.generator\(epoch\)", "sample_seeded(run.generator(0)"),
        ("stages/judges.py", r"DOMAIN_SHARE = 0.5", "DOMAIN_SHARE = 0.4"),
        ("stages/memory.py", r"groups, run.seed\)", "None, run.seed)"),
        ("stages/classifier.py", r"C: float = 0.01", "C: float = 1"),
        ("sample.py", r'"sample", 0, dist', '"other", 0, dist'),
        ("models/dcgan.py", r"(def doublings.*?)4, 2, 1", r"\g<1>4, 2, 0"),
        ("base.py", r"np.float32\(127.5\)", "np.float32(128)"),
    ],
)
def test_what_a_score_rests_on_changes_its_hash(copy, file, pattern, new):
    "Wherever it stands, private or not, in whichever room: KID with another degree is another score."
    assert copy(file, pattern, new) != stagehash.code_hash(*ENTRIES)


@pytest.mark.parametrize(
    "file, pattern, new",
    [
        ("metrics.py", r'def kid\((.*?)"[^"]+"\n', r'def kid(\g<1>"Said otherwise."\n'),
        ("metrics.py", r"\n\n\ndef ", "\n\n\n# why\ndef "),
        ("stages/judges.py", r"n_fake: int", "n_fake: float"),
        ("store.py", r"(def read_json\(.*?)json\.loads", r"\g<1>json.load"),
        ("commands/compare.py", r"PICTURES = 16", "PICTURES = 9"),
        ("stages/score.py", r"SCORE_VERSION = \d+  #.*?\n", "SCORE_VERSION = 1\n"),
    ],
)
def test_what_changes_no_score_leaves_it(copy, file, pattern, new):
    assert copy(file, pattern, new) == stagehash.code_hash(*ENTRIES)


def test_whoever_stores_a_score_is_an_entry():
    "Nobody calls `kept_numbers` whose code is not in the hash."
    package = stagehash.Package(stagehash.PACKAGE)
    known = set(package.closure(ENTRIES))
    callers = {
        (module, name)
        for module, defs in package.defs.items()
        for name, node in defs.items()
        if any(isinstance(n, ast.Name) and n.id == "kept_numbers" for n in ast.walk(node))
    }
    assert callers, "nobody stores a score?"
    assert not callers - known


def test_an_entry_that_was_renamed_is_missed():
    with pytest.raises(KeyError, match="scored"):
        stagehash.code_hash(("stages.score", "scored"))


def test_the_message_says_what_to_do():
    with pytest.raises(AssertionError, match="SCORE_VERSION = 7 changed.*--record"):
        stagehash.check("SCORE_VERSION", 7, {1: "0" * 16}, *ENTRIES)
