"""The scripted teacher answers the very request, the same whenever it is asked, with its share of faults."""

from __future__ import annotations

import json
from collections import Counter

from benchmarks.chat_server import Body
from benchmarks.teacher_script import TRANSPORT, USELESS, TeacherScript
from pixelreasoner.synth.prompts import TeacherPrompts


def body(number: int) -> Body:
    """A request for a question about a box."""
    words = f"Picture {number}.\n{TeacherPrompts().place_box}"
    system = {"role": "system", "content": TeacherPrompts().propose}
    return {"messages": [system, {"role": "user", "content": words}], "seed": number}


def test_the_same_request_gets_the_same_reply():
    first, second = TeacherScript(faults=0.3), TeacherScript(faults=0.3)
    replies = [first(body(i)).body() for i in range(100)]
    assert [second(body(i)).body() for i in reversed(range(100))] == replies[::-1]
    assert len(set(replies)) > 60


def test_the_share_of_faults_and_how_long_they_last():
    script, n = TeacherScript(faults=0.3), 400
    for i in range(n):
        script(body(i))
    faults = Counter({kind: script.counts[kind] for kind in (*TRANSPORT, *USELESS)})
    # 120 of 400, and 12 of each kind; four standard deviations are 37 and 14.
    assert abs(faults.total() - 120) < 37
    assert all(0 < count < 26 for count in faults.values())
    for _ in range(3):
        script.counts.clear()
        for i in range(n):
            script(body(i))
    assert sum(script.counts[kind] for kind in TRANSPORT) == 0  # sound at the third try
    assert all(script.counts[kind] == faults[kind] for kind in USELESS)  # the same again


def test_without_faults_there_are_none():
    script = TeacherScript()
    for i in range(50):
        assert json.loads(script(body(i)).content or "")["valid"]
    assert script.counts == {"propose": 50}
