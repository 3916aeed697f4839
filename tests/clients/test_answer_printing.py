from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from framekeep.answer_printing import print_answer, print_fitted
from framekeep.answers import Answer
from framekeep.attention import (
    AttendedBlock,
    AttendedExemplar,
    AttendedStay,
    Attention,
    AttentionLevel,
    ContextError,
    ExplainedBlock,
    Explanation,
    FittedAttention,
)

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)

Capture = pytest.CaptureFixture[str]


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def block(level: int, index: int, weight: float, end: float, stream: str = "door") -> AttendedBlock:
    return AttendedBlock(level, stream, index, weight, START, after(end), 640)


def stay(exemplar: int, weight: float, start: float = 0, end: float = 2) -> AttendedStay:
    return AttendedStay(exemplar, weight, 0.875, after(start), after(end), 1 if start == end else 14)


PLAIN = Attention(
    context_vector=np.zeros(2, np.float32),
    levels=(AttentionLevel(1, (block(1, 3, 0.6, 90),), 5),),
    exemplars=(AttendedExemplar(38, 0.673), AttendedExemplar(7, 0.0001)),
    frame_count=12_000,
    stay_count=2_000,
    effective_stays=2.1,
    inverse_temperature=20.0,
    context_error=ContextError(0.0, 0.041, 0.95),
    unopened_share=0.0,
    opened_stay_count=2_000,
    vectors_read=2_100,
    attention_version=None,
    explanation=None,
)


def printed(attention: Attention, capsys: Capture, *, explain: bool = False) -> list[str]:
    """What is printed about the attention."""
    print_answer(Answer(False, 0.1, (), attention), explain=explain)  # noqa: FBT003
    return capsys.readouterr().out.splitlines()[2:]


def test_an_answer_that_was_read_whole_names_the_error_of_storing(capsys: Capture) -> None:
    assert printed(PLAIN, capsys)[:3] == [
        "Attention over 12,000 frames in 2,000 stays (in effect 2.1) at inverse temperature 20",
        "Error of the context vector: reading none, storing at most 4.1 % (estimates that hold for 95 % of queries)",
        "Largest weights: exemplars 38 (67.3 %), 7 (<0.1 %)",
    ]


def test_an_answer_that_was_not_read_whole_says_so(capsys: Capture) -> None:
    attention = replace(
        PLAIN, context_error=ContextError(0.0061, 0.041, 0.995), unopened_share=0.032, opened_stay_count=1_234
    )

    assert printed(attention, capsys)[1:3] == [
        "Opened 1,234 of the stays; the others have about 3.2 % of the weight",
        "Error of the context vector: reading at most 0.61 %, storing at most 4.1 % "
        "(estimates that hold for 99.5 % of queries)",
    ]


def test_a_fitted_version_is_named_and_an_error_that_is_not_known_is_not(capsys: Capture) -> None:
    lines = printed(replace(PLAIN, context_error=None, attention_version="7b"), capsys)

    assert lines[0].endswith("at inverse temperature 20, fitted version 7b")
    assert "Error" not in "".join(lines)


def test_without_an_explanation_the_blocks_are_a_table(capsys: Capture) -> None:
    assert printed(PLAIN, capsys)[3:] == [
        "level  stream  block  weight  from                  to                    frames",
        "    1  door    3      60.0 %  2026-01-31T05:06:07Z  2026-01-31T05:07:37Z     640",
    ]


def test_an_explanation_is_a_tree_whose_weights_add_up(capsys: Capture) -> None:
    low = ExplainedBlock(block(1, 140, 0.5, 50), (), (stay(38, 0.3), stay(7, 0.0004, 8, 8)))
    unopened = ExplainedBlock(block(1, 141, 0.1, 50), (), ())
    top = ExplainedBlock(block(2, 0, 0.6, 86_400), (low, unopened), ())
    other = ExplainedBlock(block(1, 0, 0.3, 50, stream="yard"), (), (stay(9, 0.3),))
    attention = replace(PLAIN, explanation=Explanation((top, other), ()))

    lines = printed(attention, capsys, explain=True)[4:]

    assert [line.rstrip() for line in lines] == [
        "The way from the top down, heaviest first; times in UTC",
        " 60.0 %  door: level 2, block 0  2026-01-31 05:06:07 to 2026-02-01 05:06:07, 640 frames",
        "├──  50.0 %  level 1, block 140  2026-01-31 05:06:07.0 to 05:06:57.0, 640 frames",
        "│   ├──  30.0 %  exemplar 38, similarity 0.8750  2026-01-31 05:06:07.0 to 05:06:09.0, 14 frames",
        "│   ├──  <0.1 %  exemplar 7, similarity 0.8750  2026-01-31 05:06:15.0, 1 frame",
        "│   └──  20.0 %  others",
        "└──  10.0 %  level 1, block 141  2026-01-31 05:06:07.0 to 05:06:57.0, 640 frames",
        " 30.0 %  yard: level 1, block 0  2026-01-31 05:06:07.0 to 05:06:57.0, 640 frames",
        "└──  30.0 %  exemplar 9, similarity 0.8750  2026-01-31 05:06:07.0 to 05:06:09.0, 14 frames",
        " 10.0 %  others",
    ]


def test_of_too_many_branches_the_lighter_are_summed_up(capsys: Capture) -> None:
    streams = [
        ExplainedBlock(block(1, 0, 0.02, 50, stream=f"{number:02}{'n' * 61}"), (), (stay(1, 0.02),))
        for number in range(50)
    ]

    lines = printed(replace(PLAIN, explanation=Explanation(tuple(streams), ())), capsys, explain=True)[5:]

    assert [line[9:11] for line in lines[:-1:2]] == [f"{number:02}" for number in range(8)]
    assert lines[-1].strip() == "84.0 %  others"
    assert max(map(len, lines)) < 200


def test_the_tree_is_printed_only_if_it_is_asked_for(capsys: Capture) -> None:
    attention = replace(PLAIN, explanation=Explanation((ExplainedBlock(block(1, 0, 1.0, 50), (), ()),), ()))

    assert printed(attention, capsys)[4].startswith("    1  door    3      60.0 %")


@pytest.mark.parametrize(
    ("fitted", "told"),
    [
        (
            FittedAttention("7b", 412, 0.58, 0.714, START),
            "fitted attention is kept as version 7b: of 412 held-out queries, the evidence was among the five heaviest "
            "exemplars in 71.4 % with fitted attention, in 58.0 % with plain\n"
            "`framekeep query lobby --attention latest` uses it, but not --as-of a time before 2026-01-31T05:06:07Z\n",
        ),
        (
            FittedAttention(None, 412, 0.58, 0.57, START),
            "plain attention stays: of 412 held-out queries, the evidence was among the five heaviest exemplars in "
            "57.0 % with fitted attention, in 58.0 % with plain\n",
        ),
        (
            FittedAttention(None, 0, 0.0, 0.0, None),
            "plain attention stays: there is too little to judge another by yet\n",
        ),
    ],
)
def test_what_fitting_gained_is_said_in_plain_words(fitted: FittedAttention, told: str, capsys: Capture) -> None:
    print_fitted(fitted, "lobby")

    assert capsys.readouterr().out == told
