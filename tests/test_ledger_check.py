"""Anyone can check: the rows of a folder give its verdicts again, here also by numpy and nothing else."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gannb.base import GannbError
from gannb.cli import main
from gannb.ledger.check import check, read_results, results_text
from gannb.ledger.network import absent_row, failed_ladders, judge_study, ladder_row

ROOT = Path(__file__).resolve().parents[1]
CARD = {"network": "effnet-lite0", "n_real": 400, "held_out": True}
SAID = {"where": "section 4", "supported_by_paper": None, "supported_reason": "made up", "published": None}


def claim(name, **test):
    test = {"dataset": "letters", "quantity": test["metric"], "reason": "made up"} | test
    return SAID | {"id": name, "short": name, "sentence": f"The sentence of {name}.", "test": test}


TWO = ["wide", "plain"]
CLAIMS = [
    claim("high", kind="bound", metric="D_real", arm="plain", direction="above", bound=0.9),
    claim("middle", kind="bound", metric="D_real", arm="plain", direction="between", bound=[0.5, 0.97]),
    claim("wider", kind="difference", metric="kid", arms=TWO, direction="below", margin=0.05),
    claim(
        "wider-unpaired", kind="difference", metric="kid", arms=TWO, direction="above", margin=0, paired=False
    ),
    claim("same", kind="equivalence", metric="recall", arms=TWO, margin=0.2),
    claim("no-harm", kind="no_harm", metric="recall", arms=TWO, margin=0.05, better="higher"),
    claim(
        "order",
        kind="order",
        metric="kid",
        comparisons=[TWO, ["plain", "narrow"]],
        direction="below",
        margin=0,
    ),
    claim(
        "slope",
        kind="slope",
        metric="kid",
        over={"narrow": 4, "plain": 8, "wide": 16},
        direction="below",
        bound=0,
    ),
    claim("falls", kind="slope", metric="loss_D", arm="plain", over="step", direction="below", bound=0),
    claim(
        "signal",
        **{"kind": "correlation", "metric": "kid", "arm": "plain", "with": "loss_D"},
        direction="above",
        bound=0.5,
    ),
    claim("collapse", kind="events", metric="collapsed", arms=TWO, direction="fewer", event="it collapsed"),
    claim("images", kind="fact", metric="images", arm="counts", expected=5133, units="none"),
    claim(
        "both",
        kind="all",
        metric="D_real",
        tests=[
            {"kind": "bound", "arm": "plain", "direction": "above", "bound": 0.9},
            {"kind": "bound", "arm": "wide", "direction": "above", "bound": 0.99},
        ],
    ),
    claim(
        "with-gate",
        kind="bound",
        metric="D_real",
        arm="plain",
        direction="above",
        bound=0.9,
        requires=[
            {
                "kind": "bound",
                "metric": "kid",
                "arm": "plain",
                "direction": "below",
                "bound": 9,
                "label": "good enough",
                "reason": "made up",
            }
        ],
    ),
    claim("few", kind="bound", metric="D_real", arm="rare", direction="above", bound=0.9),
]


def result(arm, metric, seed, value, step="end", dataset="letters", protocol=CARD):
    return {
        "arm": arm,
        "dataset": dataset,
        "seed": seed,
        "step": step,
        "metric": metric,
        "value": value,
        "protocol": protocol,
    }


def made_up_rows():
    "Three arms, six seeds, a curve, a count: what the claims above ask for."
    rng = np.random.default_rng(7)
    rows = [result("counts", "images", None, 5133, None, None, {})]
    for seed in range(6):
        level = rng.normal(0, 0.1)
        for arm, kid in (("narrow", 1.2), ("plain", 0.9), ("wide", 0.5)):
            rows.append(result(arm, "kid", seed, kid + level + rng.normal(0, 0.05)))
            rows.append(result(arm, "recall", seed, 0.4 + rng.normal(0, 0.03)))
            rows.append(result(arm, "D_real", seed, 0.96 + rng.normal(0, 0.01), protocol={}))
            rows.append(result(arm, "collapsed", seed, float(arm != "wide"), protocol={}))
        for step in (100, 200, 300, 400.5):
            loss = 1 / step + rng.normal(0, 1e-4)
            rows.append(result("plain", "loss_D", seed, loss, step, protocol={}))
            rows.append(result("plain", "kid", seed, 90 * loss + rng.normal(0, 0.05), step))
    rows += [result("rare", "D_real", seed, 0.97 + seed / 1000, protocol={}) for seed in range(3)]
    return [*rows, ladder_row("letters", [])]


def publish(folder, claims=CLAIMS, rows=None, setting="desk", names=None):
    "A folder as a reference holds it."
    rows = made_up_rows() if rows is None else rows
    folder.mkdir(parents=True, exist_ok=True)
    text, protocols = results_text(rows)
    (folder / "results.csv").write_text(text, encoding="utf-8")
    (folder / "protocols.json").write_text(json.dumps(protocols), encoding="utf-8")
    judged = judge_study(claims, rows, setting, names=names)
    (folder / "claims.json").write_text(json.dumps(judged), encoding="utf-8")
    return judged


@pytest.fixture
def folder(tmp_path):
    publish(tmp_path / "study")
    return tmp_path / "study"


# ---- rows to text and back --------------------------------------------------------------------------------
def test_every_row_comes_back_as_it_was(folder):
    rows = made_up_rows()
    back = read_results(folder)
    assert [{**r, "value": float(r["value"])} for r in rows] == back
    assert [type(r["step"]) for r in rows] == [type(r["step"]) for r in back]
    assert len({r["step"] for r in rows if r["metric"] == "loss_D"}) == 4


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-320, -0.0, 1 / 3, np.float32(0.1), 2**60, -1e300, 5133])
def test_a_value_is_the_same_double(tmp_path, value):
    publish(tmp_path, [], [result("a", "m", 0, value)])
    back = read_results(tmp_path)[0]["value"]
    assert back == float(value) and math.copysign(1, back) == math.copysign(1, value)


def test_what_diverged_or_has_no_value_stays_so(tmp_path):
    publish(tmp_path, [], [result("a", "m", 0, v) for v in (math.nan, math.inf, None)])
    nan, inf, none = (r["value"] for r in read_results(tmp_path))
    assert math.isnan(nan) and inf == math.inf and none is None


@pytest.mark.parametrize("name", ["a, b", 'the "best"', "two\nlines", "Äpfel", " blank "])
def test_names_survive_commas_quotes_and_lines(tmp_path, name):
    publish(tmp_path, [], [result(name, name, 0, 1.0, name, name, {name: [1, None, "x"]})])
    row = read_results(tmp_path)[0]
    assert row == result(name, name, 0, 1.0, name, name, {name: [1, None, "x"]})


@pytest.mark.parametrize(
    "change, word",
    [
        ({"arm": ""}, "not empty"),
        ({"dataset": 5}, "must be a text"),
        ({"step": "250"}, "reads as a number"),
        ({"step": True}, "must be a text"),
        ({"protocol": {"net": object()}}, "JSON"),
        ({"protocol": {"n": math.nan}}, "JSON"),
    ],
)
def test_a_row_that_would_not_come_back_is_refused(change, word):
    with pytest.raises(GannbError, match=word):
        results_text([result("a", "m", 0, 1.0) | change])


def test_a_protocol_is_written_once_and_numpy_numbers_are_numbers():
    cards = [{"n": np.int64(3), "over": (1, 2)}, {"over": [1, 2], "n": 3}, {}]
    text, protocols = results_text([result("a", "m", s, 1.0, protocol=c) for s, c in enumerate(cards)])
    assert [*map(json.dumps, protocols.values())] == ['{"n": 3, "over": [1, 2]}', "{}"], "the first's order"
    assert len({line.rsplit(",", 1)[1] for line in text.splitlines()[1:]}) == 2


# ---- judged again -----------------------------------------------------------------------------------------
def change_records(folder, change):
    "claims.json, each record changed."
    path = folder / "claims.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps([change(record) for record in records]), encoding="utf-8")


def test_the_same_words_come_back_with_the_names_of_the_page(tmp_path):
    judged = publish(tmp_path, names={"letters": "handwritten letters", "plain": "the main training"})
    assert any("handwritten letters" in record["reason"] for record in judged)
    assert check(tmp_path) == []
    change_records(tmp_path, lambda r: {**r, "names": {}})
    assert any("reason is" in text for text in check(tmp_path)), "without the names it says other words"


def older(record):
    "A record as it was before its words changed."
    kept = {f: v for f, v in record.items() if f not in ("names", "here", "shown", "rank", "group")}
    return {**kept, "reason": "other words", "ours": "other words", "rule": "other words", "parts": []}


@pytest.mark.parametrize(
    "field, wrong", [("verdict", "reproduced"), ("interval", [0, 1]), ("n", 4), ("values", [])]
)
def test_a_record_without_names_is_held_to_its_numbers(tmp_path, field, wrong):
    "A reference from before says the same in other words."
    publish(tmp_path)
    change_records(tmp_path, older)
    assert check(tmp_path) == []
    change_records(tmp_path, lambda r: {**r, field: wrong} if r["verdict"] == "not reproduced" else r)
    assert any(f": {field}" in text for text in check(tmp_path))


def test_an_honest_folder_is_confirmed(folder, capsys):
    assert check(folder) == []
    assert main(["ledger", "check", str(folder)]) == 0
    n = len(made_up_rows())
    said = (
        f"{len(CLAIMS)} claims judged again from {n:,} rows: every verdict, interval and control is the same."
    )
    assert capsys.readouterr().out.strip() == said


def change_rows(folder, old, new):
    path = folder / "results.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def change_claim(folder, name, **changes):
    path = folder / "claims.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    next(r for r in records if r["id"] == name).update(changes)
    path.write_text(json.dumps(records), encoding="utf-8")


def one_value(folder):
    change_rows(folder, "plain,letters,3,end,D_real,0.9", "plain,letters,3,end,D_real,0.8")


def no_protocol(folder):
    path = folder / "protocols.json"
    left = {k: v for k, v in json.loads(path.read_text()).items() if v != CARD}
    path.write_text(json.dumps(left))


def softer_bound(folder):
    change_claim(folder, "high", test=CLAIMS[0]["test"] | {"bound": 0.5})


def lines(folder, make):
    path = folder / "results.csv"
    path.write_text("\n".join(make(path.read_text().splitlines())) + "\n")


def file_of(folder, name, text):
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (one_value, ["claim high", "claim both"]),
        (softer_bound, ["claim high", "hash"]),
        (no_protocol, ["row 2", "protocols.json"]),
        (
            lambda f: change_claim(f, "same", verdict="not reproduced"),
            ["claim same: verdict is", "reproduced"],
        ),
        (lambda f: change_claim(f, "wider", interval=[-0.5, -0.3]), ["claim wider: interval[0] is -0.5"]),
        (lambda f: change_claim(f, "wider", ours="-0.9"), ["claim wider: ours"]),
        (lambda f: change_claim(f, "wider", n=7, seeds=[0]), ["claim wider: seeds", "claim wider: n is 7"]),
        (lambda f: change_claim(f, "wider", test={"kind": "magic"}), ["cannot be judged again", "magic"]),
        (lambda f: change_claim(f, "wider", id="high"), ["'high' stands twice"]),
        (lambda f: change_claim(f, "wider", setting="paper"), ["several settings (desk, paper)"]),
        (lambda f: lines(f, lambda x: x[:1]), ["holds no rows"]),
        (lambda f: lines(f, lambda x: x[:2]), ["cannot be judged again", "occurs in no row"]),
        (lambda f: lines(f, lambda x: [x[0], "a,b,0"]), ["row 1", "3 columns"]),
        (lambda f: lines(f, lambda x: [x[0].replace("value", "score"), *x[1:]]), ["columns", "score"]),
        (lambda f: change_rows(f, ",end,kid,", ",end,kid,x"), ["value 'x", "not a number"]),
        (lambda f: change_rows(f, "letters,3,end", "letters,three,end"), ["seed 'three'"]),
        (lambda f: file_of(f, "results.csv", ""), ["begins with nothing"]),
        (lambda f: file_of(f, "protocols.json", "{"), ["protocols.json is damaged"]),
        (lambda f: file_of(f, "protocols.json", "[]"), ["protocols.json must hold a mapping"]),
        (lambda f: file_of(f, "protocols.json", '{"a": 1}'), ["protocol 'a' must be a mapping"]),
        (lambda f: file_of(f, "claims.json", "[]"), ["holds no claims"]),
        (lambda f: file_of(f, "claims.json", '[{"id": "x"}]'), ["record 1 has no 'sentence'"]),
        (lambda f: (f / "results.csv").unlink(), ["results.csv does not exist"]),
        (lambda f: (f / "results.csv").write_bytes(b"\xff\xfe\x00"), ["results.csv is damaged"]),
    ],
)
def test_what_was_changed_is_told_and_the_exit_status_is_1(folder, capsys, spoil, words):
    spoil(folder)
    assert main(["ledger", "check", str(folder)]) == 1
    out = capsys.readouterr()
    assert not out.err and "could not be confirmed" in out.out and "Traceback" not in out.out
    for word in words:
        assert word in out.out, out.out


def test_a_claim_that_was_taken_out_stays_told(tmp_path, capsys):
    rows = made_up_rows()
    before = judge_study(CLAIMS[:2], rows, "desk")
    publish(tmp_path, CLAIMS[:1], rows)
    after = judge_study(CLAIMS[:1], rows, "desk", previous=before)
    (tmp_path / "claims.json").write_text(json.dumps(after))
    assert main(["ledger", "check", str(tmp_path)]) == 0
    assert "1 claim judged" in (said := capsys.readouterr().out) and "1 more claim" in said
    change_claim(tmp_path, "middle", verdict="reproduced")
    assert "taken out of the YAML" in check(tmp_path)[0]


def test_the_ladder_is_in_the_rows(tmp_path):
    "Where the network failed, its claims have no verdict; without the row of the ladder they would have one."
    rows = [r for r in made_up_rows() if r["arm"] != "ladder"]
    judged = publish(tmp_path, CLAIMS, [*rows, ladder_row("letters", ["slight blur is worse"])])
    verdicts = {c["id"]: c["verdict"] for c in judged}
    assert verdicts["wider"] == verdicts["signal"] == verdicts["same"] == "not testable here"
    assert verdicts["high"] == "reproduced" and check(tmp_path) == []
    lines(tmp_path, lambda x: [line for line in x if "ladder" not in line])
    assert any("claim wider: verdict" in text for text in check(tmp_path))


def test_failed_ladders_are_read_from_rows():
    rows = [ladder_row("a", []), ladder_row("b", ["x", "y"]), result("plain", "ladder_passed", None, 0.0)]
    assert failed_ladders(rows) == {"b": "the network may not judge here, it failed the ladder: x; y"}


def test_settings_that_judge_nothing_are_confirmed_too(tmp_path):
    rows = [*made_up_rows(), ladder_row("letters", ["x"])]
    assert publish(tmp_path, rows=rows, setting="quick")[0]["verdict"] == "not testable here"
    assert check(tmp_path) == []


def test_no_torch_is_loaded(folder):
    code = f"import sys; from gannb.cli import main; s = main(['ledger', 'check', {str(folder)!r}]); "
    code += "assert 'torch' not in sys.modules and 'pandas' not in sys.modules; sys.exit(s)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_paper_is_its_reference(capsys):
    assert main(["ledger", "check", "no-such-folder"]) == 2
    assert "dataset_study" in capsys.readouterr().err
    assert main(["ledger", "check", "fruits"]) in (0, 1)
    out = capsys.readouterr().out
    assert "claims judged again" in out or str(ROOT / "outputs" / "reference" / "fruits") in out


# ---- recomputed with numpy alone --------------------------------------------------------------------------
def incomplete_beta(a, b, x):
    "Regularised, by the continued fraction of Numerical Recipes, section 6.4 (modified Lentz)."
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    tiny, c, d = 1e-300, 1.0, 1 / (1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, 500):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + top * d or tiny)
            c = 1 + top / c or tiny
            h *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * h / a


def t_quantile(p, df):
    "By bisection, p above one half."
    low, high = 0.0, 1e4
    for _ in range(200):
        t = (low + high) / 2
        below = 1 - incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2 if t else 0.5
        low, high = (t, high) if below < p else (low, t)
    return t


@pytest.mark.parametrize(
    "p, df, table", [(0.975, 4, 2.776445), (0.95, 4, 2.131847), (0.975, 9, 2.262157), (0.975, 1, 12.706205)]
)
def test_the_quantiles_are_those_of_a_printed_table(p, df, table):
    assert t_quantile(p, df) == pytest.approx(table, abs=6e-7)


def rows_of(folder):
    with open(folder / "results.csv", encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def same_step(written, wanted):
    "The step a cell asks for; `all` steps are those of a training, so no control is among them."
    if wanted in (None, "all"):
        return written != "control"
    try:
        return float(written) == float(wanted)
    except ValueError:
        return written == str(wanted)


def seed_values(rows, cell, test):
    "seed -> mean over its rows, all from the CSV's own text."
    found = {}
    for r in rows:
        here = r["metric"] == cell["metric"] and (r["arm"], r["dataset"]) == (cell["arm"], cell["dataset"])
        if here and same_step(r["step"], cell["at"]):
            found.setdefault(int(r["seed"]), []).append(float(r["value"] or "nan"))
    means = {s: float(np.mean(v)) for s, v in found.items()}
    return {s: v if math.isfinite(v) else float(test.get("if_diverged", "nan")) for s, v in means.items()}


def curve(rows, cell):
    "seed -> {step -> mean value} at the numbered steps."
    out = {}
    for r in rows:
        number = r["step"].replace(".", "", 1).isdigit()
        here = r["metric"] == cell["metric"] and (r["arm"], r["dataset"]) == (cell["arm"], cell["dataset"])
        if here and number:
            steps = out.setdefault(int(r["seed"]), {})
            steps.setdefault(float(r["step"]), []).append(float(r["value"] or "nan"))
    return {s: {t: float(np.mean(v)) for t, v in steps.items()} for s, steps in out.items()}


def ranks(x):
    x = np.asarray(x, float)
    return np.array([(x < v).sum() + ((x == v).sum() + 1) / 2 for v in x])


def line(x, y, test):
    "Slope or correlation; NaN where nothing varies."
    x, y = np.asarray(x, float), np.asarray(y, float)
    if not np.isfinite([x, y]).all() or np.ptp(x) == 0:
        return math.nan
    if test["kind"] == "slope":
        return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    if np.ptp(y) == 0:
        return math.nan
    x, y = (x, y) if test.get("method") == "pearson" else (ranks(x), ranks(y))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


def lines_of(rows, cells, test):
    "seed -> slope or correlation."
    if isinstance(test.get("over"), dict):
        values = [seed_values(rows, c, test) for c in cells]
        x = [test["over"][c["arm"]] for c in cells]
        shared = [s for s in values[0] if all(s in v for v in values)]
        return {s: line(x, [v[s] for v in values], test) for s in shared}
    first, last = curve(rows, cells[0]), curve(rows, cells[-1])
    out = {}
    for s, points in first.items():
        steps = [t for t in points if t in last.get(s, {})]
        x = steps if test.get("over") == "step" else [last[s][t] for t in steps]
        out[s] = line(x, [points[t] for t in steps], test)
    return out


def groups_of(rows, cells, test):
    "The numbers that decide, one list a group."
    if test["kind"] in ("slope", "correlation"):
        return [list(lines_of(rows, cells, test).values())]
    values = [seed_values(rows, c, test) for c in cells]
    if len(values) == 1 or not test.get("paired", True):
        return [list(v.values()) for v in values]
    return [[values[0][s] - values[1][s] for s in values[0] if s in values[1]]]


def interval_of(groups, level):
    "Student's interval of a mean, Welch's of a difference of two."
    means = [np.mean(g) for g in groups]
    parts = [np.var(g, ddof=1) / len(g) for g in groups]
    df = sum(parts) ** 2 / sum(p * p / (len(g) - 1) for p, g in zip(parts, groups)) if sum(parts) else 1
    middle = means[0] - (means[1] if len(means) == 2 else 0)
    half = t_quantile((1 + level) / 2, df) * math.sqrt(sum(parts))
    return middle - half, middle + half


def region_of(test):
    "Where the claim is true."
    kind, margin = test["kind"], test.get("margin") or 0
    if kind == "equivalence":
        return -margin, margin
    if kind == "no_harm":
        return (-margin, math.inf) if test["better"] == "higher" else (-math.inf, margin)
    if kind == "memorisation":
        return 0.5 + margin, math.inf
    if test["direction"] == "between":
        return tuple(test["bound"])
    zero = test["bound"] if kind in ("bound", "slope", "correlation") else 0
    return (zero + margin, math.inf) if test["direction"] == "above" else (-math.inf, zero - margin)


def verdict_of(low, high, region):
    if region[0] < low and high < region[1]:
        return "reproduced"
    return "not reproduced" if high < region[0] or low > region[1] else "inconclusive"


def fisher(a, n, b, m):
    "P(first arm has at most `a`) given the margins."
    k, total = a + b, math.comb(n + m, a + b)
    return sum(math.comb(n, i) * math.comb(m, k - i) for i in range(a + 1) if 0 <= k - i <= m) / total


def events_verdict(rows, cells, test):
    seen = [[v if math.isfinite(v) else 1.0 for v in seed_values(rows, c, test).values()] for c in cells]
    (a, n), (b, m) = ((int(sum(v)), len(v)) for v in seen)
    if min(n, m) < 5:
        return "inconclusive"
    fewer, more = fisher(a, n, b, m), fisher(b, m, a, n)
    if test["direction"] == "more":
        fewer, more, a, b = more, fewer, b, a
    if b == 0:
        return "inconclusive"
    return "reproduced" if fewer < 0.025 else "not reproduced" if more < 0.025 else "inconclusive"


def fact_verdict(rows, test):
    arm = test.get("arm")
    cell = arm if isinstance(arm, dict) else {"arm": arm}
    cell = {"metric": test["metric"], "dataset": test.get("dataset"), "at": test.get("at")} | cell
    found = [
        float(r["value"] or "nan")
        for r in rows
        if r["metric"] == cell["metric"]
        and all(cell[f] in (None, r[f]) for f in ("arm", "dataset"))
        and same_step(r["step"], cell["at"])
    ]
    slack, want, way = test.get("tolerance") or 0, test["expected"], test.get("direction") or "equal"
    low, high = want if way == "between" else (want, want)
    fuzz = slack + 1e-12 * max(abs(low), abs(high))
    holds = {
        "equal": lambda v: low - fuzz <= v <= high + fuzz,
        "between": lambda v: low - fuzz <= v <= high + fuzz,
        "above": lambda v: v > low - slack,
        "below": lambda v: v < high + slack,
    }[way]
    return "reproduced" if found and all(map(holds, found)) else "not reproduced"


OWN = ("kind", "label", "tests", "number", "counterpart", "mechanism", "removed", "requires")
OWN += ("planted", "quality", "controls", "second", "resolution", "margin_in")
GUARDS = ("requires", "planted", "quality", "controls", "second", "resolution", "margin_in")


def inherited(around, part):
    taken = {k: v for k, v in around.items() if k not in OWN and v is not None}
    if "datasets" in part:
        taken.pop("dataset", None)
    if "dataset" in part:
        taken.pop("datasets", None)
    return {**taken, **part}


def parts_of(test, setting):
    "The tests inside a test, in order; none for a single one."
    if test["kind"] in ("all", "any", "readings"):
        return [inherited(test, t) for t in test["tests"]]
    if test["kind"] == "artefact":
        number = "number" if setting == "paper" else "counterpart"
        return [inherited(test, test[f]) for f in (number, "mechanism", "removed")]
    if "datasets" in test:
        return [
            {**{k: v for k, v in test.items() if k != "datasets"}, "dataset": d} for d in test["datasets"]
        ]
    if test["kind"] == "order":
        return [inherited(test, {"kind": "difference", "arms": pair}) for pair in test["comparisons"]]
    return []


def leaves(test, record, setting):
    "Every single comparison with the test it was judged by."
    inside = parts_of(test, setting)
    if not inside:
        yield test, record
    for part, came_out in zip(inside, record["parts"]):
        yield from leaves(part, came_out, setting)


INTERVAL_KINDS = ("bound", "difference", "equivalence", "no_harm", "slope", "correlation", "memorisation")


def again(rows, test, record):
    "Verdict and interval of one comparison, from the CSV alone; None for a kind that has no recomputation."
    cells = record["values"]
    if test["kind"] == "fact":
        return fact_verdict(rows, test), None
    if test["kind"] == "events":
        return events_verdict(rows, cells, test), None
    if test["kind"] not in INTERVAL_KINDS:
        return None
    groups = groups_of(rows, cells, test)
    wanted = test.get("seeds") or 5
    least = 5 if isinstance(wanted, list) else wanted
    if not all(map(len, groups)) or not np.isfinite(np.concatenate(groups)).all():
        return "inconclusive", None
    along_steps = test["kind"] in ("slope", "correlation") and not isinstance(test.get("over"), dict)
    everyone = [] if along_steps else [v for c in cells for v in seed_values(rows, c, test).values()]
    if not np.isfinite(everyone).all():
        return "inconclusive", None
    if min(map(len, groups)) < 2:
        return "inconclusive", None
    level = 0.90 if test["kind"] in ("equivalence", "no_harm") else 0.95
    low, high = interval_of(groups, level)
    verdict = verdict_of(low, high, region_of(test))
    size = max(map(abs, everyone), default=0)
    alike = test["kind"] != "correlation" and all(
        np.ptp(g) <= 1e-12 * max(size, *map(abs, g)) for g in groups
    )
    return "inconclusive" if min(map(len, groups)) < least or alike else verdict, (low, high)


def recompute(folder):
    "How many comparisons of a folder were recomputed; every one must agree."
    rows, checked = rows_of(folder), 0
    for claim in json.loads((folder / "claims.json").read_text(encoding="utf-8")):
        test = {k: v for k, v in claim["test"].items() if v is not None}
        for leaf, record in leaves(test, claim, claim["setting"]):
            if leaf["kind"] != "fact" and not record["values"]:
                assert record["verdict"] == "not testable here", claim["id"]
                continue
            if (found := again(rows, leaf, record)) is None:
                continue
            verdict, interval = found
            where = f"{folder.name}: {claim['id']}, {record.get('label')}"
            if record["verdict"] != "not testable here" and not any(g in leaf for g in GUARDS):
                assert record["verdict"] == verdict, where
            assert record["verdict"] in (verdict, "inconclusive", "not testable here"), where
            if record["interval"] and interval:
                size = max(map(abs, interval))
                assert record["interval"] == pytest.approx(interval, rel=1e-9, abs=1e-9 * size), where
                assert (verdict, record["interval"]) != (verdict, None)
            checked += 1
    return checked


def test_made_up_verdicts_with_numpy_alone(folder):
    judged = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert len({c["verdict"] for c in judged}) >= 3, "verdicts of several kinds, or this says little"
    assert recompute(folder) == len(CLAIMS) + 2, "order and all have two comparisons each"


@pytest.mark.parametrize(
    "old, new",
    [(",end,kid,0", ",end,kid,1"), ("plain,letters,0,end,D_real,0.9", "plain,letters,0,end,D_real,0.8")],
)
def test_the_recomputation_sees_a_changed_value(folder, old, new):
    change_rows(folder, old, new)
    with pytest.raises(AssertionError):
        recompute(folder)


@pytest.mark.parametrize("paper", ["dataset_study", "fruits"])
def test_reference_verdicts_with_numpy_alone(paper):
    reference = ROOT / "outputs" / "reference" / paper
    if not (reference / "results.csv").is_file():
        pytest.skip(f"the reference of {paper} has no results.csv yet")
    assert recompute(reference) >= 20
    assert check(reference) == []


def test_what_is_not_here_says_so_from_the_rows_alone():
    "A data set that is declared missing is not testable with its reason; an undeclared one is an error."
    lost = {**CLAIMS[0], "id": "lost", "test": {**CLAIMS[0]["test"], "dataset": "grapes"}}
    rows = made_up_rows()
    with pytest.raises(GannbError, match="grapes"):
        judge_study([lost], rows, "desk")
    (record,) = judge_study([lost], [*rows, absent_row("grapes", "nobody has them")], "desk")
    assert record["verdict"] == "not testable here" and record["reason"] == "Nobody has them."
    assert judge_study([lost], rows, "quick")[0]["verdict"] == "not testable here", "it judges nothing"
