"""The calls that look after memories: files, forgetting, retention and compaction."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from google.protobuf.field_mask_pb2 import FieldMask

from framekeep import converters, names
from framekeep.asking import Asking
from framekeep.errors import FramekeepError, InvalidRequest, ServerError, TransferError
from framekeep.memories import Compacted, Forgotten, Memory, Retention
from framekeep.memory_files import CHUNK_BYTES, Location, MemoryFile, Progress, opened, written_whole
from framekeep.times import range_from
from framekeep.v1 import video_memory_pb2 as pb


class Upkeep(Asking):
    """The calls of a client, with those that look after memories. Safe for several threads."""

    def export_memory(
        self, memory: str, file: Location, *, overwrite: bool = False, progress: Progress | None = None
    ) -> MemoryFile:
        """Write a memory to a file, as it is at one moment; it goes on taking frames meanwhile.

        The file is written as `FILE.part` and gets its name when all of it has arrived, agrees with the server's sum
        and is on the disk. If anything fails, nothing is left of it.

        Args:
            memory: the memory.
            file: what to write; only `overwrite` replaces a file that is there.
            overwrite: replace it.
            progress: told how many bytes have arrived, and of how many.

        Raises:
            AlreadyExists: there is such a file, and `overwrite` is false.
            MemoryUnreadable: the memory is damaged.
            TransferError: the file cannot be written, or what arrived does not agree with the server's sum.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().novel_frames
            3
            >>> saved = fk.export_memory("lobby", "lobby.sqlite")
            >>> fk.import_memory("lobby.sqlite", "copy").contents.novel_frames
            3
        """
        path = Path(file)
        request = pb.ExportMemoryRequest(name=names.memory_resource(memory))
        with (
            written_whole(path, overwrite=overwrite) as part,
            closing(self._connection.answers(self._stub.ExportMemory, request)) as answers,
        ):
            size_bytes, sha256 = _received(answers, part, progress)
        return MemoryFile(memory, path, size_bytes, sha256)

    def import_memory(
        self, file: Location, name: str | None = None, *, sha256: str | None = None, progress: Progress | None = None
    ) -> Memory:
        """Make a memory of a file from `export_memory`; it is on the server's disk when this returns.

        The server makes nothing visible before it has all of the file and has checked it.

        Args:
            file: the file.
            name: what the memory is to be called; None: as the file, without its ending.
            sha256: of the file, 64 hexadecimal digits, if it is known from elsewhere; another one is refused.
            progress: told by another thread how many bytes were sent, and of how many.

        Raises:
            AlreadyExists: the name is taken.
            MemoryUnreadable: the file is no memory, is damaged or not that of `sha256`, or a newer framekeep wrote it.
            TransferError: the file cannot be read.
            TooManyMemories: there are as many as the server takes.
        """
        path = Path(file)
        resource = names.memory_resource(path.stem if name is None else name)
        with opened(path) as source:
            sending = _Sending(resource, source, path.stat().st_size, _bytes_of(sha256), progress)
            try:
                answer = self._connection.upload(self._stub.ImportMemory, sending.requests())
            except FramekeepError:
                sending.raise_failure()
                raise
        return converters.memory_from(answer.memory)

    def forget(
        self, memory: str, *, since: datetime | None = None, until: datetime | None = None, streams: Sequence[str] = ()
    ) -> Forgotten:
        """Forget the frames of a time range for good; when this returns, nothing of them is left in the memory's files.

        Streams go on meanwhile. What is exact afterwards and what is not: see the README. Files that were exported
        before still hold what is forgotten. A removal that was begun is finished, whatever becomes of this call.

        Args:
            memory: the memory.
            since: only frames captured from then on; one of `since` and `until` must be given.
            until: only frames captured before then.
            streams: only frames of these streams; empty: of all.

        Raises:
            StreamNotFound: there is no such stream; nothing was forgotten.
            ServerUnavailable: the disk refuses, or an export still reads what was removed: it goes on by itself.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().frames
            30
            >>> [sighting, *_] = fk.timeline("lobby", "lobby")
            >>> fk.forget("lobby", until=sighting.end_time)
            Forgotten(frames=9, sightings=0, exemplars=0, recentred_exemplars=1)
            >>> fk.memory("lobby").contents.forgotten_frames
            9
        """
        time_range = range_from(since, until)
        if time_range is None:
            raise InvalidRequest("expected since, until or both, got neither", reason="INVALID_FIELD")
        if isinstance(streams, str):
            raise InvalidRequest(f"expected a sequence of stream names, got {streams!r}", reason="INVALID_FIELD")
        request = pb.ForgetRangeRequest(
            name=names.memory_resource(memory),
            time_range=time_range,
            streams=[names.stream_resource(memory, stream) for stream in streams],
        )
        return converters.forgotten_from(self._connection.call(self._stub.ForgetRange, request, lasting=True))

    def compact(self, memory: str, threshold: float) -> Compacted:
        """Merge exemplars that are within a threshold of an older one, for a memory filled at too low a threshold.

        The memory's own threshold stays as it is, and streams go on. Counts, means and times combine exactly; merged
        frames promise as much less as their exemplars differ (`Sighting.restated`).

        Args:
            memory: the memory.
            threshold: a cosine distance in (0, 2].

        Raises:
            ServerUnavailable: the disk refuses, or the server stops; some may have been merged, the rest not.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().novel_frames
            3
            >>> fk.compact("lobby", 2.0)
            Compacted(merged_exemplars=2, exemplars=1)
        """
        request = pb.CompactMemoryRequest(name=names.memory_resource(memory), novelty_threshold=threshold)
        return converters.compacted_from(self._connection.call(self._stub.CompactMemory, request, lasting=True))

    def set_retention(self, memory: str, retention: Retention, *, etag: str = "") -> Memory:
        """Change how long a memory keeps what it saw; what is beyond the limits is forgotten within a minute, for good.

        Args:
            memory: the memory.
            retention: its limits, in place of those it has; `Retention()` lifts all of them.
            etag: change nothing if the etag of the memory is another by now.

        Raises:
            Conflict: the etag is not the current one.

        Example:
            >>> memory = fk.create_memory("lobby")
            >>> changed = fk.set_retention("lobby", Retention(max_exemplars=1000), etag=memory.etag)
            >>> changed.retention.max_exemplars
            1000
        """
        message = pb.Memory(name=names.memory_resource(memory), retention=converters.retention_to(retention), etag=etag)
        request = pb.UpdateMemoryRequest(memory=message, update_mask=FieldMask(paths=["retention"]))
        return converters.memory_from(self._connection.call(self._stub.UpdateMemory, request))


def _bytes_of(sha256: str | None) -> bytes | None:
    try:
        return None if sha256 is None else bytes.fromhex(sha256)
    except ValueError as error:
        raise InvalidRequest(f"expected a SHA-256 in hexadecimal digits, got {sha256!r}") from error


def _received(answers: Iterator[pb.ExportMemoryResponse], part: BinaryIO, progress: Progress | None) -> tuple[int, str]:
    """Write what arrives; gives its bytes and its SHA-256.

    Raises:
        ServerError: the answers do not come as the contract says.
        TransferError: what arrived does not agree with the server's sum.
    """
    digest = hashlib.sha256()
    size_bytes, expected_bytes = 0, 0
    for answer in answers:
        match answer.WhichOneof("response"):
            case "opened":
                expected_bytes = answer.opened.size_bytes
            case "chunk":
                part.write(answer.chunk)
                digest.update(answer.chunk)
                size_bytes += len(answer.chunk)
                if progress is not None:
                    progress(size_bytes, expected_bytes)
            case "sum":
                if (answer.sum.size_bytes, answer.sum.sha256) != (size_bytes, digest.digest()):
                    raise TransferError(
                        f"expected {answer.sum.size_bytes} bytes with SHA-256 {answer.sum.sha256.hex()}, "
                        f"got {size_bytes} with {digest.hexdigest()}"
                    )
                return size_bytes, digest.hexdigest()
    raise ServerError(f"expected the sum of the file at its end, got none after {size_bytes} bytes")


class _Sending:
    """The requests of an import. gRPC's thread takes them, and would hide what goes wrong there."""

    def __init__(
        self, resource: str, source: BinaryIO, size_bytes: int, sha256: bytes | None, progress: Progress | None
    ) -> None:
        self._resource = resource
        self._source = source
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._progress = progress
        self._failure: Exception | None = None

    def requests(self) -> Iterator[pb.ImportMemoryRequest]:
        """All messages; after a failure they end without the sum, and the server drops what it has."""
        digest, sent_bytes = hashlib.sha256(), 0
        yield pb.ImportMemoryRequest(opening=pb.ImportOpening(name=self._resource))
        try:
            while chunk := self._source.read(CHUNK_BYTES):
                digest.update(chunk)
                sent_bytes += len(chunk)
                yield pb.ImportMemoryRequest(chunk=chunk)
                if self._progress is not None:
                    self._progress(sent_bytes, self._size_bytes)
        except Exception as error:  # noqa: BLE001  # the one who waits for the answer raises it there
            self._failure = error
            return
        total = pb.FileSum(size_bytes=sent_bytes, sha256=self._sha256 or digest.digest())
        yield pb.ImportMemoryRequest(sum=total)

    def raise_failure(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._failure is not None:
            raise self._failure
