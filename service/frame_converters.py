"""Pictures, frames and verdicts, between messages of the contract and values of the service."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import assert_never

from encoder.picture import Picture, PixelFormat, read_compressed, read_raw
from encoder.version import EncoderVersion
from framekeep.v1 import video_memory_pb2 as pb
from memory_store.errors import InvalidHint
from memory_store.hints import Hint, Keep
from memory_store.records import Clock, Embedding, Forgotten, Novel, Rejected, Repeat, Withheld, WithheldReason
from service.attending import DEFAULT_INVERSE_TEMPERATURE, MAX_INVERSE_TEMPERATURE
from service.errors import InvalidField, ProtocolViolation
from service.ingest import ContextWish, IncomingFrame, Opening, TimedVerdict
from service.names import MAX_PTS_US, exemplar_name, stream_from, time_from, time_to
from service.status import status_of_rejection

MAX_FRAMES_PER_MESSAGE = 256
"""A message is read at once; so many frames take about a millisecond."""

_PIXEL_FORMATS = {
    pb.PIXEL_FORMAT_RGB24: PixelFormat.RGB24,
    pb.PIXEL_FORMAT_BGR24: PixelFormat.BGR24,
    pb.PIXEL_FORMAT_GRAY8: PixelFormat.GRAY8,
}
_CLOCKS = {
    pb.CAPTURE_CLOCK_UNSPECIFIED: Clock.SESSION,
    pb.CAPTURE_CLOCK_SESSION: Clock.SESSION,
    pb.CAPTURE_CLOCK_SOURCE: Clock.SOURCE,
}
_KEEPS = {pb.KEEP_UNSPECIFIED: Keep.AUTO, pb.KEEP_ALWAYS: Keep.ALWAYS, pb.KEEP_NEVER: Keep.NEVER}
_REASONS_TO = {
    WithheldReason.MINUTE: pb.WITHHELD_REASON_MINUTE,
    WithheldReason.INTERVAL: pb.WITHHELD_REASON_INTERVAL,
    WithheldReason.HINT: pb.WITHHELD_REASON_HINT,
}
_CLOCKS_TO = {Clock.SESSION: pb.CAPTURE_CLOCK_SESSION, Clock.SOURCE: pb.CAPTURE_CLOCK_SOURCE}


def read_picture(picture: pb.Picture, max_pixels: int) -> Picture:
    """Check and decode a picture; slow.

    Raises:
        EncoderError: it cannot be used.
        InvalidField: it has no content, or no format.
    """
    match picture.WhichOneof("content"):
        case "compressed":
            return read_compressed(picture.compressed, max_pixels)
        case "raw":
            raw = picture.raw
            if raw.format not in _PIXEL_FORMATS:
                raise InvalidField("raw.format", f"expected a known pixel format, got {raw.format}")
            layout = _PIXEL_FORMATS[raw.format]
            return read_raw(raw.data, raw.width, raw.height, raw.stride_bytes, layout, max_pixels)
    raise InvalidField("picture", "expected a compressed picture or raw pixels, got neither")


def reader(picture: pb.Picture, max_pixels: int) -> Callable[[], Picture]:
    """Put off the decoding of a picture to the thread that will do it."""
    return partial(read_picture, picture, max_pixels)


def embeddings_to(embeddings: Sequence[Embedding], version: EncoderVersion) -> pb.EncodeResponse:
    """Write embeddings."""
    return pb.EncodeResponse(
        embeddings=[pb.Embedding(values=embedding, encoder_version=str(version)) for embedding in embeddings]
    )


def _size_bytes(picture: pb.Picture) -> int:
    return len(picture.compressed) or len(picture.raw.data)


def opening_from(request: pb.IngestRequest) -> Opening:
    """Read the first message of an Ingest call."""
    if request.WhichOneof("request") != "opening":
        raise ProtocolViolation("expected an opening as the first message")
    opening = request.opening
    memory, stream = stream_from(opening.stream)
    if opening.clock not in _CLOCKS:
        raise InvalidField("clock", f"expected a known clock, got {opening.clock}")
    return Opening(
        memory,
        stream,
        _uuid_from(opening.session_id),
        _CLOCKS[opening.clock],
        time_from(opening.start_time, "start_time") if opening.HasField("start_time") else None,
        _context_from(opening.context) if opening.HasField("context") else None,
    )


def _context_from(context: pb.ContextRequest) -> ContextWish:
    return ContextWish(inverse_temperature_from(context), context.attention_version)


def inverse_temperature_from(request: pb.QueryRequest | pb.ContextRequest) -> float:
    """Read how sharply attention is to prefer the similar."""
    given = request.inverse_temperature if request.HasField("inverse_temperature") else DEFAULT_INVERSE_TEMPERATURE
    if not 0 <= given <= MAX_INVERSE_TEMPERATURE:
        raise InvalidField("inverse_temperature", f"expected 0 to {MAX_INVERSE_TEMPERATURE:g}, got {given}")
    return given


def _uuid_from(text: str) -> str:
    digits = text.replace("-", "").lower()
    if len(text) != 36 or len(digits) != 32 or any(digit not in "0123456789abcdef" for digit in digits):
        raise InvalidField("session_id", f"expected a UUID, got {text[:100]!r}")
    return text.lower()


def frames_from(request: pb.IngestRequest, clock: Clock, max_pixels: int) -> list[IncomingFrame]:
    """Read a later message of an Ingest call; a frame with a fault raises it when it is read."""
    if request.WhichOneof("request") != "frames":
        raise ProtocolViolation("expected frames after the opening")
    count = len(request.frames.frames)
    if count > MAX_FRAMES_PER_MESSAGE:
        raise InvalidField("frames", f"expected at most {MAX_FRAMES_PER_MESSAGE} in a message, got {count}")
    return [_frame_from(frame, clock, max_pixels) for frame in request.frames.frames]


def _frame_from(frame: pb.Frame, clock: Clock, max_pixels: int) -> IncomingFrame:
    read = reader(frame.picture, max_pixels)
    capture_us, hint = None, Hint()
    try:
        capture_us = _capture_from(frame, clock)
        hint = _hint_from(frame)
    except (InvalidField, InvalidHint) as error:
        read = partial(_refuse, error)
    return IncomingFrame(frame.seq, frame.pts_us, capture_us, _size_bytes(frame.picture), read, hint)


def _hint_from(frame: pb.Frame) -> Hint:
    if frame.keep not in _KEEPS:
        raise InvalidField("keep", f"expected a known wish, got {frame.keep}")
    return Hint(_KEEPS[frame.keep], frame.priority, tuple(sorted(set(frame.labels))))


def _capture_from(frame: pb.Frame, clock: Clock) -> int | None:
    if not 0 <= frame.pts_us <= MAX_PTS_US:
        raise InvalidField("pts_us", f"expected 0 to {MAX_PTS_US}, got {frame.pts_us}")
    if frame.HasField("capture_time") != (clock is Clock.SOURCE):
        raise InvalidField(
            "capture_time", f"expected it to be set only with clock SOURCE; the session has {clock.name}"
        )
    return time_from(frame.capture_time, "capture_time") if clock is Clock.SOURCE else None


def _refuse(error: InvalidField | InvalidHint) -> Picture:
    raise error


def verdict_to(memory: str, timed: TimedVerdict) -> pb.Verdict:
    """Write a verdict."""
    verdict = timed.verdict
    message = pb.Verdict(seq=verdict.seq, policy_revision=verdict.policy_revision, pts_repaired=verdict.pts_repaired)
    match verdict.outcome:
        case Novel(exemplar_id, novelty, by_hint):
            message.kind, message.exemplar = pb.Verdict.KIND_NOVEL, exemplar_name(memory, exemplar_id)
            message.by_hint = by_hint
            if novelty is not None:
                message.novelty = novelty
        case Withheld(withheld, novelty, by_hint):
            message.kind, message.withheld = pb.Verdict.KIND_WITHHELD, _REASONS_TO[withheld]
            message.by_hint = by_hint
            if novelty is not None:
                message.novelty = novelty
        case Repeat(exemplar_id, novelty):
            message.kind, message.exemplar = pb.Verdict.KIND_REPEAT, exemplar_name(memory, exemplar_id)
            message.novelty = novelty
        case Rejected(reason, why):
            message.kind = pb.Verdict.KIND_REJECTED
            message.rejection.CopyFrom(status_of_rejection(reason, why))
        case Forgotten():
            message.kind = pb.Verdict.KIND_FORGOTTEN
        case other:
            assert_never(other)
    if verdict.capture_us is not None:
        message.capture_time.CopyFrom(time_to(verdict.capture_us))
    if timed.context is not None:
        message.context_vector.values.extend(timed.context.tolist())
    if timed.timings is not None:
        spent = timed.timings
        message.timings.CopyFrom(
            pb.Timings(decode_us=spent.decode_us, encode_us=spent.encode_us, commit_us=spent.commit_us)
        )
    return message


def clock_to(clock: Clock) -> "pb.CaptureClock.ValueType":
    """Write a clock."""
    return _CLOCKS_TO[clock]
