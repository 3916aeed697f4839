"""Policies of keeping over the contract: created, changed, refused, and obeyed by calls that are open."""

import uuid
from collections.abc import Callable, Iterator, Sequence

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from serving import RunningServer
from talking import Call, frames, ingest, opening, raw, reason, scene

NOVEL, REPEAT, WITHHELD = pb.Verdict.KIND_NOVEL, pb.Verdict.KIND_REPEAT, pb.Verdict.KIND_WITHHELD
OWN = pb.KeepingPolicy.COMPARISON_STREAM
STREAM = "memories/m/streams/s"
DEFAULT = pb.KeepingPolicy(comparison=pb.KeepingPolicy.COMPARISON_MEMORY)


def full() -> pb.KeepingPolicy:
    """A policy with a value in every field."""
    return pb.KeepingPolicy(
        comparison=OWN,
        horizon=Duration(seconds=3600),
        max_exemplars_per_minute=4,
        min_interval=Duration(nanos=1_500_000),
        budget=pb.Budget(exemplars_per_day=500.5, min_threshold=0.01, max_threshold=0.5),
    )


def update(
    stub: VideoMemoryServiceStub,
    paths: Sequence[str],
    keeping: pb.KeepingPolicy | None = None,
    threshold: float | None = None,
    etag: str = "",
) -> pb.Stream:
    stream = pb.Stream(name=STREAM, novelty_threshold=threshold, keeping=keeping, etag=etag)
    return stub.UpdateStream(pb.UpdateStreamRequest(stream=stream, update_mask=FieldMask(paths=paths)))


def update_memory(
    stub: VideoMemoryServiceStub,
    paths: Sequence[str],
    keeping: pb.KeepingPolicy | None = None,
    threshold: float | None = None,
    etag: str = "",
) -> pb.Memory:
    memory = pb.Memory(name="memories/m", novelty_threshold=threshold, keeping=keeping, etag=etag)
    return stub.UpdateMemory(pb.UpdateMemoryRequest(memory=memory, update_mask=FieldMask(paths=paths)))


def get_memory(stub: VideoMemoryServiceStub) -> pb.Memory:
    return stub.GetMemory(pb.GetMemoryRequest(name="memories/m"))


def get_stream(stub: VideoMemoryServiceStub) -> pb.Stream:
    return stub.GetStream(pb.GetStreamRequest(name=STREAM))


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return reason(error.value)


@pytest.fixture
def stream(stub: VideoMemoryServiceStub, memory: str) -> pb.Stream:
    return stub.CreateStream(pb.CreateStreamRequest(stream=pb.Stream(name=STREAM)))


def test_a_memory_and_a_stream_are_created_with_a_policy_and_tell_it(stub: VideoMemoryServiceStub) -> None:
    made = stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m", keeping=full())))
    lesser = pb.KeepingPolicy(max_exemplars_per_minute=1)
    own = stub.CreateStream(pb.CreateStreamRequest(stream=pb.Stream(name=STREAM, keeping=lesser)))
    other = stub.CreateStream(pb.CreateStreamRequest(stream=pb.Stream(name="memories/m/streams/other")))

    assert made.keeping == get_memory(stub).keeping == full()
    lesser.comparison = pb.KeepingPolicy.COMPARISON_MEMORY
    assert own.keeping == own.effective_keeping == get_stream(stub).keeping == lesser
    assert not own.HasField("novelty_threshold")
    assert not own.HasField("budget_state")
    assert not other.HasField("keeping")
    assert other.effective_keeping == full()
    assert other.budget_state == pb.BudgetState(condition=pb.BudgetState.CONDITION_STARTING)


def test_limits_of_a_budget_that_are_not_given_are_told(stub: VideoMemoryServiceStub, stream: pb.Stream) -> None:
    changed = update(stub, ["keeping"], pb.KeepingPolicy(budget=pb.Budget(share=0.25)))

    assert changed.keeping.budget == pb.Budget(share=0.25, min_threshold=0.005, max_threshold=1)


def test_a_memory_without_one_has_the_default_policy_and_so_have_its_streams(
    stub: VideoMemoryServiceStub, stream: pb.Stream
) -> None:
    assert get_memory(stub).keeping == stream.effective_keeping == DEFAULT
    assert not stream.HasField("keeping")


def test_policy_and_threshold_of_a_stream_are_changed_and_lifted_apart_and_together(
    stub: VideoMemoryServiceStub, stream: pb.Stream
) -> None:
    changed = update(stub, ["keeping"], full(), threshold=0.7)  # the mask does not name the threshold
    assert (changed.keeping, changed.HasField("novelty_threshold"), changed.policy_revision) == (full(), False, 2)
    changed = update(stub, ["novelty_threshold"], threshold=0.3)
    assert (changed.keeping, changed.novelty_threshold, changed.policy_revision) == (full(), 0.3, 3)
    changed = update(stub, ["keeping"])
    assert (changed.HasField("keeping"), changed.effective_keeping, changed.novelty_threshold) == (False, DEFAULT, 0.3)
    changed = update(stub, ["novelty_threshold", "keeping"], full(), threshold=0.4)
    assert (changed.keeping, changed.novelty_threshold, changed.policy_revision) == (full(), 0.4, 5)

    changed = update(stub, ["keeping", "novelty_threshold"])

    assert (changed.HasField("keeping"), changed.HasField("novelty_threshold")) == (False, False)
    assert (changed.effective_novelty_threshold, changed.policy_revision) == (0.1, 6)
    assert get_stream(stub) == changed


def test_policy_threshold_and_retention_of_a_memory_are_changed_apart_and_together(
    stub: VideoMemoryServiceStub, stream: pb.Stream
) -> None:
    changed = update_memory(stub, ["keeping"], full())
    assert (changed.keeping, changed.novelty_threshold, changed.policy_revision) == (full(), 0.1, 2)
    assert get_stream(stub).effective_keeping == full()
    changed = stub.UpdateMemory(
        pb.UpdateMemoryRequest(
            memory=pb.Memory(name="memories/m", novelty_threshold=0.2, retention=pb.Retention(max_exemplars=9)),
            update_mask=FieldMask(paths=["novelty_threshold", "keeping", "retention"]),
        )
    )

    assert (changed.keeping, changed.novelty_threshold, changed.policy_revision) == (DEFAULT, 0.2, 3)
    assert changed.retention == pb.Retention(max_exemplars=9)


def test_etags_change_with_a_policy_and_an_old_one_is_refused(stub: VideoMemoryServiceStub, stream: pb.Stream) -> None:
    of_memory = get_memory(stub).etag
    update(stub, ["keeping"], full(), etag=stream.etag)
    update_memory(stub, ["keeping"], full(), etag=of_memory)

    expected = (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert refusal(lambda: update(stub, ["keeping"], etag=stream.etag))[:2] == expected
    assert refusal(lambda: update_memory(stub, ["keeping"], etag=of_memory))[:2] == expected
    assert (get_stream(stub).keeping, get_memory(stub).keeping) == (full(), full())
    assert len({stream.etag, get_stream(stub).etag}) == len({of_memory, get_memory(stub).etag}) == 2


REFUSED = {
    "an unknown comparison": (pb.KeepingPolicy(comparison=99), "keeping.comparison"),  # type: ignore[arg-type]
    "a horizon that is no Duration": (pb.KeepingPolicy(horizon=Duration(seconds=1, nanos=-1)), "keeping.horizon"),
    "an interval that is no Duration": (pb.KeepingPolicy(min_interval=Duration(nanos=10**9)), "keeping.min_interval"),
    "a horizon below a microsecond": (pb.KeepingPolicy(horizon=Duration(nanos=999)), "keeping"),
    "a negative horizon": (pb.KeepingPolicy(horizon=Duration(seconds=-5)), "keeping"),
    "no exemplars at all": (pb.KeepingPolicy(max_exemplars_per_minute=0), "keeping"),
    "a budget without a target": (pb.KeepingPolicy(budget=pb.Budget(min_threshold=0.1)), "keeping"),
    "a target of nothing": (pb.KeepingPolicy(budget=pb.Budget(bytes_per_day=0)), "keeping"),
    "a share beyond all": (pb.KeepingPolicy(budget=pb.Budget(share=1.5)), "keeping"),
    "limits the wrong way round": (
        pb.KeepingPolicy(budget=pb.Budget(share=0.5, min_threshold=0.5, max_threshold=0.4)),
        "keeping",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_nothing_could_follow_is_refused_by_its_field_and_changes_nothing(
    stub: VideoMemoryServiceStub, stream: pb.Stream, fault: str
) -> None:
    keeping, field = REFUSED[fault]
    before = get_memory(stub), get_stream(stub)
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", {"field": field})

    both = ["novelty_threshold", "keeping"]
    assert refusal(lambda: update(stub, both, keeping, threshold=0.3)) == expected
    assert refusal(lambda: update_memory(stub, both, keeping, threshold=0.3)) == expected
    other = pb.Memory(name="memories/other", keeping=keeping)
    assert refusal(lambda: stub.CreateMemory(pb.CreateMemoryRequest(memory=other))) == expected
    another = pb.Stream(name="memories/m/streams/other", keeping=keeping)
    assert refusal(lambda: stub.CreateStream(pb.CreateStreamRequest(stream=another))) == expected

    assert (get_memory(stub), get_stream(stub)) == before
    assert [memory.name for memory in stub.ListMemories(pb.ListMemoriesRequest()).memories] == ["memories/m"]
    assert len(stub.ListStreams(pb.ListStreamsRequest(parent="memories/m")).streams) == 1


def test_a_bad_threshold_beside_a_good_policy_changes_nothing(stub: VideoMemoryServiceStub, stream: pb.Stream) -> None:
    told = refusal(lambda: update(stub, ["novelty_threshold", "keeping"], full(), threshold=3.0))

    assert told[1:] == ("INVALID_FIELD", {"field": "novelty_threshold"})
    assert get_stream(stub) == stream


# While a call is open


class Live:
    """An Ingest call that is open, one frame at a time."""

    def __init__(self, stub: VideoMemoryServiceStub) -> None:
        self.session_id = str(uuid.uuid4())
        self.sent: list[pb.Frame] = []
        self._call = Call(stub, opening(STREAM, self.session_id))
        self._call.opened()
        self._verdicts = self._call.verdicts()

    def show(self, number: int, brightness: int = 0, at_s: float | None = None) -> pb.Verdict:
        [frame] = frames([raw(scene(number, brightness))], len(self.sent))
        if at_s is not None:
            frame.pts_us = round(at_s * 10**6)
        self.sent.append(frame)
        self._call.send(frame)
        verdict = next(self._verdicts)
        verdict.ClearField("timings")
        return verdict

    def close(self) -> None:
        self._call.close()
        assert list(self._verdicts) == []


@pytest.fixture
def live(stub: VideoMemoryServiceStub, memory: str) -> Iterator[Live]:
    live = Live(stub)
    yield live
    live.close()


def test_a_threshold_is_obeyed_by_the_first_frame_after_the_answer(stub: VideoMemoryServiceStub, live: Live) -> None:
    assert [live.show(1).kind, live.show(1, 20).kind] == [NOVEL, REPEAT]

    changed = update(stub, ["novelty_threshold"], threshold=1e-5)
    after = live.show(1, 40)

    assert (after.kind, after.policy_revision) == (NOVEL, changed.policy_revision)
    assert 1e-5 < after.novelty < 0.1
    changed = update(stub, ["novelty_threshold"])
    after = live.show(1, 60)
    assert (after.kind, after.policy_revision) == (REPEAT, changed.policy_revision)


def test_a_limit_a_minute_is_obeyed_by_the_first_frame_after_the_answer(
    stub: VideoMemoryServiceStub, live: Live
) -> None:
    assert [live.show(1).kind, live.show(2).kind] == [NOVEL, NOVEL]

    changed = update(stub, ["keeping"], pb.KeepingPolicy(max_exemplars_per_minute=2))
    after = live.show(3)

    assert (after.kind, after.policy_revision) == (WITHHELD, changed.policy_revision)
    assert (after.withheld, after.by_hint, after.exemplar) == (pb.WITHHELD_REASON_MINUTE, False, "")
    assert after.novelty > 0.1
    assert live.show(3, at_s=60.05).kind == NOVEL  # the first of the two is a minute old
    assert live.show(4, at_s=60.06).withheld == pb.WITHHELD_REASON_MINUTE


def test_an_interval_is_obeyed_by_the_first_frame_after_the_answer(stub: VideoMemoryServiceStub, live: Live) -> None:
    assert live.show(1).kind == NOVEL

    changed = update_memory(stub, ["keeping"], pb.KeepingPolicy(min_interval=Duration(seconds=5)))
    after = live.show(2)

    assert (after.kind, after.withheld) == (WITHHELD, pb.WITHHELD_REASON_INTERVAL)
    assert after.policy_revision == changed.policy_revision
    assert [live.show(1, at_s=1).kind, live.show(2, at_s=4.9).kind, live.show(2, at_s=5).kind] == [
        *(REPEAT, WITHHELD, NOVEL),
    ]


def test_a_comparison_is_obeyed_by_the_first_frame_after_the_answer(stub: VideoMemoryServiceStub, live: Live) -> None:
    ingest(stub, "memories/m/streams/hall", frames(raw(scene(number)) for number in (1, 2, 3)))
    assert [live.show(1).kind, live.show(2).kind] == [REPEAT, REPEAT]

    changed = update(stub, ["keeping"], pb.KeepingPolicy(comparison=OWN))
    after = live.show(3)

    assert (after.kind, after.exemplar[-1], after.policy_revision) == (NOVEL, "4", changed.policy_revision)
    assert [live.show(1).exemplar[-1], live.show(3).exemplar[-1]] == ["1", "4"]
    update(stub, ["keeping"])
    assert live.show(5).kind == NOVEL
    assert live.show(3).exemplar[-1] == "3"  # compared with everything again: of the two the older


def test_a_horizon_is_obeyed_by_the_first_frame_after_the_answer(stub: VideoMemoryServiceStub, live: Live) -> None:
    assert [live.show(1).kind, live.show(2, at_s=9).kind] == [NOVEL, NOVEL]

    changed = update_memory(stub, ["keeping"], pb.KeepingPolicy(horizon=Duration(seconds=10)))
    after = live.show(1, at_s=11)

    assert (after.kind, after.policy_revision) == (NOVEL, changed.policy_revision)
    assert (live.show(2, at_s=19).kind, live.show(2, at_s=29.1).kind) == (REPEAT, NOVEL)


def test_frames_that_were_withheld_are_told_so_again_and_counted_once(
    start_server: Callable[..., RunningServer], stub: VideoMemoryServiceStub, server: RunningServer, memory: str
) -> None:
    update_memory(stub, ["keeping"], pb.KeepingPolicy(max_exemplars_per_minute=1))
    session_id = str(uuid.uuid4())
    sent = frames([*(raw(scene(number)) for number in (1, 2, 1)), pb.Picture(), raw(scene(3))])
    first = ingest(stub, STREAM, sent, session_id)
    again = ingest(stub, STREAM, sent, session_id)
    held = get_memory(stub).contents
    server.stop()
    with grpc.insecure_channel(start_server(server.config.server.data).address) as channel:
        later_stub = VideoMemoryServiceStub(channel)
        later = ingest(later_stub, STREAM, sent, session_id)
        later_held = get_memory(later_stub).contents

    for verdict in first:
        verdict.ClearField("timings")
    assert [verdict.kind for verdict in first] == [NOVEL, WITHHELD, REPEAT, pb.Verdict.KIND_REJECTED, WITHHELD]
    assert first == again == later
    assert (held.frames, held.novel_frames, held.repeat_frames, held.withheld_frames, held.rejected_frames) == (
        *(5, 1, 1, 2, 1),
    )
    assert held.frames == held.counted_frames + held.forgotten_frames + held.withheld_frames + held.rejected_frames
    assert later_held.withheld_frames == 2
    assert later_held.counted_frames == 2


def test_a_budget_moves_the_threshold_of_its_stream_and_tells_how_it_is_kept(
    stub: VideoMemoryServiceStub, stream: pb.Stream
) -> None:
    update(stub, ["keeping"], pb.KeepingPolicy(budget=pb.Budget(share=1.0)), threshold=0.5)
    assert get_stream(stub).budget_state == pb.BudgetState(condition=pb.BudgetState.CONDITION_STARTING)

    verdicts = ingest(stub, STREAM, frames(raw(scene(1)) for _ in range(60)))

    told = get_stream(stub)
    assert told.budget_state.condition == pb.BudgetState.CONDITION_AT_LIMIT
    assert told.budget_state.kept_of_target < 0.1
    assert told.novelty_threshold == told.effective_novelty_threshold == 0.005
    assert told.etag != stream.etag
    revisions = [verdict.policy_revision for verdict in verdicts]
    assert revisions == sorted(revisions)
    assert revisions[0] == 2
    assert told.policy_revision >= revisions[-1] > 2
