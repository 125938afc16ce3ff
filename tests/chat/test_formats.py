"""Chat formats that ship with the package, for checkpoints that were released without one."""

from __future__ import annotations

import json

import pytest

from bare_folders import write_bare_qwen2_5_vl
from pixelreasoner.chat.chat_format import SHIPPED_FORMATS, ChatFormat, find_format
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import Message, ToolCall
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.ops.build import OperationConfig

V1 = "pixelreasoner-v1"


@pytest.mark.parametrize("path", sorted(SHIPPED_FORMATS.glob("*.json")), ids=lambda path: path.stem)
def test_each_can_be_read_and_saved(path, tmp_path):
    chat_format = find_format(path.stem)
    chat_format.save(tmp_path)
    assert ChatFormat.load(tmp_path) == chat_format


def test_a_file_of_ones_own_and_none_at_all(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"error_reply": "No: {error}"}')
    assert find_format(str(path)).error_reply == "No: {error}"
    with pytest.raises(CheckpointError, match=f"no chat format 'nothing'.*{V1}"):
        find_format("nothing")


class TestPixelReasoner:
    """The words, the operations and the coordinates of TIGER-Lab/PixelReasoner-RL-v1."""

    @pytest.fixture
    def toolbox(self):
        chat_format = find_format(V1)
        assert chat_format.unit is Unit.FRACTION
        return Interaction().toolbox(chat_format.unit, chat_format)

    def test_the_operations_as_it_knows_them(self, toolbox):
        assert toolbox.names == ("crop_image_normalized", "select_frames")
        crop, frames = (schema["function"] for schema in toolbox.schemas)
        target = crop["parameters"]["properties"]["target_image"]
        assert list(target) == ["type", "description"]
        assert target["type"] == "number"
        assert target["description"].endswith("Choose 1 to operate on original image.")
        assert crop["parameters"]["required"] == ["bbox_2d", "target_image"]
        assert frames["description"] == "Select frames from a video."

    def test_a_call_and_its_result(self, toolbox, qwen25_folder, load_model, picture):
        """The size in the text is that of the crop as shown."""
        vision = load_model(qwen25_folder).renderer.vision
        image = picture(48, 40)
        call = ToolCall("crop_image_normalized", {"bbox_2d": [0.2, 0.2, 0.8, 0.8], "target_image": 1})
        seen = toolbox.execute(call, vision.image_context((image,)))
        assert seen.box.width == pytest.approx(40, abs=1)
        size = vision.size_of(seen.images[0], crop=True)
        assert seen.text == f"\nHere is the cropped image (Image Size: {size.width}x{size.height}):"

    def test_an_error(self, toolbox, qwen25_folder, load_model):
        context = load_model(qwen25_folder).renderer.vision.image_context(())
        seen = toolbox.execute(ToolCall("crop_image_normalized", {}), context)
        assert seen.text.startswith("\nExecution error:\n")

    def test_frames_are_numbered(self, toolbox, qwen25_folder, load_model, video):
        context = load_model(qwen25_folder).renderer.vision.image_context((video(5),))
        seen = toolbox.execute(ToolCall("select_frames", {"target_frames": [2, 4]}), context)
        assert seen.text == "\nHere are the selected frames (Frame Size: 24x16, Numbered 1 to 2):"

    def test_what_a_recipe_says_of_an_operation_goes_first(self):
        own = OperationConfig(use="crop_image", name="zoom")
        made = Interaction(operations=(own,)).toolbox(Unit.RELATIVE, find_format(V1))
        assert made.names == ("zoom",)


def test_a_released_checkpoint_with_it(qwen3_folder, tmp_path, picture):
    """The whole prompt: tools in the words of its text-only template, the question, the guideline."""
    from transformers import AutoTokenizer

    from pixelreasoner.models.config import ModelConfig
    from pixelreasoner.models.loader import load_model

    text_only = (
        "{{ '<|im_start|>system\n' + messages[0].content }}"
        "{%- if tools -%}{{ '\n\n# Tools' }}"
        "{%- for tool in tools -%}{{ '\n' + (tool | tojson) }}{%- endfor -%}{%- endif -%}"
        "{{ '<|im_end|>\n' }}"
        "{%- for m in messages[1:] -%}{{ '<|im_start|>' + m.role + '\n' + m.content }}{%- endfor -%}"
    )
    write_bare_qwen2_5_vl(tmp_path, AutoTokenizer.from_pretrained(qwen3_folder), text_only)
    model = load_model(ModelConfig(checkpoint=str(tmp_path), chat_format=V1), training=False)
    renderer = model.renderer
    assert renderer.vision.unit is Unit.FRACTION
    assert renderer.vision.image.max_pixels == 8000 * 28 * 28
    assert renderer.vision.crop.max_pixels == 5120 * 28 * 28
    tools = Interaction().toolbox(renderer.vision.unit, renderer.chat_format).schemas
    from pixelreasoner.chat.prompting import task_messages
    from pixelreasoner.core.task import Task

    task = Task("t", "Which number?", (picture(300, 200),), ())
    text = renderer.decode(renderer.prompt(task_messages(task, renderer.chat_format, tools=True), tools).ids)
    system, _, rest = text.partition("<|im_start|>user\n")
    assert system.startswith("<|im_start|>system\nYou are a helpful assistant.\n\n# Tools\n")
    assert [json.loads(line) for line in system.splitlines()[4:6]] == tools
    assert rest.startswith(
        "<|vision_start|><|image_pad|><|vision_end|>Which number?\n\nGuidelines: Understand"
    )
    result = renderer.tokenizer.decode(renderer.observation(Observation("\nHere it is:")).ids)
    assert result.endswith("<|im_start|>user\n\nHere it is:<|im_end|>\n<|im_start|>assistant\n")
    assert renderer.prompt([Message("user", ("q",))], ()).media == ()


def test_commands_take_it(qwen3_folder, tmp_path, picture):
    """`ask` and `eval` with a tiny checkpoint of the family."""
    from transformers import AutoTokenizer

    from pixelreasoner.cli.main import main
    from pixelreasoner.core.media_io import save_image
    from pixelreasoner.core.records import read_trajectories

    (tmp_path / "model").mkdir()
    write_bare_qwen2_5_vl(tmp_path / "model", AutoTokenizer.from_pretrained(qwen3_folder))
    save_image(picture(100, 80), tmp_path / "photo.png")
    (tmp_path / "short.toml").write_text("[interaction.sampling]\nmax_tokens = 8\n")
    page, model, recipe = tmp_path / "asked.jsonl", str(tmp_path / "model"), str(tmp_path / "short.toml")
    asked = ["ask", str(tmp_path / "photo.png"), "What?", "--model", model, "--chat-format", V1]
    assert main([*asked, "--recipe", recipe, "--save", str(page)]) == 0
    out = tmp_path / "eval"
    overrides = [f"model.checkpoint='{model}'", f"model.chat_format='{V1}'", "n=2"]
    assert main(["eval", recipe, *overrides, "--out", str(out)]) == 0
    for file in (page, out / "trajectories.jsonl"):
        assert {y.coordinates for y in read_trajectories(file)} == {"fraction"}
