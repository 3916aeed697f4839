"""The calls that ask a server for what it holds: short names and plain values in, the contract behind it."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from framekeep import converters, names
from framekeep.answers import Sighting
from framekeep.connection import Connection
from framekeep.errors import AlreadyExists, InvalidRequest
from framekeep.memories import Exemplar, Memory, Retention, Stream
from framekeep.pictures import Image, batches, picture_from
from framekeep.policies import KeepingPolicy
from framekeep.policy_converters import policy_to
from framekeep.server_info import ServerInfo
from framekeep.times import range_from
from framekeep.v1 import video_memory_pb2 as pb

_PAGE_SIZE = 200
"""Items a page: with thumbnails of 20 kB and embeddings of 1 kB each, a page stays at a few MB."""


class Calls:
    """The calls about memories, their streams and what they hold. Safe for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = connection.stub

    def server_info(self) -> ServerInfo:
        """What the server is, and what it takes.

        Example:
            >>> info = fk.server_info()
            >>> info.dimension, info.default_novelty_threshold
            (256, 0.1)
        """
        return converters.server_info_from(self._connection.call(self._stub.GetServerInfo, pb.GetServerInfoRequest()))

    def create_memory(
        self,
        name: str,
        *,
        novelty_threshold: float | None = None,
        keeping: KeepingPolicy | None = None,
        retention: Retention | None = None,
        exist_ok: bool = False,
    ) -> Memory:
        """Create an empty memory; it is on the server's disk when this returns.

        Args:
            name: its short name.
            novelty_threshold: in (0, 2]; None: the default of the server.
            keeping: what its frames are compared with, and what holds novel ones back; None: everything, and nothing.
            retention: how long it keeps what it sees; None: without limit.
            exist_ok: return the memory as it is if there is one of this name.

        Raises:
            AlreadyExists: the name is taken, and `exist_ok` is false.

        Example:
            >>> fk.create_memory("lobby", novelty_threshold=0.2).name
            'lobby'
            >>> fk.create_memory("lobby", exist_ok=True).novelty_threshold
            0.2
        """
        memory = pb.Memory(
            name=names.memory_resource(name),
            novelty_threshold=novelty_threshold,
            keeping=None if keeping is None else policy_to(keeping),
            retention=None if retention is None else converters.retention_to(retention),
        )
        try:
            created = self._connection.call(self._stub.CreateMemory, pb.CreateMemoryRequest(memory=memory))
        except AlreadyExists:
            if not exist_ok:
                raise
            return self.memory(name)
        return converters.memory_from(created)

    def memory(self, name: str) -> Memory:
        """What a memory is and holds."""
        request = pb.GetMemoryRequest(name=names.memory_resource(name))
        return converters.memory_from(self._connection.call(self._stub.GetMemory, request))

    def memories(self) -> list[Memory]:
        """All memories that the server can read, by name."""
        return [converters.memory_from(memory) for page in self._memory_pages() for memory in page.memories]

    def unreadable_memories(self) -> list[str]:
        """The names of memories whose files the server cannot open; `memory` says why."""
        return [names.memory_name(name) for page in self._memory_pages() for name in page.unreadable]

    def _memory_pages(self) -> Iterator[pb.ListMemoriesResponse]:
        return self._connection.pages(self._stub.ListMemories, pb.ListMemoriesRequest(page_size=_PAGE_SIZE))

    def delete_memory(self, name: str, *, etag: str = "") -> None:
        """Delete a memory with all it holds, for good.

        Raises:
            Conflict: `etag` is given and not the current one.
        """
        request = pb.DeleteMemoryRequest(name=names.memory_resource(name), etag=etag)
        self._connection.call(self._stub.DeleteMemory, request)

    def create_stream(
        self,
        memory: str,
        name: str,
        *,
        novelty_threshold: float | None = None,
        keeping: KeepingPolicy | None = None,
        exist_ok: bool = False,
    ) -> Stream:
        """Create a stream ahead of its first session; `stream` creates missing ones by itself.

        Args:
            memory: the memory it will write to.
            name: its short name.
            novelty_threshold: its own, in (0, 2]; None: that of the memory holds.
            keeping: its own policy; None: that of the memory holds.
            exist_ok: return the stream as it is if there is one of this name.

        Raises:
            AlreadyExists: the name is taken, and `exist_ok` is false.
        """
        stream = pb.Stream(
            name=names.stream_resource(memory, name),
            novelty_threshold=novelty_threshold,
            keeping=None if keeping is None else policy_to(keeping),
        )
        try:
            created = self._connection.call(self._stub.CreateStream, pb.CreateStreamRequest(stream=stream))
        except AlreadyExists:
            if not exist_ok:
                raise
            return self.stream_facts(memory, name)
        return converters.stream_from(created)

    def stream_facts(self, memory: str, name: str) -> Stream:
        """What a stream is and has shown."""
        request = pb.GetStreamRequest(name=names.stream_resource(memory, name))
        return converters.stream_from(self._connection.call(self._stub.GetStream, request))

    def streams(self, memory: str) -> list[Stream]:
        """All streams of a memory, by name."""
        request = pb.ListStreamsRequest(parent=names.memory_resource(memory), page_size=_PAGE_SIZE)
        pages = self._connection.pages(self._stub.ListStreams, request)
        return [converters.stream_from(stream) for page in pages for stream in page.streams]

    def encode(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Embeddings of pictures, as streaming would make them; nothing is stored.

        Args:
            pictures: at least one: paths, bytes of JPEG, PNG or WebP files, or pixels.

        Returns:
            float32 [B, D], unit length.

        Raises:
            SourceError: a file cannot be used.
            PictureRefused: the server cannot read a picture.

        Example:
            >>> fk.encode(["person.jpg", picture]).shape
            (2, 256)
        """
        if not pictures:
            raise InvalidRequest("expected at least one picture, got none", reason="INVALID_FIELD")
        rows: list[NDArray[np.float32]] = []
        for batch in batches(map(picture_from, pictures)):
            answer = self._connection.call(self._stub.Encode, pb.EncodeRequest(pictures=batch))
            rows += [converters.embedding_from(embedding) for embedding in answer.embeddings]
        return np.stack(rows)

    def exemplars(
        self, memory: str, *, newest_first: bool = True, thumbnails: bool = False, embeddings: bool = False
    ) -> Iterator[Exemplar]:
        """What a memory has kept, fetched as it is iterated over; exemplars kept meanwhile do not disturb it.

        Args:
            memory: the memory.
            newest_first: by falling id; else by rising id.
            thumbnails: return thumbnails too.
            embeddings: return embeddings too.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().novel_frames
            3
            >>> [(exemplar.id, exemplar.seq, exemplar.frame_count) for exemplar in fk.exemplars("lobby")]
            [(3, 20, 10), (2, 10, 10), (1, 0, 10)]
        """
        request = pb.ListExemplarsRequest(
            parent=names.memory_resource(memory),
            page_size=_PAGE_SIZE,
            order_by="id desc" if newest_first else "id asc",
            include_thumbnails=thumbnails,
            include_embeddings=embeddings,
        )
        for page in self._connection.pages(self._stub.ListExemplars, request):
            yield from map(converters.exemplar_from, page.exemplars)

    def exemplar(self, memory: str, id: int, *, thumbnail: bool = False, embedding: bool = False) -> Exemplar:  # noqa: A002 - the field of Exemplar has this name
        """One exemplar.

        Args:
            memory: the memory that kept it.
            id: its id.
            thumbnail: return its thumbnail too.
            embedding: return its embedding too.
        """
        request = pb.GetExemplarRequest(
            name=names.exemplar_resource(memory, id), include_thumbnail=thumbnail, include_embedding=embedding
        )
        return converters.exemplar_from(self._connection.call(self._stub.GetExemplar, request))

    def timeline(
        self, memory: str, stream: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Sighting]:
        """What a stream showed, as sightings in order of their start, fetched as it is iterated over.

        Args:
            memory: the memory.
            stream: the stream.
            since: only sightings that last until then or longer.
            until: only sightings that start before then.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().frames
            30
            >>> for sighting in fk.timeline("lobby", "lobby"):
            ...     print(sighting.exemplar, sighting.end_time - sighting.start_time)
            1 0:00:00.360000
            2 0:00:00.360000
            3 0:00:00.360000
        """
        request = pb.GetTimelineRequest(
            stream=names.stream_resource(memory, stream), time_range=range_from(since, until), page_size=_PAGE_SIZE
        )
        for page in self._connection.pages(self._stub.GetTimeline, request):
            yield from map(converters.sighting_from, page.sightings)
