"""Attention targets written by hand; the loss against the attention weights of the stock eager code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.attention_supervision import (
    LAYERS,
    AttentionSupervision,
    AttentionTarget,
    TargetReader,
)
from pixelreasoner.nano.conversation_rows import conversation_row
from pixelreasoner.nano.conversations import synthetic_conversations
from pixelreasoner.nano.scratch import Architecture, new_checkpoint
from pixelreasoner.nano.token_labels import COLOUR_NAMES
from pixelreasoner.tasks.pixelworld import KINDS, PixelWorld
from pixelreasoner.tasks.pixelworld.questions import Place
from prompting import prompt_of

BOX = Box(5, 2, 20, 25)
REGION = Place((BOX,))
NOWHERE = Place(())
ANSWER = 'The red card\n{"bbox_2d": [120, 40, 500, 620]}'


def budget(low: int, high: int) -> PixelBudget:
    """From `low` x `low` to `high` x `high` pixels."""
    return PixelBudget(min_pixels=low * low, max_pixels=high * high)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint as deep as the targets; a token is 8x8 pixels, and frames are announced by number."""
    folder = tmp_path_factory.mktemp("supervised")
    sizes = Architecture(
        vocab_size=1536, hidden_size=32, layers=4, heads=2, kv_heads=1, intermediate_size=48,
        vision_hidden_size=32, vision_depth=1, vision_intermediate_size=40, patch_size=4, position_grid=8,
    )  # fmt: skip
    chat_format = ChatFormat(
        image=budget(16, 48), crop=budget(16, 32), video_frame=budget(8, 24), frame_marker="{first}-{last}"
    )
    corpus = (
        ANSWER,
        'The blue card {"target_frames": [3, 4]}',
        "The red card is K. Where?",
        "user\nassistant\n",
    )
    new_checkpoint(folder, architecture=sizes, chat_format=chat_format, corpus=corpus, seed=0)
    return folder


@pytest.fixture(scope="module")
def model(folder) -> VisionLanguageModel:
    return VisionLanguageModel.load(folder).eval()


@pytest.fixture
def reader(model) -> TargetReader:
    return TargetReader(model, ["red", "blue"])


def row(model, media, answer: str, *, question: str = "Where?"):
    """One pair, the answer of which is learned."""
    r = model.renderer
    segments = [prompt_of(r, Task("t", question, media, ()), ()), Segment(r.encode(answer))]
    mask = np.repeat([False, True], [len(s.ids) for s in segments])
    return r.layout(segments), mask


def text(model, layout, index: int) -> str:
    return model.renderer.tokenizer.decode([int(layout.ids_T[index])])


def test_a_word_is_looked_up_in_the_picture_and_by_the_numbers_after_it(model, reader, picture):
    layout, mask = row(model, (picture(40, 40),), ANSWER)
    word_image, box_word, verb_word, *of_video = reader.read(layout, mask, [REGION])
    assert [text(model, layout, i) for i in word_image.query_N] == [" red"]
    # 5x5 tokens with centres at 4, 12, 20, 28, 36; the box spans 5-20 by 2-25.
    first = int(np.flatnonzero(layout.kind_T)[0])
    columns, rows = (1, 2), (0, 1, 2)
    covered = np.flatnonzero(word_image.keys_NT[0]) - first
    assert covered.tolist() == [5 * y + x for y in rows for x in columns]
    assert [text(model, layout, i + 1) for i in box_word.query_N] == ["120", "40", "500", "620"]
    for keys_T in box_word.keys_NT:
        assert np.flatnonzero(keys_T).tolist() == word_image.query_N
    assert not any(target.query_N for target in (verb_word, *of_video))


def test_a_box_between_the_centres_is_the_nearest_token(model, reader, picture):
    layout, mask = row(model, (picture(40, 40),), "The red card.")
    (keys_T,) = reader.read(layout, mask, [Place((Box(17, 32.5, 18, 34),))])[0].keys_NT
    first = int(np.flatnonzero(layout.kind_T)[0])
    assert (np.flatnonzero(keys_T) - first).tolist() == [5 * 4 + 2]


def test_several_boxes_are_one_place(model, reader, picture):
    layout, mask = row(model, (picture(16, 16),), "The red card.")
    (keys_T,) = reader.read(layout, mask, [Place((Box(0, 0, 7, 7), Box(9, 9, 16, 16)))])[0].keys_NT
    first = int(np.flatnonzero(layout.kind_T)[0])
    assert (np.flatnonzero(keys_T) - first).tolist() == [0, 3]


def test_a_box_is_in_the_latest_picture(model, reader, picture):
    layout, mask = row(model, (picture(16, 16), picture(24, 24)), ANSWER)
    (keys_T,) = reader.read(layout, mask, [REGION])[0].keys_NT
    assert np.flatnonzero(keys_T).min() >= np.flatnonzero(layout.kind_T)[4]


def test_a_reading_is_told_from_its_word(model, reader, picture):
    layout, mask = row(model, (picture(16, 16),), "The red card is K.")
    word_image, box_word, verb_word, *_ = reader.read(layout, mask, [NOWHERE])
    assert [text(model, layout, i) for i in verb_word.query_N] == [" is"]
    assert text(model, layout, int(np.flatnonzero(verb_word.keys_NT[0])[0])) == " red"
    assert not word_image.query_N, "a word that stands for nothing in a picture"
    assert not box_word.query_N


def test_words_that_are_not_learned_name_no_place(model, reader, picture):
    layout, mask = row(model, (picture(16, 16),), "Yes.", question=ANSWER)
    assert not any(target.query_N for target in reader.read(layout, mask, []))


def test_every_learned_word_has_its_place(model, reader, picture):
    layout, mask = row(model, (picture(16, 16),), ANSWER)
    with pytest.raises(AssertionError, match="1 regions more"):
        reader.read(layout, mask, [REGION, REGION])


def test_a_word_is_looked_up_in_the_frames_that_show_it(model, reader, video):
    answer = 'The blue card {"target_frames": [3, 4]}'
    layout, mask = row(model, (video(4, 16, 16),), answer)
    region = Place((Box(9, 1, 16, 7),), frames=(3, 4))
    word_image, *_, word_frames, frames_word, frames_marker = reader.read(layout, mask, [region])
    visual = np.flatnonzero(layout.kind_T)  # two blocks of two frames, two by two tokens each
    for target in (word_image, word_frames):
        assert [np.flatnonzero(keys_T).tolist() for keys_T in target.keys_NT] == [[visual[5]]]
    assert [text(model, layout, i + 1) for i in frames_word.query_N] == ["3", "4"]
    assert frames_marker.query_N == frames_word.query_N
    markers = [int(np.flatnonzero(keys_T)[0]) for keys_T in frames_marker.keys_NT]
    assert [text(model, layout, i) for i in markers] == ["3", "4"]
    assert all(i < visual[4] for i in markers), "where the second block is announced"


def test_conversations_give_a_region_for_every_colour_word():
    """Of all kinds: the reader takes one region per learned word, and none is left."""
    model = VisionLanguageModel.load(checkpoint_folder("nano"))
    reader, world, r = TargetReader(model, COLOUR_NAMES), PixelWorld(), model.renderer
    for index, kind in enumerate(KINDS):
        scene, rng = world.scene("base", kind, index, tiny=False)
        for conversation in synthetic_conversations(scene, rng, r.chat_format, r.vision):
            layout, mask = conversation_row(conversation, model, ())
            named = sum(_word_count(e.answer) for e in conversation.pairs)
            regions = [p for e in conversation.pairs for p in e.regions]
            assert len(regions) == named
            targets = reader.read(layout, mask, regions)
            assert any(target.query_N for target in targets)


def _word_count(answer: str) -> int:
    return sum(word.strip(".,:") in COLOUR_NAMES for word in answer.split())


def test_the_loss_is_that_of_the_stock_attention_weights(folder, model, reader, picture):
    rows = [row(model, (picture(40, 40),), ANSWER), row(model, (picture(16, 24),), "It is. " + ANSWER)]
    targets = [reader.read(*r, [REGION]) for r in rows]
    features = model.encode([b for layout, _ in rows for b in layout.blocks])
    batch = model.embed([layout for layout, _ in rows], features, left=False)
    supervision = AttentionSupervision(model)
    with supervision.recording():
        model(batch)
        losses = supervision.losses(targets)

    eager = VisionLanguageModel.load(folder).eval()
    eager.decoder.config._attn_implementation = "eager"
    weights: dict[int, torch.Tensor] = {}
    for index, layer in enumerate(eager.decoder.layers):
        layer.self_attn.register_forward_hook(lambda m, a, out, index=index: weights.update({index: out[1]}))
    eager(batch)
    for index, layer in enumerate(LAYERS):
        expected = 0.0
        for b, target in enumerate(row[index] for row in targets):
            for at, keys_T in zip(target.query_N, target.keys_NT, strict=True):
                on_target_H = weights[layer][b, :, at, : len(keys_T)][:, torch.from_numpy(keys_T)].sum(-1)
                expected -= math.log(on_target_H.mean().item())
        assert losses[index].item() == pytest.approx(expected, rel=1e-5)
    assert losses[0].item() > 0
    assert losses[3].item() == 0


def test_the_loss_teaches_to_look(folder, reader, picture):
    """Gradient descent on it alone moves the attention onto the region."""
    model = VisionLanguageModel.load(folder)
    layout, mask = row(model, (picture(40, 40),), ANSWER)
    targets = reader.read(layout, mask, [REGION])
    features = {k: type(f)(f.tokens_MD.detach(), ()) for k, f in model.encode(layout.blocks).items()}
    optimizer = torch.optim.SGD(model.decoder.parameters(), lr=0.02)
    supervision, losses = AttentionSupervision(model), []
    for _ in range(12):
        with supervision.recording():
            model(model.embed([layout], features, left=False))
            loss = torch.stack(supervision.losses([targets])).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_an_empty_place_asks_nothing():
    target = AttentionTarget()
    target.add(3, np.zeros(5, np.bool_))
    assert not target.query_N


def test_a_decoder_too_shallow_for_the_targets_is_the_users_mistake(model):
    class Shallow:
        class decoder:
            layers = model.decoder.layers[:2]

    with pytest.raises(ConfigError, match=r"2 decoder layers.*at least 4"):
        AttentionSupervision(Shallow())  # type: ignore[arg-type]
