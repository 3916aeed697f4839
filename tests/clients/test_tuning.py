"""Thresholds, policies and curves by the client, against a real server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from framekeep import (
    Budget,
    BudgetCondition,
    Client,
    Comparison,
    Conflict,
    InvalidRequest,
    KeepingPolicy,
    Memory,
    MemoryNotFound,
    StreamNotFound,
    ThresholdCurve,
    Verdict,
    VerdictKind,
    aio,
)
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
LIMITS = KeepingPolicy(Comparison.STREAM, timedelta(hours=1), 10, timedelta(seconds=2), Budget(share=0.02))


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw scene 1, scene 2 and scene 1 again, ten frames each, a frame a second."""
    scenes = [scene(number, brightness) for number in (1, 2, 1) for brightness in range(10)]
    client.stream(scenes, memory="lobby", stream="door", frames_per_second=1, start_time=START).run()
    return "lobby"


def test_a_policy_is_given_changed_and_cleared(client: Client) -> None:
    made = client.create_memory("lab", keeping=LIMITS)
    assert made.keeping == client.memory("lab").keeping == LIMITS

    changed = client.set_keeping("lab", KeepingPolicy(min_interval=timedelta(seconds=5)), etag=made.etag)

    assert changed.keeping == KeepingPolicy(min_interval=timedelta(seconds=5))
    assert changed.novelty_threshold == made.novelty_threshold
    assert changed.policy_revision > made.policy_revision
    with pytest.raises(Conflict):
        client.set_keeping("lab", None, etag=made.etag)
    assert client.set_keeping("lab", None).keeping == KeepingPolicy()


def test_threshold_and_policy_change_in_one_step(client: Client) -> None:
    made = client.create_memory("lab", novelty_threshold=0.1)
    client.create_stream("lab", "door")

    both = client.set_policy("lab", threshold=0.2, keeping=LIMITS, etag=made.etag)
    kept = client.set_policy("lab", threshold=0.3)
    own = client.set_policy("lab", threshold=0.4, keeping=KeepingPolicy(), stream="door")
    mixed = client.set_policy("lab", threshold=0.5, keeping=None, stream="door")
    back = client.set_policy("lab", threshold=None, stream="door")

    assert (both.novelty_threshold, both.keeping, both.policy_revision) == (0.2, LIMITS, made.policy_revision + 1)
    assert (kept.novelty_threshold, kept.keeping) == (0.3, LIMITS)
    assert (own.novelty_threshold, own.keeping) == (0.4, KeepingPolicy())
    assert (mixed.novelty_threshold, mixed.keeping) == (0.5, None)
    assert (back.novelty_threshold, back.effective_novelty_threshold) == (None, 0.3)
    with pytest.raises(Conflict):
        client.set_policy("lab", threshold=0.6, keeping=None, etag=made.etag)
    with pytest.raises(InvalidRequest):
        client.set_policy("lab", threshold=3.0, keeping=None)
    after = client.memory("lab")
    assert (after.novelty_threshold, after.keeping) == (0.3, LIMITS)


def test_a_change_of_nothing_is_refused(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="expected a threshold, a policy or both, got neither"):
        client.set_policy("lab")
    with pytest.raises(InvalidRequest, match="expected a threshold for the memory, got None"):
        client.set_policy("lab", threshold=None, stream=None)


def test_a_stream_follows_its_memory_until_it_has_a_policy_of_its_own(client: Client) -> None:
    own = KeepingPolicy(max_exemplars_per_minute=3)
    client.create_memory("lab", keeping=LIMITS)
    client.create_stream("lab", "follower")
    client.create_stream("lab", "other", keeping=own)

    follower, other = client.stream_facts("lab", "follower"), client.stream_facts("lab", "other")
    assert (follower.keeping, follower.effective_keeping) == (None, LIMITS)
    assert follower.budget_state is not None
    assert (follower.budget_state.condition, follower.budget_state.kept_of_target) == (BudgetCondition.STARTING, None)
    assert (other.keeping, other.effective_keeping, other.budget_state) == (own, own, None)

    back = client.set_keeping("lab", None, stream="other")

    assert (back.keeping, back.effective_keeping) == (None, LIMITS)


def test_the_first_frame_after_a_change_obeys_it(client: Client) -> None:
    verdicts: list[Verdict] = []
    with client.open_stream("door", memory="lab", on_verdict=verdicts.append) as session:
        for number, limit in enumerate([None, timedelta(minutes=1), None]):
            client.set_keeping("lab", KeepingPolicy(min_interval=limit))
            session.send(scene(number + 1), capture_time=after(number))
            session.flush()

    assert [verdict.kind for verdict in verdicts] == [VerdictKind.NOVEL, VerdictKind.WITHHELD, VerdictKind.NOVEL]
    assert len({verdict.policy_revision for verdict in verdicts}) == 3


def test_what_another_stream_has_shown_is_novel_to_a_stream_that_is_compared_with_itself(client: Client) -> None:
    client.create_memory("lab", keeping=KeepingPolicy(Comparison.STREAM))

    kept = [
        client.stream([scene(1)] * 3, memory="lab", stream=name, frames_per_second=1).run().novel_frames
        for name in ("a", "b")
    ]

    assert kept == [1, 1]


def test_a_budget_moves_the_threshold_of_its_stream(client: Client) -> None:
    client.create_memory("lab", novelty_threshold=0.005, keeping=KeepingPolicy(budget=Budget(share=0.02)))
    scenes = [scene(1 + number % 19, number // 19) for number in range(380)]

    client.stream(scenes, memory="lab", stream="door", frames_per_second=10).run()

    stream = client.stream_facts("lab", "door")
    assert stream.novelty_threshold is not None
    assert stream.novelty_threshold == stream.effective_novelty_threshold > 0.005
    assert client.memory("lab").novelty_threshold == 0.005


def test_a_curve_counts_what_each_threshold_would_have_kept(client: Client, lobby: str) -> None:
    curve = client.evaluate_thresholds(lobby, [2.0, 0.1, 1e-6], examples=2)

    assert [outcome.novelty_threshold for outcome in curve.outcomes] == [1e-6, 0.1, 2.0]
    kept = [outcome.exemplars for outcome in curve.outcomes]
    assert kept[1:] == [client.memory(lobby).contents.exemplars, 1.0] == [2.0, 1.0]
    assert 10 <= kept[0] <= 30
    assert {outcome.error for outcome in curve.outcomes} == {0.0}
    assert (curve.frame_count, curve.missing_frame_count, curve.held_count) == (30, 0, 30)
    assert curve.duration == timedelta(seconds=29)
    assert curve.bytes_per_exemplar > 0
    middle = curve.outcomes[1]
    assert middle.kept_share == pytest.approx(2 / 30)
    assert middle.exemplars_per_day == pytest.approx(2 * 86_400 / 29)
    assert middle.bytes_per_day == pytest.approx(curve.bytes_per_exemplar * 2 * 86_400 / 29)
    assert 0 < middle.mean_dropped_novelty <= middle.largest_dropped_novelty <= 0.1


def test_examples_are_frames_beside_what_they_were_compared_with(client: Client, lobby: str) -> None:
    [outcome] = client.evaluate_thresholds(lobby, [0.1], examples=10).outcomes

    assert outcome.just_below
    assert all(example.novelty > 0.1 for example in outcome.just_above)
    assert all(example.novelty <= 0.1 for example in outcome.just_below)
    novelties = [example.novelty for example in outcome.just_below]
    assert novelties == sorted(novelties, reverse=True)
    for example in (*outcome.just_above, *outcome.just_below):
        assert example.exemplar in (1, 2)
        assert example.stream == "door"
        assert START <= example.capture_time <= after(29)
        assert example.thumbnail is not None
        assert example.thumbnail.startswith(b"\xff\xd8")
    assert client.evaluate_thresholds(lobby, [0.1]).outcomes[0].just_below == ()


def test_a_curve_may_be_of_one_stream_and_of_the_standard_thresholds(client: Client, lobby: str) -> None:
    client.stream([scene(3)] * 5, memory=lobby, stream="yard", frames_per_second=1).run()

    curve = client.evaluate_thresholds(lobby, stream="yard")

    assert (curve.outcomes[0].novelty_threshold, curve.outcomes[-1].novelty_threshold) == (0.02, 0.6)
    assert (curve.frame_count, curve.outcomes[4].exemplars) == (5, 1.0)
    assert client.evaluate_thresholds(lobby).frame_count == 35


def test_what_cannot_be_evaluated_is_refused(client: Client, lobby: str) -> None:
    with pytest.raises(MemoryNotFound):
        client.evaluate_thresholds("nobody")
    with pytest.raises(StreamNotFound):
        client.evaluate_thresholds(lobby, stream="nobody")
    for thresholds in ([0.0], [2.5], [0.1] * 65):
        with pytest.raises(InvalidRequest):
            client.evaluate_thresholds(lobby, thresholds)
    for examples in (-1, 11, 2**40):
        with pytest.raises(InvalidRequest, match=f"expected examples from 0 to 10, got {examples}"):
            client.evaluate_thresholds(lobby, examples=examples)
    with pytest.raises(InvalidRequest, match="ends after its start"):
        client.evaluate_thresholds(lobby, start_time=after(2), end_time=after(1))
    empty = client.evaluate_thresholds(lobby, start_time=after(10_000))
    assert empty.frame_count == 0


def test_tasks_do_the_same(server: RunningServer, lobby: str) -> None:
    async def work() -> tuple[Memory, ThresholdCurve]:
        async with aio.Client(server.address) as fk:
            await fk.create_memory("other", keeping=LIMITS)
            await fk.create_stream("other", "door", keeping=KeepingPolicy())
            assert (await fk.set_keeping("other", None, stream="door")).keeping is None
            both = await fk.set_policy("other", threshold=0.3, keeping=KeepingPolicy(), stream="door")
            assert (both.novelty_threshold, both.keeping) == (0.3, KeepingPolicy())
            return await fk.set_keeping("other", None), await fk.evaluate_thresholds(lobby, [0.1], stream="door")

    memory, curve = asyncio.run(work())

    assert memory.keeping == KeepingPolicy()
    assert (curve.frame_count, curve.outcomes[0].exemplars) == (30, 2.0)
