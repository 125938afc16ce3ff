"""Where checkpoints are: a folder, the name of one that ships with the package, or a hub repository."""

from __future__ import annotations

import re
from pathlib import Path

from pixelreasoner.core.errors import CheckpointError

SHIPPED = Path(__file__).parents[1] / "checkpoints"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_NEEDED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
"""Files of a hub repository that make a checkpoint; weights in other formats stay there."""


def checkpoint_folder(name: str | Path) -> Path:
    """The folder of a checkpoint; a hub id is downloaded into the hub's own cache, or taken from it.

    Raises:
        CheckpointError: it is none of the three, or the download failed; the message says what to do.
    """
    for folder in (Path(name), SHIPPED / str(name)):
        if (folder / "config.json").is_file():
            return folder
    text = str(name)
    if _HUB_ID.fullmatch(text) and not Path(name).exists():
        return _download(text)
    known = ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir())) if SHIPPED.is_dir() else "none"
    raise CheckpointError(
        f"no checkpoint at '{name}'; give a folder with a config.json, a hub id (owner/name), "
        f"or one of: {known}"
    )


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_NEEDED))
    except RepositoryNotFoundError as e:
        raise CheckpointError(
            f"there is no folder '{name}', and the hub has no model of that name, or it is gated: "
            f"check the name; for a gated model accept its terms and set HF_TOKEN"
        ) from e
    except LocalEntryNotFoundError as e:
        raise CheckpointError(
            f"'{name}' is not in the hub's cache here and cannot be downloaded (no network, or "
            f"HF_HUB_OFFLINE is set); download it where there is one, and give the folder"
        ) from e
    except (HfHubHTTPError, OSError) as e:
        raise CheckpointError(f"'{name}' could not be downloaded from the hub: {e}; try again") from e
