"""What is asked of a memory, in the contract's form."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike

from framekeep.errors import InvalidRequest
from framekeep.hints import labels_of_form
from framekeep.names import exemplar_resource, memory_resource, stream_resource
from framekeep.pictures import Image, picture_from
from framekeep.times import range_from, timestamp_from
from framekeep.v1 import video_memory_pb2 as pb

Moment = tuple[str, datetime]
"""A stream, and an instant with time zone."""

_HIGHEST_INVERSE_TEMPERATURE = 10_000.0
"""What the contract allows."""

_MOST_EVIDENCE = 100
"""Exemplars that may answer one question, as the contract has it."""


@dataclass(frozen=True, slots=True)
class ContextQuery:
    """What a session asks for with each of its frames: what attention gives for it over all that was seen before."""

    inverse_temperature: float | None = None
    """How sharply attention prefers the similar, in [0, 10000]; None: 20."""

    attention_version: str | None = None
    """`latest`, or a version from `fit`; None: plain attention."""

    def __post_init__(self) -> None:
        """Check what can be checked without a server.

        Raises:
            InvalidRequest: an inverse temperature out of its range.
        """
        inverse_temperature = self.inverse_temperature
        if inverse_temperature is not None and not 0 <= inverse_temperature <= _HIGHEST_INVERSE_TEMPERATURE:
            raise InvalidRequest(
                f"expected an inverse temperature in [0, {_HIGHEST_INVERSE_TEMPERATURE:g}], got {inverse_temperature}",
                reason="INVALID_FIELD",
            )

    def message(self) -> pb.ContextRequest:
        """The contract's form."""
        return pb.ContextRequest(
            inverse_temperature=self.inverse_temperature, attention_version=self.attention_version or ""
        )


def question_from(
    memory: str,
    *,
    image: Image | None = None,
    embedding: ArrayLike | None = None,
    exemplar: int | None = None,
    moment: Moment | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    streams: Sequence[str] = (),
    labels: Sequence[str] = (),
    as_of: datetime | None = None,
    inverse_temperature: float | None = None,
    top: int = 5,
    thumbnails: bool = False,
    exact: bool = False,
    max_reading_error: float | None = None,
    max_stays: int | None = None,
    max_frames: int | None = None,
    attention_version: str | None = None,
    explain: bool = False,
) -> pb.QueryRequest:
    """A question, with exactly one subject: `image`, `embedding`, `exemplar` or `moment`.

    Raises:
        InvalidRequest: no subject or several, a bad name, or an argument out of its range.
        SourceError: the image is a file that cannot be used.
    """
    for name, number in (("top", top), ("max_stays", max_stays)):  # 0 has a meaning of its own in the contract
        if number is not None and number < 1:
            raise InvalidRequest(f"expected {name} of at least 1, got {number}", reason="INVALID_FIELD")
    if isinstance(streams, str):
        raise InvalidRequest(f"expected a sequence of stream names, got the string {streams!r}", reason="INVALID_FIELD")
    question = pb.QueryRequest(
        memory=memory_resource(memory),
        time_range=range_from(since, until),
        streams=[stream_resource(memory, stream) for stream in streams],
        as_of=None if as_of is None else timestamp_from(as_of),
        inverse_temperature=inverse_temperature,
        top=top,
        include_thumbnails=thumbnails,
        exact=exact,
        max_reading_error=max_reading_error,
        max_stays=max_stays or 0,
        max_frames=max_frames,
        attention_version=attention_version or "",
        explain=explain,
        labels=labels_of_form(labels),
    )
    _set_subject(question, memory, image=image, embedding=embedding, exemplar=exemplar, moment=moment)
    return question


def feedback_from(
    memory: str,
    evidence: Sequence[int],
    *,
    image: Image | None = None,
    embedding: ArrayLike | None = None,
    exemplar: int | None = None,
    moment: Moment | None = None,
    as_of: datetime | None = None,
) -> pb.SendFeedbackRequest:
    """What answered a question, with exactly one subject as in `question_from`.

    Raises:
        InvalidRequest: no subject or several, a bad name, no evidence or too much.
        SourceError: the image is a file that cannot be used.
    """
    if not 1 <= len(evidence) <= _MOST_EVIDENCE:
        raise InvalidRequest(
            f"expected 1 to {_MOST_EVIDENCE} exemplars as evidence, got {len(evidence)}", reason="INVALID_FIELD"
        )
    feedback = pb.SendFeedbackRequest(
        memory=memory_resource(memory),
        evidence=[exemplar_resource(memory, number) for number in evidence],
        as_of=None if as_of is None else timestamp_from(as_of),
    )
    _set_subject(feedback, memory, image=image, embedding=embedding, exemplar=exemplar, moment=moment)
    return feedback


def _set_subject(
    message: pb.QueryRequest | pb.SendFeedbackRequest,
    memory: str,
    *,
    image: Image | None,
    embedding: ArrayLike | None,
    exemplar: int | None,
    moment: Moment | None,
) -> None:
    if sum(subject is not None for subject in (image, embedding, exemplar, moment)) != 1:
        raise InvalidRequest("expected one of image, embedding, exemplar and moment", reason="INVALID_FIELD")
    if image is not None:
        message.picture.CopyFrom(picture_from(image))
    elif embedding is not None:
        message.embedding.CopyFrom(pb.Embedding(values=_vector_from(embedding)))
    elif exemplar is not None:
        message.exemplar = exemplar_resource(memory, exemplar)
    elif moment is not None:
        message.moment.CopyFrom(_moment_from(memory, moment))


def _vector_from(embedding: ArrayLike) -> list[float]:
    vector = np.asarray(embedding, np.float32)  # [D]
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise InvalidRequest(
            f"expected an embedding [D] of finite numbers, got {list(vector.shape)}", reason="EMBEDDING_INVALID"
        )
    values: list[float] = vector.tolist()
    return values


def _moment_from(memory: str, moment: Moment) -> pb.Moment:
    stream, time = moment
    return pb.Moment(stream=stream_resource(memory, stream), time=timestamp_from(time))
