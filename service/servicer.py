"""The rpcs: convert, call, convert."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn, TypeVar

from grpc.aio import ServicerContext
from grpc_status import rpc_status

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1 import video_memory_pb2_grpc as pb_grpc
from memory_store.records import Clock
from service import frame_converters, names, query_converters
from service.curves import Curves
from service.errors import InvalidField
from service.ingest import Ingest, IngestSession
from service.learning import Learning
from service.query import Queries
from service.resources import Resources
from service.status import KNOWN_ERRORS, status_of
from service.transfers import Transfers
from service.upkeep import Upkeep

_LOG = logging.getLogger(__name__)

MAX_ENCODED_PICTURES = 64
"""Pictures in one Encode call."""

Context = ServicerContext[Any, Any]
Request = TypeVar("Request")
Response = TypeVar("Response")
Call = Callable[["Servicer", Request], Awaitable[Response]]
Method = Callable[["Servicer", Request, Context], Awaitable[Response]]


def _answering(call: Call[Request, Response]) -> Method[Request, Response]:
    """Turn the errors of a call into statuses."""

    @functools.wraps(call)
    async def answer(self: "Servicer", request: Request, context: Context) -> Response:
        try:
            return await call(self, request)
        except Exception as error:  # noqa: BLE001  # every fault gets a status, and unknown ones are logged
            await _abort(context, error)

    return answer


async def _abort(context: Context, error: Exception) -> NoReturn:
    if not isinstance(error, KNOWN_ERRORS):
        _LOG.error("a call failed unexpectedly", exc_info=error)
    await context.abort_with_status(rpc_status.to_status(status_of(error)))
    raise AssertionError("abort_with_status does not return")


class Servicer(pb_grpc.VideoMemoryServiceServicer):
    """Joins the contract to the parts of the service."""

    def __init__(
        self,
        resources: Resources,
        transfers: Transfers,
        upkeep: Upkeep,
        ingest: Ingest,
        queries: Queries,
        learning: Learning,
        curves: Curves,
        info: pb.ServerInfo,
    ) -> None:
        self._resources = resources
        self._transfers = transfers
        self._upkeep = upkeep
        self._ingest = ingest
        self._queries = queries
        self._learning = learning
        self._curves = curves
        self._info = info
        self._limits = info.limits

    @_answering
    async def GetServerInfo(self, request: pb.GetServerInfoRequest) -> pb.ServerInfo:  # noqa: ARG002  # it is empty
        """See the contract."""
        return self._info

    @_answering
    async def CreateMemory(self, request: pb.CreateMemoryRequest) -> pb.Memory:
        """See the contract."""
        return await asyncio.to_thread(self._resources.create_memory, request)

    @_answering
    async def GetMemory(self, request: pb.GetMemoryRequest) -> pb.Memory:
        """See the contract."""
        return await asyncio.to_thread(self._resources.get_memory, request)

    @_answering
    async def ListMemories(self, request: pb.ListMemoriesRequest) -> pb.ListMemoriesResponse:
        """See the contract."""
        return await asyncio.to_thread(self._resources.list_memories, request)

    @_answering
    async def UpdateMemory(self, request: pb.UpdateMemoryRequest) -> pb.Memory:
        """See the contract."""
        return await asyncio.to_thread(self._resources.update_memory, request)

    @_answering
    async def DeleteMemory(self, request: pb.DeleteMemoryRequest) -> pb.DeleteMemoryResponse:
        """See the contract."""
        return await asyncio.to_thread(self._resources.delete_memory, request)

    async def ExportMemory(
        self, request: pb.ExportMemoryRequest, context: Context
    ) -> AsyncIterator[pb.ExportMemoryResponse]:
        """See the contract."""
        try:
            async with aclosing(self._transfers.give_out(request)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:  # noqa: BLE001  # every fault gets a status, and unknown ones are logged
            await _abort(context, error)

    @_answering
    async def ImportMemory(self, requests: AsyncIterator[pb.ImportMemoryRequest]) -> pb.ImportMemoryResponse:
        """See the contract."""
        return await self._transfers.take_in(requests)

    @_answering
    async def ForgetRange(self, request: pb.ForgetRangeRequest) -> pb.ForgetRangeResponse:
        """See the contract."""
        return await self._upkeep.forget(request)

    @_answering
    async def CompactMemory(self, request: pb.CompactMemoryRequest) -> pb.CompactMemoryResponse:
        """See the contract."""
        return await self._upkeep.compact(request)

    @_answering
    async def CreateStream(self, request: pb.CreateStreamRequest) -> pb.Stream:
        """See the contract."""
        return await asyncio.to_thread(self._resources.create_stream, request)

    @_answering
    async def GetStream(self, request: pb.GetStreamRequest) -> pb.Stream:
        """See the contract."""
        return await asyncio.to_thread(self._resources.get_stream, request)

    @_answering
    async def ListStreams(self, request: pb.ListStreamsRequest) -> pb.ListStreamsResponse:
        """See the contract."""
        return await asyncio.to_thread(self._resources.list_streams, request)

    @_answering
    async def UpdateStream(self, request: pb.UpdateStreamRequest) -> pb.Stream:
        """See the contract."""
        return await asyncio.to_thread(self._resources.update_stream, request)

    @_answering
    async def ListExemplars(self, request: pb.ListExemplarsRequest) -> pb.ListExemplarsResponse:
        """See the contract."""
        return await asyncio.to_thread(self._resources.list_exemplars, request)

    @_answering
    async def GetExemplar(self, request: pb.GetExemplarRequest) -> pb.Exemplar:
        """See the contract."""
        return await asyncio.to_thread(self._resources.get_exemplar, request)

    @_answering
    async def GetTimeline(self, request: pb.GetTimelineRequest) -> pb.GetTimelineResponse:
        """See the contract."""
        return await asyncio.to_thread(self._resources.get_timeline, request)

    @_answering
    async def EvaluateThresholds(self, request: pb.EvaluateThresholdsRequest) -> pb.EvaluateThresholdsResponse:
        """See the contract."""
        return await asyncio.to_thread(self._curves.evaluate, request)

    @_answering
    async def Encode(self, request: pb.EncodeRequest) -> pb.EncodeResponse:
        """See the contract."""
        if not 1 <= len(request.pictures) <= MAX_ENCODED_PICTURES:
            raise InvalidField("pictures", f"expected 1 to {MAX_ENCODED_PICTURES}, got {len(request.pictures)}")
        reads = [frame_converters.reader(picture, self._limits.picture_pixels) for picture in request.pictures]
        embeddings = await asyncio.gather(*map(self._queries.encode, reads))
        return frame_converters.embeddings_to(embeddings, self._queries.version)

    @_answering
    async def Query(self, request: pb.QueryRequest) -> pb.QueryResponse:
        """See the contract."""
        question = query_converters.question_from(request, self._limits.picture_pixels)
        return query_converters.answer_to(await self._queries.answer(question))

    @_answering
    async def FitAttention(self, request: pb.FitAttentionRequest) -> pb.FitAttentionResponse:
        """See the contract."""
        return await self._learning.fit(request)

    @_answering
    async def SendFeedback(self, request: pb.SendFeedbackRequest) -> pb.SendFeedbackResponse:
        """See the contract."""
        return await self._learning.take_feedback(request, self._limits.picture_pixels)

    async def Ingest(
        self, request_iterator: AsyncIterator[pb.IngestRequest], context: Context
    ) -> AsyncIterator[pb.IngestResponse]:
        """See the contract."""
        try:
            async for response in self._ingesting(request_iterator):
                yield response
        except Exception as error:  # noqa: BLE001  # every fault gets a status, and unknown ones are logged
            await _abort(context, error)

    async def _ingesting(self, requests: AsyncIterator[pb.IngestRequest]) -> AsyncIterator[pb.IngestResponse]:
        first = await anext(requests, pb.IngestRequest())
        opening = frame_converters.opening_from(first)
        session = await self._ingest.open(opening)
        reading = asyncio.create_task(self._read(requests, session))
        try:
            yield pb.IngestResponse(opened=self._opened(session))
            async for verdicts in session.verdicts():
                messages = [frame_converters.verdict_to(opening.memory, verdict) for verdict in verdicts]
                yield pb.IngestResponse(verdicts=pb.IngestVerdicts(verdicts=messages))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._ingest.close(opening, session)

    async def _read(self, requests: AsyncIterator[pb.IngestRequest], session: IngestSession) -> None:
        """Hand the frames of a call to its session; whatever ends this ends the session."""
        try:
            async for request in requests:
                for frame in frame_converters.frames_from(request, session.session.clock, self._limits.picture_pixels):
                    await session.offer(frame)
        except Exception as error:  # noqa: BLE001  # the one who answers the call raises it there
            session.end(error)
        else:
            session.end(None)

    def _opened(self, session: IngestSession) -> pb.IngestOpened:
        opened = session.session
        return pb.IngestOpened(
            next_seq=opened.next_seq,
            start_time=names.time_to(opened.start_us) if opened.clock is Clock.SESSION else None,
            clock=frame_converters.clock_to(opened.clock),
            novelty_threshold=opened.policy.threshold,
            policy_revision=opened.policy.revision,
            encoder_version=session.memory.identity.encoder_version,
            limits=self._limits,
        )
