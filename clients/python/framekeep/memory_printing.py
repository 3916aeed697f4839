"""Tables about memories, and about what was done to them, for people who read what the command prints."""

from collections.abc import Sequence
from datetime import datetime

import click

from framekeep.backups import Backup
from framekeep.memories import Compacted, Contents, Forgotten, Memory, Retention, Stream
from framekeep.memory_files import MemoryFile
from framekeep.policy_printing import shown_policy, shown_state
from framekeep.tables import facts_of, print_table, shown_age, shown_size, table_of
from framekeep.times import shown_time


def _shown_time(time: datetime | None) -> str:
    return "-" if time is None else shown_time(time)


def print_memories(memories: Sequence[Memory], unreadable: Sequence[str]) -> None:
    """Memories in a table, and those that the server cannot read."""
    table = table_of(
        *(
            "memory",
            "threshold",
            "frames",
            "forgotten",
            "exemplars",
            "on disk",
            "first frame",
            "last frame",
            "retention",
        )
    )
    for memory in memories:
        table.add_row(
            memory.name,
            f"{memory.novelty_threshold:g}",
            f"{memory.contents.frames:,}",
            f"{memory.contents.forgotten_frames:,}",
            f"{memory.contents.exemplars:,}",
            shown_size(memory.contents.stored_bytes),
            _shown_time(memory.contents.first_time),
            _shown_time(memory.contents.last_time),
            _shown_retention(memory.retention),
        )
    print_table(table)
    for name in unreadable:
        click.echo(f"{name}: cannot be read; `framekeep memories show {name}` says why", err=True)


def print_memory_file(file: MemoryFile) -> None:
    """A file that a memory was written to."""
    rows = [
        ("memory", file.memory),
        ("file", str(file.path)),
        ("size", f"{shown_size(file.size_bytes)} ({file.size_bytes:,} bytes)"),
        ("SHA-256", file.sha256),
    ]
    print_table(facts_of(rows))


def print_backup(backup: Backup) -> None:
    """The memories of a backup."""
    table = table_of("memory", "file", "on disk", "encoder")
    for saved in backup.memories:
        table.add_row(saved.memory, saved.file, shown_size(saved.size_bytes), saved.encoder_version)
    print_table(table)


def print_memory(memory: Memory, streams: Sequence[Stream]) -> None:
    """All about a memory, and a line for each of its streams."""
    rows = [
        ("memory", memory.name),
        ("threshold", f"{memory.novelty_threshold:g} (policy revision {memory.policy_revision})"),
        ("keeping", shown_policy(memory.keeping)),
        ("retention", _shown_retention(memory.retention)),
        ("encoder", f"{memory.encoder_version}, {memory.dimension} floats an embedding"),
        ("attention", f"fitted, version {memory.attention_version}" if memory.attention_version else "plain"),
        ("created", shown_time(memory.create_time)),
        *_contents_rows(memory.contents),
    ]
    print_table(facts_of(rows))
    if streams:
        _print_streams(streams)


def _print_streams(streams: Sequence[Stream]) -> None:
    click.echo()
    table = table_of(
        *("stream", "threshold", "frames", "novel", "repeat", "withheld", "rejected", "forgotten"),
        *("first frame", "last frame"),
    )
    for stream in streams:
        own = "" if stream.novelty_threshold is None else " (its own)"
        table.add_row(
            stream.name,
            f"{stream.effective_novelty_threshold:.4g}{own}",
            f"{stream.contents.frames:,}",
            f"{stream.contents.novel_frames:,}",
            f"{stream.contents.repeat_frames:,}",
            f"{stream.contents.withheld_frames:,}",
            f"{stream.contents.rejected_frames:,}",
            f"{stream.contents.forgotten_frames:,}",
            _shown_time(stream.contents.first_time),
            _shown_time(stream.contents.last_time),
        )
    print_table(table)
    kept_otherwise = [stream for stream in streams if stream.keeping is not None or stream.budget_state is not None]
    if kept_otherwise:
        click.echo()
        table = table_of("stream", "keeping", "budget")
        for stream in kept_otherwise:
            own = "" if stream.keeping is None else " (its own)"
            table.add_row(
                stream.name, f"{shown_policy(stream.effective_keeping)}{own}", shown_state(stream.budget_state)
            )
        print_table(table)


def _contents_rows(contents: Contents) -> list[tuple[str, str]]:
    share = 100 * contents.novel_frames / contents.frames if contents.frames else 0.0
    return [
        ("frames", f"{contents.frames:,}"),
        ("  novel", f"{contents.novel_frames:,} ({share:.1f} %)"),
        ("  repeat", f"{contents.repeat_frames:,}"),
        *_row_if_any("  withheld", contents.withheld_frames),
        ("  rejected", f"{contents.rejected_frames:,}"),
        *_row_if_any("  forgotten", contents.forgotten_frames),
        ("exemplars", f"{contents.exemplars:,}"),
        ("stays", f"{contents.stays:,}"),
        ("sightings", f"{contents.sightings:,}"),
        ("received", shown_size(contents.received_bytes)),
        ("on disk", shown_size(contents.stored_bytes)),
        ("first frame", _shown_time(contents.first_time)),
        ("last frame", _shown_time(contents.last_time)),
    ]


def _row_if_any(name: str, frames: int) -> list[tuple[str, str]]:
    return [(name, f"{frames:,}")] if frames else []


def _shown_retention(retention: Retention) -> str:
    limits = []
    if retention.max_age is not None:
        limits.append(shown_age(retention.max_age))
    if retention.max_exemplars is not None:
        limits.append(f"{retention.max_exemplars:,} exemplars")
    if retention.max_bytes is not None:
        limits.append(shown_size(retention.max_bytes))
    return f"at most {', '.join(limits)}" if limits else "without limit"


def print_retention(memory: Memory) -> None:
    """How long a memory keeps what it saw."""
    click.echo(f"{memory.name}: keeps what it saw {_shown_retention(memory.retention)}")


def print_forgotten(forgotten: Forgotten) -> None:
    """What forgetting took out."""
    rows = [
        ("frames", f"{forgotten.frames:,} forgotten"),
        ("sightings", f"{forgotten.sightings:,} of which nothing is left"),
        ("exemplars", f"{forgotten.exemplars:,} of which nothing is left"),
        ("recentred", f"{forgotten.recentred_exemplars:,} exemplars that lost their own frame"),
    ]
    print_table(facts_of(rows))


def print_compacted(compacted: Compacted) -> None:
    """What compaction did."""
    click.echo(f"{compacted.merged_exemplars:,} exemplars merged, {compacted.exemplars:,} left")


def print_keeping(changed: Memory | Stream) -> None:
    """The policy in force."""
    match changed:
        case Memory():
            click.echo(f"{changed.name}: {shown_policy(changed.keeping)}")
        case Stream():
            own = "that of the memory" if changed.keeping is None else "its own"
            click.echo(f"{changed.memory} / {changed.name}: {shown_policy(changed.effective_keeping)} ({own})")


def print_threshold(changed: Memory | Stream) -> None:
    """The threshold in force."""
    match changed:
        case Memory():
            click.echo(f"{changed.name}: threshold {changed.novelty_threshold:g}")
        case Stream():
            own = "that of the memory" if changed.novelty_threshold is None else "its own"
            click.echo(f"{changed.memory} / {changed.name}: threshold {changed.effective_novelty_threshold:g} ({own})")
