"Files whose length is right and whose bytes are not; a file that is replaced, not written over."

import os

import pytest
import torch

from gannb import store
from gannb.base import GannbError


def flip(file, at=-7):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def checkpoint(folder, step):
    return store.save_checkpoint(folder, step, {"w": torch.full((64,), float(step))}, {"step": step})


def test_a_flipped_byte_in_a_checkpoint_is_passed_over(tmp_path):
    for step in (5, 6):
        checkpoint(tmp_path, step)
    flip(tmp_path / "step-00000006" / "tensors.safetensors")
    with pytest.warns(UserWarning, match="passed over"):
        tensors, state, folder = store.load_checkpoint(tmp_path)
    assert state == {"step": 5} and folder.name == "step-00000005"
    assert torch.equal(tensors["w"], torch.full((64,), 5.0))


def test_a_flipped_byte_in_the_only_checkpoint_is_an_error(tmp_path):
    flip(checkpoint(tmp_path, 5) / "tensors.safetensors")
    with pytest.warns(UserWarning, match="passed over"):
        with pytest.raises(GannbError, match="No checkpoint in .* is whole: .*does not match its manifest"):
            store.load_checkpoint(tmp_path)


def test_a_changed_state_of_a_checkpoint_is_an_error(tmp_path):
    state = checkpoint(tmp_path, 5) / "state.json"
    state.write_text(state.read_text().replace("5", "6"))
    with pytest.warns(UserWarning, match="state.json does not match"):
        with pytest.raises(GannbError, match="is whole"):
            store.load_checkpoint(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be replaced here")
def test_a_write_replaces_the_file_and_never_its_bytes(tmp_path):
    "Who has the old file open, or another name for it, keeps the old bytes."
    file, second_name = tmp_path / "done.json", tmp_path / "second name"
    store.atomic_write(file, "old")
    os.link(file, second_name)
    with open(file, "rb") as reader:
        store.atomic_write(file, "the new content")
        assert reader.read() == b"old"
    assert file.read_text() == "the new content" and second_name.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["done.json", "second name"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = store.atomic_write(tmp_path / "done.json", "old")

    def full(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GannbError, match="the disk is full"):
        store.atomic_write(file, "new")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_provenance_names_the_versions_that_can_move_a_number():
    versions = store.provenance("cpu", 1)["versions"]
    assert {"torch", "torch-fidelity", "timm", "numpy", "scipy", "scikit-learn", "pydantic"} <= set(versions)
    assert versions["torch"] != "absent" and versions["pydantic"] != "absent"
    assert store.installed_version("no-such-package-anywhere") == "absent"
