"""The adapter computes what the stock model computes, from layouts instead of processor output."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment
from pixelreasoner.models.loader import prepare
from pixelreasoner.models.patches import patch_rows
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from prompting import prompt_of


def stock_of(model: VisionLanguageModel):
    """The same weights in an untouched transformers model."""
    config = copy.deepcopy(model.hf.config)
    config.vision_config._attn_implementation = config.text_config._attn_implementation = "sdpa"
    stock = type(model.hf)._from_config(config, dtype=torch.float64, attn_implementation="sdpa")
    stock.load_state_dict(model.hf.state_dict())
    return stock.eval()


def stock_inputs(model: VisionLanguageModel, layouts, *, left: bool) -> dict:
    """What a processor would hand to the stock model: padded ids, pixels and grids by kind."""
    width = max(len(row) for row in layouts)
    out = {name: [] for name in ("input_ids", "attention_mask", "mm_token_type_ids")}
    for row in layouts:
        pad = (width - len(row), 0) if left else (0, width - len(row))
        rows = (row.ids_T, np.ones(len(row)), row.kind_T)
        for name, values in zip(out, rows, strict=True):
            out[name].append(np.pad(values.astype(np.int64), pad))
    tensors = {name: torch.from_numpy(np.stack(values)) for name, values in out.items()}
    blocks = [block for row in layouts for block in row.blocks]
    for kind, pixels, grid in (
        ("image", "pixel_values", "image_grid_thw"),
        ("video", "pixel_values_videos", "video_grid_thw"),
    ):
        chosen = [b for b in blocks if b.kind == kind]
        if chosen:
            tensors[pixels] = patch_rows(chosen, model.renderer.vision, model.device).double()
            # Each temporal patch may be given as a video of its own: the stock model splits videos into them.
            tensors[grid] = torch.tensor([b.grid_thw for b in chosen])
            if kind == "video" and model.hf.config.model_type == "qwen2_5_vl":
                tensors["second_per_grid_ts"] = [b.time_step / 2 for b in chosen]
    return tensors


@pytest.fixture
def conversations(picture, video):
    """Rows of different lengths: an image and a crop, a video, an image and a video, words alone."""

    def make(renderer) -> list:
        image, crop = picture(40, 24), picture(16, 24, 1)
        tasks = [
            Task("a", "Which number?", (image,), ()),
            Task("b", "Which frame shows it?", (video(5, fps=4.0),), ()),
            Task("c", "Is it here?", (picture(48, 48, 2), video(2)), ()),
            Task("d", "What is 7?", (), ()),
        ]
        rows = [[prompt_of(renderer, task, ())] for task in tasks]
        rows[0] += [
            Segment(renderer.encode("Closer.")),
            renderer.observation(Observation("Image 2:", (crop,))),
        ]
        return [renderer.layout(segments) for segments in rows]

    return make


@pytest.fixture(params=["qwen3", "qwen3 without deepstack", "qwen25", "qwen35"])
def any_model(request, load_model, qwen3_folder, qwen25_folder, qwen35_folder) -> VisionLanguageModel:
    if request.param in ("qwen25", "qwen35"):
        return load_model(qwen25_folder if request.param == "qwen25" else qwen35_folder)
    model = load_model(qwen3_folder)
    if request.param == "qwen3":
        return model
    config = copy.deepcopy(model.hf.config)
    config.vision_config.deepstack_visual_indexes = []
    config.vision_config._attn_implementation = "sdpa"
    torch.manual_seed(3)
    bare = type(model.hf)._from_config(config, dtype=torch.float64, attn_implementation="sdpa").eval()
    prepare(bare)
    return VisionLanguageModel(bare, model.renderer)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@torch.no_grad()
def test_hidden_states_and_logits_are_the_stock_models(any_model, conversations, left):
    layouts = conversations(any_model.renderer)
    features = any_model.encode(block for row in layouts for block in row.blocks)
    batch = any_model.embed(layouts, features, left=left)
    hidden = any_model(batch)
    stock = stock_of(any_model)
    inputs = stock_inputs(any_model, layouts, left=left)
    expected = stock(**inputs, output_hidden_states=True)

    real = inputs["attention_mask"].bool()
    assert torch.equal(batch.mask_BT.bool(), real)
    torch.testing.assert_close(hidden[real], expected.hidden_states[-1][real], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(any_model.logits(hidden)[real], expected.logits[real], atol=1e-10, rtol=1e-10)


def test_deepstack_matters_where_there_is_some(load_model, qwen3_folder, picture):
    model = load_model(qwen3_folder)
    row = model.renderer.layout([prompt_of(model.renderer, Task("a", "q", (picture(40, 24),), ()), ())])
    features = model.encode(row.blocks)
    assert len(features[row.blocks[0].key].deepstack) == 2
    batch = model.embed([row], features, left=False)
    plain = copy.copy(batch)
    object.__setattr__(plain, "deepstack", [])
    with torch.no_grad():
        assert not torch.allclose(model(batch), model(plain))


class TestEncode:
    def test_each_picture_passes_the_tower_once(self, model, picture, video):
        seen = []
        handle = model.vision.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        blocks = [
            b
            for m in (picture(40, 24), picture(16, 16), picture(40, 24))
            for b in model.renderer.blocks(m, crop=False)
        ]
        try:
            features = model.encode(blocks)
        finally:
            handle.remove()
        assert seen == [10 * 6 + 4 * 4]
        assert set(features) == {blocks[0].key, blocks[1].key}
        assert features[blocks[0].key].tokens_MD.shape == (15, 32)

    def test_company_does_not_matter(self, model, picture, video):
        """The features of a block are the same, alone or among others of any size."""
        media = [
            picture(40, 24),
            video(4),
            picture(48, 40),
            picture(16, 16),
            video(1, 16, 16),
            picture(24, 40),
        ]
        blocks = [block for item in media for block in model.renderer.blocks(item, crop=False)]
        with torch.no_grad():
            together = model.encode(blocks)
            for block in blocks:
                alone = model.encode([block])[block.key]
                torch.testing.assert_close(together[block.key].tokens_MD, alone.tokens_MD, atol=1e-10, rtol=0)
                for ours, theirs in zip(together[block.key].deepstack, alone.deepstack, strict=True):
                    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)

    def test_nothing(self, model):
        assert model.encode([]) == {}

    def test_gradients_reach_the_tower_through_every_copy(self, model, picture):
        renderer = model.renderer
        row = renderer.layout([prompt_of(renderer, Task("a", "q", (picture(16, 16),), ()), ())])
        gradients = []
        for copies in (1, 3):
            model.zero_grad()
            model(model.embed([row] * copies, model.encode(row.blocks * copies), left=False)).sum().backward()
            gradients.append(model.vision.patch_embed.proj.weight.grad.clone())
        model.zero_grad()
        # Norms and rotations are computed in float32 inside transformers.
        scale = gradients[0].abs().max()
        assert scale > 0
        torch.testing.assert_close(gradients[1] / scale, 3 * gradients[0] / scale, atol=1e-4, rtol=0)


class TestSaveAndLoad:
    def test_round_trip(self, folder, model, tmp_path, picture):
        save_checkpoint(model, tmp_path / "out")
        again = VisionLanguageModel.load(tmp_path / "out", dtype=torch.float64)
        for name, weight in model.hf.state_dict().items():
            assert torch.equal(weight, again.hf.state_dict()[name]), name
        ours, theirs = model.renderer, again.renderer
        assert type(ours) is type(theirs)
        assert (ours.chat_format, ours.vision, ours.fingerprint) == (
            theirs.chat_format,
            theirs.vision,
            theirs.fingerprint,
        )
        task = Task("a", "q", (picture(40, 24),), ())
        assert prompt_of(ours, task, ()) == prompt_of(theirs, task, ())

    def test_the_folder_is_an_ordinary_one(self, model, tmp_path):
        from transformers import AutoImageProcessor, AutoModelForImageTextToText

        save_checkpoint(model, tmp_path)
        # Of ours: a mark in config.json, which transformers keeps as it is.
        marked = [p.name for p in tmp_path.glob("*.json") if "pixelreasoner" in p.read_text()]
        assert marked == ["config.json"]
        AutoModelForImageTextToText.from_pretrained(tmp_path)
        processor = AutoImageProcessor.from_pretrained(tmp_path)
        assert tuple(processor.image_mean) == model.renderer.vision.normalization.mean

    def test_the_processor_file_of_a_checkpoint_is_kept_as_it_is(self, model, tmp_path):
        save_checkpoint(model, tmp_path / "out")
        name = "preprocessor_config.json"
        assert (tmp_path / "out" / name).read_bytes() == (model.source / name).read_bytes()

    def test_weights_can_be_saved_smaller(self, model, tmp_path):
        from safetensors.torch import load_file

        save_checkpoint(model, tmp_path, dtype=torch.bfloat16)
        assert {w.dtype for w in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
        assert {p.dtype for p in model.parameters()} == {torch.float64}

    def test_no_folder(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"no config\.json"):
            VisionLanguageModel.load(tmp_path / "nowhere")

    @pytest.mark.parametrize(("text", "message"), [
        ('{"model_type": "llama"}', "'llama' model; supported: qwen3_vl, qwen2_5_vl"),
        ("{}", "'None' model"), ("{", "cannot be read"), ("[]", "no JSON object"),
    ])  # fmt: skip
    def test_another_architecture_or_none(self, tmp_path, text, message):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            VisionLanguageModel.load(tmp_path)

    @pytest.mark.parametrize(
        ("missing", "words"),
        [("model.safetensors", "holds no weights"), ("tokenizer.json", "has no tokenizer that can be read")],
    )
    def test_a_file_is_missing(self, qwen3_folder, tmp_path, missing, words):
        for path in qwen3_folder.iterdir():
            if path.name != missing:
                (tmp_path / path.name).write_bytes(path.read_bytes())
        with pytest.raises(CheckpointError, match=words):
            VisionLanguageModel.load(tmp_path)

    def test_some_weights_are_missing(self, qwen3_folder, tmp_path):
        from safetensors.torch import load_file, save_file

        for path in qwen3_folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        weights = load_file(tmp_path / "model.safetensors")
        del weights["lm_head.weight"]
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=r"lacks weights: lm_head\.weight"):
            VisionLanguageModel.load(tmp_path)

    def test_a_broken_chat_format(self, qwen3_folder, tmp_path):
        for path in qwen3_folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "chat_format.json").write_text(json.dumps({"sytem": "typo"}))
        with pytest.raises(CheckpointError, match=r"chat_format\.json"):
            VisionLanguageModel.load(tmp_path)
