"""Policies of keeping: as values, over the wire, in words, and as options that set them again."""

from datetime import timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framekeep import Budget, BudgetCondition, BudgetState, Comparison, InvalidRequest, KeepingPolicy, ServerError
from framekeep.commands.memories import memories
from framekeep.commands.parameters import budget
from framekeep.converters import contents_from, memory_from, stream_from
from framekeep.memories import Memory, Stream
from framekeep.policy_converters import budget_state_from, policy_from, policy_to
from framekeep.policy_printing import policy_options, shown_policy, shown_state, shown_target
from framekeep.v1 import video_memory_pb2 as pb

FULL = KeepingPolicy(
    comparison=Comparison.STREAM,
    horizon=timedelta(hours=1),
    max_exemplars_per_minute=10,
    min_interval=timedelta(seconds=2, microseconds=1),
    budget=Budget(share=0.02, min_threshold=0.01, max_threshold=0.5),
)

lengths = st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=1000))


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    name, most = draw(st.sampled_from([("share", 1.0), ("exemplars_per_day", 1e9), ("bytes_per_day", 1e15)]))
    target = draw(st.floats(1e-12, most))
    limits = sorted(draw(st.tuples(st.floats(0.005, 1.0), st.floats(0.005, 1.0))))
    return Budget(**{name: target}, min_threshold=limits[0], max_threshold=limits[1])


policies = st.builds(
    KeepingPolicy,
    comparison=st.sampled_from(Comparison),
    horizon=lengths,
    max_exemplars_per_minute=st.none() | st.integers(1, 10**6),
    min_interval=lengths,
    budget=st.none() | budgets(),
)


@given(policies)
def test_a_policy_is_the_same_after_its_way_over_the_wire(policy: KeepingPolicy) -> None:
    assert policy_from(pb.KeepingPolicy.FromString(policy_to(policy).SerializeToString())) == policy


def test_a_policy_in_the_form_of_the_contract() -> None:
    message = policy_to(FULL)

    assert message.comparison == pb.KeepingPolicy.COMPARISON_STREAM
    assert (message.horizon.seconds, message.min_interval.nanos) == (3600, 1000)
    assert message.max_exemplars_per_minute == 10
    assert message.budget == pb.Budget(share=0.02, min_threshold=0.01, max_threshold=0.5)


def test_what_a_policy_does_not_say_is_unset() -> None:
    assert policy_to(KeepingPolicy()) == pb.KeepingPolicy(comparison=pb.KeepingPolicy.COMPARISON_MEMORY)
    assert policy_from(pb.KeepingPolicy()) == KeepingPolicy()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected exactly one of share, exemplars_per_day, bytes_per_day, got none"),
        ({"share": 0.1, "bytes_per_day": 5.0}, "got share and bytes_per_day"),
        ({"share": 0.0}, r"expected share in \(0, 1\], got 0.0"),
        ({"share": 1.5}, r"expected share in \(0, 1\], got 1.5"),
        ({"share": float("nan")}, "expected share"),
        ({"exemplars_per_day": -1.0}, "expected exemplars_per_day above 0, got -1.0"),
        ({"bytes_per_day": float("inf")}, "expected bytes_per_day above 0, got inf"),
        ({"share": 0.1, "min_threshold": 0.0}, r"expected min_threshold in \(0, 2\], got 0.0"),
        ({"share": 0.1, "max_threshold": 2.5}, r"expected max_threshold in \(0, 2\], got 2.5"),
        ({"share": 0.1, "min_threshold": 0.3, "max_threshold": 0.2}, "of at least min_threshold, 0.3, got 0.2"),
        ({"share": 0.1, "min_threshold": 1.5}, "of at least min_threshold, 1.5, got 1"),
    ],
)
def test_a_budget_has_one_target_and_thresholds_in_order(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Budget(**arguments)


def test_limits_out_of_their_range_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="expected horizon of at least a microsecond, got 0 s"):
        KeepingPolicy(horizon=timedelta(0))
    with pytest.raises(InvalidRequest, match="expected min_interval of at least a microsecond, got -1 s"):
        KeepingPolicy(min_interval=timedelta(seconds=-1))
    longest = timedelta(microseconds=2**53)
    with pytest.raises(InvalidRequest, match=r"expected horizon of at most 2\*\*53 microseconds, about 285 years, got"):
        KeepingPolicy(horizon=longest + timedelta(microseconds=1))
    with pytest.raises(InvalidRequest, match=r"expected min_interval of at most .* got 999999999 days"):
        KeepingPolicy(min_interval=timedelta.max)
    for number, told in ((0, "0"), (1_000_001, "1,000,001"), (2**31, "2,147,483,648")):
        with pytest.raises(InvalidRequest, match=f"expected max_exemplars_per_minute from 1 to 1,000,000, got {told}"):
            KeepingPolicy(max_exemplars_per_minute=number)
    assert (
        policy_to(KeepingPolicy(horizon=longest, max_exemplars_per_minute=1_000_000)).horizon.seconds == 2**53 // 10**6
    )


def test_what_this_client_does_not_know_breaks_the_contract() -> None:
    with pytest.raises(ServerError, match="expected the comparison MEMORY or STREAM, got 9"):
        policy_from(pb.KeepingPolicy(comparison=9))  # type: ignore[arg-type]
    with pytest.raises(ServerError, match="expected a budget with a target"):
        policy_from(pb.KeepingPolicy(budget=pb.Budget()))
    with pytest.raises(ServerError, match="expected a budget to be STARTING, HOLDING, DRIFTING, AT_LIMIT, got 0"):
        budget_state_from(pb.BudgetState())


def test_a_memory_and_its_streams_say_what_they_keep() -> None:
    keeping = policy_to(FULL)
    state = pb.BudgetState(condition=pb.BudgetState.CONDITION_AT_LIMIT, kept_of_target=1.5)
    door = "memories/lobby/streams/door"

    memory, plain = (
        memory_from(pb.Memory(name="memories/lobby", keeping=keeping)),
        memory_from(pb.Memory(name="memories/m")),
    )
    follower = stream_from(pb.Stream(name=door, effective_keeping=keeping, budget_state=state))
    other = stream_from(pb.Stream(name=door, keeping=keeping, effective_keeping=keeping))

    assert (memory.keeping, plain.keeping) == (FULL, KeepingPolicy())
    assert (follower.keeping, follower.effective_keeping) == (None, FULL)
    assert follower.budget_state == BudgetState(BudgetCondition.AT_LIMIT, 1.5)
    assert (other.keeping, other.budget_state) == (FULL, None)


def test_a_budget_that_has_seen_too_little_says_no_number() -> None:
    starting = pb.BudgetState(condition=pb.BudgetState.CONDITION_STARTING)

    assert budget_state_from(starting) == BudgetState(BudgetCondition.STARTING, None)


def test_contents_count_what_was_withheld() -> None:
    assert contents_from(pb.Contents(withheld_frames=7)).withheld_frames == 7


def test_a_policy_is_told_in_words() -> None:
    assert shown_policy(KeepingPolicy()) == "compares with the memory"
    assert shown_policy(FULL) == (
        "compares with the stream alone, 1 h back; at most 10 exemplars a minute; at least 2 s between exemplars; "
        "budget of 2 % of the frames at thresholds from 0.01 to 0.5"
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Budget(share=0.0125), "1.25 % of the frames"),
        (Budget(exemplars_per_day=1500), "1,500 exemplars a day"),
        (Budget(bytes_per_day=2.5e9), "2.5 GB a day"),
    ],
)
def test_a_target_is_told_in_its_unit(target: Budget, words: str) -> None:
    assert shown_target(target) == words


def test_how_a_budget_is_kept_is_told() -> None:
    assert shown_state(None) == "-"
    assert shown_state(BudgetState(BudgetCondition.STARTING, None)) == "starting"
    assert shown_state(BudgetState(BudgetCondition.AT_LIMIT, 1.304)) == "at limit, 130 % of the target"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("2%", Budget(share=0.02)),
        ("0.5 %", Budget(share=0.005)),
        ("100%", Budget(share=1.0)),
        ("500/day", Budget(exemplars_per_day=500)),
        ("0.5 / day", Budget(exemplars_per_day=0.5)),
        ("1GB/day", Budget(bytes_per_day=10**9)),
        ("1.5 MB/day", Budget(bytes_per_day=1.5e6)),
        ("20kB/day", Budget(bytes_per_day=20_000)),
        ("2TB/day", Budget(bytes_per_day=2e12)),
    ],
)
def test_a_target_is_a_share_or_so_many_or_so_much_a_day(text: str, target: Budget) -> None:
    assert budget(text) == target


@pytest.mark.parametrize(
    "text", ["", "2", "0%", "101%", "0/day", "-5/day", "500", "1GB", "1gb/day", "few/day", "2%/day", "9" * 400 + "/day"]
)
def test_other_targets_are_wrong_usage(text: str) -> None:
    with pytest.raises(
        click.BadParameter, match=r"expected a target such as 2%, 500/day \(exemplars\) or 1GB/day, got"
    ):
        budget(text)


def targets(one: Budget) -> list[float]:
    """Share, exemplars and bytes a day; 0 for those that are not set."""
    return [one.share or 0.0, one.exemplars_per_day or 0.0, one.bytes_per_day or 0.0]


class ListeningClient:
    """Notes what policy it is told to set."""

    told: KeepingPolicy | None

    def __init__(self, address: str) -> None:
        assert address == "nowhere"

    def __enter__(self) -> "ListeningClient":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def memory(self, name: str) -> Memory:
        return memory_from(pb.Memory(name=f"memories/{name}", etag="1"))

    def streams(self, _memory: str) -> list[Stream]:
        return []

    def set_keeping(self, memory: str, keeping: KeepingPolicy, *, stream: str | None, etag: str) -> Memory:
        assert (memory, stream, etag) == ("lobby", None, "1")
        ListeningClient.told = keeping
        return self.memory(memory)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(policies)
def test_the_options_of_a_policy_set_it_again(monkeypatch: pytest.MonkeyPatch, policy: KeepingPolicy) -> None:
    monkeypatch.setattr("framekeep.commands.memories.Client", ListeningClient)

    options = policy_options(policy).split()
    result = CliRunner().invoke(memories, ["keep", "lobby", *options, "--json"], obj="nowhere", catch_exceptions=False)

    assert result.exit_code == 0, result.output
    told = ListeningClient.told
    assert told is not None
    assert (told.comparison, told.horizon, told.min_interval) == (
        policy.comparison,
        policy.horizon,
        policy.min_interval,
    )
    assert told.max_exemplars_per_minute == policy.max_exemplars_per_minute
    assert (told.budget is None) == (policy.budget is None)
    if told.budget is not None and policy.budget is not None:
        for name in ("min_threshold", "max_threshold"):
            assert getattr(told.budget, name) == getattr(policy.budget, name)
        assert targets(told.budget) == pytest.approx(targets(policy.budget), rel=1e-12)


def test_options_are_short_where_they_can_be() -> None:
    assert policy_options(KeepingPolicy(Comparison.STREAM, horizon=timedelta(minutes=90))) == (
        "--compare stream --horizon 90min"
    )
    assert policy_options(FULL) == (
        "--compare stream --horizon 1h --per-minute 10 --min-interval 2.000001s --budget 2% --min-threshold 0.01 "
        "--max-threshold 0.5"
    )
