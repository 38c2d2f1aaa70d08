"""Fine-tuning on 64x64 JPEGs: gannb's classifiers against the usual loop (torchvision's ImageFolder, a
DataLoader with 2 workers, Adam, `loss.item()` every step), for ResNet-18 and EfficientNet-Lite0, both on all
cores. Images per second and their ratio, interleaved rounds, median; bar 1, aim 1.3. Then how long heads take
on stored features. Run: python bench/classifier.py"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N, SIZE, BATCH, ROUNDS, CLASSES, BAR = 512, 64, 64, 5, 6, 1.0
NETWORKS = ("resnet18", "effnet-lite0")


def make(folder: Path, n: int) -> None:
    "JPEGs in class folders, smooth noise: about as large as photographs of this size."
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        soft = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) // 2
        path = folder / f"class {i % CLASSES}" / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(soft + rng.integers(0, 64, (SIZE, SIZE, 3), np.uint8)).save(path, quality=90)


def plain_model(network: str):
    "The network as its library gives it, with a last layer for our classes."
    if network == "resnet18":
        from torchvision import models

        return models.resnet18(num_classes=CLASSES)
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=CLASSES)


def usual(folder: Path, network: str):
    "The loop of most tutorials, as a function that trains one epoch."
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    mean_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*mean_std)])
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, steps), batch_size=BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    model = plain_model(network)
    opt, criterion = torch.optim.Adam(model.parameters(), lr=1e-3), torch.nn.CrossEntropyLoss()
    list(loader)  # workers started, files in memory

    def epoch() -> None:
        model.train()
        total = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item() * len(x)

    return epoch


def ours(folder: Path, network: str, threads: int):
    "The same with gannb, as a function that trains one epoch; the validation images are six."
    from gannb.classify import Recipe, new_classifier, train_classifier
    from gannb.datasets.registry import load

    images = load(f"folder:{folder}", split="all", size=SIZE, progress=False)
    few = images.rows(np.array([np.flatnonzero(images.labels == k)[0] for k in range(CLASSES)]))
    net = new_classifier(network, CLASSES, SIZE)
    recipe = Recipe(epochs=1, batch_size=BATCH, threads=threads)
    return lambda: train_classifier(net, images, few, recipe)


def seconds(call) -> float:
    t = time.perf_counter()
    call()
    return time.perf_counter() - t


def heads(n: int = 7_000, d: int = 1_280, trainings: int = 6, epochs: int = 10) -> None:
    "How long the heads of a study take."
    from gannb.classify import Recipe, Vectors, new_head, train_classifier

    rng, classes = np.random.default_rng(0), tuple(map(str, range(CLASSES)))
    x, y = rng.normal(size=(1, n, d)).astype(np.float32), np.arange(n) % CLASSES
    train, few = Vectors(x, y, classes), Vectors(x[:, : n // 7], y[: n // 7], classes)
    each = seconds(
        lambda: [
            train_classifier(new_head(d, CLASSES, s), train, few, Recipe(epochs=epochs), s)
            for s in range(trainings)
        ]
    )
    print(f"heads on {n:,} stored features, {epochs} epochs: {each / trainings:.2f} s each, one thread")


def compare(folder: Path, network: str) -> float:
    "The ratio gannb / usual loop."
    import torch

    theirs, mine = usual(folder, network), ours(folder, network, torch.get_num_threads())
    ratios = []
    for r in range(ROUNDS):
        a, b = seconds(theirs), seconds(mine)
        ratios.append(a / b)
        print(
            f"round {r + 1}: {network}, ImageFolder + DataLoader(2 workers) {N / a:,.0f} images/s, "
            f"gannb {N / b:,.0f} images/s, ratio {a / b:.2f}",
            flush=True,
        )
    return statistics.median(ratios)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="gannb-bench-") as tmp:
        os.environ["GANNB_CACHE"] = tmp + "/cache"
        make(Path(tmp) / "jpegs", N)
        found = {network: compare(Path(tmp) / "jpegs", network) for network in NETWORKS}
    for network, ratio in found.items():
        print(f"fine-tuning {network} at {SIZE} px: {ratio:.2f} times the usual loop (bar {BAR:g}, aim 1.3)")
    heads()
    return 0 if min(found.values()) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
