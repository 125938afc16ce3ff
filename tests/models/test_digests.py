"""Digests of a checkpoint's files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pixelreasoner.models.digests import checkpoint_digests


def folder_with(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_each_kind_of_file_has_a_digest_of_its_own(tmp_path: Path):
    files = {"model__safetensors": "w", "config__json": "c", "tokenizer__json": "t"}
    whole = checkpoint_digests(folder_with(tmp_path / "a", **files))
    # By hand: the digest of a line per file, its name and its SHA-256.
    line = f"model.safetensors {hashlib.sha256(b'w').hexdigest()}\n"
    assert whole["weights"] == hashlib.sha256(line.encode()).hexdigest()[:16]
    assert checkpoint_digests(folder_with(tmp_path / "b", **files)) == whole
    other = checkpoint_digests(folder_with(tmp_path / "c", **(files | {"tokenizer__json": "T"})))
    assert {name for name in whole if whole[name] != other[name]} == {"tokenizer"}
    other = checkpoint_digests(folder_with(tmp_path / "d", **files, preprocessor_config__json="{}"))
    assert {name for name in whole if whole[name] != other[name]} == {"config"}


def test_what_is_not_there_has_none(tmp_path: Path):
    adapters = folder_with(tmp_path / "a", adapter_model__safetensors="x", adapter_config__json="{}")
    assert checkpoint_digests(adapters).keys() == {"weights", "config"}
    assert checkpoint_digests(folder_with(tmp_path / "empty")) == {}


def test_adapters_beside_a_chat_format_are_weights(tmp_path: Path):
    folder = folder_with(tmp_path, config__json="c")
    before = checkpoint_digests(folder)
    folder_with(folder / "adapter", adapter_model__safetensors="x", adapter_config__json="{}")
    after = checkpoint_digests(folder)
    assert after.keys() == {"weights", "config"}
    assert after["config"] == before["config"]


def test_a_file_of_the_hubs_cache_is_known_by_its_name(tmp_path: Path):
    """The cache names the blob of a large file by its SHA-256; the bytes need not be read."""
    name = hashlib.sha256(b"w").hexdigest()
    blobs = folder_with(tmp_path / "blobs")
    (blobs / name).write_text("not read")
    linked, plain = folder_with(tmp_path / "linked"), folder_with(tmp_path / "plain", model__safetensors="w")
    (linked / "model.safetensors").symlink_to(blobs / name)
    assert checkpoint_digests(linked) == checkpoint_digests(plain)
