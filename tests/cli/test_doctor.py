"""Rules of `doctor`: every part by hand, what fits, what to change; text that fits a terminal, and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pixelreasoner.cli import machine
from pixelreasoner.cli.machine import H100
from pixelreasoner.cli.main import main

MEMORY = 3 * 2**30
BIG = {
    "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl",
    "text_config": {
        "model_type": "qwen3_vl_text", "vocab_size": 4096, "hidden_size": 1024, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128, "intermediate_size": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
    },
    "vision_config": {
        "model_type": "qwen3_vl", "depth": 2, "hidden_size": 128, "intermediate_size": 256, "num_heads": 2,
        "patch_size": 16, "out_hidden_size": 1024, "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def config_only(tmp_path_factory) -> Path:
    """A checkpoint of which nothing but its config.json is there."""
    folder = tmp_path_factory.mktemp("big")
    (folder / "config.json").write_text(json.dumps(BIG))
    return folder


@pytest.fixture
def card(monkeypatch):
    """A card of so many bytes in place of the one that is assumed."""

    def use(memory: int) -> None:
        monkeypatch.setattr(machine, "H100", replace(H100, memory=memory))
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    return use


def recipe(tmp_path: Path, checkpoint: Path, name: str = "rl.toml") -> str:
    path = tmp_path / name
    data = 'data = "x.jsonl"\n' if name.startswith("sft") else ""
    path.write_text(f'out = "{tmp_path}/run"\n{data}[model]\ncheckpoint = "{checkpoint}"\ndevice = "cuda"\n')
    return str(path)


def told(capsys, *args: str) -> dict:
    assert main(["doctor", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_machine_fits_a_terminal_and_names_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(machine.EXTRAS, "video", ("no_such_module", "mp4 and other video files"))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "pip install 'pixelreasoner[video]'" in out
    assert "video" in told(capsys)["missing_extras"]


def test_extras_are_those_of_the_package():
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    known = set(tomllib.loads(text)["project"]["optional-dependencies"])
    # Collections of others, and what only a checkout needs.
    assert set(machine.EXTRAS) == known - {"demo", "dev", "bench", "notebooks"}


def test_parts_of_rl_are_those_worked_out_by_hand(capsys, tmp_path, config_only, card):
    card(80 * 2**30)
    name = recipe(tmp_path, config_only)
    found = told(
        capsys,
        name,
        "model.dtype=bf16",
        "optim.kind=adamw_bf16",
        "model.train.vision=false",
        "tasks_per_step=4",
        "--completion=100",
    )
    parts = found["estimate"]
    attention = 1024 * 1024 + 2 * 1024 * 256 + 1024 * 1024 + 2 * 128
    decoder = 2 * (attention + 3 * 1024 * 2048 + 2 * 1024) + 1024
    learned = decoder + 2 * 4096 * 1024
    assert parts["update"]["gradients"] == 2 * learned
    # Two numbers in fp32 of each, and a count of steps: 11 + 11 + 1 tensors of the decoder, two others.
    assert parts["device"]["optimiser states"] == 8 * learned + 4 * (2 * 11 + 1 + 2)
    # A picture of 4 megapixels, 62 x 63 tokens, from the tower and one layer of deepstack.
    assert parts["device"]["vision features"] == 4 * 62 * 63 * 1024 * 2 * 2
    # 4 + 8 prompts of 4,306 tokens, 64 conversations of 180, in blocks of 64; one layer of two twice.
    tokens = 12 * 4352 + 64 * 192
    assert parts["rollouts"]["keys and values"] == tokens * 2 * 2 * 2 * 128 * 2 * 3 // 2
    assert parts["peak"] == sum(parts["device"].values()) + max(
        sum(parts["rollouts"].values()), sum(parts["update"].values())
    )
    assert found["fits"]
    assert found["device"]["assumed"]
    assert not found["changes"]


def test_what_does_not_fit_is_put_right_with_values_to_paste(capsys, tmp_path, config_only, card):
    card(MEMORY)
    name = recipe(tmp_path, config_only, "sft.toml")
    found = told(capsys, name, "--completion=100")
    assert found["command"] == "sft"
    assert not found["fits"]
    peaks = [change["peak"] for change in found["changes"]]
    assert peaks == sorted(peaks, reverse=True)
    assert found["changes"][0]["override"] == "model.gradient_checkpointing=true"
    assert peaks[-1] <= MEMORY < min([found["estimate"]["peak"], *peaks[:-1]])
    pasted = [change["override"] for change in found["changes"]]
    again = told(capsys, name, *pasted, "--completion=100")
    assert again["fits"]
    assert again["estimate"]["peak"] == peaks[-1]


def test_a_recipe_fits_a_terminal(capsys, tmp_path, config_only, card):
    card(2**30)
    assert main(["doctor", recipe(tmp_path, config_only), "model.dtype=fp32", "--completion=100"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "assumed: there is no CUDA device here" in out
    assert "steps per hour" in out


def test_eval_samples_and_does_not_learn(capsys, tmp_path, config_only, card):
    card(80 * 2**30)
    parts = told(capsys, recipe(tmp_path, config_only, "eval.toml"), "n=64")["estimate"]
    assert not parts["update"]
    assert parts["device"]["optimiser states"] == 0
    assert parts["steps"] == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nano/synth"], "doctor estimates those of rl, sft, eval"),
        (["nothing.toml"], "no such recipe"),
        (["model.dtype=bf16"], "write: pixelreasoner doctor RECIPE model.dtype=bf16"),
        (["nano/rl", "model.checkpoint=nano", "--pixels=0"], "--pixels is at least 1"),
    ],
)
def test_mistakes_are_named_in_one_line(args, said, capsys):
    assert main(["doctor", *args]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_memory_is_divided_over_gpus(capsys, tmp_path, config_only, card):
    """Trained tensors are cut in four; the fixed tower is whole; a copy of the decoder samples."""
    card(80 * 2**30)
    name = recipe(tmp_path, config_only)
    options = ("model.dtype=bf16", "optim.kind=adamw_bf16", "model.train.vision=false", "tasks_per_step=8")
    one, four = (told(capsys, name, *options, "--completion=100", f"--gpus={n}") for n in (1, 4))
    a, b = one["estimate"], four["estimate"]
    assert (one["gpus"], four["gpus"]) == (1, 4)
    attention = 1024 * 1024 + 2 * 1024 * 256 + 1024 * 1024 + 2 * 128
    layer = attention + 3 * 1024 * 2048 + 2 * 1024
    learned = 2 * layer + 1024 + 2 * 4096 * 1024
    tower = a["device"]["weights"] - 2 * learned
    assert b["device"]["weights"] == 2 * learned // 4 + tower
    assert b["update"]["gradients"] == a["update"]["gradients"] // 4 == 2 * learned // 4
    # All sizes are multiples of four; the 25 tensors have a count of steps each.
    assert b["device"]["optimiser states"] == 8 * learned // 4 + 4 * 25
    assert b["device"]["a copy of the weights to sample from"] == 2 * learned
    assert a["device"]["a copy of the weights to sample from"] == 0
    assert b["update"]["two layers put together, gradients of one"] == 3 * 2 * layer
    assert b["update"]["embeddings and output layer put together, gradients"] == 2 * 2 * (
        2 * 4096 * 1024 + 1024
    )
    kept = "activations kept for the backward pass"
    assert b["update"][kept] == a["update"][kept], "rows are as long as on one"
    assert b["seconds"]["update"] == pytest.approx(a["seconds"]["update"] / 4)
    assert b["host"]["libraries"] == 4 * a["host"]["libraries"]
    assert main(["doctor", name, *options, "--completion=100", "--gpus=4"]) == 0
    out = capsys.readouterr().out
    assert "torchrun --nproc-per-node 4 -m pixelreasoner rl" in " ".join(out.split())
    assert "Memory of each device" in out
    assert max(map(len, out.splitlines())) <= 80


def test_layers_put_together_in_bf16_are_not_cast(capsys, tmp_path, config_only, card):
    """One process keeps casts of fp32 weights; of many, each puts together a layer at a time."""
    card(80 * 2**30)
    name = recipe(tmp_path, config_only, "sft.toml")
    options = ("model.dtype=fp32", "model.precision=bf16", "--completion=100")
    one, four = (told(capsys, name, *options, f"--gpus={n}")["estimate"] for n in (1, 4))
    layer = 1024 * 1024 * 2 + 2 * 1024 * 256 + 3 * 1024 * 2048
    kept = "activations kept for the backward pass"
    assert one["update"][kept] - four["update"][kept] == pytest.approx(2 * 2 * layer, rel=0.02)


def test_the_gpus_that_are_here_are_counted(capsys, tmp_path, config_only, monkeypatch):
    from pixelreasoner.cli import doctor
    from pixelreasoner.cli.machine import H100 as card

    here = replace(card, assumed=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    config = doctor._stage_of(Path(recipe(tmp_path, config_only)), ())[1]
    assert doctor._gpus(None, "rl", config, here) == 4
    assert doctor._gpus(None, "rl", config, card) == 1, "that of another machine"
    assert doctor._gpus(None, "eval", config, here) == 1
    one = doctor._stage_of(Path(recipe(tmp_path, config_only)), ("optim.kind=adamw_8bit",))[1]
    assert doctor._gpus(None, "rl", one, here) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rl.toml", "optim.kind=adamw_8bit", "--gpus=2"], "works in one process"),
        (["rl.toml", "model.device=cpu", "--gpus=2"], 'model.device = "cpu" is no place for 2 GPUs'),
        (["eval.toml", "--gpus=2"], "eval runs in one process"),
        (["rl.toml", "--gpus=0"], "--gpus is 1 to"),
    ],
)
def test_gpus_that_a_recipe_cannot_use(args, said, capsys, tmp_path, config_only):
    name = recipe(tmp_path, config_only, args[0])
    assert main(["doctor", name, *args[1:]]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_config_that_cannot_be_is_one_line(capsys, tmp_path, config_only):
    config = json.loads((config_only / "config.json").read_text())
    config["vision_config"]["out_hidden_size"] = 512
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["doctor", recipe(tmp_path, tmp_path)]) == 2
    err = capsys.readouterr().err
    assert f"{tmp_path / 'config.json'}: vision_config.out_hidden_size is 512" in err
    assert err.count("\n") == 1


def test_the_kernels_of_recurrent_layers_are_named_once(capsys, tmp_path, qwen35_folder, card):
    """And transformers, whose own code is not run, says nothing."""
    card(80 * 2**30)
    assert main(["doctor", recipe(tmp_path, qwen35_folder, "sft.toml"), "--completion=100"]) == 0
    out, err = capsys.readouterr()
    assert " ".join(out.split()).count("pip install flash-linear-attention") == 1
    assert "falling back" not in err
