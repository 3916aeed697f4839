"""The contract's policies of keeping into the values of this package, and back."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from framekeep.errors import ServerError
from framekeep.policies import (
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    Budget,
    BudgetCondition,
    BudgetState,
    Comparison,
    KeepingPolicy,
)
from framekeep.times import duration_from
from framekeep.v1 import video_memory_pb2 as pb

_COMPARISONS = {
    pb.KeepingPolicy.COMPARISON_UNSPECIFIED: Comparison.MEMORY,
    pb.KeepingPolicy.COMPARISON_MEMORY: Comparison.MEMORY,
    pb.KeepingPolicy.COMPARISON_STREAM: Comparison.STREAM,
}

_CONDITIONS = {
    pb.BudgetState.CONDITION_STARTING: BudgetCondition.STARTING,
    pb.BudgetState.CONDITION_HOLDING: BudgetCondition.HOLDING,
    pb.BudgetState.CONDITION_DRIFTING: BudgetCondition.DRIFTING,
    pb.BudgetState.CONDITION_AT_LIMIT: BudgetCondition.AT_LIMIT,
}


def policy_from(message: pb.KeepingPolicy) -> KeepingPolicy:
    """A policy; of a message that is unset, the one that compares with everything and holds nothing back.

    Raises:
        ServerError: a comparison or a target that this client does not know.
    """
    comparison = _COMPARISONS.get(message.comparison)
    if comparison is None:
        raise ServerError(f"expected the comparison MEMORY or STREAM, got {message.comparison}")
    return KeepingPolicy(
        comparison=comparison,
        horizon=_length_from(message.horizon) if message.HasField("horizon") else None,
        max_exemplars_per_minute=(
            message.max_exemplars_per_minute if message.HasField("max_exemplars_per_minute") else None
        ),
        min_interval=_length_from(message.min_interval) if message.HasField("min_interval") else None,
        budget=_budget_from(message.budget) if message.HasField("budget") else None,
    )


def _length_from(message: Duration) -> timedelta:
    return duration_from(message.ToMicroseconds())


def _budget_from(message: pb.Budget) -> Budget:
    target = message.WhichOneof("target")
    if target is None:
        raise ServerError("expected a budget with a target that this client knows, got one without")
    return Budget(
        share=message.share if target == "share" else None,
        exemplars_per_day=message.exemplars_per_day if target == "exemplars_per_day" else None,
        bytes_per_day=message.bytes_per_day if target == "bytes_per_day" else None,
        min_threshold=message.min_threshold if message.HasField("min_threshold") else MIN_THRESHOLD,
        max_threshold=message.max_threshold if message.HasField("max_threshold") else MAX_THRESHOLD,
    )


def policy_to(policy: KeepingPolicy) -> pb.KeepingPolicy:
    """A policy in the contract's form."""
    is_of_stream = policy.comparison is Comparison.STREAM
    message = pb.KeepingPolicy(
        comparison=pb.KeepingPolicy.COMPARISON_STREAM if is_of_stream else pb.KeepingPolicy.COMPARISON_MEMORY,
        max_exemplars_per_minute=policy.max_exemplars_per_minute,
    )
    if policy.horizon is not None:
        message.horizon.FromTimedelta(policy.horizon)
    if policy.min_interval is not None:
        message.min_interval.FromTimedelta(policy.min_interval)
    if policy.budget is not None:
        message.budget.CopyFrom(_budget_to(policy.budget))
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


def budget_state_from(message: pb.BudgetState) -> BudgetState:
    """How a stream does against its budget.

    Raises:
        ServerError: a condition that this client does not know.
    """
    condition = _CONDITIONS.get(message.condition)
    if condition is None:
        known = ", ".join(member.name for member in BudgetCondition)
        raise ServerError(f"expected a budget to be {known}, got {message.condition}")
    return BudgetState(condition, message.kept_of_target if message.HasField("kept_of_target") else None)
