"""The renderer of the Qwen-VL families: the only code that knows their special tokens.

A conversation is rendered once, piece by piece, and never again: the prompt through the checkpoint's own
chat template, and each operation's result through the text the template puts around a later message.
All families write `<|vision_start|>placeholder<|vision_end|>` around an image; where they differ is in their
`chat.families.Family`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.checkpoint_files import vision_spec, with_format
from pixelreasoner.chat.families import Family, family_of, read_config
from pixelreasoner.chat.layout import Layout, VisualBlock, expand
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.chat.templates import PROBE, find_template, find_tools_text
from pixelreasoner.chat.tokens import Piece, Slots, TextCodec
from pixelreasoner.chat.videos import block
from pixelreasoner.chat.vision_spec import VisionSpec, expanded_tokens
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.messages import Message, Parsed
from pixelreasoner.core.trajectory import Observation, Segment, Span

START, END, STOP = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
THOUGHT_START, THOUGHT_END = "<think>", "</think>"
IMAGE, VIDEO = VISION_START + IMAGE_PAD + VISION_END, VISION_START + VIDEO_PAD + VISION_END


class QwenVLRenderer:
    """Words to tokens and back, for one checkpoint."""

    def __init__(
        self,
        tokenizer: Any,
        family: Family,
        vision: VisionSpec,
        chat_format: ChatFormat,
        *,
        vocabulary_size: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """A renderer.

        Args:
            tokenizer: the checkpoint's, a fast one, with a chat template that writes images.
            family: of the checkpoint.
            vision: how the checkpoint sees.
            chat_format: wording; its budgets and unit are in `vision` already.
            vocabulary_size: of the model, where it is larger than the tokenizer's; ids without a token are
                never sampled.
            max_tokens: positions of the model.

        Raises:
            CheckpointError: the tokenizer is not of a Qwen-VL checkpoint, or its chat template has no form
                for results where the chat format gives them a role of their own, or no switch for thinking
                where the chat format sets it.
        """
        if tokenizer.chat_template is None:
            raise CheckpointError(
                "the tokenizer has no chat template; save one as chat_template.jinja beside it"
            )
        self.tokenizer, self.family, self.vision, self.chat_format = tokenizer, family, vision, chat_format
        self.vocabulary_size, self.max_tokens = vocabulary_size, max_tokens
        self.codec = TextCodec(tokenizer)
        ids = self.codec.control_id
        self.image_id, self.video_id, self._end_id = ids(IMAGE_PAD), ids(VIDEO_PAD), ids(END)
        self._placeholders = frozenset({self.image_id, self.video_id})
        self.stop_ids = frozenset({self._end_id, ids(STOP)})
        brackets = {ids(VISION_START), ids(VISION_END), ids(START)}
        vocabulary = tokenizer.get_vocab()
        without_token = set(range(vocabulary_size or 0)) - set(vocabulary.values())
        other_media = {vocabulary[name] for name in family.other_media_tokens if name in vocabulary}
        self.forbidden_ids = frozenset(self._placeholders | brackets | other_media | without_token)
        if chat_format.observation_role == "tool":
            self._check_form_of_results()
        if chat_format.thinking is not None:
            self._check_switch()

    @classmethod
    def load(cls, folder: Path, tokenizer: Any) -> QwenVLRenderer:
        """The renderer of a checkpoint folder; its weights are not read.

        Raises:
            CheckpointError: another family, no template that writes images, or a file that cannot be read.
        """
        family, chat_format = family_of(folder), ChatFormat.load(folder)
        own: dict[str, Any] = {"observation_role": family.observation_role}
        if "tools" not in chat_format.model_fields_set:
            tools = find_tools_text(folder, tokenizer, START, END)
            own |= {} if tools is None else {"tools": tools}
        unsaid = {name: value for name, value in own.items() if name not in chat_format.model_fields_set}
        chat_format = chat_format.model_copy(update=unsaid)
        tokenizer.chat_template = find_template(folder, tokenizer, IMAGE)
        config = read_config(folder)
        text: Mapping[str, Any] = config.get("text_config") or config
        return cls(
            tokenizer,
            family,
            vision_spec(folder, family, chat_format),
            chat_format,
            vocabulary_size=text.get("vocab_size"),
            max_tokens=text.get("max_position_embeddings"),
        )

    def with_format(self, chat_format: ChatFormat) -> QwenVLRenderer:
        """The same renderer with another chat format."""
        return type(self)(
            self.tokenizer,
            self.family,
            with_format(self.vision, chat_format),
            chat_format,
            vocabulary_size=self.vocabulary_size,
            max_tokens=self.max_tokens,
        )

    @property
    def fingerprint(self) -> str:
        """128 bits over all that decides which tokens a conversation becomes."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        tokenizer = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # How a call last padded or cut its texts is kept in a tokenizer, and is no part of it.
        parts = (
            json.dumps(tokenizer | {"padding": None, "truncation": None}),
            self.tokenizer.chat_template,
            self.chat_format.identity,
            self.family.model_type,
            self.vision.coordinates,
        )
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()

    # Writing

    def prompt(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Segment:
        """The conversation so far, up to the point where the model is to speak.

        Raises:
            CheckpointError: the chat template leaves out media, or writes them in an unknown way.
        """
        slots = Slots(self.codec)
        turns = [self._turn(m, slots) for m in self._with_tools(messages, tools)]
        markup = self._template(turns, tools=slots.guard(tools) or None, add_generation_prompt=True)
        placed = [(m.role, part) for m in messages for part in m.parts if not isinstance(part, str)]
        media = tuple(part for _, part in placed)
        videos = [m for m in media if isinstance(m, Video)]
        before, *parts = markup.split(VIDEO)
        if len(parts) != len(videos) or markup.count(IMAGE) != len(media) - len(videos):
            raise CheckpointError(
                f"the chat template does not write {IMAGE} or {VIDEO} once for each image or video"
            )
        pieces = slots.fill(before)
        for video, part in zip(videos, parts, strict=True):
            pieces += [*self._video_pieces(video), *slots.fill(part)]
        crops = tuple(at for at, (role, _) in enumerate(placed) if role == "tool")
        return Segment(self.codec.encode(pieces), media, crops=crops)

    def _turn(self, message: Message, slots: Slots) -> dict[str, Any]:
        """A message as chat templates take it, its words held back."""
        role = self.chat_format.observation_role if message.role == "tool" else message.role
        if role == "assistant" and THOUGHT_END in message.text and self._template_takes_thoughts:
            # The template says what becomes of them; it cannot see them where words are held back.
            thoughts = message.text.partition(THOUGHT_END)[0].rpartition(THOUGHT_START)[2]
            answer = message.text.rpartition(THOUGHT_END)[2].lstrip("\n")
            return {
                "role": role,
                "reasoning_content": slots.hold(thoughts),
                "content": slots.hold(answer, begins=False),
            }
        if message.role != "user" and all(isinstance(part, str) for part in message.parts):
            # Some templates add the content of these to a string.
            return {"role": role, "content": slots.hold(message.text)}
        content = [
            {"type": "text", "text": slots.hold(part)}
            if isinstance(part, str)
            else {"type": "image" if isinstance(part, Picture) else "video"}
            for part in message.parts
        ]
        return {"role": role, "content": content}

    def _with_tools(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> list[Message]:
        """The messages; with the tools in the system message where the chat template would leave them out."""
        if not tools or self._template_lists_tools:
            return list(messages)
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        first = messages[0].text if messages and messages[0].role == "system" else self._own_system
        rest = messages[1:] if messages and messages[0].role == "system" else messages
        system = (first + self.chat_format.tools.replace("{tools}", listed)).lstrip()
        return [Message("system", (system,)), *rest]

    def _template(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        if self.chat_format.thinking is not None:
            options = {"enable_thinking": self.chat_format.thinking == "on"} | options
        try:
            return self.tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
        except TemplateError as e:
            raise CheckpointError(f"the chat template does not take this conversation: {e}") from e

    @cached_property
    def _own_system(self) -> str:
        """The system message that the chat template brings where a conversation has none."""
        if self.chat_format.system is not None:
            return ""
        text = self._template([{"role": "user", "content": "q"}])
        return text.partition(f"{START}system\n")[2].partition(END)[0]

    def _check_form_of_results(self) -> None:
        roles = {"user": "q", "assistant": "a", "tool": "r"}
        text = self._template([{"role": role, "content": content} for role, content in roles.items()])
        if f"{START}tool" in text:
            raise CheckpointError(
                f"the chat template has no form for results of operations: it opens them with {START}tool, "
                "a role the model never saw; set observation_role to user"
            )

    def _check_switch(self) -> None:
        openings = {
            self._template([{"role": "user", "content": "q"}], add_generation_prompt=True, enable_thinking=on)
            for on in (True, False)
        }
        if len(openings) == 1:
            raise CheckpointError(
                "the chat template has no switch for thinking: it opens the model's message in the same way "
                "whether thinking is on or off; leave thinking out of the chat format"
            )

    @cached_property
    def _template_takes_thoughts(self) -> bool:
        """Whether the chat template writes the thoughts of a message apart from its content."""
        said = {"role": "assistant", "content": "a", "reasoning_content": "probed_thought"}
        return "probed_thought" in self._template([{"role": "user", "content": "q"}, said])

    @cached_property
    def _template_lists_tools(self) -> bool:
        """Whether the chat template writes the tools down; that of Qwen2.5-VL silently drops them."""
        return "probed_tool" in self._template([{"role": "user", "content": "q"}], tools=[PROBE])

    def _video_pieces(self, video: Video) -> list[Piece]:
        """What stands in the place of a video: a placeholder for each of its blocks, after its marker."""
        markers = self.family.video.markers(video, self.vision, self.chat_format.frame_marker)
        out: list[Piece] = []
        for marker in markers:
            out += [*([marker] if marker else []), *self.codec.pieces(VIDEO)]
        if self.chat_format.video_brackets and any(markers):
            return [*self.codec.pieces(VISION_START), *out, *self.codec.pieces(VISION_END)]
        return out

    def observation(self, observation: Observation) -> Segment:
        """The result as a message of its own, and the opening of the model's next message."""
        before, after = self._around_result
        images = self.codec.pieces(IMAGE) * len(observation.images)
        return Segment(self.codec.encode([*before, observation.text, *images, *after]), observation.images)

    @cached_property
    def _around_result(self) -> tuple[list[Piece], list[Piece]]:
        """What the chat template puts before and after a message that follows the model's own.

        Found by rendering a conversation with and without it, so that every template is served by one
        rule; the model's message ends with its sampled stop token, which is not part of the text.
        """
        role = self.chat_format.observation_role
        head = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        short = self._template(head)
        slot = Slots(self.codec).hold("")
        full = self._template([*head, {"role": role, "content": slot}], add_generation_prompt=True)
        stop = short.rfind(END) + len(END)
        before, found, after = full[stop:].partition(slot)
        if END not in short or full[:stop] != short[:stop] or not found:
            raise CheckpointError(
                f"the chat template rewrites earlier messages when a '{role}' message follows; set "
                f'observation_role to "{"tool" if role == "user" else "user"}", in chat_format.json or in '
                "the recipe's interaction.wording"
            )
        return self.codec.pieces(before), self.codec.pieces(after)

    def encode(self, text: str) -> tuple[int, ...]:
        return self.codec.encode([self._closed_thoughts(text), self._end_id])

    def tokens_of(self, text: str, characters: Span) -> Span:
        start, end = characters
        whole = self._closed_thoughts(text)
        before = len(whole) - len(text)
        return self.codec.tokens_of(whole, (start + before, end + before))

    def _closed_thoughts(self, text: str) -> str:
        """A message without thoughts, where the prompt has opened them: as the chat template writes it."""
        return text if THOUGHT_END in text else self._before_message + text

    @cached_property
    def _before_message(self) -> str:
        """What the chat template writes before a message without thoughts, after the end of a prompt.

        Thoughts that the opening leaves open are closed here; other templates write nothing.
        """
        question: list[dict[str, Any]] = [{"role": "user", "content": "q"}]
        opening = self._template(question, add_generation_prompt=True)
        slot = Slots(self.codec).hold("")
        said = self._template([*question, {"role": "assistant", "content": slot}])
        return said.partition(slot)[0].removeprefix(opening) if said.startswith(opening) else ""

    # Reading

    def decode(self, ids: Sequence[int]) -> str:
        return self.codec.decode([i for i in ids if i not in self.stop_ids])

    def parse(self, text: str, tools: Sequence[ToolSchema] = ()) -> Parsed:
        return self.family.syntax.parse(text, tools)

    # Laying out

    def layout(self, segments: Sequence[Segment]) -> Layout:
        """The whole conversation as one row: placeholders expanded, positions numbered."""
        ids: list[int] = []
        blocks: list[VisualBlock] = []
        for index, segment in enumerate(segments):
            ids += segment.ids
            for at, media in enumerate(segment.media):
                blocks += self.blocks(media, crop=index > 0 or at in segment.crops)
        return expand(tuple(ids), tuple(blocks), self._placeholders, self.vision.merge)

    def n_tokens(self, segment: Segment, *, prompt: bool) -> int:
        return expanded_tokens(segment, self._placeholders, self.vision, prompt=prompt)

    def blocks(self, media: Media, *, crop: bool) -> list[VisualBlock]:
        """The media item at its final size, one block for each of its placeholders."""
        if isinstance(media, Picture):
            return [block("image", [media], self.vision.size_of(media, crop=crop), self.vision)]
        return self.family.video.blocks(media, self.vision)
