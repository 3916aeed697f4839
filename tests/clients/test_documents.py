import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from framekeep.answers import Answer, Match
from framekeep.attention import (
    AttendedBlock,
    AttendedStay,
    Attention,
    AttentionLevel,
    ContextError,
    ExplainedBlock,
    Explanation,
)
from framekeep.documents import document_from
from framekeep.policies import Budget, Comparison, KeepingPolicy
from framekeep.threshold_curve import NoveltyExample, ThresholdCurve, ThresholdOutcome
from framekeep.verdicts import Rejection, Verdict, VerdictKind, WithheldReason

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
        "context_vector": None,
        "withheld": None,
        "by_hint": False,
    }


def test_a_verdict_says_why_its_frame_was_withheld() -> None:
    verdict = Verdict(
        *(3, VerdictKind.WITHHELD, 0.5, None, 1, TIME, False, None, None),
        withheld=WithheldReason.HINT,
        by_hint=True,
    )

    document = document_from(verdict)

    assert isinstance(document, dict)
    assert (document["kind"], document["withheld"], document["by_hint"]) == ("withheld", "hint", True)


def test_a_policy_is_an_object_whose_lengths_of_time_are_seconds() -> None:
    policy = KeepingPolicy(Comparison.STREAM, horizon=timedelta(hours=1), budget=Budget(bytes_per_day=1e9))

    assert document_from(policy) == {
        "comparison": "stream",
        "horizon_s": 3600.0,
        "max_exemplars_per_minute": None,
        "min_interval_s": None,
        "budget": {
            "share": None,
            "exemplars_per_day": None,
            "bytes_per_day": 1e9,
            "min_threshold": 0.005,
            "max_threshold": 1.0,
        },
    }


def test_a_curve_is_an_object_with_its_outcomes() -> None:
    example = NoveltyExample(0.11, 7, "door", TIME, b"\xff\xd8", kept=True)
    outcome = ThresholdOutcome(0.1, 40.0, 0.05, 0.04, None, None, 0.05, 0.1, (example,), ())

    curve = ThresholdCurve((outcome,), 1000, 3, timedelta(seconds=90), 20_000.0, 1000, 5000)

    document = json.loads(json.dumps(document_from(curve)))

    assert (document["duration_s"], document["missing_frame_count"]) == (90.0, 3)
    [told] = document["outcomes"]
    assert (told["exemplars"], told["exemplars_per_day"], told["just_below"]) == (40.0, None, [])
    assert told["just_above"] == [
        {
            "novelty": 0.11,
            "exemplar": 7,
            "stream": "door",
            "capture_time": "2026-01-31T05:06:07.25Z",
            "thumbnail": "/9g=",
            "kept": True,
        }
    ]


def test_a_verdict_may_have_a_context_vector() -> None:
    context = np.array([0.5, -0.25], np.float32)
    verdict = Verdict(3, VerdictKind.NOVEL, None, 1, 1, TIME, False, None, None, context)  # noqa: FBT003

    assert json.loads(json.dumps(document_from(verdict)))["context_vector"] == [0.5, -0.25]


def test_an_answer_can_be_written_as_json() -> None:
    match = Match(1, 0.75, TIME, TIME, timedelta(seconds=1, microseconds=5), 2, 1, (), b"\xff\xd8")
    block = AttendedBlock(1, "door", 0, 1.0, TIME, TIME, 2)
    level = AttentionLevel(1, (block,), 1)
    explained = ExplainedBlock(block, (), (AttendedStay(1, 0.75, 0.5, TIME, TIME, 2),))
    attention = Attention(
        context_vector=np.array([0.5, -0.25], np.float32),
        levels=(level,),
        exemplars=(),
        frame_count=2,
        stay_count=1,
        effective_stays=1.0,
        inverse_temperature=20.0,
        context_error=ContextError(0.0, 0.04, 0.95),
        unopened_share=0.0,
        opened_stay_count=1,
        vectors_read=1,
        attention_version=None,
        explanation=Explanation((explained,), (block,)),
    )

    document = json.loads(json.dumps(document_from(Answer(True, 0.1, (match,), attention))))  # noqa: FBT003

    assert document["matches"][0]["total_duration_s"] == 1.000005
    assert document["matches"][0]["thumbnail"] == "/9g="
    assert document["attention"]["context_vector"] == [0.5, -0.25]
    assert document["attention"]["levels"][0]["blocks"][0]["stream"] == "door"
    assert document["attention"]["context_error"] == {"reading": 0.0, "storing": 0.04, "confidence": 0.95}
    [way] = document["attention"]["explanation"]["blocks"]
    assert (way["block"]["stream"], way["stays"][0]["exemplar"], way["stays"][0]["weight"]) == ("door", 1, 0.75)


def test_other_values_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a value of framekeep, got object"):
        document_from(object())
