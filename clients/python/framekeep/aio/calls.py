"""The calls of the client for asyncio: those of `framekeep.Client`, their waiting done in threads."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from framekeep.aio.workers import Workers
from framekeep.answers import Answer, Sighting
from framekeep.attention import FittedAttention
from framekeep.connection import Connection, LeavableConnection
from framekeep.memories import Compacted, Exemplar, Forgotten, Memory, Retention, Stream
from framekeep.memory_files import Location as FileLocation
from framekeep.memory_files import MemoryFile, Progress
from framekeep.pictures import Image
from framekeep.policies import UNCHANGED, KeepingPolicy, Unchanged
from framekeep.questions import Moment
from framekeep.server_info import ServerInfo
from framekeep.threshold_curve import ThresholdCurve
from framekeep.upkeep import Upkeep

_Answer = TypeVar("_Answer")

_LISTED = 200
"""Items of a listing that are fetched at a time: a page."""


class Calls:
    """All of a client that is no stream, for the tasks of one event loop.

    The methods are those of `framekeep.Client`, which says what they take, return and raise.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._workers = Workers("calls")

    async def _answer(self, call: Callable[[Upkeep], _Answer]) -> _Answer:
        connection = LeavableConnection(self._connection)
        return await self._workers.run(partial(call, Upkeep(connection)), cancel=connection.leave)

    async def _listed(self, call: Callable[[Upkeep], Iterator[_Answer]]) -> AsyncIterator[_Answer]:
        connection = LeavableConnection(self._connection)
        items = call(Upkeep(connection))
        while batch := await self._workers.run(lambda: list(islice(items, _LISTED)), cancel=connection.leave):
            for item in batch:
                yield item

    async def server_info(self) -> ServerInfo:
        """What the server is, and what it takes."""
        return await self._answer(Upkeep.server_info)

    async def create_memory(
        self,
        name: str,
        *,
        novelty_threshold: float | None = None,
        keeping: KeepingPolicy | None = None,
        retention: Retention | None = None,
        exist_ok: bool = False,
    ) -> Memory:
        """Create an empty memory; it is on the server's disk when this is done."""
        return await self._answer(
            lambda calls: calls.create_memory(
                name, novelty_threshold=novelty_threshold, keeping=keeping, retention=retention, exist_ok=exist_ok
            )
        )

    async def memory(self, name: str) -> Memory:
        """What a memory is and holds."""
        return await self._answer(lambda calls: calls.memory(name))

    async def memories(self) -> list[Memory]:
        """All memories that the server can read, by name."""
        return await self._answer(Upkeep.memories)

    async def unreadable_memories(self) -> list[str]:
        """The names of memories whose files the server cannot open; `memory` says why."""
        return await self._answer(Upkeep.unreadable_memories)

    @overload
    async def set_threshold(self, memory: str, threshold: float, *, etag: str = "") -> Memory: ...

    @overload
    async def set_threshold(self, memory: str, threshold: float | None, *, stream: str, etag: str = "") -> Stream: ...

    async def set_threshold(
        self, memory: str, threshold: float | None, *, stream: str | None = None, etag: str = ""
    ) -> Memory | Stream:
        """Change what counts as novel; the first frame decided afterwards obeys it."""
        return await self._answer(lambda calls: calls.set_threshold(memory, threshold, stream=stream, etag=etag))

    @overload
    async def set_keeping(self, memory: str, keeping: KeepingPolicy | None, *, etag: str = "") -> Memory: ...

    @overload
    async def set_keeping(
        self, memory: str, keeping: KeepingPolicy | None, *, stream: str, etag: str = ""
    ) -> Stream: ...

    async def set_keeping(
        self, memory: str, keeping: KeepingPolicy | None, *, stream: str | None = None, etag: str = ""
    ) -> Memory | Stream:
        """Change what frames are compared with, and what holds novel ones back."""
        return await self._answer(lambda calls: calls.set_keeping(memory, keeping, stream=stream, etag=etag))

    @overload
    async def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        etag: str = "",
    ) -> Memory: ...

    @overload
    async def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        stream: str,
        etag: str = "",
    ) -> Stream: ...

    async def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        stream: str | None = None,
        etag: str = "",
    ) -> Memory | Stream:
        """Change the threshold, the policy of keeping, or both in one step."""
        return await self._answer(
            lambda calls: calls.set_policy(memory, threshold=threshold, keeping=keeping, stream=stream, etag=etag)
        )

    async def evaluate_thresholds(
        self,
        memory: str,
        thresholds: Sequence[float] = (),
        *,
        stream: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        examples: int = 0,
    ) -> ThresholdCurve:
        """What would have been kept of what a memory was shown, had another threshold been in force from the start."""
        return await self._answer(
            lambda calls: calls.evaluate_thresholds(
                memory, thresholds, stream=stream, start_time=start_time, end_time=end_time, examples=examples
            )
        )

    async def delete_memory(self, name: str, *, etag: str = "") -> None:
        """Delete a memory with all it holds, for good."""
        await self._answer(lambda calls: calls.delete_memory(name, etag=etag))

    async def set_retention(self, memory: str, retention: Retention, *, etag: str = "") -> Memory:
        """Change how long a memory keeps what it saw."""
        return await self._answer(lambda calls: calls.set_retention(memory, retention, etag=etag))

    async def forget(
        self, memory: str, *, since: datetime | None = None, until: datetime | None = None, streams: Sequence[str] = ()
    ) -> Forgotten:
        """Forget the frames of a time range for good; what was begun is finished even if this is cancelled."""
        return await self._answer(lambda calls: calls.forget(memory, since=since, until=until, streams=streams))

    async def compact(self, memory: str, threshold: float) -> Compacted:
        """Merge exemplars that are within a threshold of an older one."""
        return await self._answer(lambda calls: calls.compact(memory, threshold))

    async def export_memory(
        self, memory: str, file: FileLocation, *, overwrite: bool = False, progress: Progress | None = None
    ) -> MemoryFile:
        """Write a memory to a file as it is at one moment; `progress` is called by another thread."""
        return await self._answer(
            lambda calls: calls.export_memory(memory, file, overwrite=overwrite, progress=progress)
        )

    async def import_memory(
        self,
        file: FileLocation,
        name: str | None = None,
        *,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> Memory:
        """Make a memory of a file from `export_memory`; `progress` is called by another thread."""
        return await self._answer(lambda calls: calls.import_memory(file, name, sha256=sha256, progress=progress))

    async def create_stream(
        self,
        memory: str,
        name: str,
        *,
        novelty_threshold: float | None = None,
        keeping: KeepingPolicy | None = None,
        exist_ok: bool = False,
    ) -> Stream:
        """Create a stream ahead of its first session; `stream` creates missing ones by itself."""
        return await self._answer(
            lambda calls: calls.create_stream(
                memory, name, novelty_threshold=novelty_threshold, keeping=keeping, exist_ok=exist_ok
            )
        )

    async def stream_facts(self, memory: str, name: str) -> Stream:
        """What a stream is and has shown."""
        return await self._answer(lambda calls: calls.stream_facts(memory, name))

    async def streams(self, memory: str) -> list[Stream]:
        """All streams of a memory, by name."""
        return await self._answer(lambda calls: calls.streams(memory))

    async def encode(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Embeddings of pictures, as streaming would make them, float32 [B, D]; nothing is stored."""
        return await self._answer(lambda calls: calls.encode(pictures))

    async def query(
        self,
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
    ) -> Answer:
        """Ask a memory about its past, with exactly one subject."""
        return await self._answer(
            lambda calls: calls.query(
                memory,
                image=image,
                embedding=embedding,
                exemplar=exemplar,
                moment=moment,
                since=since,
                until=until,
                streams=streams,
                labels=labels,
                as_of=as_of,
                inverse_temperature=inverse_temperature,
                top=top,
                thumbnails=thumbnails,
                exact=exact,
                max_reading_error=max_reading_error,
                max_stays=max_stays,
                max_frames=max_frames,
                attention_version=attention_version,
                explain=explain,
            )
        )

    async def send_feedback(
        self,
        memory: str,
        *,
        evidence: Sequence[int],
        image: Image | None = None,
        embedding: ArrayLike | None = None,
        exemplar: int | None = None,
        moment: Moment | None = None,
        as_of: datetime | None = None,
    ) -> None:
        """Say which exemplars answered a question, for `fit` to learn from; it is on disk when this is done."""
        await self._answer(
            lambda calls: calls.send_feedback(
                memory,
                evidence=evidence,
                image=image,
                embedding=embedding,
                exemplar=exemplar,
                moment=moment,
                as_of=as_of,
            )
        )

    async def fit(self, memory: str) -> FittedAttention:
        """Fit attention to a memory; a version that is kept is on disk when this is done."""
        return await self._answer(lambda calls: calls.fit(memory))

    def exemplars(
        self, memory: str, *, newest_first: bool = True, thumbnails: bool = False, embeddings: bool = False
    ) -> AsyncIterator[Exemplar]:
        """What a memory has kept, fetched as it is iterated over; exemplars kept meanwhile do not disturb it."""
        return self._listed(
            lambda calls: calls.exemplars(
                memory, newest_first=newest_first, thumbnails=thumbnails, embeddings=embeddings
            )
        )

    async def exemplar(self, memory: str, id: int, *, thumbnail: bool = False, embedding: bool = False) -> Exemplar:  # noqa: A002 - the field of Exemplar has this name
        """One exemplar."""
        return await self._answer(lambda calls: calls.exemplar(memory, id, thumbnail=thumbnail, embedding=embedding))

    def timeline(
        self, memory: str, stream: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncIterator[Sighting]:
        """What a stream showed, as sightings in order of their start, fetched as it is iterated over."""
        return self._listed(lambda calls: calls.timeline(memory, stream, since=since, until=until))
