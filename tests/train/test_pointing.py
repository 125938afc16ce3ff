"""Where a token should look, by hand; and the loss against the attention weights of the stock eager code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelreasoner.core.media import Video
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.train.pointing import LAYERS, Lookup, PlaceReader, Pointing

ANSWER = 'The red card\n{"bbox_2d": [120, 40, 500, 620]}'


@pytest.fixture(scope="module")
def model(qwen3_folder) -> VisionLanguageModel:
    return VisionLanguageModel.load(qwen3_folder).eval()


@pytest.fixture
def reader(model) -> PlaceReader:
    return PlaceReader(model, ["red", "blue"])


def row(model, media, answer: str, *, question: str = "Where?"):
    """One exchange, the answer of which is learned."""
    r = model.renderer
    segments = [r.prompt(Task("t", question, media, ()), ()), Segment(r.encode(answer))]
    mask = np.repeat([False, True], [len(s.ids) for s in segments])
    return r.layout(segments), mask


def text(model, layout, index: int) -> str:
    return model.renderer.tokenizer.decode([int(layout.ids_T[index])])


def test_a_box_is_looked_up_by_its_word_and_the_word_by_its_numbers(model, reader, picture):
    layout, mask = row(model, (picture(40, 40),), ANSWER)
    box_word, box_number, frame_marker, frames_word, frames_number = reader.read(layout, mask)
    assert [text(model, layout, i) for i in box_word.at_N] == [" red"]
    # 5x5 tokens with centres at 0.1, 0.3, 0.5, 0.7, 0.9; the box spans 0.12-0.5 by 0.04-0.62.
    first = int(np.flatnonzero(layout.kind_T)[0])
    columns, rows = (1, 2), (0, 1, 2)
    assert (np.flatnonzero(box_word.place_NT[0]) - first).tolist() == [5 * y + x for y in rows for x in columns]
    assert [text(model, layout, i + 1) for i in box_number.at_N] == ["120", "40", "500", "620"]
    for place_T in box_number.place_NT:
        assert np.flatnonzero(place_T).tolist() == box_word.at_N
    assert not (frame_marker.at_N or frames_word.at_N or frames_number.at_N)


def test_a_box_between_the_centres_is_the_nearest_token(model, reader, picture):
    layout, mask = row(model, (picture(40, 40),), 'A red dot {"bbox_2d": [410, 810, 450, 860]}')
    (place_T,) = reader.read(layout, mask)[0].place_NT
    first = int(np.flatnonzero(layout.kind_T)[0])
    assert (np.flatnonzero(place_T) - first).tolist() == [5 * 4 + 2]


def test_a_box_is_in_the_latest_picture(model, reader, picture):
    layout, mask = row(model, (picture(16, 16), picture(24, 24)), ANSWER)
    (place_T,) = reader.read(layout, mask)[0].place_NT
    visual = np.flatnonzero(layout.kind_T)
    assert np.flatnonzero(place_T).min() >= visual[4]


@pytest.mark.parametrize("answer", ["The red card.", '{"bbox_2d": [1, 2, 3, 4]}', 'red {"bbox_2d": [1, 2]}'])
def test_nothing_is_asked_without_a_word_and_four_numbers(model, reader, picture, answer):
    layout, mask = row(model, (picture(16, 16),), answer)
    assert not any(lookup.at_N for lookup in reader.read(layout, mask))


def test_boxes_that_are_not_learned_name_no_place(model, reader, picture):
    layout, mask = row(model, (picture(16, 16),), "Yes.", question=ANSWER)
    assert not any(lookup.at_N for lookup in reader.read(layout, mask))


def test_frames(model, reader, picture):
    video = Video(tuple(picture(16, 16, seed=i) for i in range(4)), (0.0, 1.0, 2.0, 3.0))
    layout, mask = row(model, (video,), 'The blue card {"target_frames": [3, 4]}')
    box_word, _, _, frames_word, frames_number = reader.read(layout, mask)
    assert not box_word.at_N
    visual = np.flatnonzero(layout.kind_T)  # two blocks of two frames, four tokens each
    assert np.flatnonzero(frames_word.place_NT[0]).tolist() == visual[4:].tolist()
    assert [text(model, layout, i + 1) for i in frames_number.at_N] == ["3", "4"]


def test_the_loss_is_that_of_the_stock_attention_weights(qwen3_folder, model, reader, picture):
    rows = [row(model, (picture(40, 40),), ANSWER), row(model, (picture(16, 24),), "It is. " + ANSWER)]
    lookups = [reader.read(*r) for r in rows]
    features = model.encode([b for layout, _ in rows for b in layout.blocks])
    batch = model.embed([layout for layout, _ in rows], features, left=False)
    pointing = Pointing(model)
    with pointing.listening():
        model(batch)
        losses = pointing.losses(lookups)

    eager = VisionLanguageModel.load(qwen3_folder).eval()
    eager.decoder.config._attn_implementation = "eager"
    weights: dict[int, torch.Tensor] = {}
    for index, layer in enumerate(eager.decoder.layers):
        layer.self_attn.register_forward_hook(lambda m, a, out, index=index: weights.update({index: out[1]}))
    eager(batch)
    for index, layer in enumerate(LAYERS):
        expected = 0.0
        for b, lookup in enumerate(row[index] for row in lookups):
            for at, place_T in zip(lookup.at_N, lookup.place_NT, strict=True):
                on_place_H = weights[layer][b, :, at, : len(place_T)][:, torch.from_numpy(place_T)].sum(-1)
                expected -= math.log(on_place_H.mean().item())
        assert losses[index].item() == pytest.approx(expected, rel=1e-5)
    assert losses[0].item() > 0
    assert losses[2].item() == 0


def test_the_loss_teaches_to_look(qwen3_folder, reader, picture):
    """Gradient descent on it alone moves the attention onto the place."""
    model = VisionLanguageModel.load(qwen3_folder)
    layout, mask = row(model, (picture(40, 40),), ANSWER)
    lookups = reader.read(layout, mask)
    features = {k: type(f)(f.tokens_MD.detach(), ()) for k, f in model.encode(layout.blocks).items()}
    optimizer = torch.optim.SGD(model.decoder.parameters(), lr=0.02)
    pointing, seen = Pointing(model), []
    for _ in range(12):
        with pointing.listening():
            model(model.embed([layout], features, left=False))
            loss = torch.stack(pointing.losses([lookups])).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < 0.7 * seen[0]


def test_an_empty_place_asks_nothing():
    lookup = Lookup()
    lookup.add(3, np.zeros(5, np.bool_))
    assert not lookup.at_N
