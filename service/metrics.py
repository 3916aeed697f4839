"""Figures of the streams for Prometheus, beside all calls: read off the open memories when they are asked for."""

import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from memory_store.budget import Condition
from memory_store.errors import MemoryStoreError
from memory_store.facts import StreamFacts
from memory_store.store import MemoryStore

_STREAM = ("memory", "stream")


class StreamCollector(Collector):
    """Tells of every stream of every open memory: its frames by verdict, its threshold, how its budget is kept."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Read the figures."""
        frames = CounterMetricFamily(
            "framekeep_frames", "Frames acknowledged, by verdict, since the stream began.", labels=(*_STREAM, "verdict")
        )
        threshold = GaugeMetricFamily("framekeep_novelty_threshold", "The threshold in force.", labels=_STREAM)
        kept = GaugeMetricFamily(
            "framekeep_budget_kept_of_target", "Exemplars kept lately, as a share of the budget.", labels=_STREAM
        )
        condition = GaugeMetricFamily(
            "framekeep_budget_condition", "1 for how the budget is kept.", labels=(*_STREAM, "condition")
        )
        for memory, stream in self._streams():
            names = (memory, stream.name)
            contents = stream.contents
            counts = {
                "novel": contents.novel_frames,
                "repeat": contents.repeat_frames,
                "withheld": contents.withheld_frames,
                "rejected": contents.rejected_frames,
            }
            for verdict, count in counts.items():
                frames.add_metric((*names, verdict), count)
            threshold.add_metric(names, stream.policy.threshold)
            if stream.budget is not None:
                if stream.budget.kept_of_target is not None:
                    kept.add_metric(names, stream.budget.kept_of_target)
                for known in Condition:
                    condition.add_metric((*names, known.name.lower()), float(known is stream.budget.condition))
        yield from (frames, threshold, kept, condition)

    def _streams(self) -> Iterator[tuple[str, StreamFacts]]:
        for memory in self._store.opened():
            try:
                for name in memory.stream_names().values():
                    yield memory.name, memory.stream_facts(name)
            except MemoryStoreError:  # it was closed or deleted meanwhile
                continue


class Metrics:
    """A server for Prometheus on a port of its own."""

    def __init__(self, store: MemoryStore) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StreamCollector(store))
        self._serving: tuple[WSGIServer, threading.Thread] | None = None

    def start(self, listen: str) -> str:
        """Serve at HOST:PORT.

        Returns:
            The address listened on, with the real port.

        Raises:
            OSError: it cannot be listened on.
        """
        host, _, port = listen.rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"), self._registry)
        self._serving = (server, thread)
        return f"{host}:{server.server_port}"

    def stop(self) -> None:
        """Serve no more; a reading that goes on may be cut off."""
        if self._serving is not None:
            server, thread = self._serving
            server.shutdown()
            server.server_close()
            thread.join()
