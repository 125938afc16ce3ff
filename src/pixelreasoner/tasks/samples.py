"""Three pictures and a clip that ship with the package, and questions that the embedded model answers right.

They are held-out tasks of PixelWorld, chosen by `nano.samples`, which says how, and lie in `samples/` as a
task file.
"""

from __future__ import annotations

from pathlib import Path

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.files import open_task_file

SAMPLES_FILE = Path(__file__).parents[1] / "samples" / "samples.jsonl"
SAMPLES = ("card", "board", "page", "clip")
"""Their names, which are the ids of the tasks in the file, in its order."""


def sample(name: str = "card") -> Task:
    """A question with its picture, or with its video (`clip`, which needs the extra `video`).

    ::

        task = pr.sample("board")
        reasoner.ask(task.media, task.question)

    Raises:
        PixelReasonerError: there is no sample of that name, or it is the clip and PyAV is not installed; then
            the message says how to install it.
    """
    if name not in SAMPLES:
        raise PixelReasonerError(f"there is no sample '{name}'; choose from {', '.join(SAMPLES)}")
    [task] = open_task_file(SAMPLES_FILE).take(SAMPLES.index(name), 1)
    return task
