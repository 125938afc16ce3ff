"""Where checkpoints are: a folder, one that ships with the package, or the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pixelreasoner.chat.chat_format import MARK_FILE
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.hub import HUB_ID, fetched
from pixelreasoner.core.run_folder import CONFIG_FILE as RUN_CONFIG
from pixelreasoner.core.run_folder import MODEL_FOLDER

SHIPPED = Path(__file__).parents[1] / "checkpoints"
LORA_REMEDY = "give the checkpoint they belong to, and this folder as model.lora.start"
HUB_FILES = ("*.json", "*.jinja", "*.txt", "*.safetensors")
"""What is fetched from the hub: no second copy of the weights in another format."""


def checkpoint_folder(name: str | Path, files: Sequence[str] = HUB_FILES) -> Path:
    """The folder of a checkpoint.

    Args:
        name: a folder, a shipped checkpoint's name, or a model of the hub as `organisation/name`; its files
            are fetched once, into the hub's own cache.
        files: patterns of the files that are fetched.

    Raises:
        CheckpointError: there is no such checkpoint; the message says what was looked for and what may be
            meant.
    """
    for folder in (Path(name), SHIPPED / str(name)):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise CheckpointError(f"{name} is not a checkpoint folder (no config.json); {_meant(Path(name))}")
    if HUB_ID.fullmatch(str(name)):
        return fetched(str(name), files, kind="model", noun="checkpoint", error=CheckpointError)
    made = " (the stage before writes it: is it done?)" if Path(name).name == MODEL_FOLDER else ""
    raise CheckpointError(
        f"no checkpoint at '{name}'{made}; give a folder with a config.json, a model of the hub "
        f"(owner/name), or one of: {_shipped()}"
    )


def mark_world(folder: Path, world: str) -> None:
    """Write into a checkpoint's mark that the questions of one synthetic world are all it was taught.

    Checkpoints that are trained from it keep the mark.
    """
    (folder / MARK_FILE).write_text(json.dumps({"format": 1, "world": world}) + "\n", encoding="utf-8")


def marked_world(folder: Path) -> str | None:
    """The world that `mark_world` wrote; None where there is none, as in a checkpoint of somebody else's."""
    try:
        world = json.loads((folder / MARK_FILE).read_text(encoding="utf-8"))["world"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return world if isinstance(world, str) else None


def _shipped() -> str:
    return ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir())) if SHIPPED.is_dir() else "none"


def _meant(folder: Path) -> str:
    """What a folder without a configuration is, as far as its files tell."""
    if (folder / "adapter_config.json").is_file():
        return f"it holds LoRA adapters: {LORA_REMEDY}"
    if (folder / "model" / "config.json").is_file():
        return f"did you mean {folder / 'model'}?"
    for pattern in ("*/config.json", "checkpoints/*/config.json"):
        # By length first: checkpoint-1000 comes after checkpoint-200.
        if inner := sorted((p.parent for p in folder.glob(pattern)), key=lambda p: (len(p.name), p.name)):
            return f"did you mean {inner[-1]}?"
    if adapters := sorted(folder.glob("*/adapter_config.json")):
        return f"{adapters[-1].parent} holds LoRA adapters: {LORA_REMEDY}"
    if (folder / RUN_CONFIG).is_file():
        return "it holds a run that has saved no checkpoint yet: go on with it (--resume)"
    return f"give the folder that holds one, or one of: {_shipped()}"
