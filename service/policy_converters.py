"""Policies of keeping and how budgets are kept, between messages of the contract and values of the store."""

from google.protobuf.duration_pb2 import Duration

from framekeep.v1 import video_memory_pb2 as pb
from memory_store.budget import BudgetState, Condition
from memory_store.errors import InvalidPolicy
from memory_store.keeping import MAX_THRESHOLD, MIN_THRESHOLD, Budget, Keeping
from service.errors import InvalidField

_LONGEST_DURATION_S = 315_576_000_000
"""What a Duration may say, by its definition: 10,000 years."""

_OWN_STREAM_ONLY = {
    pb.KeepingPolicy.COMPARISON_UNSPECIFIED: False,
    pb.KeepingPolicy.COMPARISON_MEMORY: False,
    pb.KeepingPolicy.COMPARISON_STREAM: True,
}
_CONDITIONS = {
    Condition.STARTING: pb.BudgetState.CONDITION_STARTING,
    Condition.HOLDING: pb.BudgetState.CONDITION_HOLDING,
    Condition.DRIFTING: pb.BudgetState.CONDITION_DRIFTING,
    Condition.AT_LIMIT: pb.BudgetState.CONDITION_AT_LIMIT,
}


def duration_from(duration: Duration, field: str) -> int:
    """Read a Duration as microseconds; what is finer is cut off.

    Raises:
        InvalidField: it is no length of time.
    """
    seconds, nanos = duration.seconds, duration.nanos
    if not (abs(seconds) <= _LONGEST_DURATION_S and abs(nanos) < 10**9 and seconds * nanos >= 0):
        raise InvalidField(field, f"expected a Duration, got {seconds} s {nanos} ns")
    return seconds * 10**6 + nanos // 1000


def keeping_from(message: pb.KeepingPolicy) -> Keeping:
    """Read a policy of keeping.

    Raises:
        InvalidField, InvalidPolicy: something is unknown or out of range.
    """
    if message.comparison not in _OWN_STREAM_ONLY:
        raise InvalidField("keeping.comparison", f"expected a known comparison, got {message.comparison}")
    horizon_us, interval_us = (
        duration_from(getattr(message, name), f"keeping.{name}") if message.HasField(name) else None
        for name in ("horizon", "min_interval")
    )
    return Keeping(
        _OWN_STREAM_ONLY[message.comparison],
        horizon_us,
        message.max_exemplars_per_minute if message.HasField("max_exemplars_per_minute") else None,
        interval_us,
        _budget_from(message.budget) if message.HasField("budget") else None,
    )


def _budget_from(message: pb.Budget) -> Budget:
    target = message.WhichOneof("target")
    if target is None:
        raise InvalidPolicy("budget: expected a target, got none")
    return Budget(
        **{target: getattr(message, target)},
        min_threshold=message.min_threshold if message.HasField("min_threshold") else MIN_THRESHOLD,
        max_threshold=message.max_threshold if message.HasField("max_threshold") else MAX_THRESHOLD,
    )


def keeping_to(keeping: Keeping | None) -> pb.KeepingPolicy | None:
    """Write a policy of keeping; nothing for None."""
    if keeping is None:
        return None
    comparison = pb.KeepingPolicy.COMPARISON_STREAM if keeping.own_stream_only else pb.KeepingPolicy.COMPARISON_MEMORY
    message = pb.KeepingPolicy(comparison=comparison, max_exemplars_per_minute=keeping.max_per_minute)
    if keeping.horizon_us is not None:
        message.horizon.FromMicroseconds(keeping.horizon_us)
    if keeping.min_interval_us is not None:
        message.min_interval.FromMicroseconds(keeping.min_interval_us)
    if keeping.budget is not None:
        message.budget.CopyFrom(_budget_to(keeping.budget))
    return message


def _budget_to(budget: Budget) -> pb.Budget:
    message = pb.Budget(min_threshold=budget.min_threshold, max_threshold=budget.max_threshold)
    if budget.share is not None:
        message.share = budget.share
    if budget.exemplars_per_day is not None:
        message.exemplars_per_day = budget.exemplars_per_day
    if budget.bytes_per_day is not None:
        message.bytes_per_day = budget.bytes_per_day
    return message


def budget_state_to(state: BudgetState | None) -> pb.BudgetState | None:
    """Write how a budget is kept; nothing for None."""
    if state is None:
        return None
    return pb.BudgetState(condition=_CONDITIONS[state.condition], kept_of_target=state.kept_of_target)
