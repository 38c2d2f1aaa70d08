"""Golden trainings: the bytes of a tiny training where they were recorded, and, everywhere, its losses.

A torch or a processor that is not in BYTES is no fault: the test is skipped and says what is known."""

import os
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gannb.config import gan_config
from gannb.datasets.registry import load
from gannb.stages import gan

SMALL = dict(dataset="digits", size=16, epochs=2, batch_size=64, nz=8, ngf=8, ndf=8)
AUGMENTED = {"augment": "color,translation,cutout"}
LOSS_D = (1.4312564, 1.3983512, 1.3708345, 1.3544583, 1.3191403)
LOSS_D += (1.2928941, 1.2746301, 1.2514225, 1.2301464, 1.2124695)
LOSS_G = (0.6808400, 0.6803887, 0.6753985, 0.6645443, 0.6652622)
LOSS_G += (0.6611874, 0.6599837, 0.6569444, 0.6519718, 0.6524819)
BYTES = {  # (torch, machine) -> (threads, augmented) -> sha256 of G's file after ten steps
    ("2.14.1+cu130", "Linux x86_64 AVX512 GenuineIntel 6 167"): {
        (1, False): "86766bfb45625cecd0f8519a88cc58c9f8e57c500850ae122178f54fbb2aec6a",
        (2, False): "84b696dc3ddd48bb17ebea34ca6adcedac60539e9905c61a182bc13637115227",
        (1, True): "344b6fab5e6b3b26049a7750d5e74b7a1a7cf881c537e23d3c61efea7ad419b1",
        (2, True): "1c1072575d29ef53a48a95caa099e7cc34102a204226c255b55efc8980de35ae",
    }
}


def processor() -> str:
    "Maker, family and model of the processor: on them it depends which kernels torch chooses."
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or "unknown"
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    found = {key.strip(): value.strip() for key, _, value in reversed(list(lines))}
    return " ".join(found.get(key, "?") for key in ("vendor_id", "cpu family", "model"))


def here() -> tuple[str, str]:
    "The version of torch and the kind of machine, as in BYTES."
    kind = f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return torch.__version__, f"{kind} {processor()}"


def ten_steps(folder: Path, **change):
    data = load("digits", size=16, progress=False).select(limit=320)
    config = gan_config(**SMALL | {"device": "cpu"} | change)
    return gan.train_run(config, data, 0, folder, "quiet")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("augmented", [False, True], ids=["plain", "augmented"])
def test_bytes_are_those_that_were_recorded(threads, augmented, tmp_path):
    if os.environ.get("ONEDNN_MAX_CPU_ISA"):
        pytest.skip("ONEDNN_MAX_CPU_ISA is set: it chooses other kernels")
    if here() not in BYTES:
        pytest.skip(f"no bytes were recorded for torch {here()[0]} on {here()[1]}; known: {list(BYTES)}")
    run = ten_steps(tmp_path / "run", threads=threads, **(AUGMENTED if augmented else {}))
    assert run.sha256() == BYTES[here()][threads, augmented], (
        "ten steps give other weights than they did: stored trainings are no longer what this code makes"
    )


def test_losses_of_ten_steps(tmp_path):
    "Anywhere: another processor moves the sixth digit at most."
    history = ten_steps(tmp_path / "run", threads=1).history()
    assert np.abs(history["loss_D"] - LOSS_D).max() < 1e-5
    assert np.abs(history["loss_G"] - LOSS_G).max() < 1e-5


def test_a_machine_has_a_name():
    version, machine = here()
    assert version[0].isdigit() and platform.machine() in machine
    assert sys.platform != "linux" or "?" not in machine or platform.machine() != "x86_64"
