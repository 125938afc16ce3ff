"""Seed sets in the formats of the real ones, of whatever size: SA-1B, FineWeb-VISA and STAR.

Each maker returns what it wrote, so that what a reader gives, a teacher says or a check finds can be compared
with what is really there: signs with words on them, pages with real text at known places, videos whose screen
has a colour of its own while something is asked about.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Corners = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom exclusive."""
WORDS = [
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "indigo", "jasper",
    "kettle", "lunar", "maple", "nickel", "orchid", "pepper", "quartz", "ribbon", "saffron", "timber",
    "umber", "velvet", "willow", "yonder", "zephyr", "harbor", "meadow", "copper", "garden", "window",
]  # fmt: skip


@lru_cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size_px)


# ----------------------------------------------------------------------------------------------- SA-1B

SA_SIZE = (640, 480)
SIGN = (150, 96)
"""Width and height of a sign: 4.7 % of the picture."""


@dataclass(frozen=True)
class Sign:
    """A sign with a word on it; each of its letters has a mask too."""

    box: Corners
    word: str


@dataclass(frozen=True)
class SaPicture:
    """A picture of SA-1B's kind: two signs with words, and two plain plates of the same size."""

    name: str
    """ "sa_1": that of its two files."""
    signs: tuple[Sign, ...]
    plates: tuple[Corners, ...]


def make_sa_1b(
    folder: Path, n: int, shards: int = 2, *, packed: bool = True, seed: int = 0
) -> list[SaPicture]:
    """`n` pictures with their masks, dealt to `shards` archives `sa_000000.tar`, or to folders of that name.

    Besides those of the things on it, each picture has masks that no candidate may come from: the whole
    background, a thin line, a speck, a sign once more a little shifted, and one of low stability.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 1])
    made: list[SaPicture] = []
    for shard, numbers in enumerate(np.array_split(np.arange(1, n + 1), shards)):
        files: dict[str, bytes] = {}
        for number in numbers.tolist():
            picture, content, annotation = _sa_picture(number, rng)
            files[f"{picture.name}.jpg"] = content
            files[f"{picture.name}.json"] = json.dumps(annotation).encode()
            made.append(picture)
        place = folder / f"sa_{shard:06d}"
        if packed:
            write_tar(place.with_suffix(".tar"), files)
        else:
            place.mkdir()
            for name, content in files.items():
                (place / name).write_bytes(content)
    return made


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    """An archive of files in the current folder, as tar names them (`./sa_1.jpg`)."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _sa_picture(number: int, rng: np.random.Generator) -> tuple[SaPicture, bytes, dict[str, Any]]:
    width, height = SA_SIZE
    image = Image.new("RGB", SA_SIZE, tuple(rng.integers(60, 130, 3).tolist()))
    draw = ImageDraw.Draw(image)
    masks: list[dict[str, Any]] = [sa_mask((0, 0, width, height), area=int(0.8 * width * height))]
    signs: list[Sign] = []
    plates: list[Corners] = []
    # One thing in each of four cells out of six, so that none overlaps another.
    for at, cell in enumerate(rng.permutation(6)[:4].tolist()):
        left = cell % 3 * 213 + int(rng.integers(10, 213 - SIGN[0] - 10))
        top = cell // 3 * 240 + int(rng.integers(10, 240 - SIGN[1] - 10))
        box = (left, top, left + SIGN[0], top + SIGN[1])
        draw.rectangle((left, top, box[2] - 1, box[3] - 1), tuple(rng.integers(190, 256, 3).tolist()))
        masks.append(sa_mask(box))
        if at >= 2:
            plates.append(box)
            continue
        word = WORDS[int(rng.integers(len(WORDS)))]
        written, glyphs = _lettering(word)
        image.paste((20, 20, 20), (left, top), written)
        masks += [sa_mask((left + a, top + b, left + c, top + d)) for a, b, c, d in glyphs]
        signs.append(Sign(box, word))
    x1, y1, x2, y2 = signs[0].box
    masks += [
        sa_mask((x1 + 4, y1 + 3, x2 + 4, y2 + 3), predicted_iou=0.89),
        sa_mask((5, 2, width - 5, 6)),
        sa_mask((2, 2, 9, 9)),
        sa_mask((x1, y1 - 4, x2, y2 - 30), stability_score=0.6),
    ]
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    about = {"image_id": number, "width": width, "height": height, "file_name": f"sa_{number}.jpg"}
    rows = [{"id": 1000 * number + i, **mask} for i, mask in enumerate(masks)]
    return (
        SaPicture(f"sa_{number}", tuple(signs), tuple(plates)),
        out.getvalue(),
        {"image": about, "annotations": rows},
    )


@lru_cache
def _lettering(word: str) -> tuple[Image.Image, tuple[Corners, ...]]:
    """A word on a sign as a mask to paste through, and the boxes of its letters, from the sign's corner."""
    image = Image.new("L", SIGN, 0)
    draw = ImageDraw.Draw(image)
    glyphs: list[Corners] = []
    x, y = 14, 34
    for letter in word:
        left, top, right, bottom = map(round, draw.textbbox((x, y), letter, font(28)))
        draw.text((x, y), letter, 255, font(28))
        glyphs.append((left, top, right, bottom))
        x += round(font(28).getlength(letter))
    return image, tuple(glyphs)


def sa_mask(
    box: Corners, *, size: tuple[int, int] = SA_SIZE, area: int | None = None, **scores: float
) -> dict[str, Any]:
    """The annotation of a mask that fills a box, as the release writes it (its `id` is left out)."""
    (x1, y1, x2, y2), (width, height) = box, size
    return {
        "segmentation": {"size": [height, width], "counts": compressed_rle(box, size)},
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1) if area is None else area,
        "predicted_iou": 0.95,
        "stability_score": 0.97,
        "crop_box": [0, 0, width, height],
        "point_coords": [[(x1 + x2) / 2, (y1 + y2) / 2]],
        **scores,
    }


def compressed_rle(box: Corners, size: tuple[int, int]) -> str:
    """The mask of a box as COCO writes it: runs down the columns, each from the third on as the difference to
    the one two before, in groups of five bits, lowest first, from the character "0" on."""
    (x1, y1, x2, y2), (width, height) = box, size
    runs = [x1 * height + y1]
    for x in range(x1, x2):
        if x > x1:
            runs.append(height - (y2 - y1))
        runs.append(y2 - y1)
    if y2 - y1 == height:
        runs = [x1 * height, (x2 - x1) * height]
    if rest := width * height - sum(runs):
        runs.append(rest)
    out: list[str] = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != -1 if bits & 0x10 else value != 0
            out.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(out)


# ---------------------------------------------------------------------------------------- FineWeb-VISA

PAGE_SIZE = (640, 800)
LINE, TEXT_PX, LEFT = 26, 17, 24
FAULTS = ("no box", "box of zeros", "box 8 px high", "box 4 px from the right edge")
"""What is wrong with each tenth row, in turn."""


@dataclass(frozen=True)
class Page:
    """A row of FineWeb-VISA, and where things are on its page."""

    question: str
    short_answer: str
    passage: Corners
    """Around the passage with the answer: the row's `bounding_box`, where the row has no fault."""
    answer_box: Corners
    """Around the words of the answer alone."""
    fault: str = ""
    """One of `FAULTS`, or empty."""


def make_fineweb_visa(folder: Path, n: int, shards: int = 2, *, seed: int = 0) -> list[Page]:
    """`n` rows in Parquet shards `data/train-00000-of-00002.parquet`; a tenth has no usable box."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rng = np.random.default_rng([seed, 2])
    schema = pa.schema(
        {
            "question": pa.string(),
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "short_answer": pa.string(),
            "bounding_box": pa.list_(pa.int64()),
        }
    )
    (folder / "data").mkdir(parents=True, exist_ok=True)
    made: list[Page] = []
    for shard, numbers in enumerate(np.array_split(np.arange(n), shards)):
        rows: list[dict[str, Any]] = []
        for number in numbers.tolist():
            page, content = draw_page(rng, fault=FAULTS[number // 10 % 4] if number % 10 == 9 else "")
            made.append(page)
            rows.append(
                {
                    "question": page.question,
                    "image": {"bytes": content, "path": None},
                    "short_answer": page.short_answer if page.fault != FAULTS[0] else "",
                    "bounding_box": _written_box(page),
                }
            )
        name = f"train-{shard:05d}-of-{shards:05d}.parquet"
        table = pa.Table.from_pylist(rows, schema=schema)
        parquet.write_table(table, folder / "data" / name, row_group_size=100)
    return made


def draw_page(rng: np.random.Generator, *, fault: str = "") -> tuple[Page, bytes]:
    """A page of text as PNG; one of its paragraphs says how much of something there was."""
    image = Image.new("L", PAGE_SIZE, 255)
    draw = ImageDraw.Draw(image)
    thing, place = (WORDS[i] for i in rng.choice(len(WORDS), 2, replace=False))
    answer = f"{int(rng.integers(1000, 9999))} {('euros', 'tons', 'people', 'miles')[int(rng.integers(4))]}"
    at = int(rng.integers(2, 20))
    y, passage, answer_box = 30, (0, 0, 0, 0), (0, 0, 0, 0)
    draw.text((LEFT, y - 8), f"The {thing} report", 0, font(26))
    for line in range(22):
        y += LINE + (12 if line % 4 == 0 else 0)
        if line != at:
            image.paste(_filler(int(rng.integers(60))), (LEFT, y))
            continue
        before = f"In {place} the {thing} reached "
        text = f"{before}{answer} last year."
        draw.text((LEFT, y), text, 40, font(TEXT_PX))
        x1, y1, x2, y2 = draw.textbbox((LEFT, y), text, font(TEXT_PX))
        passage = (round(x1) - 3, round(y1) - 3, round(x2) + 3, round(y2) + 3)
        start = LEFT + font(TEXT_PX).getlength(before)
        a1, b1, a2, b2 = map(round, draw.textbbox((start, y), answer, font(TEXT_PX)))
        answer_box = (a1, b1, a2, b2)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    question = f"How much did the {thing} in {place} reach?"
    return Page(question, answer, passage, answer_box, fault), out.getvalue()


@lru_cache
def _filler(number: int) -> Image.Image:
    """A line of words that says nothing, as a picture."""
    words = np.random.default_rng([number, 4]).integers(0, len(WORDS), 8)
    strip = Image.new("L", (PAGE_SIZE[0] - 2 * LEFT, LINE - 2), 255)
    text = " ".join(WORDS[i] for i in words).capitalize() + "."
    ImageDraw.Draw(strip).text((0, 0), text, 40, font(TEXT_PX))
    return strip


def _written_box(page: Page) -> list[int] | None:
    x1, y1, x2, _ = page.passage
    match page.fault:
        case "no box":
            return None
        case "box of zeros":
            return [0, 0, 0, 0]
        case "box 8 px high":
            return [x1, y1, x2, y1 + 8]
        case "box 4 px from the right edge":
            return [x1, y1, PAGE_SIZE[0] - 4, y1 + 40]
        case _:
            return list(page.passage)


# ------------------------------------------------------------------------------------------------ STAR

VIDEO_SIZE, FPS, SECONDS = (96, 64), 4, 12
COLOURS = {"red": (230, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 230), "yellow": (240, 220, 40)}
"""Of the screen while something is asked about; it is grey else."""
TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")


@dataclass(frozen=True)
class StarQuestion:
    """A row of STAR. From `start` to `end`, in seconds, the screen has its colour."""

    question_id: str
    video_id: str
    question: str
    answer: str
    letter: str
    """Of the answer, the choices being in the order of their numbers."""
    start: float
    end: float
    colour: str


def make_star(folder: Path, n: int, *, split: str = "train", seed: int = 0) -> list[StarQuestion]:
    """`n` questions in `STAR_{split}.json`, four about each video of `Charades_v1_480/`.

    The videos are 12 s long; of every twelve, no two are the same.

    The choices of each other question are not in the order of their numbers.
    """
    rng = np.random.default_rng([seed, 3])
    videos = folder / "Charades_v1_480"
    videos.mkdir(parents=True, exist_ok=True)
    films = [_film([_window(i, rng) for i in range(4)]) for _ in range(min(12, -(-n // 4)))]
    made: list[StarQuestion] = []
    rows: list[dict[str, Any]] = []
    for number in range(n):
        film, at = divmod(number, 4)
        video, (windows, content) = f"{film:04d}Q", films[film % len(films)]
        if at == 0:
            (videos / f"{video}.mp4").write_bytes(content)
        (start, end), colour = windows[at], list(COLOURS)[at]
        choices = [f"The {WORDS[i]}." for i in rng.choice(len(WORDS), 4, replace=False)]
        right = int(rng.integers(4))
        made.append(
            StarQuestion(
                question_id=f"{TYPES[at]}_T{1 + at}_{number}",
                video_id=video,
                question=f"Which object was used by the person while the light was {colour}?",
                answer=choices[right],
                letter="ABCD"[right],
                start=start,
                end=end,
                colour=colour,
            )
        )
        listed = [{"choice_id": i, "choice": text} for i, text in enumerate(choices)]
        rows.append(_star_row(made[-1], listed if number % 2 == 0 else listed[::-1]))
    (folder / f"STAR_{split}.json").write_text(json.dumps(rows))
    return made


def _film(windows: list[tuple[float, float]]) -> tuple[list[tuple[float, float]], bytes]:
    """The windows, and an mp4 that has the first colour in the first of them, and so on."""
    import av

    frames: dict[str, av.VideoFrame] = {}
    for name, colour in {"": (120, 120, 120), **COLOURS}.items():
        pixels = np.full((VIDEO_SIZE[1], VIDEO_SIZE[0], 3), colour, np.uint8)
        frames[name] = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *VIDEO_SIZE, "yuv420p"
        for i in range(FPS * SECONDS):
            names = zip(COLOURS, windows, strict=True)
            shown = next((name for name, (start, end) in names if start <= i / FPS <= end), "")
            frame = frames[shown]
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return windows, out.getvalue()


def _window(at: int, rng: np.random.Generator) -> tuple[float, float]:
    """The stretch of a video that a question is about: one to two seconds of its quarter."""
    start = 3 * at + round(float(rng.uniform(0.2, 0.8)), 1)
    return start, round(start + float(rng.uniform(1.0, 2.0)), 1)


def _star_row(question: StarQuestion, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "question_id": question.question_id,
        "question": question.question,
        "answer": question.answer,
        "question_program": [{"function": "Situations", "value_input": []}],
        "choices": choices,
        "video_id": question.video_id,
        "start": question.start,
        "end": question.end,
        "situations": {f"{round(24 * question.start):06d}": {"rel_pairs": [], "bbox": []}},
    }
