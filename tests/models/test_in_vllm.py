"""Checkpoints that were trained and saved here load in vLLM as they are, and go on as in plain transformers.

vLLM has an environment of its own (`make test-vllm`), so the two sides meet in files.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest

from bare_folders import write_bare_qwen2_5_vl, write_bare_qwen3_5, write_bare_qwen3_vl
from pixelreasoner.cli.main import main
from pixelreasoner.core.media_io import save_image
from pixelreasoner.core.task import Task
from pixelreasoner.models.adapters import ADAPTER_FOLDER
from prompting import prompt_of
from released_files import OF_QWEN3_5, released_template, released_tokenizer

pytestmark = pytest.mark.slow
PYTHON = "PIXELREASONER_VLLM_PYTHON"
"""The variable that names the interpreter of vLLM's environment."""
HERE = Path(__file__).parents[1] / "in_vllm"
TOKENS = 16
"""Tokens that both sides add to the prompt."""
HEADS = 64
"""The width of the small models: kernels of vLLM for CPUs take heads of 32 and more."""


def write_bare(folder: Path, family: str) -> None:
    """A release with its own vocabulary and templates, and small random weights."""
    tokenizer = released_tokenizer(OF_QWEN3_5 if family == "qwen3_5" else ())
    if family == "qwen2_5_vl":
        templates = [released_template(f"{name}.jinja") for name in ("qwen2_5", family)]
        write_bare_qwen2_5_vl(folder, tokenizer, *templates, hidden=HEADS)
    elif family == "qwen3_5":
        write_bare_qwen3_5(
            folder, tokenizer, template=released_template("qwen3_5_think.jinja"), recurrent=128
        )
    else:
        template = released_template(f"{family}.jinja")
        write_bare_qwen3_vl(folder, tokenizer, template=template, hidden=HEADS)


class Trained(NamedTuple):
    """A release, and what supervised training made of it."""

    base: Path
    saved: Path


@pytest.fixture(scope="module")
def python() -> str:
    if not (path := os.environ.get(PYTHON)):
        pytest.skip(f"{PYTHON} names no interpreter: `make test-vllm` makes the environment")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Callable[..., Trained]:
    """Trains a family's release until its tokens are far from equally likely."""

    def train(family: str, *overrides: str) -> Trained:
        out = tmp_path_factory.mktemp(family)
        recipe, bare = out / "recipe.toml", out / "bare"
        recipe.write_text("")
        if family == "nano":
            checkpoint = "nano"
        else:
            bare.mkdir()
            write_bare(bare, family)
            checkpoint = str(bare)
        synth = ["synth", str(recipe), f"checkpoint='{checkpoint}'", "n=8", "--out", str(out / "synth")]
        assert main(synth) == 0
        sft = [
            f"model.checkpoint='{checkpoint}'", f"data='{out / 'synth' / 'trajectories.jsonl'}'", "steps=4",
            "batch_size=4", "model.precision='fp32'", "optim.lr=1e-2", *overrides,
        ]  # fmt: skip
        assert main(["sft", str(recipe), *sft, "--out", str(out / "sft")]) == 0
        return Trained(bare, out / "sft" / "model")

    return train


def greedy(checkpoint: Path, adapter: Path | None, task: Task) -> tuple[list[int], list[int], list[float]]:
    """The ids of a prompt, the likeliest tokens after it and their log-probabilities, by transformers."""
    import torch
    from transformers import AutoModelForImageTextToText

    from pixelreasoner.models.patches import patch_rows
    from pixelreasoner.models.vlm import renderer_of

    renderer = renderer_of(checkpoint)
    row = renderer.layout([prompt_of(renderer, task, ())])
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
    if adapter is not None:
        model = pytest.importorskip("peft").PeftModel.from_pretrained(model, adapter)
    ids, kinds = torch.from_numpy(row.ids_T)[None], torch.from_numpy(row.kind_T.astype("int64"))[None]
    logprobs: list[float] = []
    with torch.no_grad():
        pixels = patch_rows(row.blocks, renderer.vision, torch.device("cpu"))
        for _ in range(TOKENS):
            logits = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds,
                pixel_values=pixels, image_grid_thw=torch.tensor([block.grid_thw for block in row.blocks]),
            ).logits[0, -1]  # fmt: skip
            likely = logits.log_softmax(-1).max(-1)
            logprobs.append(float(likely.values))
            ids = torch.cat([ids, likely.indices[None, None]], dim=1)
            kinds = torch.cat([kinds, torch.zeros_like(kinds[:, :1])], dim=1)
    return ids[0, : len(row)].tolist(), ids[0, len(row) :].tolist(), logprobs


def continue_in_vllm(
    python: str, place: Path, checkpoint: Path, adapter: Path | None, task: Task, ids: list[int], dtype: str
) -> dict:
    """What vLLM answers to the prompt of a task, with one id for each image."""
    images = []
    for number, picture in enumerate(task.media):
        images.append(str(place / f"{number}.png"))
        save_image(picture, Path(images[-1]))
    pad = json.loads((checkpoint / "config.json").read_text())["image_token_id"]
    short = [token for token, run in groupby(ids) for token in ([token] if token == pad else run)]
    asked = {
        "checkpoint": str(checkpoint), "adapter": adapter and str(adapter), "images": images, "ids": short,
        "tokens": TOKENS, "dtype": dtype,
    }  # fmt: skip
    (place / "asked.json").write_text(json.dumps(asked))
    command = [python, HERE / "continue_in_vllm.py", place / "asked.json", place / "answered.json"]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((place / "answered.json").read_text())


def check(python: str, place: Path, family: str, saved: Path, base: Path | None, pictures: Callable) -> None:
    """See that vLLM goes on as transformers does from what was saved."""
    # Kernels of vLLM for recurrent layers on CPUs take bf16 alone: a token is then only about as likely.
    dtype, tolerance = ("bfloat16", 0.05) if family == "qwen3_5" else ("float32", 1e-4)
    unit = 28 if family == "qwen2_5_vl" else 32  # pixels of a token's side: nothing is resized
    task = Task(
        "a", "Which number is it?", (pictures(2 * unit, 4 * unit), pictures(2 * unit, 2 * unit, 1)), ()
    )
    folders = (saved, None) if base is None else (base, saved / ADAPTER_FOLDER)
    prompt, ids, logprobs = greedy(*folders, task)
    answered = continue_in_vllm(python, place, *folders, task, prompt, dtype)
    assert answered["prompt"] == prompt
    assert answered["ids"] == ids
    assert answered["logprobs"] == pytest.approx(logprobs, abs=tolerance)


@pytest.mark.parametrize("family", ["nano", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_a_saved_checkpoint(python, trained, picture, tmp_path, family):
    check(python, tmp_path, family, trained(family).saved, None, picture)


def test_merged_adapters(python, trained, picture, tmp_path):
    saved = trained("qwen2_5_vl", "model.lora={rank=8}").saved
    check(python, tmp_path, "qwen2_5_vl", saved, None, picture)


def test_adapters_alone(python, trained, picture, tmp_path):
    """vLLM adds them to the release; here they are loaded together with it."""
    run = trained("qwen2_5_vl", "model.lora={rank=8,merge_on_save=false}")
    check(python, tmp_path, "qwen2_5_vl", run.saved, run.base, picture)
