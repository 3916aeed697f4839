"""Changing a memory or stream to another threshold or to a budget, with what follows from it and what takes it back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from framekeep.client import Client
from framekeep.expectation import Expectation
from framekeep.memories import Memory, Stream
from framekeep.policies import Budget, KeepingPolicy
from framekeep.undo import Undo


@dataclass(frozen=True, slots=True)
class Retuned:
    """A memory or stream that was changed."""

    before: Memory | Stream
    """As it was."""

    after: Memory | Stream
    """As it is now."""

    remarks: tuple[str, ...]
    """What does not follow from the change, although one might think so."""

    undo: tuple[str, ...]
    """Commands that take the change back, in order."""


def facts_of(client: Client, memory: str, stream: str | None) -> Memory | Stream:
    """A stream of a memory, or the memory itself, as it is."""
    return client.memory(memory) if stream is None else client.stream_facts(memory, stream)


def policy_of(subject: Memory | Stream) -> KeepingPolicy:
    """The policy in force."""
    return subject.keeping if isinstance(subject, Memory) else subject.effective_keeping


def threshold_of(subject: Memory | Stream) -> float:
    """The threshold in force."""
    return subject.novelty_threshold if isinstance(subject, Memory) else subject.effective_novelty_threshold


def budget_for(subject: Memory | Stream, target: Budget) -> Budget:
    """A budget for a target, within the thresholds that the budget in force may move between, if there is one."""
    in_force = policy_of(subject).budget
    if in_force is None:
        return target
    return replace(target, min_threshold=in_force.min_threshold, max_threshold=in_force.max_threshold)


def set_threshold(client: Client, memory: str, stream: str | None, threshold: float, undo: Undo) -> Retuned:
    """Give a memory or stream another threshold.

    Raises:
        Conflict: somebody else changed it at the same time. Nothing was changed here.
    """
    streams = _followers(client, memory, stream)
    before = facts_of(client, memory, stream)
    after = client.set_threshold(memory, threshold, stream=stream, etag=before.etag)
    remarks = [
        f"{each.name} has a threshold of its own, {each.novelty_threshold:.4g}, and keeps it"
        for each in streams
        if each.novelty_threshold is not None
    ]
    if policy_of(before).budget is not None:
        remarks.append("a budget is in force, and moves thresholds on from there")
    return Retuned(before, after, tuple(remarks), (undo.of_threshold(before),))


def set_keeping(client: Client, memory: str, stream: str | None, keeping: KeepingPolicy | None, undo: Undo) -> Retuned:
    """Give a memory or stream another policy, in place of the one in force; None as in `Client.set_keeping`.

    Raises:
        Conflict: somebody else changed it at the same time. Nothing was changed here.
    """
    streams = _followers(client, memory, stream)
    before = facts_of(client, memory, stream)
    after = client.set_keeping(memory, keeping, stream=stream, etag=before.etag)
    has_budget = policy_of(after).budget is not None
    commands = undo.of_budget(before, streams) if has_budget else [undo.of_keeping(before)]
    return Retuned(before, after, (), tuple(commands))


def set_budget(
    client: Client, memory: str, stream: str | None, budget: Budget, expectation: Expectation, undo: Undo
) -> Retuned:
    """Put a memory or stream on a budget that begins at the threshold where it is expected to be met.

    Raises:
        Conflict: somebody else changed it at the same time. Nothing was changed here.
    """
    streams = _followers(client, memory, stream)
    before = facts_of(client, memory, stream)
    policy = replace(policy_of(before), budget=budget)
    after = client.set_policy(
        memory, threshold=expectation.novelty_threshold, keeping=policy, stream=stream, etag=before.etag
    )
    remarks = [_remark(each) for each in streams if each.keeping is not None or each.novelty_threshold is not None]
    return Retuned(before, after, tuple(remarks), tuple(undo.of_budget(before, streams)))


def _remark(stream: Stream) -> str:
    if stream.keeping is not None:
        return f"{stream.name} has a policy of its own, and is not held to the budget"
    return f"{stream.name} begins at a threshold of its own, {stream.novelty_threshold:.4g}"


def _followers(client: Client, memory: str, stream: str | None) -> Sequence[Stream]:
    """The streams that a change may reach beside the one that is named."""
    return client.streams(memory) if stream is None else ()
