"""What a video would become at several thresholds: tried out on memories that are deleted again."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import uuid4

from framekeep.client import Client
from framekeep.errors import InvalidRequest, MemoryNotFound, ServerUnavailable
from framekeep.held_out import HeldOutFrame, Progress, Survey, survey
from framekeep.memories import Memory
from framekeep.novelty_spread import NoveltySpread, NoveltySummary
from framekeep.sources import SourceFrame
from framekeep.verdicts import StreamSummary, VerdictKind
from framekeep.video_source import VideoSource

MEMORY_PREFIX = "evaluate-"
"""How the names of the throw-away memories begin; a UUID follows."""

_STREAM = "evaluated"
_START_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Capture time of the first frame: any will do."""

_NEARBY = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class FoundAgain:
    """How well the frames that were held out are found in a memory of the others."""

    frames: int
    """Held-out frames that were asked for."""

    seen_share: float
    """Those with an exemplar within the threshold, in [0, 1]."""

    nearby_share: float
    """Those whose most similar exemplar was on screen within one second of their own time, in [0, 1]."""

    mean_similarity: float
    """Mean cosine similarity to the most similar exemplar, in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a video became at one threshold."""

    novelty_threshold: float
    """The threshold."""

    frames: int
    """Frames that were streamed: all but those held out."""

    kept_frames: int
    """Frames that became an exemplar."""

    kept_share: float
    """Those by frames, in [0, 1]."""

    rejected_frames: int
    """Frames that the server did not take."""

    stored_bytes: int
    """Bytes of the memory on disk, everything included."""

    frames_per_second: float
    """Frames by the time from the opening of the session to the last verdict; decoding included."""

    repeats: NoveltySummary | None
    """How far the frames that were not kept are from their exemplars; None if all were kept."""

    found_again: FoundAgain | None
    """How well held-out frames are found again; None if none was held out, or nothing was kept."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A video, tried out at several thresholds on one server."""

    video: str
    """The file."""

    encoder_version: str
    """The encoder of the server: all that follows depends on it."""

    frames: int
    """Frames in the video."""

    hold_out: int
    """The last of every so many frames was held out."""

    held_out_frames: int
    """Frames held out."""

    fault: str | None
    """Why the video broke off after these frames; None if it did not."""

    trials: tuple[Trial, ...]
    """One for each threshold, in the order they were given."""


def evaluate(
    client: Client, video: Path, *, thresholds: Sequence[float], hold_out: int, progress: Progress
) -> Evaluation:
    """Read a video once, and stream it once for each threshold into a memory that is deleted afterwards.

    Args:
        client: a client of the server to try it on.
        video: a file.
        thresholds: at least one, each in (0, 2].
        hold_out: hold out every so many frames, at least 2; more where these would be too many.
        progress: told of every frame.

    Raises:
        InvalidRequest: a threshold or `hold_out` out of its range. Nothing was changed.
        SourceError: the file cannot be used.
        FramekeepError: otherwise what the server refused. Whatever happens, the memories are deleted; if the server
            could not be reached for that, the message names the memory that is left.
    """
    wrong = [threshold for threshold in thresholds if not 0 < threshold <= 2]
    if wrong or not thresholds:
        raise InvalidRequest(f"expected thresholds in (0, 2], got {wrong or 'none'}", reason="INVALID_FIELD")
    if hold_out < 2:
        raise InvalidRequest(f"expected to hold out every 2nd frame at most, got {hold_out}", reason="INVALID_FIELD")
    surveyed = survey(video, hold_out, client.encode, progress)
    trials, encoder_version = [], ""
    for threshold in thresholds:
        with _throw_away_memory(client, threshold) as memory:
            trials.append(_trial(client, memory, video, surveyed, progress))
            encoder_version = memory.encoder_version
    return Evaluation(
        video=str(video),
        encoder_version=encoder_version,
        frames=surveyed.frames,
        hold_out=surveyed.stride,
        held_out_frames=len(surveyed.held_out),
        fault=surveyed.fault,
        trials=tuple(trials),
    )


@contextmanager
def _throw_away_memory(client: Client, threshold: float) -> Iterator[Memory]:
    name = f"{MEMORY_PREFIX}{uuid4()}"
    try:
        yield client.create_memory(name, novelty_threshold=threshold)
    finally:
        try:
            with suppress(MemoryNotFound):  # creating it had failed, or was interrupted
                client.delete_memory(name)
        except ServerUnavailable as error:
            raise ServerUnavailable(
                f"{error.message}; if the memory {name} was created, it is left to be deleted", reason=error.reason
            ) from error


def _trial(client: Client, memory: Memory, video: Path, surveyed: Survey, progress: Progress) -> Trial:
    summary, repeats = _streamed(client, memory, video, surveyed, progress)
    return Trial(
        novelty_threshold=memory.novelty_threshold,
        frames=summary.frames,
        kept_frames=summary.novel_frames,
        kept_share=summary.kept_share,
        rejected_frames=summary.rejected_frames,
        stored_bytes=client.memory(memory.name).contents.stored_bytes,
        frames_per_second=summary.frames_per_second,
        repeats=repeats,
        found_again=_found_again(client, memory, surveyed.held_out, progress) if summary.novel_frames else None,
    )


def _streamed(
    client: Client, memory: Memory, video: Path, surveyed: Survey, progress: Progress
) -> tuple[StreamSummary, NoveltySummary | None]:
    repeats = NoveltySpread()
    total = surveyed.frames - len(surveyed.held_out)
    with (
        closing(VideoSource(video)) as source,
        client.stream(
            remaining_frames(source, surveyed), memory=memory.name, stream=_STREAM, start_time=_START_TIME
        ) as run,
    ):
        for number, verdict in enumerate(run, 1):
            if verdict.kind is VerdictKind.REPEAT and verdict.novelty is not None:
                repeats.add(verdict.novelty)
            progress(f"threshold {memory.novelty_threshold:g}", number, total)
        return run.summary, repeats.summary()


def remaining_frames(source: VideoSource, surveyed: Survey) -> Iterator[SourceFrame]:
    """The frames that are not held out, with the times they have in the video."""
    for number, frame in enumerate(islice(source.frames(), surveyed.frames)):
        if not surveyed.holds_out(number):
            yield frame


def _found_again(
    client: Client, memory: Memory, held_out: Sequence[HeldOutFrame], progress: Progress
) -> FoundAgain | None:
    if not held_out:
        return None
    seen, nearby, similarities = 0, 0, 0.0
    for number, frame in enumerate(held_out, 1):
        answer = client.query(memory.name, embedding=frame.embedding, top=1)
        best = answer.matches[0]
        seen += answer.seen
        nearby += best.exemplar in _on_screen_around(client, memory, frame.pts_us)
        similarities += best.similarity
        progress(f"asking at {memory.novelty_threshold:g}", number, len(held_out))
    count = len(held_out)
    return FoundAgain(count, seen / count, nearby / count, similarities / count)


def _on_screen_around(client: Client, memory: Memory, pts_us: int) -> set[int]:
    time = _START_TIME + pts_us * _MICROSECOND
    end = time + _NEARBY + _MICROSECOND  # which is outside itself
    sightings = client.timeline(memory.name, _STREAM, since=time - _NEARBY, until=end)
    return {sighting.exemplar for sighting in sightings}
