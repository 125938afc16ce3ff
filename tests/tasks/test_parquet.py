"""Parquet files that are damaged: whatever is met, and whenever, is an error with the file's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.parquet import ParquetRows

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_page_is_named_when_its_row_is_read(tmp_path: Path, seed: int):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rng = np.random.default_rng(seed)
    path = tmp_path / "train.parquet"
    rows = [{"id": f"t{i}", "image": rng.bytes(400) + b"a" * 400} for i in range(64)]
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=8)
    content = bytearray(path.read_bytes())
    # The first bytes are a page of the first group; the end of the file is its index.
    for at in range(4 + 8 * seed, len(content) // 2, 97):
        content[at] ^= 0x5A
    path.write_bytes(bytes(content))
    read = ParquetRows(path, {})
    assert read.n_rows == 64
    with pytest.raises(RecordError, match=r"train\.parquet is no .*write or fetch it again$") as caught:
        list(read.read(range(1, 65)))
    assert "\n" not in str(caught.value)
