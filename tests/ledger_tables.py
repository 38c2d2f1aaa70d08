"Small invented claims and tables that the tests of the ledger share."

HIGH = [0.97, 0.98, 0.96, 0.99, 0.97]
LOW = [0.70, 0.66, 0.74, 0.69, 0.72]
WIDE = [0.93, 0.87, 0.96, 0.85, 0.97]


def rows(values, arm="a", metric="m", dataset="d", step="end", protocol=None):
    "One row a seed."
    where = {"arm": arm, "dataset": dataset, "step": step, "metric": metric, "protocol": protocol}
    return [{**where, "seed": seed, "value": value} for seed, value in enumerate(values)]


def control_row(arm, value, metric="m", dataset="d", protocol=None):
    "Real images with a known change, scored like fakes."
    where = {"arm": arm, "dataset": dataset, "step": "control", "metric": metric, "protocol": protocol}
    return [{**where, "seed": None, "value": value}]


def claim(test, **more):
    return {
        "id": "a-claim",
        "sentence": "A sentence.",
        "short": "short",
        "where": "section 1",
        "supported_by_paper": True,
        "supported_reason": "its table shows it",
        "published": 0.9,
        "test": {"metric": "m", "dataset": "d", "reason": "a reason", **test},
        **more,
    }


def difference(**more):
    return claim({"kind": "difference", "arms": ["a", "b"], "direction": "above", "margin": 0.05, **more})


def bound(**more):
    return claim({"kind": "bound", "arm": "a", "direction": "above", "bound": 0.9, **more})


def same(**more):
    return claim({"kind": "equivalence", "arms": ["a", "b"], "margin": 0.1, **more})
