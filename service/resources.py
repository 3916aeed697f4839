"""Memories, streams, exemplars and timelines, as they are listed, changed and deleted. All of it may be slow."""

import threading

from google.protobuf.field_mask_pb2 import FieldMask

from encoder.version import EncoderVersion
from framekeep.v1 import video_memory_pb2 as pb
from memory_store.errors import MemoryNotFound, MemoryUnreadable
from memory_store.memory import Memory
from memory_store.policies import UNCHANGED
from memory_store.scope import EARLIEST_US, LATEST_US
from memory_store.store import MemoryStore
from service import names, resource_converters
from service.errors import EtagMismatch, InvalidField
from service.pages import page_from
from service.policy_converters import keeping_from


class Resources:
    """What the store holds, as resources of the contract."""

    def __init__(self, store: MemoryStore, version: EncoderVersion) -> None:
        self._store = store
        self._version = version
        self._changing = threading.Lock()  # between the look at an etag and the change that depends on it

    def create_memory(self, request: pb.CreateMemoryRequest) -> pb.Memory:
        """See the contract."""
        name = names.memory_from(request.memory.name)
        threshold = request.memory.novelty_threshold if request.memory.HasField("novelty_threshold") else None
        retention = None
        if request.memory.HasField("retention"):
            retention = resource_converters.retention_from(request.memory.retention)
        keeping = keeping_from(request.memory.keeping) if request.memory.HasField("keeping") else None
        memory = self._store.create(name, str(self._version), self._version.dimension, threshold, retention, keeping)
        return resource_converters.memory_to(memory.facts())

    def get_memory(self, request: pb.GetMemoryRequest) -> pb.Memory:
        """See the contract."""
        return resource_converters.memory_to(self._store.get(names.memory_from(request.name)).facts())

    def list_memories(self, request: pb.ListMemoriesRequest) -> pb.ListMemoriesResponse:
        """See the contract."""
        page = page_from(request.page_size, request.page_token, "memories", (str,))
        known = [name for name in self._store.names() if page.after is None or name > str(page.after[0])]
        chosen, token = page.page(known, lambda name: [name])
        response = pb.ListMemoriesResponse(next_page_token=token)
        for name in chosen:
            try:
                response.memories.append(resource_converters.memory_to(self._store.get(name).facts()))
            except MemoryUnreadable:
                response.unreadable.append(f"memories/{name}")
            except MemoryNotFound:  # deleted since it was named
                continue
        return response

    def update_memory(self, request: pb.UpdateMemoryRequest) -> pb.Memory:
        """See the contract."""
        _check_mask(request.update_mask, ("novelty_threshold", "keeping", "retention"))
        memory = self._store.get(names.memory_from(request.memory.name))
        threshold = "novelty_threshold" in request.update_mask.paths
        if threshold and not request.memory.HasField("novelty_threshold"):
            raise InvalidField("novelty_threshold", "expected a value: a memory always has one")
        retention = resource_converters.retention_from(request.memory.retention)
        keeping = keeping_from(request.memory.keeping)
        with self._changing:
            _check_etag(memory, request.memory.etag)
            if threshold or "keeping" in request.update_mask.paths:  # first, for it can be refused
                memory.set_policy(
                    None,
                    threshold=request.memory.novelty_threshold if threshold else UNCHANGED,
                    keeping=keeping if "keeping" in request.update_mask.paths else UNCHANGED,
                )
            if "retention" in request.update_mask.paths:
                memory.set_retention(retention)
        return resource_converters.memory_to(memory.facts())

    def delete_memory(self, request: pb.DeleteMemoryRequest) -> pb.DeleteMemoryResponse:
        """See the contract."""
        name = names.memory_from(request.name)
        with self._changing:
            if request.etag:
                _check_etag(self._store.get(name), request.etag)
            self._store.delete(name)
        return pb.DeleteMemoryResponse()

    def create_stream(self, request: pb.CreateStreamRequest) -> pb.Stream:
        """See the contract."""
        name, stream = names.stream_from(request.stream.name)
        memory = self._store.get(name)
        own = request.stream.novelty_threshold if request.stream.HasField("novelty_threshold") else None
        memory.create_stream(
            stream, own, keeping_from(request.stream.keeping) if request.stream.HasField("keeping") else None
        )
        return resource_converters.stream_to(name, memory.stream_facts(stream))

    def get_stream(self, request: pb.GetStreamRequest) -> pb.Stream:
        """See the contract."""
        name, stream = names.stream_from(request.name)
        return resource_converters.stream_to(name, self._store.get(name).stream_facts(stream))

    def list_streams(self, request: pb.ListStreamsRequest) -> pb.ListStreamsResponse:
        """See the contract."""
        name = names.memory_from(request.parent)
        page = page_from(request.page_size, request.page_token, f"streams of {name}", (str,))
        memory = self._store.get(name)
        known = sorted(memory.stream_names().values())
        chosen, token = page.page(
            [stream for stream in known if page.after is None or stream > str(page.after[0])], lambda stream: [stream]
        )
        return pb.ListStreamsResponse(
            streams=[resource_converters.stream_to(name, memory.stream_facts(stream)) for stream in chosen],
            next_page_token=token,
        )

    def update_stream(self, request: pb.UpdateStreamRequest) -> pb.Stream:
        """See the contract."""
        _check_mask(request.update_mask, ("novelty_threshold", "keeping"))
        name, stream = names.stream_from(request.stream.name)
        memory = self._store.get(name)
        given, paths = request.stream, request.update_mask.paths
        threshold = given.novelty_threshold if given.HasField("novelty_threshold") else None
        keeping = keeping_from(given.keeping) if given.HasField("keeping") else None
        memory.set_policy(
            stream,
            threshold=threshold if "novelty_threshold" in paths else UNCHANGED,
            keeping=keeping if "keeping" in paths else UNCHANGED,
            expected_revision=resource_converters.revision_from(given.etag),
        )
        return resource_converters.stream_to(name, memory.stream_facts(stream))

    def list_exemplars(self, request: pb.ListExemplarsRequest) -> pb.ListExemplarsResponse:
        """See the contract."""
        name = names.memory_from(request.parent)
        order = " ".join(request.order_by.split()) or "id desc"
        if order not in {"id desc", "id asc"}:
            raise InvalidField("order_by", f"expected 'id desc' or 'id asc', got {request.order_by!r}")
        page = page_from(request.page_size, request.page_token, f"exemplars of {name} by {order}", (int,))
        memory = self._store.get(name)
        exemplars = memory.reading.exemplars(
            after=None if page.after is None else int(page.after[0]),
            limit=page.size + 1,
            newest_first=order == "id desc",
            thumbnails=request.include_thumbnails,
            embeddings=request.include_embeddings,
        )
        chosen, token = page.page(exemplars, lambda exemplar: [exemplar.facts.exemplar_id])
        version = memory.identity.encoder_version
        return pb.ListExemplarsResponse(
            exemplars=[resource_converters.exemplar_to(name, exemplar, version) for exemplar in chosen],
            next_page_token=token,
        )

    def get_exemplar(self, request: pb.GetExemplarRequest) -> pb.Exemplar:
        """See the contract."""
        name, exemplar_id = names.exemplar_from(request.name)
        memory = self._store.get(name)
        exemplar = memory.reading.exemplar(
            exemplar_id, thumbnail=request.include_thumbnail, embedding=request.include_embedding
        )
        return resource_converters.exemplar_to(name, exemplar, memory.identity.encoder_version)

    def get_timeline(self, request: pb.GetTimelineRequest) -> pb.GetTimelineResponse:
        """See the contract."""
        name, stream = names.stream_from(request.stream)
        first_us, end_us = names.range_from(request.time_range)
        page = page_from(
            request.page_size, request.page_token, f"timeline of {name} {stream} {first_us} {end_us}", (int, int)
        )
        memory = self._store.get(name)
        sightings = memory.timeline(
            stream,
            EARLIEST_US if first_us is None else first_us,
            LATEST_US if end_us is None else end_us - 1,
            None if page.after is None else (int(page.after[0]), int(page.after[1])),
            page.size + 1,
        )
        chosen, token = page.page(sightings, lambda sighting: [sighting.start_us, sighting.id])
        return pb.GetTimelineResponse(
            sightings=[resource_converters.sighting_to(name, sighting) for sighting in chosen], next_page_token=token
        )


def _check_mask(mask: FieldMask, known: tuple[str, ...]) -> None:
    if not mask.paths or not set(mask.paths) <= set(known):
        raise InvalidField("update_mask", f"expected nothing but {' and '.join(known)}, got {list(mask.paths)}")


def _check_etag(memory: Memory, etag: str) -> None:
    current = resource_converters.memory_etag(memory.policy(), memory.retention)
    if etag and etag != current:
        raise EtagMismatch(f"expected the etag {current}, got {etag[:100]!r}")
