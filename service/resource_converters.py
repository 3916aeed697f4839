"""Memories, streams, exemplars and sightings, as messages of the contract."""

from framekeep.v1 import video_memory_pb2 as pb
from memory_store import facts as stored
from memory_store.records import Policy, Retention
from service.errors import InvalidField
from service.frame_converters import clock_to
from service.names import exemplar_name, stream_name, time_to
from service.policy_converters import budget_state_to, duration_from, keeping_to


def sighting_to(memory: str, sighting: stored.ShownSighting) -> pb.Sighting:
    """Write a sighting."""
    return pb.Sighting(
        stream=stream_name(memory, sighting.stream),
        exemplar=exemplar_name(memory, sighting.exemplar_id),
        start_time=time_to(sighting.start_us),
        end_time=time_to(sighting.end_us),
        frame_count=sighting.frames,
        session_id=sighting.session_uuid,
        clock=clock_to(sighting.clock),
        novelty_threshold=sighting.threshold,
        largest_novelty=sighting.largest_novelty,
        restated=sighting.restated,
        labels=sighting.labels,
    )


def memory_to(facts: stored.MemoryFacts) -> pb.Memory:
    """Write a memory."""
    return pb.Memory(
        name=f"memories/{facts.name}",
        novelty_threshold=facts.policy.threshold,
        encoder_version=facts.encoder_version,
        dimension=facts.dimension,
        create_time=time_to(facts.created_us),
        policy_revision=facts.policy.revision,
        contents=_contents_to(facts.contents),
        etag=memory_etag(facts.policy, facts.retention),
        retention=_retention_to(facts.retention),
        attention_version=facts.attention_version,
        keeping=keeping_to(facts.keeping),
    )


def memory_etag(policy: Policy, retention: Retention) -> str:
    """Name the state of what can be updated: a threshold that was set again has another revision, limits have not."""
    limits = (retention.max_age_us, retention.max_exemplars, retention.max_bytes)
    return "-".join(str(part or 0) for part in (policy.revision, *limits))


def retention_from(message: pb.Retention) -> Retention:
    """Read limits of what is kept.

    Raises:
        InvalidField: an age that is no length of time.
        InvalidRetention: a limit below 1.
    """
    max_age_us = None
    if message.HasField("max_age"):
        max_age_us = duration_from(message.max_age, "retention.max_age")
    return Retention(
        max_age_us,
        message.max_exemplars if message.HasField("max_exemplars") else None,
        message.max_bytes if message.HasField("max_bytes") else None,
    )


def _retention_to(retention: Retention) -> pb.Retention | None:
    if retention == Retention():
        return None
    message = pb.Retention(max_exemplars=retention.max_exemplars, max_bytes=retention.max_bytes)
    if retention.max_age_us is not None:
        message.max_age.FromMicroseconds(retention.max_age_us)
    return message


def stream_to(memory: str, facts: stored.StreamFacts) -> pb.Stream:
    """Write a stream."""
    return pb.Stream(
        name=stream_name(memory, facts.name),
        novelty_threshold=facts.own_threshold,
        effective_novelty_threshold=facts.policy.threshold,
        policy_revision=facts.policy.revision,
        create_time=time_to(facts.created_us),
        contents=_contents_to(facts.contents),
        etag=str(facts.own_revision),
        keeping=keeping_to(facts.own_keeping),
        effective_keeping=keeping_to(facts.keeping),
        budget_state=budget_state_to(facts.budget),
    )


def revision_from(etag: str) -> int | None:
    """Read an etag; None if there is none."""
    if etag and not (etag.isascii() and etag.isdecimal() and len(etag) <= 18):
        raise InvalidField("etag", f"expected one that this server gave, got {etag[:100]!r}")
    return int(etag) if etag else None


def _contents_to(contents: stored.Contents) -> pb.Contents:
    return pb.Contents(
        frames=sum((contents.novel_frames, contents.repeat_frames, contents.withheld_frames, contents.rejected_frames)),
        novel_frames=contents.novel_frames,
        repeat_frames=contents.repeat_frames,
        rejected_frames=contents.rejected_frames,
        withheld_frames=contents.withheld_frames,
        forgotten_frames=contents.forgotten_frames,
        counted_frames=contents.counted_frames,
        exemplars=contents.exemplars,
        stays=contents.stays,
        sightings=contents.sightings,
        received_bytes=contents.received_bytes,
        stored_bytes=contents.stored_bytes,
        first_time=None if contents.first_us is None else time_to(contents.first_us),
        last_time=None if contents.last_us is None else time_to(contents.last_us),
    )


def exemplar_to(memory: str, exemplar: stored.Exemplar, encoder_version: str) -> pb.Exemplar:
    """Write an exemplar."""
    facts = exemplar.facts
    message = pb.Exemplar(
        name=exemplar_name(memory, facts.exemplar_id),
        stream=stream_name(memory, exemplar.stream),
        session_id=exemplar.session_uuid,
        seq=exemplar.seq,
        capture_time=time_to(exemplar.capture_us),
        first_time=time_to(facts.first_us),
        last_time=time_to(facts.last_us),
        total_duration_us=facts.duration_us,
        frame_count=facts.frames,
        sighting_count=facts.sightings,
        thumbnail=exemplar.thumbnail or b"",
        own_frame_forgotten=exemplar.recentred,
        labels=exemplar.labels,
    )
    if exemplar.served is not None:
        served = exemplar.served
        message.evidence.CopyFrom(
            pb.Evidence(answer_count=served.answers, total_weight=served.weight, last_time=time_to(served.last_us))
        )
    if exemplar.embedding is not None:
        message.embedding.CopyFrom(pb.Embedding(values=exemplar.embedding, encoder_version=encoder_version))
    return message
