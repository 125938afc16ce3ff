"""Rules of `ask`: what is streamed, what --json prints, what --save writes, what is refused at once."""

import errno
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.xml_calls import XML_CALLS
from pixelreasoner.cli.ask import Stream
from pixelreasoner.cli.main import main
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.events import Finished, OperationReturned, OperationStarted, TextToken
from pixelreasoner.tasks.samples import SAMPLES, sample

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

    world: str | None = None

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
    """Case C1."""
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


def test_what_was_saved_and_how_to_keep_an_answer_are_said_last(reasoner, photo, tmp_path, capsys):
    page, record = tmp_path / "trace.html", tmp_path / "trace.jsonl"
    assert main(["ask", photo, "Which letter?", "--save", str(page)]) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == [f"Page: {page}", f"Open: {page.as_uri()}"]
    assert main(["ask", photo, "Which letter?", "--save", str(record)]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"Look:  pixelreasoner show {record}"
    assert main(["ask", photo, "Which letter?"]) == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith("--save trace.html")


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
        ([], "ask --sample"),
        (["{photo}", "What?", "--sample"], "leave out 'What?'"),
        (["--sample", "--save", "trace.pdf"], ".html or .jsonl"),
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


@pytest.mark.parametrize("syntax", [HERMES, XML_CALLS], ids=["json", "xml"])
def test_calls_of_either_syntax_are_held_back_character_by_character(syntax):
    written = [TextToken(0, c) for c in f"a < b\n{syntax.format(CALL)}"]
    assert streamed(*written) == "a < b\n"
    text = streamed(*written, OperationStarted(0, CALL))
    assert text.startswith("a < b\n  ▸ crop_image(")
    assert "<" not in text.removeprefix("a < b")


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


def test_sample_asks_all_or_those_that_are_named(reasoner, capsys):
    assert main(["ask", "--sample"]) == 0
    assert [question for _, question, _ in reasoner.asked] == [sample(name).question for name in SAMPLES]
    out = capsys.readouterr().out
    places = [out.index(f"{name}  {sample(name).question[:20]}") for name in SAMPLES]
    assert places == sorted(places)
    assert out.count("reference") == 4
    assert "whole picture" not in out  # only of the embedded model

    reasoner.asked.clear()
    assert main(["ask", "--sample", "clip", "page", "--max-operations", "0"]) == 0
    assert [(q, n) for _, q, n in reasoner.asked] == [(sample(name).question, 0) for name in ("clip", "page")]


def test_a_sample_that_is_not_there_is_refused_by_the_names_there_are(reasoner, capsys):
    with pytest.raises(SystemExit):
        main(["ask", "--sample", "cat"])
    assert "page" in capsys.readouterr().err
    assert reasoner.asked == []


def test_samples_are_saved_and_printed_with_their_references(reasoner, tmp_path, capsys):
    assert main(["ask", "--sample", "card", "board", "--json", "--save", str(tmp_path / "t.jsonl")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["task"]["id"] for row in data] == ["card", "board"]
    assert [t.task.answers for t in read_trajectories(tmp_path / "t.jsonl")] == [("J",), ("below",)]
    assert main(["ask", "--sample", "card", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "K"


def test_the_embedded_model_says_that_it_looks_at_the_whole(reasoner, capsys):
    reasoner.world = "pixelworld"
    assert main(["ask", "--sample", "card"]) == 0
    assert "whole picture" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("world", "question", "said"),
    [
        ("pixelworld", "What breed is the dog?", True),
        ("pixelworld", "Which letter is on the red card: K, T, C or M?", False),
        (None, "What breed is the dog?", False),
    ],
)
def test_a_question_that_was_never_taught_is_said_on_stderr(reasoner, photo, capsys, world, question, said):
    reasoner.world = world
    assert main(["ask", photo, question, "--json"]) == 0
    streams = capsys.readouterr()
    assert ("a guess" in streams.err) is said
    assert len(streams.err.splitlines()) == said
    assert json.loads(streams.out)["answer"] == "K"


@pytest.mark.parametrize("name", ["trace.html", "trace.jsonl"])
def test_c4_a_place_that_cannot_be_written_is_said_before_a_model_is_loaded(
    reasoner, photo, tmp_path, capsys, name
):
    (tmp_path / "plain").touch()
    assert main(["ask", photo, "Which letter?", "--save", str(tmp_path / "plain" / name)]) == 2
    said = capsys.readouterr().err
    assert f"{name} cannot be written" in said
    assert said.count("\n") == 1
    assert reasoner.configs == []


def test_c5_a_disk_that_fills_up_meanwhile_leaves_the_answer_on_the_screen(
    reasoner, photo, tmp_path, capsys, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert main(["ask", photo, "Which letter?", "--save", str(tmp_path / "trace.jsonl")]) == 2
    out, err = capsys.readouterr()
    assert "Answer K" in out
    assert "the disk is full" in err
