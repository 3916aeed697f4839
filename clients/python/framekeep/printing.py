"""Tables for people who read what the command prints."""

from collections.abc import Sequence

import click
import numpy as np
from numpy.typing import NDArray

from framekeep.answers import Sighting
from framekeep.evaluation import Evaluation, Trial
from framekeep.memories import Exemplar
from framekeep.tables import facts_of, print_table, shown_duration, shown_size, table_of
from framekeep.times import shown_time
from framekeep.verdicts import StreamSummary, WithheldFrames


def print_summary(summary: StreamSummary) -> None:
    """What became of the frames of a run."""
    rows = [
        ("memory / stream", f"{summary.memory} / {summary.stream}"),
        ("session", summary.session_id),
        ("frames", f"{summary.frames:,}"),
        ("  novel", f"{summary.novel_frames:,} (kept as exemplars: {100 * summary.kept_share:.1f} %)"),
        ("  repeat", f"{summary.repeat_frames:,}"),
        *_withheld_row(summary.withheld),
        ("  rejected", f"{summary.rejected_frames:,}"),
        ("speed", f"{summary.frames_per_second:.1f} frames/s over {summary.elapsed_s:.1f} s"),
        ("sent", shown_size(summary.sent_bytes)),
    ]
    for name, number in (
        ("forgotten", f"{summary.forgotten_frames:,} frames that were sent again and had been forgotten meanwhile"),
        ("skipped", f"{summary.skipped_frames:,} frames that the session had acknowledged before"),
        ("dropped", f"{summary.dropped_frames:,} frames that came while the server was away or too slow"),
        ("damaged", f"{summary.damaged_frames:,} packets or pictures that could not be decoded"),
        ("reconnected", f"{summary.reconnections:,} times"),
        ("sessions", f"{summary.sessions:,}, one for each connection to the source" if summary.sessions > 1 else "0 "),
    ):
        if not number.startswith("0 "):
            rows.append((name, number))
    print_table(facts_of(rows))


def _withheld_row(withheld: WithheldFrames) -> list[tuple[str, str]]:
    reasons = (
        (withheld.minute, "beyond the limit a minute"),
        (withheld.interval, "too soon after another"),
        (withheld.hint, "by hint"),
    )
    told = ", ".join(f"{frames:,} {reason}" for frames, reason in reasons if frames)
    return [("  withheld", f"{withheld.total:,} (novel, but kept out: {told})")] if withheld.total else []


def print_exemplars(exemplars: Sequence[Exemplar], *, total: int) -> None:
    """Exemplars in a table, and how many more there are."""
    is_labelled = any(exemplar.labels for exemplar in exemplars)
    was_evidence = any(exemplar.evidence for exemplar in exemplars)
    table = table_of(
        *("exemplar", "stream", "captured", "last seen", "total", "sightings", "frames"),
        *(["in answers"] if was_evidence else []),
        *(["labels"] if is_labelled else []),
    )
    for exemplar in exemplars:
        answers = 0 if exemplar.evidence is None else exemplar.evidence.answer_count
        table.add_row(
            str(exemplar.id),
            exemplar.stream,
            shown_time(exemplar.capture_time),
            shown_time(exemplar.last_time),
            shown_duration(exemplar.total_duration),
            f"{exemplar.sighting_count:,}",
            f"{exemplar.frame_count:,}",
            *([f"{answers:,}"] if was_evidence else []),
            *([", ".join(exemplar.labels)] if is_labelled else []),
        )
    print_table(table)
    if len(exemplars) < total:
        click.echo(f"{len(exemplars):,} of {total:,} exemplars; --limit shows more", err=True)


def print_timeline(sightings: Sequence[Sighting]) -> None:
    """Sightings in a table."""
    is_labelled = any(sighting.labels for sighting in sightings)
    table = table_of(
        *("from", "to", "duration", "exemplar", "frames", "largest novelty", "threshold"),
        *(["labels"] if is_labelled else []),
    )
    for sighting in sightings:
        table.add_row(
            shown_time(sighting.start_time),
            shown_time(sighting.end_time),
            shown_duration(sighting.end_time - sighting.start_time),
            str(sighting.exemplar),
            f"{sighting.frame_count:,}",
            f"{'<= ' if sighting.restated else ''}{sighting.largest_novelty:.4f}",
            f"{sighting.novelty_threshold:g}",
            *([", ".join(sighting.labels)] if is_labelled else []),
        )
    print_table(table)


def print_embeddings(names: Sequence[str], embeddings: NDArray[np.float32]) -> None:
    """Pictures, and how far each is from the first.

    Args:
        names: of the B pictures.
        embeddings: float32 [B, D], unit length.
    """
    distances = 1.0 - embeddings.astype(np.float64) @ embeddings[0].astype(np.float64)  # [B]
    table = table_of("picture", "floats", "novelty to the first")
    for name, distance in zip(names, distances, strict=True):
        table.add_row(name, str(embeddings.shape[1]), f"{max(0.0, float(distance)):.4f}")
    print_table(table)


def print_evaluation(evaluation: Evaluation) -> None:
    """What is kept at each threshold, and how good that is; the help of the command says what the columns mean."""
    rows = [
        ("video", f"{evaluation.video}, {evaluation.frames:,} frames"),
        ("held out", f"{evaluation.held_out_frames:,} frames: the last of every {evaluation.hold_out:,}"),
        ("encoder", evaluation.encoder_version),
    ]
    print_table(facts_of(rows))
    kept = table_of("threshold", "frames", "kept", "share", "on disk", "frames/s")
    for trial in evaluation.trials:
        kept.add_row(
            f"{trial.novelty_threshold:g}",
            f"{trial.frames:,}",
            f"{trial.kept_frames:,}",
            f"{100 * trial.kept_share:.1f} %",
            shown_size(trial.stored_bytes),
            f"{trial.frames_per_second:.1f}",
        )
    click.echo("\nWhat is kept")
    print_table(kept)
    click.echo("\nNovelty of frames not kept, and held-out frames found again")
    found = table_of("threshold", "mean", "99 %", "largest", "seen", "within 1 s", "similarity")
    for trial in evaluation.trials:
        found.add_row(f"{trial.novelty_threshold:g}", *_spread_cells(trial), *_found_cells(trial))
    print_table(found)


def _spread_cells(trial: Trial) -> list[str]:
    spread = trial.repeats
    if spread is None:
        return ["-"] * 3
    return [f"{novelty:.4f}" for novelty in (spread.mean, spread.percentile_99, spread.largest)]


def _found_cells(trial: Trial) -> list[str]:
    found = trial.found_again
    if found is None:
        return ["-"] * 3
    return [f"{100 * found.seen_share:.1f} %", f"{100 * found.nearby_share:.1f} %", f"{found.mean_similarity:.4f}"]
