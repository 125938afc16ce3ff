"""Rules of `ask`: what is streamed, what --json prints, what --save writes, what is refused at once."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pixelreasoner.cli.ask import Stream
from pixelreasoner.cli.main import main
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.events import Finished, OperationReturned, OperationStarted, TextToken

PHOTO = Picture(np.zeros((20, 20, 3), np.uint8))
CALL = ToolCall("crop_image", {"bbox_2d": [0, 0, 5, 5], "target_image": 1})
SEEN = Observation("Image 2:", (Picture(np.zeros((5, 5, 3), np.uint8)),), box=Box(0, 0, 5, 5))
DONE = Trajectory(
    Task("ask", "Which letter?", (PHOTO,), ()),
    (Turn("Zoom.", CALL, SEEN), Turn("It reads K.")),
    StopReason.ANSWER,
    "K",
)


class FakeReasoner:
    """Answers every question with `DONE`, event by event."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.configs: list = []

    def ask(self, media, question, *, max_operations=None, on_event=None) -> Trajectory:
        self.asked.append((media, question, max_operations))
        for event in (
            TextToken(0, "Zoom."),
            OperationStarted(0, CALL),
            OperationReturned(0, SEEN),
            Finished(0, DONE),
        ):
            on_event(event)
        return DONE


@pytest.fixture
def reasoner(monkeypatch) -> FakeReasoner:
    fake = FakeReasoner()
    monkeypatch.setattr("pixelreasoner.api.load_config", lambda config: fake.configs.append(config) or fake)
    return fake


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    path.write_bytes(b"never opened here")
    return str(path)


def test_the_question_comes_last_and_the_reasoning_is_streamed(reasoner, photo, capsys):
    assert main(["ask", photo, photo, "Which letter?", "--max-operations", "2"]) == 0
    assert reasoner.asked == [([Path(photo), Path(photo)], "Which letter?", 2)]
    out = capsys.readouterr().out
    places = [out.index(w) for w in ("photo.png", "Zoom.", "▸ crop_image(", "✓ Image 2", "Answer K")]
    assert places == sorted(places)


def test_a_question_may_be_longer_than_any_file_name(reasoner, photo):
    question = "Which letter is on the card? " * 400
    assert main(["ask", photo, question]) == 0
    assert reasoner.asked[0][1] == question


def test_json_prints_the_trajectory_and_nothing_else(reasoner, photo, capsys):
    assert main(["ask", photo, "Which letter?", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["answer"] == "K"
    assert len(data["turns"]) == 2


def test_the_recipe_and_then_the_options_say_which_model(reasoner, photo, tmp_path):
    recipe = tmp_path / "ask.toml"
    recipe.write_text('[model]\ndevice = "cpu"\ndtype = "bf16"\n[interaction.limits]\nmax_turns = 3\n')
    assert main(["ask", photo, "?", "--recipe", str(recipe), "--model", "mine", "--dtype", "fp32"]) == 0
    [config] = reasoner.configs
    assert (config.model.checkpoint, config.model.device, config.model.dtype) == ("mine", "cpu", "fp32")
    assert (config.interaction.limits.max_turns, config.interaction.sampling.temperature) == (3, 0.0)


def test_without_options_nano_answers(reasoner, photo):
    assert main(["ask", photo, "?"]) == 0
    assert reasoner.configs[0].model.checkpoint == "nano"


def test_a_recipe_of_another_command_is_refused(reasoner, photo, tmp_path, capsys):
    recipe = tmp_path / "rl.toml"
    recipe.write_text("steps = 3\n")
    assert main(["ask", photo, "?", "--recipe", str(recipe)]) == 2
    assert "steps" in capsys.readouterr().err
    assert reasoner.asked == []


def test_save_writes_the_page(reasoner, photo, tmp_path):
    assert main(["ask", photo, "Which letter?", "--save", str(tmp_path / "trace.html")]) == 0
    assert "crop_image(" in (tmp_path / "trace.html").read_text()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["{photo}"], "at least one file"),
        (["gone.jpg", "What?"], "gone.jpg does not exist"),
        (["{photo}", "{photo}"], "the last argument is a file"),
        (["{photo}", "What?", "--save", "trace.pdf"], ".html or .jsonl"),
    ],
)
def test_a_mistake_is_said_before_the_model_is_loaded(reasoner, photo, capsys, inputs, words):
    assert main(["ask", *(i.format(photo=photo) for i in inputs)]) == 2
    assert words in capsys.readouterr().err
    assert reasoner.asked == []


def streamed(*events) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None, highlight=False)
    stream = Stream(console)
    for event in events:
        stream(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_markup_of_a_call_is_replaced_by_the_call():
    tokens = [TextToken(0, t) for t in ("a < b ", "<", "tool", "_call>", '{"name"', ": 1}</tool_call>")]
    assert streamed(*tokens) == "a < b "
    text = streamed(*tokens, OperationStarted(0, CALL), OperationReturned(0, SEEN), TextToken(0, "next"))
    assert "tool_call" not in text
    assert text.startswith("a < b \n  ▸ crop_image(")
    assert text.endswith("\nnext")


def test_control_characters_in_the_stream_are_shown():
    tokens = (TextToken(0, "\x1b"), TextToken(0, "[2Jx\r\u202e"), TextToken(0, "<tool_call>\x1b]0;title\x07"))
    broken = Observation("no \x1b[31mJSON", valid=False)
    text = streamed(*tokens, OperationReturned(0, broken))
    assert text == "␛[2Jx␍\\u202e<tool_call>␛]0;title␇\n  ✗ no ␛[31mJSON\n"


def test_a_long_text_in_one_piece_is_shown_at_once():
    """Only its last characters can be the beginning of a call."""
    start = time.process_time()
    assert streamed(TextToken(0, "a <tool" * 100_000)) == "a <tool" * 99_999 + "a "
    assert time.process_time() - start < 10.0


def test_a_broken_call_is_shown_as_written():
    broken = Observation("the call is not JSON", valid=False)
    text = streamed(TextToken(0, "<tool_call>{oops"), OperationReturned(0, broken))
    assert text == "<tool_call>{oops\n  ✗ the call is not JSON\n"


def test_text_that_only_begins_like_a_call_comes_out_in_the_end():
    assert streamed(TextToken(0, "x <to"), TextToken(0, "y> <")).startswith("x <toy> ")
    text = streamed(TextToken(0, "x <"), Finished(0, DONE))
    assert text.startswith("x <\n\nAnswer K")
