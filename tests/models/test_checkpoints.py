"""Names of checkpoints: folders, shipped ones, the hub; and what a wrong one probably meant."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.checkpoints import SHIPPED, checkpoint_folder


def test_a_folder_and_a_shipped_name(qwen3_folder):
    assert checkpoint_folder(qwen3_folder) == qwen3_folder
    assert checkpoint_folder("nano") == SHIPPED / "nano"


def test_the_hub_keeps_its_own_cache(qwen3_folder, monkeypatch):
    asked = []

    def snapshot(name, *, allow_patterns):
        asked.append((name, "*.safetensors" in allow_patterns, "*.bin" in allow_patterns))
        return str(qwen3_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert checkpoint_folder("Qwen/Qwen3-VL-2B-Instruct") == qwen3_folder
    assert asked == [("Qwen/Qwen3-VL-2B-Instruct", True, False)]


def test_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for error in (LocalEntryNotFoundError("no network"), OfflineModeIsEnabled("offline")):

        def offline(*_, error=error, **__):
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
        with pytest.raises(CheckpointError, match=r"hub cannot be reached.*hf download org/name"):
            checkpoint_folder("org/name")


@pytest.mark.parametrize("name", ["nowhere", "/nowhere/model", "a/b/c", "../model", "runs/ft/", ""])
def test_what_cannot_be_a_model_of_the_hub_is_not_asked_for(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="nano"):
        checkpoint_folder(name)


class TestWhatWasMeant:
    def test_a_run_folder(self, tmp_path):
        for name in ("model", "start"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=rf"did you mean {tmp_path / 'model'}\?"):
            checkpoint_folder(tmp_path)

    def test_the_parent_of_numbered_checkpoints(self, tmp_path):
        for name in ("checkpoint-200", "checkpoint-1000"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"did you mean .*checkpoint-1000"):
            checkpoint_folder(tmp_path)

    def test_a_run_that_was_interrupted(self, tmp_path):
        """Its last numbered checkpoint; one that has none yet is told what it is."""
        (tmp_path / "config.toml").write_text("")
        with pytest.raises(CheckpointError, match=r"a run that has saved no checkpoint yet.*--resume"):
            checkpoint_folder(tmp_path)
        for step in (5, 10):
            folder = tmp_path / "checkpoints" / f"step-{step:06}"
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"did you mean .*checkpoints/step-000010\?"):
            checkpoint_folder(tmp_path)
        with pytest.raises(CheckpointError, match=r"did you mean .*step-000010\?"):
            checkpoint_folder(tmp_path / "checkpoints")

    def test_the_parent_of_adapters(self, tmp_path):
        for name in ("checkpoint-100", "checkpoint-200"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "adapter_config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"checkpoint-200 holds LoRA adapters.*model\.lora\.start"):
            checkpoint_folder(tmp_path)

    def test_adapters(self, tmp_path):
        (tmp_path / "adapter_config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"LoRA adapters.*lora\.start"):
            checkpoint_folder(tmp_path)
