"""A language model that judges open answers, behind an endpoint that speaks OpenAI's chat protocol.

Rules go first. No answer is wrong, an answer that the standard scorer finds right is right, and the model is
asked about the rest: does this answer say the same as the reference? It must say yes or no. What is neither,
and a request that fails, is no verdict: the rollout has no score "judge", and is in no mean of it; the
summary says how many have one (`tasks.scores.judge`). Nothing is drawn at random: the temperature is 0,
and the order of requests is that of the tasks.

A response is kept on disk under the hash of its request, so that no request is made twice: an evaluation that
is run again, or judged again, costs nothing and gives the same.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pixelreasoner.core.config import Config, Count
from pixelreasoner.core.errors import ConfigError, MissingExtraError, RecordError
from pixelreasoner.core.files import write_text
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.rewards.answers import scorable
from pixelreasoner.rewards.scorers import Scorer

INSTRUCTION = (
    "You compare an answer with a reference. Say whether the answer means the same as the reference, as an "
    "answer to the question. Extra detail is fine where it does not contradict the reference. Several "
    "answers offered at once are wrong. Reply with one word: yes or no."
)
_VERDICT = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)


class JudgeConfig(Config):
    """Which model judges, and where it is."""

    url: str
    """Of the endpoint, up to and with `/v1`."""
    model: str
    """The name of the model there."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; a server of one's own needs none."""
    cache: Path = Path("runs/judge_cache")
    """The folder of the responses."""
    max_tokens: Count = 16
    """Of a reply; a model that thinks first needs more."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Of a request."""
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    """Of a request that fails, with growing waits; then there is no verdict."""


Ask = Callable[[Mapping[str, Any]], str | None]
"""From the body of a request to the text of the reply; None where it failed."""


def judge_score(config: JudgeConfig, scorer: Scorer) -> Callable[[Trajectory], float | None]:
    """The score "judge" of a rollout, for `Benchmark.scores`.

    Args:
        config: which model.
        scorer: the standard one, whose 1 is taken without asking.

    Raises:
        MissingExtraError: the client is not installed.
    """
    ask = cached(endpoint(config), config.cache)

    def score(trajectory: Trajectory) -> float | None:
        task = trajectory.task
        answer = scorable(trajectory.answer).strip()
        if not answer or not task.answers:
            return 0.0
        if scorer(answer, task.answers, task) == 1.0:
            return 1.0
        return verdict(ask(request(config, task.question, task.answers, answer)))

    return score


def request(config: JudgeConfig, question: str, references: tuple[str, ...], answer: str) -> dict[str, Any]:
    """The body of the request about an answer."""
    text = json.dumps(
        {"question": question, "reference": " or ".join(references), "answer": answer}, ensure_ascii=False
    )
    return {
        "model": config.model,
        "messages": [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": text}],
        "temperature": 0.0,
        "max_tokens": config.max_tokens,
    }


def verdict(reply: str | None) -> float | None:
    """1 for yes, 0 for no; None for anything else, which is no verdict."""
    match = _VERDICT.fullmatch(reply.strip()) if reply is not None else None
    return None if match is None else float(match[1].lower() == "yes")


def cached(ask: Ask, folder: Path) -> Ask:
    """The same, with each reply kept in a folder; one that failed is not kept.

    Raises (when asking):
        RecordError: the folder cannot be written to.
    """

    def from_disk(body: Mapping[str, Any]) -> str | None:
        content = json.dumps(body, sort_keys=True, ensure_ascii=False)
        path = folder / f"{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}.json"
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["reply"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError) as e:
            raise RecordError(f"{path} is no reply of a judge ({e}); remove it") from e
        reply = ask(body)
        if reply is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(
                path, json.dumps({"request": body, "reply": reply}, indent=1, ensure_ascii=False) + "\n"
            )
        return reply

    return from_disk


def endpoint(config: JudgeConfig) -> Ask:
    """What asks the endpoint.

    Raises:
        MissingExtraError: the package openai is not installed.
        ConfigError: the URL is none.
    """
    try:
        openai: Any = importlib.import_module("openai")
    except ImportError as e:
        raise MissingExtraError("openai", "endpoint", "A judge") from e
    if not config.url.startswith(("http://", "https://")):
        raise ConfigError(f"judge.url: '{config.url}' is no address; it begins with http:// or https://")
    client = openai.OpenAI(
        base_url=config.url,
        # The client insists on a key; servers of one's own look at none.
        api_key=os.environ.get(config.api_key_env) or "none",
        timeout=config.timeout_s,
        max_retries=config.retries,
    )

    def ask(body: Mapping[str, Any]) -> str | None:
        try:
            reply = client.chat.completions.create(**body)
        except openai.OpenAIError:
            return None
        return reply.choices[0].message.content if reply.choices else None

    return ask
