"""Prompts rendered from a conversation: equal to the chat template's, and to what a rollout would hold."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import Message, ToolCall
from pixelreasoner.core.trajectory import Observation, Segment

CALL = f"Closer.\n{format_call(ToolCall('crop_image', {'bbox_2d': [1, 2, 300, 400], 'target_image': 1}))}"


@pytest.fixture
def history(picture: Callable[..., Picture]) -> tuple[Message, ...]:
    """Two questions; the first one was answered after a crop."""
    return (
        Message("system", ("Be brief.",)),
        Message("user", (picture(40, 24), "What is the number?")),
        Message("assistant", (CALL,)),
        Message("tool", ("Image 2 is the crop:", picture(200, 200))),
        Message("assistant", ("It reads K. \\boxed{K}",)),
        Message("user", ("And on the blue card?", picture(30, 60))),
    )


def as_templates_take_them(history: tuple[Message, ...], role: str) -> list[dict]:
    out = []
    for message in history:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in message.parts
        ]
        plain = message.role in ("system", "assistant")
        out.append(
            {
                "role": role if message.role == "tool" else message.role,
                "content": message.text if plain else content,
            }
        )
    return out


def rendered(renderer: QwenVLRenderer, history: tuple[Message, ...], tools, role: str) -> tuple[int, ...]:
    markup = renderer.tokenizer.apply_chat_template(
        as_templates_take_them(history, role), tools=list(tools) or None, tokenize=False,
        add_generation_prompt=True,
    )  # fmt: skip
    return tuple(renderer.tokenizer(markup)["input_ids"])


@pytest.mark.parametrize("role", ["user", "tool"])
@pytest.mark.parametrize("offered", [True, False])
def test_a_history_is_what_the_template_writes(
    renderer, history, tools, with_template, json_template, role, offered
):
    renderer = with_template(renderer, template=json_template, observation_role=role)
    tools = tools if offered else ()
    segment = renderer.prompt(history, tools)
    assert segment.ids == rendered(renderer, history, tools, role)
    assert segment.media == tuple(p for m in history for p in m.parts if isinstance(p, Picture))


def test_a_history_is_what_a_rollout_holds(renderer, history, tools, with_template, json_template):
    """The same tokens, and every picture at the size it was shown at: crops have a budget of their own."""
    renderer = with_template(renderer, template=json_template)
    first, call, result = history[:2], history[2], history[3]
    segments = [
        renderer.prompt(first, tools),
        Segment(renderer.encode(call.text)),
        renderer.observation(Observation(result.parts[0], (result.parts[1],))),
    ]
    ours, theirs = renderer.layout([renderer.prompt(history[:4], tools)]), renderer.layout(segments)
    assert ours.ids_T.tolist() == theirs.ids_T.tolist()
    assert ours.position_3T.tolist() == theirs.position_3T.tolist()
    assert [b.key for b in ours.blocks] == [b.key for b in theirs.blocks]


@pytest.mark.parametrize("kind", ["plain", "qwen"])
def test_operations_read_the_sizes_that_were_shown(renderer, history, kind):
    renderer = PlainRenderer() if kind == "plain" else renderer
    prompt = renderer.prompt(history, ())
    assert prompt.crops == (1,)
    shown = renderer.vision.image_context(prompt.media, prompt.crops).images
    budgets = (False, True, False)
    for image, media, crop in zip(shown, prompt.media, budgets, strict=True):
        assert image == renderer.vision.displayed(media, crop=crop)
    if kind == "qwen":
        assert shown[1].view == (32, 32)  # at most 32 x 32 pixels for crops, 48 x 48 for images


def test_a_conversation_the_template_does_not_take(renderer, history, with_template):
    refusal = "{{ raise_exception('roles must alternate') }}"
    refuses = with_template(renderer, template=refusal, observation_role="user")
    with pytest.raises(CheckpointError, match=r"does not take this conversation: roles must alternate"):
        refuses.prompt(history, ())


def test_results_need_a_form(renderer, with_template):
    """Qwen2.5-VL's template opens any role as it is called; the model never saw `<|im_start|>tool`."""
    raw = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    with pytest.raises(CheckpointError, match="set observation_role to user"):
        with_template(renderer, template=raw, observation_role="tool")
    with_template(renderer, template=raw, observation_role="user")


class TestWordsOfTheCheckpoint:
    """Where a chat format says nothing, as in a released folder."""

    OWN = (
        "{%- if messages[0].role != 'system' -%}"
        "{{ '<|im_start|>system\nBe of help.<|im_end|>\n' }}{%- endif -%}"
        "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\n' }}"
        "{%- if m.content is string -%}{{ m.content }}{%- else -%}{%- for p in m.content -%}"
        "{%- if p.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
        "{%- else -%}{{ p.text }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    )
    """Writes images, drops tools, has a system message."""
    TEXT_ONLY = (
        "{{ '<|im_start|>system\n' + messages[0].content }}"
        "{%- if tools -%}{{ '\n\nAt hand:' }}"
        "{%- for tool in tools -%}{{ '\n' + (tool | tojson) }}{%- endfor -%}{{ '\nCall one.' }}{%- endif -%}"
        "{{ '<|im_end|>\n' }}"
        "{%- for m in messages[1:] -%}{{ '<|im_start|>' + m.role + m.content }}{%- endfor -%}"
    )

    def folder_with(self, source: Path, target: Path) -> Path:
        import json

        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source)
        tokenizer.chat_template = None
        tokenizer.save_pretrained(target)
        for name in ("config.json", "preprocessor_config.json"):
            (target / name).write_bytes((source / name).read_bytes())
        (target / "chat_template.json").write_text(json.dumps({"chat_template": self.OWN}))
        path = target / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": self.TEXT_ONLY}))
        return target

    def load(self, folder: Path) -> QwenVLRenderer:
        from transformers import AutoTokenizer

        return QwenVLRenderer.load(folder, AutoTokenizer.from_pretrained(folder))

    def system(self, renderer: QwenVLRenderer, tools) -> str:
        prompt = renderer.prompt([Message("user", ("q",))], tools)
        text = renderer.tokenizer.decode(prompt.ids)
        return text.partition("<|im_start|>system\n")[2].partition("<|im_end|>")[0]

    def test_tools_in_the_words_of_the_text_only_template(self, qwen25_folder, tmp_path, tools):
        import json

        renderer = self.load(self.folder_with(qwen25_folder, tmp_path))
        listed = json.dumps(tools[0])
        assert self.system(renderer, tools) == f"Be of help.\n\nAt hand:\n{listed}\nCall one."
        assert self.system(renderer, ()) == "Be of help."

    def test_a_chat_format_goes_first(self, qwen25_folder, tmp_path, tools):
        folder = self.folder_with(qwen25_folder, tmp_path)
        (folder / "chat_format.json").write_text('{"tools": " Tools: {tools}", "system": "S."}')
        renderer = self.load(folder)
        assert renderer.chat_format.tools == " Tools: {tools}"

    def test_they_are_saved(self, qwen25_folder, tmp_path, tools):
        """A saved folder has one template; the words of the other one are in its chat format."""
        source, target = tmp_path / "a", tmp_path / "b"
        renderer = self.load(self.folder_with(qwen25_folder, source))
        renderer.tokenizer.save_pretrained(target)
        renderer.chat_format.save(target)
        for name in ("config.json", "preprocessor_config.json"):
            (target / name).write_bytes((source / name).read_bytes())
        again = self.load(target)
        assert again.fingerprint == renderer.fingerprint
        assert self.system(again, tools) == self.system(renderer, tools)


class TestFingerprint:
    def test_how_a_call_padded_does_not_count(self, renderer, with_template):
        renderer = with_template(renderer)
        before = with_template(renderer).fingerprint
        renderer.tokenizer(["a", "bb b"], padding=True, truncation=True, max_length=2)
        assert renderer.fingerprint == before

    def test_what_changes_the_tokens_counts(self, renderer, with_template, json_template):
        same, other = with_template(renderer), with_template(renderer, template=json_template + " ")
        worded = with_template(renderer, crop_reply="Here:")
        assert len({renderer.fingerprint, same.fingerprint}) == 1
        assert len({renderer.fingerprint, other.fingerprint, worded.fingerprint}) == 3


def test_ids_without_a_token_are_forbidden(renderer):
    n = len(renderer.tokenizer)
    larger = QwenVLRenderer(
        renderer.tokenizer, renderer.family, renderer.vision, renderer.chat_format, vocabulary_size=n + 7
    )
    assert larger.forbidden_ids - renderer.forbidden_ids == set(range(n, n + 7))


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_the_released_templates(renderer, history, tools, with_template, name):
    """Byte copies of them ship with TRL; a conversation as those templates write it."""
    spec = find_spec("trl")
    if spec is None or spec.origin is None:
        pytest.skip("the package trl is not installed: it holds the released templates")
    template = (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text()
    renderer = with_template(renderer, template=template, observation_role="user")
    assert renderer.prompt(history, ()).ids == rendered(renderer, history, (), "user")
    if name == "qwen3_vl":  # that of Qwen2.5-VL drops tools
        assert renderer.prompt(history, tools).ids == rendered(renderer, history, tools, "user")
        by_role = with_template(renderer, template=template, observation_role="tool")
        assert by_role.prompt(history, tools).ids == rendered(renderer, history, tools, "tool")
    else:
        with pytest.raises(CheckpointError, match="set observation_role to user"):
            with_template(renderer, template=template, observation_role="tool")
