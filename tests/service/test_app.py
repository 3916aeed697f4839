"""Starting and stopping the real program, and what it tells about itself."""

import importlib.metadata
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from serving import RunningServer

COMMAND = Path(sys.executable).with_name("framekeep-server")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_health_and_reflection_name_the_service(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # its stubs leave the calls out
        for name in ("", "framekeep.v1.VideoMemoryService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # likewise
        [listed] = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        assert "framekeep.v1.VideoMemoryService" in [s.name for s in listed.list_services_response.service]


def test_a_data_folder_in_use_is_refused_in_one_line(server: RunningServer) -> None:
    result = run("--data", server.config.server.data, "--listen", "127.0.0.1:0")

    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("Error: the data folder")
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_refused_in_one_line(server: RunningServer, tmp_path: Path) -> None:
    result = run("--data", tmp_path / "other", "--listen", server.address)

    assert result.returncode == 1
    assert f"cannot listen on {server.address}" in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen", "0.0.0.0:0"], "can be reached from other machines"),
        (["--config", "/nowhere.toml"], "cannot read the settings"),
        (["--data", "/proc/framekeep"], "cannot use the data folder"),
    ],
)
def test_a_start_that_cannot_be_says_why_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = run("--data", tmp_path, *arguments)

    assert result.returncode == 1
    assert told in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_weights_that_are_none_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("nothing")
    config = tmp_path / "framekeep.toml"
    config.write_text(f"[encoder]\nweights = {json.dumps(str(tmp_path / 'weights.pth'))}\n")

    result = run("--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--config", config)

    assert result.returncode == 1
    assert "weights.pth" in result.stderr.strip().splitlines()[-1]


def test_the_help_names_every_option() -> None:
    text = run("--help").stdout

    for option in ("--data", "--listen", "--insecure", "--config", "--version"):
        assert option in text


def test_the_program_announces_its_port_and_ends_cleanly_when_told(tmp_path: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "--data", tmp_path, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with grpc.insecure_channel(address) as channel:
            VideoMemoryServiceStub(channel).ListMemories(pb.ListMemoriesRequest())
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "ERROR" not in log


def test_one_damaged_memory_does_not_stop_the_others(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start_server(tmp_path)
    with grpc.insecure_channel(server.address) as channel:
        for name in ("memories/good", "memories/bad"):
            VideoMemoryServiceStub(channel).CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name=name)))
    server.stop()
    damaged = tmp_path / "memories/bad.sqlite"
    damaged.write_bytes(b"\xff" * damaged.stat().st_size)

    server = start_server(tmp_path)

    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        listed = stub.ListMemories(pb.ListMemoriesRequest())
        assert [memory.name for memory in listed.memories] == ["memories/good"]
        assert list(listed.unreadable) == ["memories/bad"]
        with pytest.raises(grpc.RpcError) as error:
            stub.GetMemory(pb.GetMemoryRequest(name="memories/bad"))
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "bad.sqlite" in str(error.value.details())


def test_the_server_says_what_it_is_and_what_it_takes(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        info = VideoMemoryServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest())

    assert info.version == importlib.metadata.version("framekeep-server")
    assert (info.encoder_version, info.dimension) == (str(server.encoder.version), server.encoder.version.dimension)
    assert info.default_novelty_threshold == 0.10
    assert info.limits == pb.Limits(
        picture_pixels=2**24,
        picture_side_pixels=16_384,
        message_bytes=3 * 2**24 + 2**20,
        frames_in_flight=32,
        frames_per_message=256,
        sessions=8,
        memories=256,
        streams=1000,
    )


def test_the_probe_tells_a_serving_server_from_none(server: RunningServer) -> None:
    def probe(address: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service.probe", address]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert probe(server.address).returncode == 0
    server.stop()
    stopped = probe(server.address)
    assert (stopped.returncode, "UNAVAILABLE" in stopped.stderr) == (1, True)
