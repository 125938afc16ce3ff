"""Which checkpoint it was: digests of its files, so that a result says what it is of."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

WEIGHTS = ("*.safetensors", "*.bin", "adapter/*.safetensors", "adapter/*.json")
TOKENIZER = ("tokenizer*", "vocab*", "merges*", "special_tokens*", "added_tokens*", "chat_template*")
CONFIG = ("*.json",)
"""What is of neither group: the architecture, the processors, the chat format."""
_DIGITS = 16
_SHA256 = re.compile(r"[0-9a-f]{64}")


def checkpoint_digests(folder: Path) -> dict[str, str]:
    """A digest of each kind of file in a checkpoint folder: `weights`, `tokenizer`, `config`.

    16 hexadecimal digits of the SHA-256 over the names and the SHA-256 of the files; a kind without files is
    left out. All bytes are read, but for files of the hub's cache that are named by their SHA-256.
    """
    taken: set[Path] = set()
    found: dict[str, str] = {}
    for name, patterns in (("weights", WEIGHTS), ("tokenizer", TOKENIZER), ("config", CONFIG)):
        paths = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()} - taken)
        taken.update(paths)
        if paths:
            lines = "".join(f"{p.relative_to(folder).as_posix()} {_sha256(p)}\n" for p in paths)
            found[name] = hashlib.sha256(lines.encode()).hexdigest()[:_DIGITS]
    return found


def _sha256(path: Path) -> str:
    blob = path.resolve()
    if path.is_symlink() and blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
