"""Files of the Hugging Face hub: fetched once, into its own cache, its errors in words of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pixelreasoner.core.errors import PixelReasonerError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""`owner/name`."""


def fetched(
    name: str,
    files: Sequence[str],
    *,
    kind: Literal["model", "dataset"],
    noun: str,
    error: type[PixelReasonerError],
) -> Path:
    """The folder in the hub's cache with the files of a model or a data set.

    Args:
        name: `owner/name`.
        files: patterns of the files that are wanted.
        kind: where the hub has it.
        noun: what it is called in messages: "checkpoint".
        error: what is raised.

    Raises:
        PixelReasonerError: `error`, where there is nothing of that name, no access to it, or no network.
    """
    # Half a second to import, and needed for the hub only.
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    # The hub takes a model where nothing is said.
    download = cast(Any, huggingface_hub.snapshot_download)  # pyright: ignore[reportUnknownMemberType]
    options: dict[str, Any] = {} if kind == "model" else {"repo_type": kind}
    place, flag = ("", "") if kind == "model" else ("datasets/", " --repo-type dataset")
    try:
        return Path(download(name, allow_patterns=list(files), **options))
    except GatedRepoError as e:
        raise error(
            f"'{name}' is gated: ask for access at https://huggingface.co/{place}{name}, "
            f"then log in with `hf auth login`"
        ) from e
    except (RepositoryNotFoundError, HFValidationError) as e:
        raise error(
            f"no {noun} at '{name}': there is no such folder, and no such {kind} on the Hugging Face hub "
            f"(a private one needs `hf auth login`)"
        ) from e
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as e:
        raise error(
            f"no {noun} at '{name}': there is no such folder, the hub's cache does not hold it, "
            f"and the hub cannot be reached; fetch it where there is a network (`hf download {name}{flag}`) "
            f"and give its folder"
        ) from e
    except (HfHubHTTPError, OSError) as e:
        raise error(f"'{name}' cannot be fetched from the Hugging Face hub: {e}") from e
