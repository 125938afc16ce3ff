"""A new, small checkpoint from nothing: architecture, tokenizer, chat template and random weights.

The result is an ordinary Hugging Face folder of the Qwen3-VL architecture. It is loaded and trained like any
other.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, model_validator
from tokenizers import AddedToken as Added
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from pixelreasoner.chat.chat_format import ChatFormat, mark_config
from pixelreasoner.chat.checkpoint_files import with_format
from pixelreasoner.chat.families import QWEN3_VL
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.config import Config, CountOrZero
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.models.processor_config import write_processor_config

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CALL_TOKENS = ("<tool_call>", "</tool_call>")
MERGE, TEMPORAL_PATCH = 2, 2
QK_GAIN = 1.5
"""Initial weight of the norms of queries and keys; logits grow with its square."""
COPY_GAIN = 0.25
"""Initial scale of an attention layer's output."""
NUMBERS = range(1001)
"""Each of them is one token, so that a relative coordinate (0-1000) is."""
PRE_TOKENS = Regex(
    r"""[\]\}", ]*\{?"[a-z_0-9]+": ?["\[]*"""  # a JSON key with the punctuation around it
    r"""|[A-Za-z]+(?:_[A-Za-z0-9]+)+"""  # an identifier
    r"""| ?[A-Za-z]+|[0-9]{1,4}|\n+|[^A-Za-z0-9\n]+"""
)
"""Words, numbers up to four digits and JSON keys are units: a coordinate is one token, a call is short."""

CHAT_TEMPLATE = """\
{%- macro show(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- set system = messages[0].role == 'system' -%}
{%- if system or tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if system -%}{{ show(messages[0].content) }}{%- endif -%}
{%- if tools -%}
{%- for tool in tools -%}
{{- tool.function.name + '(' + tool.function.parameters.properties | join(', ') + ')\\n' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role != 'system' -%}
{{- '<|im_start|>' + message.role + '\\n' + show(message.content) + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


Size = Annotated[int, Field(ge=1, le=2**20)]


class Architecture(Config):
    """Sizes of a small Qwen3-VL."""

    vocab_size: Size = 2048
    """Tokens."""
    hidden_size: Size = 192
    """Of the decoder."""
    layers: Size = 4
    """Of the decoder."""
    heads: Size = 6
    """Attention heads of a decoder layer."""
    kv_heads: Size = 6
    """Heads of keys and values; fewer than `heads` is grouped-query attention."""
    intermediate_size: Size = 512
    """Of the decoder's MLP."""
    vision_hidden_size: Size = 128
    """Of the vision tower."""
    vision_depth: Size = 4
    """Layers of the vision tower."""
    vision_heads: Size = 2
    """Attention heads of a layer of the tower."""
    vision_intermediate_size: Size = 384
    """Of the tower's MLP."""
    patch_size: int = Field(default=8, ge=1, le=256)
    """Side of a patch, in pixels."""
    position_grid: int = Field(default=16, ge=1, le=1024)
    """Side of the learned position grid of the vision tower, in patches."""
    deepstack_layers: tuple[CountOrZero, ...] = ()
    """Layers of the tower, from 0, whose output goes to the first layers of the decoder too."""

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        """Rotary positions turn pairs of a head's numbers; those of a patch are a row and a column."""
        parts = ("hidden_size", self.hidden_size, "heads", self.heads, 2), (
            "vision_hidden_size", self.vision_hidden_size, "vision_heads", self.vision_heads, 4
        )  # fmt: skip
        for size_name, size, heads_name, heads, least in parts:
            if size % (heads * least):
                raise ValueError(
                    f"{size_name} = {size} is not a multiple of {least} * {heads_name} = {heads * least}"
                )
        if self.heads % self.kv_heads:
            raise ValueError(f"heads = {self.heads} is not a multiple of kv_heads = {self.kv_heads}")
        if any(layer >= self.vision_depth for layer in self.deepstack_layers):
            raise ValueError(f"deepstack_layers are from 0 to {self.vision_depth - 1} (vision_depth - 1)")
        return self

    def vision(self, chat_format: ChatFormat) -> VisionSpec:
        """Return the vision spec of a model of these sizes, with the pixel budgets of a chat format."""
        spec = VisionSpec(
            unit=QWEN3_VL.unit,
            patch=self.patch_size,
            merge=MERGE,
            temporal_patch=TEMPORAL_PATCH,
            normalization=QWEN3_VL.normalization,
            image=QWEN3_VL.image,
            crop=QWEN3_VL.image,
            video_frame=QWEN3_VL.video_frame,
        )
        return with_format(spec, chat_format)


def train_tokenizer(corpus: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with Qwen's special tokens; every number from 0 to 1000 is one token.

    Raises:
        ConfigError: the vocabulary is too small to hold the numbers beside the corpus's own words.
    """
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PRE_TOKENS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *CALL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    numbers = [str(n) for n in NUMBERS]
    tok.train_from_iterator((*corpus, *(numbers * 200)), trainer)
    if any(len(tok.encode(number).ids) > 1 for number in numbers):
        raise ConfigError(
            f"a vocabulary of {vocab_size} cannot hold all numbers up to {numbers[-1]}; enlarge it"
        )
    tok.add_special_tokens([Added(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tok.add_tokens([Added(t, special=False, normalized=False) for t in CALL_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def new_checkpoint(
    folder: Path, *, architecture: Architecture, chat_format: ChatFormat, corpus: Iterable[str], seed: int
) -> None:
    """Write a checkpoint with random weights to `folder`, ready for `AutoModelForImageTextToText`.

    Raises:
        ConfigError: the vocabulary is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(corpus, architecture.vocab_size)
    tokenizer.save_pretrained(folder)
    chat_format.save(folder)
    renderer = QwenVLRenderer(tokenizer, QWEN3_VL, architecture.vision(chat_format), chat_format)
    write_processor_config(folder, renderer)
    # transformers draws initial weights from the global generator; it is put back afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(_config(architecture, tokenizer))
        _match_scales(model)
        _match_queries_and_keys(model)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    model.save_pretrained(folder)
    mark_config(folder)


def _config(a: Architecture, tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    head_dim = a.hidden_size // a.heads
    # M-RoPE gives each of time, height and width a share of the head's frequency pairs.
    height = width = head_dim // 2 // 3
    vocabulary = tokenizer.get_vocab()
    ids = {token: vocabulary[token] for token in SPECIAL_TOKENS}
    return Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": a.hidden_size, "num_hidden_layers": a.layers,
            "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads, "head_dim": head_dim,
            "intermediate_size": a.intermediate_size, "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 5_000_000.0, "mrope_interleaved": True,
                "mrope_section": [head_dim // 2 - height - width, height, width],
            },
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": a.vision_depth, "hidden_size": a.vision_hidden_size, "num_heads": a.vision_heads,
            "intermediate_size": a.vision_intermediate_size, "patch_size": a.patch_size,
            "spatial_merge_size": MERGE, "temporal_patch_size": TEMPORAL_PATCH,
            "out_hidden_size": a.hidden_size, "num_position_embeddings": a.position_grid**2,
            "deepstack_visual_indexes": list(a.deepstack_layers),
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )  # fmt: skip


@torch.no_grad()
def _match_scales(model: Qwen3VLForConditionalGeneration) -> None:
    """Start text, image and position embeddings at comparable scales.

    With the default 0.02 everywhere, image features are a hundred times as large as text embeddings, and
    position embeddings are small against patches. The language model then learns to use pictures late.
    """
    model.model.language_model.embed_tokens.weight.normal_(0.0, 0.5)
    model.model.visual.pos_embed.weight.normal_(0.0, 0.2)
    for merger in model.model.visual.deepstack_merger_list:
        merger.linear_fc2.weight.zero_()
        merger.linear_fc2.bias.zero_()


@torch.no_grad()
def _match_queries_and_keys(model: Qwen3VLForConditionalGeneration) -> None:
    """Initialize attention so that a token attends to similar tokens and adds their values.

    Keys start equal to queries, so that a token attends to tokens like it. Outputs start as the transpose of
    orthogonal values, so that the attended vector is added unchanged. A tower whose features are aligned with
    word embeddings (`nano.auxiliary_heads`) then makes the word "red" attend to red things from the first
    step. From independent matrices, a small model needs more steps for this match than for everything else.
    The norms of queries and keys bound the logits: at a gain of 1 and this head size, they are too small to
    separate one token of 64 from the others.
    """
    text = model.model.language_model
    for layer in text.layers:
        attention = layer.self_attn
        if attention.k_proj.weight.shape != attention.q_proj.weight.shape:
            return  # with fewer key-value heads than query heads there is no such start
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        nn.init.orthogonal_(attention.v_proj.weight)
        attention.o_proj.weight.copy_(COPY_GAIN * attention.v_proj.weight.T)
        for norm in (attention.q_norm, attention.k_norm):
            norm.weight.fill_(QK_GAIN)
