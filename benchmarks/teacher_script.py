"""Scripted teachers, judges and students for a chat server: valid replies about the very request, and faults.

A reply depends on the request alone, and on how often it came before: so a run that is interrupted, or made
in another order, gets the same. The faults of a share of the requests are dealt out by their hash:

* broken transport (status 500 and 503, 429, a late reply, a cut connection, a reply that is no JSON): such a
  request gets a sound reply at the second or third try, whoever tries;
* replies of no use (cut, refused, nonsense, another structure): the same request gets the same one again.
  What asks again with another seed or with a complaint makes another request.

Also a program of its own, for runs that are killed while it stays::

    python -m benchmarks.teacher_script '{"faults": 0.3, "late_s": 5}'

It writes its address as a line, and serves until it is ended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from benchmarks.chat_server import Answer, Body, ChatServer, texts_in
from pixelreasoner.synth.prompts import JudgePrompts, TeacherPrompts

TRANSPORT = ("status 500", "status 503", "status 429", "late", "cut connection", "broken body")
USELESS = ("truncated", "refused", "nonsense", "other structure")
WORDS = (
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "indigo", "jasper", "kettle",
    "lunar", "maple", "nickel", "orchid", "pepper", "quartz", "ribbon", "saffron", "timber", "umber",
    "velvet", "willow",
)  # fmt: skip
_OPTION = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)


@dataclass
class TeacherScript:
    """What a server answers; call it with the body of a request.

    The judge knows the answers that the teacher was told ("write" requests), by question; it gives them for
    pictures that the teacher was shown as the last look. So a run writes before it judges.
    """

    faults: float = 0.0
    """The share of requests that meet a fault."""
    latency_s: float = 0.0
    """Of each reply."""
    late_s: float = 1.0
    """Of a late one: longer than the client waits."""
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    """Answers by question, as the task has it, for the student."""
    student: float = 0.5
    """The share of right samples of the student where the answer is known; else it picks a letter."""
    invalid: float = 0.0
    """The share of seeds about which the teacher finds nothing to ask."""
    leaks: float = 0.0
    """The share of first texts that tell the answer too early; those after a complaint never do."""
    blind: float = 0.0
    """The share of judgements of a crop that it calls not answerable."""
    fooled: float = 0.0
    """The share of judgements of another place that give the reference all the same."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """Requests by purpose, and faults by kind."""

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._asked: Counter[str] = Counter()
        self._told: dict[str, str] = {}
        self._shown: set[tuple[str, str]] = set()
        prompts = TeacherPrompts()
        self._by_system = {
            prompts.propose: ("propose", self._propose),
            prompts.write: ("write", self._write),
            JudgePrompts().judge: ("judge", self._judge),
        }

    def __call__(self, body: Body) -> Answer:
        """The reply to a request."""
        system = body["messages"][0]
        told = texts_in(system) if system["role"] == "system" else ""
        purpose, reply = self._by_system.get(told, ("solve", self._solve))
        request = _Request.of(body)
        with self._lock:
            self.counts[purpose] += 1
            self._asked[request.hash] += 1
            tried = self._asked[request.hash]
            answer = reply(request)
        answer.delay_s = self.latency_s
        return self._faulty(answer, request, tried)

    def _faulty(self, answer: Answer, request: _Request, tried: int) -> Answer:
        draw = request.draw("fault")
        if draw >= self.faults:
            return answer
        kinds = (*TRANSPORT, *USELESS)
        kind = kinds[int(draw / self.faults * len(kinds))]
        if kind in TRANSPORT and tried > 1 + int(2 * request.draw("tries")):
            return answer
        with self._lock:
            self.counts[kind] += 1
        return _broken(answer, kind, self.late_s)

    # ------------------------------------------------------------------------------------------- replies

    def _propose(self, request: _Request) -> Answer:
        if request.draw("valid") < self.invalid:
            return _json({"valid": False})
        words = [WORDS[(int(request.draw("words") * 1e6) + 5 * i) % len(WORDS)] for i in range(4)]
        letter = "ABCD"[int(request.draw("letter") * 4)]
        right = words["ABCD".index(letter)]
        name = f"plate {request.hash[:6]}"
        proposal: dict[str, Any] = {
            "valid": True,
            "question": f"Which word stands on {name}?",
            "options": words,
            "letter": letter,
            "subject": name,
            "claim": f"The word on {name} is {right}.",
        }
        regions = len(re.findall(r"^Region \d+,", request.text, re.MULTILINE))
        frames = len(re.findall(r"^Frame \d+ ", request.text, re.MULTILINE))
        if regions:
            proposal["region"] = 1 + int(request.draw("place") * regions)
        elif frames:
            first = 1 + int(request.draw("place") * (frames - 3))
            proposal["frames"] = [first, first + 1, first + 2]
        else:
            x, y = (round(800 * request.draw(axis)) for axis in "xy")
            proposal["box"] = [x, y, x + 120, y + 120]
        return _json(proposal)

    def _write(self, request: _Request) -> Answer:
        question = request.line("Question: ", until="\nRight answer: ")
        answer = request.line("Right answer: ")
        self._told[question] = answer
        looks = re.findall(r"^(seen_\d+): ", request.text, re.MULTILINE)
        if request.pictures and looks:
            n_last = request.pictures_after_last("Look ")
            self._shown.add((question, _digest(*request.pictures[-n_last:])))
        letter = re.match(r"([A-Z])\. (.*)", answer)
        text = f"it is {letter[2]}, option {letter[1]}" if letter else f"it is {answer}"
        early = f" I think {text}." if looks and request.draw("leak") < self.leaks else ""
        complained = sum(m["role"] == "assistant" for m in request.body["messages"])
        texts = {"overview": f"There are several things here, and one is small.{'' if complained else early}"}
        if "\nsubject: " in request.text:
            texts["subject"] = f"the thing named {request.hash[:6]}"
        for number, name in enumerate(looks, start=1):
            last = number == len(looks)
            texts[name] = f"Here I can see it: {text}." if last else "What I am after is not clear from this."
        texts["conclusion"] = f"So {text}."
        return _json(texts)

    def _judge(self, request: _Request) -> Answer:
        question = request.line("Question: ", until="\n\nReply with")
        answer = self._told.get(question, "")
        reply = answer[0] if re.match(r"[A-Z]\. ", answer) else answer
        n = len(request.pictures)
        # The whole input may come before the crop.
        seen = any((question, _digest(*request.pictures[at:])) in self._shown for at in range(n))
        whole = n > 1 and not seen
        sure = request.draw("blind") >= self.blind if seen else request.draw("fooled") < self.fooled
        sure = bool(reply) and sure and not whole
        evidence = "The writing is clear." if sure else "It is not in view."
        return _json({"evidence": evidence, "answerable": sure, "answer": reply if sure else ""})

    def _solve(self, request: _Request) -> Answer:
        letters = [letter for letter, _ in _OPTION.findall(request.text)]
        known = next((a for q, a in self.known.items() if q in request.text), None)
        if known is not None and request.draw("student") < self.student:
            said = known
        elif letters:
            others = [letter for letter in letters if letter != known]
            said = others[int(request.draw("pick") * len(others))]
        else:
            said = "unknown"
        return Answer(f"I look at all of it and decide. \\boxed{{{said}}}")


def _broken(answer: Answer, kind: str, late_s: float) -> Answer:
    """An answer with a fault."""
    match kind:
        case "status 500" | "status 503":
            return Answer(status=int(kind[-3:]), error="busy")
        case "status 429":
            return Answer(status=429, error="slow down", headers={"Retry-After": "0"})
        case "late":
            return replace(answer, delay_s=late_s)
        case "cut connection":
            return replace(answer, content_length=len(answer.body()) + 100)
        case "broken body":
            return replace(answer, raw=b'{"choices": [{"mess')
        case _:
            return _useless(answer, kind)


def _useless(answer: Answer, kind: str) -> Answer:
    content = answer.content or ""
    match kind:
        case "truncated":
            return replace(answer, content=content[: len(content) // 2], finish="length")
        case "refused":
            return replace(answer, content=None, fields={"refusal": "I cannot help with that."})
        case "nonsense":
            return replace(answer, content="As you wish. The rest is silence, and 42 is {its number.")
        case _:
            return replace(answer, content=json.dumps({"thoughts": "I forgot the question.", "number": 42}))


@dataclass(frozen=True)
class _Request:
    """What is needed of the body of a request."""

    body: Body
    hash: str
    text: str
    """Of the user's first message, its parts line by line."""
    pictures: tuple[str, ...]
    """As data URLs."""

    @classmethod
    def of(cls, body: Body) -> _Request:
        user = next(m for m in body["messages"] if m["role"] == "user")
        parts = (
            user["content"]
            if isinstance(user["content"], list)
            else [{"type": "text", "text": user["content"]}]
        )
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        pictures = tuple(part["image_url"]["url"] for part in parts if part["type"] == "image_url")
        return cls(body, _digest(json.dumps(body, sort_keys=True)), text, pictures)

    def draw(self, what: str) -> float:
        """A number from 0 to 1 that depends on the request."""
        return int(_digest(self.hash, what)[:13], 16) / 16**13

    def line(self, start: str, until: str = "\n") -> str:
        """What follows on `start`."""
        return self.text.partition(start)[2].partition(until)[0]

    def pictures_after_last(self, start: str) -> int:
        """The pictures after the last text that begins so."""
        user = next(m for m in self.body["messages"] if m["role"] == "user")
        count = 0
        for part in reversed(user["content"]):
            if part["type"] == "image_url":
                count += 1
            elif part["text"].startswith(start):
                return count
        return count


def _digest(*texts: str) -> str:
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(f"{len(text)}:".encode())
        hashed.update(text.encode())
    return hashed.hexdigest()


def _json(content: Mapping[str, Any]) -> Answer:
    return Answer(json.dumps(content), usage=(700, 150))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve a scripted teacher until the process is ended.")
    parser.add_argument("script", nargs="?", default="{}", help="fields of TeacherScript, as JSON")
    stays = ChatServer(TeacherScript(**json.loads(parser.parse_args().script)))
    sys.stdout.write(f"{stays.url}\n")
    sys.stdout.flush()
    stays.server.serve_forever()
