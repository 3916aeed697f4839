"""What is asked of a memory, in the contract's form."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike

from framekeep.errors import InvalidRequest
from framekeep.names import exemplar_resource, memory_resource, stream_resource
from framekeep.pictures import Image, picture_from
from framekeep.times import range_from, timestamp_from
from framekeep.v1 import video_memory_pb2 as pb

Moment = tuple[str, datetime]
"""A stream, and an instant with time zone."""


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
    as_of: datetime | None = None,
    inverse_temperature: float | None = None,
    top: int = 5,
    thumbnails: bool = False,
) -> pb.QueryRequest:
    """A question, with exactly one subject: `image`, `embedding`, `exemplar` or `moment`.

    Raises:
        InvalidRequest: no subject or several, a bad name, or an argument out of its range.
        SourceError: the image is a file that cannot be used.
    """
    if sum(subject is not None for subject in (image, embedding, exemplar, moment)) != 1:
        raise InvalidRequest("expected one of image, embedding, exemplar and moment", reason="INVALID_FIELD")
    if top < 1:
        raise InvalidRequest(f"expected top of at least 1, got {top}", reason="INVALID_FIELD")
    if isinstance(streams, str):
        raise InvalidRequest(f"expected a sequence of stream names, got the string {streams!r}", reason="INVALID_FIELD")
    question = pb.QueryRequest(
        memory=memory_resource(memory),
        picture=None if image is None else picture_from(image),
        embedding=None if embedding is None else pb.Embedding(values=_vector_from(embedding)),
        moment=None if moment is None else _moment_from(memory, moment),
        time_range=range_from(since, until),
        streams=[stream_resource(memory, stream) for stream in streams],
        as_of=None if as_of is None else timestamp_from(as_of),
        inverse_temperature=inverse_temperature,
        top=top,
        include_thumbnails=thumbnails,
    )
    if exemplar is not None:  # a string cannot be left out of the constructor by None
        question.exemplar = exemplar_resource(memory, exemplar)
    return question


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
