"""The frame's way through the service: decode, encode, decide and commit, answer in order.

Frames of a session are decoded and encoded side by side, and handed to the committer in order. What waits for the
committer, from all sessions, becomes one group: one commit, one fdatasync.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from encoder.errors import EncoderError
from encoder.picture import Picture
from encoder.preprocess import thumbnail
from encoder.reading import Effort
from memory_store.errors import InvalidHint, SequenceGap
from memory_store.hints import Hint
from memory_store.memory import Memory
from memory_store.records import Arrival, Clock, Embedding, Encoded, Rejected, Session, Unusable, Verdict
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from service.attending import Attending, Manner
from service.committer import Committer, Writer
from service.encoding import Encoding
from service.errors import EncoderMismatch, InvalidField, SessionTakenOver, ShuttingDown, TooManySessions
from service.status import TABLE, reason_name

FRAMES_IN_FLIGHT = 32
"""Frames of one session between being received and being answered: while one batch is encoded, the next is decoded."""

BYTES_IN_FLIGHT = 64 * 2**20
"""Received bytes of those frames; a single larger frame passes alone."""


@dataclass(frozen=True, slots=True)
class ContextWish:
    """How a session wants its frames seen in the light of the past."""

    inverse_temperature: float
    version: str
    """As `service.attending` takes it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a client asks for when it opens a session."""

    memory: str
    stream: str
    session_uuid: str
    clock: Clock
    start_us: int | None
    context: ContextWish | None
    """None: no context is wanted."""


@dataclass(frozen=True, slots=True)
class IncomingFrame:
    """A frame as it was received."""

    seq: int
    pts_us: int
    capture_us: int | None
    size_bytes: int
    read: Callable[[], Picture]
    """Checks and decodes the picture; raises what makes the frame unusable."""
    hint: Hint
    """What the application says of it."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Microseconds a frame spent in each stage, waiting included."""

    decode_us: int
    encode_us: int
    commit_us: int


@dataclass(frozen=True, slots=True)
class TimedVerdict:
    """A verdict, and where its time went; None if it was answered from the journal."""

    verdict: Verdict
    timings: Timings | None
    context: Embedding | None
    """What attention gives for the frame, float32 [D]; None if that was not asked for, or there was nothing yet."""


@dataclass(frozen=True, slots=True)
class _End:
    """Stands in line behind the last frame."""

    error: Exception | None


class IngestSession:
    """One connected run of a stream on its way into a memory. Not shared between calls."""

    def __init__(
        self, memory: Memory, session: Session, encoding: Encoding, committer: Committer, manner: Manner | None
    ) -> None:
        self.memory = memory
        self.session = session
        self._writer = Writer(memory)
        self._encoding = encoding
        self._committer = committer
        self._manner = manner
        self._line: asyncio.Queue[asyncio.Task[TimedVerdict] | _End] = asyncio.Queue()  # bounded by `_has_room`
        self._ended = False
        self._next_seq = session.next_seq
        self._sizes: deque[int] = deque()  # of the frames in flight
        self._room = asyncio.Condition()
        self._handed_over = asyncio.Event()  # of the frame that came last
        self._handed_over.set()
        self._unanswered: list[asyncio.Task[TimedVerdict]] = []

    async def offer(self, frame: IncomingFrame) -> None:
        """Take the next frame; waits while too much is in flight. A frame that has its verdict gets it again.

        Raises:
            SequenceGap: frames are missing before this one; nothing was changed.
            InvalidField: the number is negative.
        """
        if frame.seq < 0:
            raise InvalidField("seq", f"expected at least 0, got {frame.seq}")
        if frame.seq > self._next_seq:
            raise SequenceGap(self._next_seq, frame.seq)
        async with self._room:
            await self._room.wait_for(lambda: self._has_room(frame.size_bytes))
        if self._ended:
            return
        self._sizes.append(frame.size_bytes)
        if frame.seq < self._next_seq:
            work = self._replay(frame.seq, self._unanswered[-1:])
        else:
            self._next_seq += 1
            before, self._handed_over = self._handed_over, asyncio.Event()
            work = self._process(frame, before, self._handed_over)
        task = asyncio.create_task(work)
        self._unanswered.append(task)
        self._line.put_nowait(task)

    def _has_room(self, size_bytes: int) -> bool:
        if self._ended or not self._sizes:
            return True
        return len(self._sizes) < FRAMES_IN_FLIGHT and sum(self._sizes) + size_bytes <= BYTES_IN_FLIGHT

    async def _process(self, frame: IncomingFrame, before: asyncio.Event, after: asyncio.Event) -> TimedVerdict:
        started = time.monotonic_ns()
        try:
            try:
                prepared = await self._encoding.prepare(frame.read)
                decoded = time.monotonic_ns()
                embedding = await self._encoding.embed(prepared)
                arrival: Arrival = Encoded(
                    self.session.id,
                    frame.seq,
                    frame.pts_us,
                    frame.capture_us,
                    frame.size_bytes,
                    embedding,
                    partial(thumbnail, prepared.reduced),
                    frame.hint,
                )
            except (EncoderError, InvalidField, InvalidHint) as error:
                decoded = time.monotonic_ns()
                rejection = Rejected(reason_name(TABLE[type(error)][1]), str(error))
                arrival = Unusable(self.session.id, frame.seq, frame.size_bytes, rejection)
            encoded = time.monotonic_ns()
            await before.wait()
            context = None
            if self._manner is not None and isinstance(arrival, Encoded):
                context = await asyncio.to_thread(_context_of, self.memory, self._manner, arrival.embedding)
            committed = await self._committer.put(self._writer, arrival)
        except Exception as error:
            self._writer.failure = self._writer.failure or error
            raise
        finally:
            after.set()
        verdict = await committed
        if isinstance(verdict, Exception):
            raise verdict
        edges = (started, decoded, encoded, time.monotonic_ns())
        return TimedVerdict(verdict, Timings(*((end - start) // 1000 for start, end in pairwise(edges))), context)

    async def _replay(self, seq: int, before: list[asyncio.Task[TimedVerdict]]) -> TimedVerdict:
        if before:
            await asyncio.wait(before)
        if self._writer.failure is not None:
            raise self._writer.failure
        [verdict] = await asyncio.to_thread(self.memory.reading.verdicts, self.session.id, seq, seq)
        return TimedVerdict(verdict, None, None)

    def end(self, error: Exception | None) -> None:
        """Take no more frames; behind the verdicts of those taken, `verdicts` ends, with `error` if there is one."""
        if not self._ended:
            self._ended = True
            self._line.put_nowait(_End(error))

    async def verdicts(self) -> AsyncIterator[list[TimedVerdict]]:
        """Give the verdicts in order, several at a time where they are ready.

        Raises:
            StoreUnavailable: the disk refused; frames without a verdict were not stored.
            Exception: what `end` was called with.
        """
        ready: list[TimedVerdict] = []
        while True:
            item = await self._line.get()
            # What is ready goes out before anything that may take long or fail.
            if ready and (isinstance(item, _End) or len(ready) == FRAMES_IN_FLIGHT or not _succeeded(item)):
                yield ready
                await self._release(len(ready))
                ready = []
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            # Not awaited itself: a client that goes away cancels what is awaited here, and a frame once taken is
            # committed, or the next ones would leave a gap.
            await asyncio.wait([item])
            ready.append(item.result())
            self._unanswered.remove(item)
            if self._line.empty():
                yield ready
                await self._release(len(ready))
                ready = []

    async def _release(self, frames: int) -> None:
        async with self._room:
            for _ in range(frames):
                self._sizes.popleft()
            self._room.notify_all()

    async def settle(self) -> None:
        """Wait until every frame that was taken is on disk or has failed."""
        self.end(None)
        async with self._room:
            self._room.notify_all()
        if self._unanswered:
            await asyncio.wait(self._unanswered)
        for task in self._unanswered:
            task.exception()  # told here or in `verdicts`; marks it as seen


def _context_of(memory: Memory, manner: Manner, embedding: Embedding) -> Embedding | None:
    """Attend to what is on disk: whatever was captured or sent after the frame is not there yet.

    By the means of stays alone: a look at frames would take longer than all else that is done for a frame.
    """
    view = memory.view(Scope())
    return manner.read(embedding, view, Effort(frames=0)).context_vector if view.stay_count else None


def _succeeded(task: asyncio.Task[TimedVerdict]) -> bool:
    return task.done() and task.exception() is None


class Ingest:
    """Opens sessions, one call each."""

    def __init__(self, store: MemoryStore, encoding: Encoding, attending: Attending, max_sessions: int) -> None:
        """Start the committer; needs a running event loop."""
        self._store = store
        self._encoding = encoding
        self._attending = attending
        self._max_sessions = max_sessions
        self._committer = Committer()
        self._opening = asyncio.Lock()
        self._sessions: dict[tuple[str, str, str], IngestSession] = {}
        self._stopping = False

    async def open(self, opening: Opening) -> IngestSession:
        """Open a session, or open it again; a call that still has it ends with SessionTakenOver.

        Raises:
            MemoryNotFound, EncoderMismatch, AttentionVersionNotFound, SessionMismatch, StoreUnavailable,
                TooManySessions, ShuttingDown: as they
                say; nothing was changed.
        """
        key = (opening.memory, opening.stream, opening.session_uuid)
        async with self._opening:
            if self._stopping:
                raise ShuttingDown("the server is stopping")
            older = self._sessions.get(key)
            if older is None and len(self._sessions) >= self._max_sessions:
                raise TooManySessions(f"expected at most {self._max_sessions} sessions at a time")
            memory = await asyncio.to_thread(self._store.get, opening.memory)
            check_version(memory, self._encoding)
            manner = None
            if opening.context is not None:
                wish = opening.context
                manner = await asyncio.to_thread(self._attending.manner, memory, wish.inverse_temperature, wish.version)
            if older is not None:
                older.end(SessionTakenOver(f"session {opening.session_uuid} was opened by another call"))
                await older.settle()
                del self._sessions[key]
            session = await asyncio.to_thread(
                memory.open_session, opening.stream, opening.session_uuid, opening.clock, opening.start_us
            )
            opened = IngestSession(memory, session, self._encoding, self._committer, manner)
            self._sessions[key] = opened
            return opened

    async def close(self, opening: Opening, session: IngestSession) -> None:
        """Let go of a session once its frames are settled; it can be opened again."""
        await session.settle()
        key = (opening.memory, opening.stream, opening.session_uuid)
        async with self._opening:
            if self._sessions.get(key) is session:
                del self._sessions[key]
                await asyncio.to_thread(session.memory.close_session, session.session.id)

    async def stop(self) -> None:
        """End all sessions: what was taken is committed and answered, then the calls end with ShuttingDown."""
        async with self._opening:
            self._stopping = True
            for session in self._sessions.values():
                session.end(ShuttingDown("the server is stopping"))
            await asyncio.gather(*(session.settle() for session in list(self._sessions.values())))

    async def finish(self) -> None:
        """Stop the committer; no session may be open any more."""
        await self._committer.close()


def check_version(memory: Memory, encoding: Encoding) -> None:
    """Refuse to mix the embeddings of two encoder versions.

    Raises:
        EncoderMismatch: the memory belongs to another version than the encoder's.
    """
    if memory.identity.encoder_version != str(encoding.version):
        raise EncoderMismatch(
            f"memory {memory.name} expects the encoder {memory.identity.encoder_version}, this server runs"
            f" {encoding.version}: start it with those weights, or use another memory"
        )
