"""The contract's messages into the values of this package."""

from datetime import datetime, timedelta

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from framekeep.answers import Clock, Sighting
from framekeep.errors import InvalidRequest, ServerError, error_from_status
from framekeep.memories import Compacted, Contents, Embedding, Evidence, Exemplar, Forgotten, Memory, Retention, Stream
from framekeep.names import exemplar_id, memory_name, stream_name
from framekeep.policy_converters import budget_state_from, policy_from
from framekeep.server_info import Limits, ServerInfo
from framekeep.times import duration_from, time_from
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.verdicts import Rejection, Timings, Verdict, VerdictKind, WithheldReason

_KINDS = {
    pb.Verdict.KIND_NOVEL: VerdictKind.NOVEL,
    pb.Verdict.KIND_REPEAT: VerdictKind.REPEAT,
    pb.Verdict.KIND_REJECTED: VerdictKind.REJECTED,
    pb.Verdict.KIND_FORGOTTEN: VerdictKind.FORGOTTEN,
    pb.Verdict.KIND_WITHHELD: VerdictKind.WITHHELD,
}

_WITHHELD = {
    pb.WITHHELD_REASON_MINUTE: WithheldReason.MINUTE,
    pb.WITHHELD_REASON_INTERVAL: WithheldReason.INTERVAL,
    pb.WITHHELD_REASON_HINT: WithheldReason.HINT,
}

_CLOCKS = {pb.CAPTURE_CLOCK_SESSION: Clock.SESSION, pb.CAPTURE_CLOCK_SOURCE: Clock.SOURCE}


def server_info_from(message: pb.ServerInfo) -> ServerInfo:
    """What a server is."""
    limits = message.limits
    return ServerInfo(
        version=message.version,
        encoder_version=message.encoder_version,
        dimension=message.dimension,
        default_novelty_threshold=message.default_novelty_threshold,
        limits=Limits(
            picture_pixels=limits.picture_pixels,
            picture_side_pixels=limits.picture_side_pixels,
            message_bytes=limits.message_bytes,
            frames_in_flight=limits.frames_in_flight,
            sessions=limits.sessions,
            memories=limits.memories,
            streams=limits.streams,
        ),
    )


def memory_from(message: pb.Memory) -> Memory:
    """A memory."""
    return Memory(
        name=memory_name(message.name),
        novelty_threshold=message.novelty_threshold,
        encoder_version=message.encoder_version,
        dimension=message.dimension,
        create_time=time_from(message.create_time),
        policy_revision=message.policy_revision,
        keeping=policy_from(message.keeping),
        retention=retention_from(message.retention),
        contents=contents_from(message.contents),
        etag=message.etag,
        attention_version=message.attention_version or None,
    )


def retention_from(message: pb.Retention) -> Retention:
    """Limits of what is kept."""
    return Retention(
        max_age=duration_from(message.max_age.ToMicroseconds()) if message.HasField("max_age") else None,
        max_exemplars=message.max_exemplars if message.HasField("max_exemplars") else None,
        max_bytes=message.max_bytes if message.HasField("max_bytes") else None,
    )


def retention_to(retention: Retention) -> pb.Retention:
    """Limits of what is kept, in the contract's form.

    Raises:
        InvalidRequest: a limit below 1, or one that is no number.
    """
    for name in ("max_age", "max_exemplars", "max_bytes"):
        limit, least = getattr(retention, name), timedelta(microseconds=1) if name == "max_age" else 1
        if limit is not None and not least <= limit:
            raise InvalidRequest(f"{name}: expected at least {least}, got {limit}", reason="INVALID_FIELD")
    message = pb.Retention(max_exemplars=retention.max_exemplars, max_bytes=retention.max_bytes)
    if retention.max_age is not None:
        message.max_age.FromTimedelta(retention.max_age)
    return message


def forgotten_from(message: pb.ForgetRangeResponse) -> Forgotten:
    """What was forgotten."""
    return Forgotten(message.frames, message.sightings, message.exemplars, message.recentred_exemplars)


def compacted_from(message: pb.CompactMemoryResponse) -> Compacted:
    """What compaction did."""
    return Compacted(message.merged_exemplars, message.exemplars)


def stream_from(message: pb.Stream) -> Stream:
    """A stream."""
    return Stream(
        memory=memory_name(message.name),
        name=stream_name(message.name),
        novelty_threshold=message.novelty_threshold if message.HasField("novelty_threshold") else None,
        effective_novelty_threshold=message.effective_novelty_threshold,
        policy_revision=message.policy_revision,
        keeping=policy_from(message.keeping) if message.HasField("keeping") else None,
        effective_keeping=policy_from(message.effective_keeping),
        budget_state=budget_state_from(message.budget_state) if message.HasField("budget_state") else None,
        create_time=time_from(message.create_time),
        contents=contents_from(message.contents),
        etag=message.etag,
    )


def contents_from(message: pb.Contents) -> Contents:
    """A count of what is held."""
    return Contents(
        frames=message.frames,
        novel_frames=message.novel_frames,
        repeat_frames=message.repeat_frames,
        withheld_frames=message.withheld_frames,
        rejected_frames=message.rejected_frames,
        forgotten_frames=message.forgotten_frames,
        counted_frames=message.counted_frames,
        exemplars=message.exemplars,
        stays=message.stays,
        sightings=message.sightings,
        received_bytes=message.received_bytes,
        stored_bytes=message.stored_bytes,
        first_time=_set_time(message.first_time, is_set=message.HasField("first_time")),
        last_time=_set_time(message.last_time, is_set=message.HasField("last_time")),
    )


def _set_time(stamp: Timestamp, *, is_set: bool) -> datetime | None:
    return time_from(stamp) if is_set else None


def embedding_from(message: pb.Embedding) -> Embedding:
    """float32 [D]."""
    return np.array(message.values, np.float32)


def exemplar_from(message: pb.Exemplar) -> Exemplar:
    """An exemplar."""
    return Exemplar(
        id=exemplar_id(message.name),
        stream=stream_name(message.stream),
        session_id=message.session_id,
        seq=message.seq,
        capture_time=time_from(message.capture_time),
        first_time=time_from(message.first_time),
        last_time=time_from(message.last_time),
        total_duration=duration_from(message.total_duration_us),
        frame_count=message.frame_count,
        sighting_count=message.sighting_count,
        thumbnail=message.thumbnail or None,
        embedding=embedding_from(message.embedding) if message.HasField("embedding") else None,
        own_frame_forgotten=message.own_frame_forgotten,
        labels=tuple(message.labels),
        evidence=_evidence_from(message.evidence) if message.HasField("evidence") else None,
    )


def _evidence_from(message: pb.Evidence) -> Evidence:
    return Evidence(message.answer_count, message.total_weight, time_from(message.last_time))


def verdict_from(message: pb.Verdict) -> Verdict:
    """A verdict.

    Raises:
        ServerError: a kind, or a reason to withhold, that this client does not know.
    """
    kind = _KINDS.get(message.kind)
    if kind is None:
        known = ", ".join(member.name for member in VerdictKind)
        raise ServerError(f"expected a verdict {known} on frame {message.seq}, got {message.kind}")
    return Verdict(
        seq=message.seq,
        kind=kind,
        novelty=message.novelty if message.HasField("novelty") else None,
        exemplar=exemplar_id(message.exemplar) if message.exemplar else None,
        policy_revision=message.policy_revision,
        capture_time=_set_time(message.capture_time, is_set=message.HasField("capture_time")),
        pts_repaired=message.pts_repaired,
        rejection=_rejection_from(message) if kind is VerdictKind.REJECTED else None,
        timings=_timings_from(message.timings) if message.HasField("timings") else None,
        context_vector=embedding_from(message.context_vector) if message.HasField("context_vector") else None,
        withheld=_withheld_from(message) if kind is VerdictKind.WITHHELD else None,
        by_hint=message.by_hint,
    )


def _withheld_from(message: pb.Verdict) -> WithheldReason:
    reason = _WITHHELD.get(message.withheld)
    if reason is None:
        known = ", ".join(member.name for member in WithheldReason)
        raise ServerError(f"expected frame {message.seq} to be withheld for {known}, got {message.withheld}")
    return reason


def _rejection_from(message: pb.Verdict) -> Rejection:
    error = error_from_status(message.rejection)
    return Rejection(reason=error.reason, message=error.message)


def _timings_from(message: pb.Timings) -> Timings:
    return Timings(decode_us=message.decode_us, encode_us=message.encode_us, commit_us=message.commit_us)


def sighting_from(message: pb.Sighting) -> Sighting:
    """A sighting."""
    return Sighting(
        stream=stream_name(message.stream),
        exemplar=exemplar_id(message.exemplar),
        start_time=time_from(message.start_time),
        end_time=time_from(message.end_time),
        frame_count=message.frame_count,
        session_id=message.session_id,
        clock=_clock_from(message.clock),
        novelty_threshold=message.novelty_threshold,
        largest_novelty=message.largest_novelty,
        restated=message.restated,
        labels=tuple(message.labels),
    )


def _clock_from(value: int) -> Clock:
    for known, clock in _CLOCKS.items():
        if value == known:
            return clock
    raise ServerError(f"expected the clock SESSION or SOURCE, got {value}")
