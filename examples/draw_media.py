"""Draws the pictures of tasks.jsonl into media/: `python examples/draw_media.py`."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).parent / "media"
RED, BLUE, GREY, INK = (214, 40, 40), (40, 90, 215), (230, 230, 230), (22, 22, 22)


def canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), GREY)
    return image, ImageDraw.Draw(image)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    shapes, draw = canvas(128, 96)
    draw.ellipse((12, 30, 48, 66), fill=RED)
    draw.rectangle((80, 30, 116, 66), fill=BLUE)
    shapes.save(FOLDER / "shapes.png")

    dots, draw = canvas(128, 96)
    for x, y in ((16, 20), (60, 14), (104, 30), (40, 70), (92, 76)):
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=INK)
    dots.save(FOLDER / "dots.png")

    card, draw = canvas(640, 480)
    draw.rectangle((500, 380, 523, 403), fill=RED)
    draw.text((512, 392), "K", fill=GREY, font=ImageFont.load_default(18), anchor="mm")
    card.save(FOLDER / "card.png")

    sign, draw = canvas(160, 64)
    draw.text((80, 32), "EXIT ONLY", fill=INK, font=ImageFont.load_default(24), anchor="mm")
    sign.save(FOLDER / "sign.png")

    bar, draw = canvas(96, 128)
    for value in range(0, 101, 25):
        draw.text((4, 112 - value), str(value), fill=INK, font=ImageFont.load_default(10), anchor="lm")
        draw.line((26, 112 - value, 90, 112 - value), fill=(190, 190, 190))
    draw.rectangle((44, 62, 72, 112), fill=BLUE)
    bar.save(FOLDER / "bar.png")

    for frame in range(4):
        image, draw = canvas(96, 64)
        draw.ellipse((8 + 20 * frame, 22, 28 + 20 * frame, 42), fill=RED)
        image.save(FOLDER / f"moving{frame}.png")


if __name__ == "__main__":
    main()
