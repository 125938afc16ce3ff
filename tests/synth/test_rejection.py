"""What a rejection carries, and which replies are one."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from pixelreasoner.endpoint.failures import RequestFailedError, Unusable, UnusableReplyError
from pixelreasoner.synth.rejection import RejectedError, unusable_replies


def test_a_rejection_crosses_processes_whole():
    again = pickle.loads(pickle.dumps(RejectedError("judge", "impossible", "so it says")))
    assert (again.stage, again.reason, again.detail) == ("judge", "impossible", "so it says")
    assert str(again) == "judge: impossible (so it says)"
    assert str(RejectedError("ocr", "not in view")) == "ocr: not in view"


def test_every_reply_of_no_use_has_a_reason_of_its_own():
    reasons = set[str]()
    for one in get_args(Unusable):
        with pytest.raises(RejectedError) as caught, unusable_replies("write"):
            raise UnusableReplyError(one, "words of the server")
        assert (caught.value.stage, caught.value.detail) == ("write", "words of the server")
        reasons.add(caught.value.reason)
    assert len(reasons) == len(get_args(Unusable))


def test_a_server_that_does_not_answer_is_no_rejection():
    with pytest.raises(RequestFailedError), unusable_replies("write"):
        raise RequestFailedError("no connection")
