"""What a file may cost: the clock is made here, so that the moments of refusal are known."""

from pathlib import Path

import pytest

from pixelreasoner.core import media_limits
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media_limits import FileForFFmpeg, Watch, WatchedBytes, WatchedPath, check_frame_bytes


class Clock:
    """Seconds of the processor and on the wall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processor = self.wall = 100.0
        monkeypatch.setattr(media_limits.time, "process_time", lambda: self.processor)
        monkeypatch.setattr(media_limits.time, "monotonic", lambda: self.wall)

    def run(self, seconds: float) -> None:
        self.processor += seconds
        self.wall += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_file_is_stopped_when_the_time_is_over(clock: Clock):
    watch = Watch("a.png", 10.0)
    clock.run(10.0)
    watch.check()
    clock.run(0.1)
    with pytest.raises(MediaError, match=r"a\.png would take 10 s or longer .* the limit is 10 s"):
        watch.check()


def test_a_file_that_will_not_end_in_time_is_stopped_early(clock: Clock):
    watch = Watch("a.png", 10.0)
    clock.run(media_limits.PATIENCE_SECONDS)
    watch.check(0.01)  # too soon to tell
    clock.run(0.5)  # 3 s for a third: 9 s in all
    watch.check(1 / 3)
    with pytest.raises(MediaError, match="would take 15 s"):
        watch.check(1 / 5)


def test_each_phase_has_its_own_progress(clock: Clock):
    watch = Watch("a.mp4", 10.0)
    clock.run(4.0)
    watch.next_phase()
    watch.check(0.001)
    clock.run(3.0)  # 4 s before, and 3 s for half of it: 10 s in all
    watch.check(0.5)
    with pytest.raises(MediaError, match="would take 11 s"):
        watch.check(3 / 7)


def test_neither_a_busy_machine_nor_a_busy_program_makes_a_file_slow(clock: Clock):
    watch = Watch("a.png", 10.0)
    clock.wall += 1000  # the processor worked for others
    watch.check(0.5)
    clock.processor += 1000
    clock.wall = 105.0
    watch = Watch("a.png", 10.0)
    clock.processor += 1000  # other threads of the program worked too
    watch.check(0.9)


@pytest.mark.parametrize("kind", [WatchedPath, WatchedBytes])
def test_reading_a_file_asks_the_watch(tmp_path: Path, clock: Clock, kind):
    (tmp_path / "a").write_bytes(bytes(100))
    file = kind(tmp_path / "a" if kind is WatchedPath else bytes(100), Watch("a", 10.0))
    with file:
        assert len(file.read(50)) == 50
        clock.run(6.0)  # half of the file: 12 s in all
        with pytest.raises(MediaError, match="12 s"):
            file.read(10)


def test_ffmpeg_meets_the_end_of_a_file_and_never_an_exception(tmp_path: Path, clock: Clock):
    (tmp_path / "a").write_bytes(bytes(100))
    with FileForFFmpeg(tmp_path / "a", Watch("a", 10.0)) as file:
        assert len(file.read(10)) == 10
        assert file.seek(-5) < 0
        clock.run(11.0)
        assert file.read(10) == b""


def test_frames_are_counted_together():
    check_frame_bytes("a.mp4", (3840, 2160), 16)
    with pytest.raises(MediaError, match=r"7680x4320, and 16 .* the limit is 10\.7 megapixels"):
        check_frame_bytes("a.mp4", (7680, 4320), 16)
    check_frame_bytes("a.mp4", (7680, 4320), 4)
