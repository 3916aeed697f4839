import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from framekeep.answers import Answer, AttendedBlock, Attention, AttentionLevel, Match
from framekeep.documents import document_from
from framekeep.verdicts import Rejection, Verdict, VerdictKind

TIME = datetime(2026, 1, 31, 5, 6, 7, 250_000, tzinfo=UTC)


def test_a_verdict_is_an_object_of_its_fields() -> None:
    verdict = Verdict(3, VerdictKind.REJECTED, None, None, 0, TIME, True, Rejection("PICTURE_UNREADABLE", "no"), None)  # noqa: FBT003

    assert document_from(verdict) == {
        "seq": 3,
        "kind": "rejected",
        "novelty": None,
        "exemplar": None,
        "policy_revision": 0,
        "capture_time": "2026-01-31T05:06:07.25Z",
        "pts_repaired": True,
        "rejection": {"reason": "PICTURE_UNREADABLE", "message": "no"},
        "timings": None,
    }


def test_an_answer_can_be_written_as_json() -> None:
    match = Match(1, 0.75, TIME, TIME, timedelta(seconds=1, microseconds=5), 2, 1, (), b"\xff\xd8")
    level = AttentionLevel(1, (AttendedBlock(1, "door", 0, 1.0, TIME, TIME, 2),), 1)
    attention = Attention(np.array([0.5, -0.25], np.float32), (level,), (), 2, 1, 1.0, 20.0)

    document = json.loads(json.dumps(document_from(Answer(True, 0.1, (match,), attention))))  # noqa: FBT003

    assert document["matches"][0]["total_duration_s"] == 1.000005
    assert document["matches"][0]["thumbnail"] == "/9g="
    assert document["attention"]["context_vector"] == [0.5, -0.25]
    assert document["attention"]["levels"][0]["blocks"][0]["stream"] == "door"


def test_other_values_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a value of framekeep, got object"):
        document_from(object())
