"""What the encoder alone can do, in every way of feeding it: `python -m benchmarks.encoding`.

The server's way (a picture an inference, as many at a time as OpenVINO thinks right) beside batches, a single request
that has all cores, and torch. Pictures are noise: the time does not depend on what they show.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

from encoder.backbone import INPUT_SIDE_PIXELS, load_backbone, version_of, weights_file
from encoder.config import EncoderConfig
from encoder.conversion import converted
from encoder.frame_encoder import OpenVinoEncoder
from encoder.openvino_runtime import openvino

PICTURES = 320
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}


def pictures_per_second(encode: Callable[[], object], pictures: int) -> float:
    """Time a function that encodes so many pictures, once it has run."""
    encode()
    started = time.monotonic()
    encode()
    return round(pictures / (time.monotonic() - started), 1)


def in_batches(network: Path, batch: int, hint: str, pictures: np.ndarray) -> Callable[[], object]:
    """Encode in batches of a fixed size, as many at a time as the hint gives."""
    model = openvino.Core().read_model(network)
    model.reshape([batch, INPUT_SIDE_PIXELS, INPUT_SIDE_PIXELS, 3])
    compiled = openvino.Core().compile_model(model, "CPU", {**PRECISION, "PERFORMANCE_HINT": hint})
    requests = openvino.AsyncInferQueue(compiled)

    def encode() -> None:
        for first in range(0, len(pictures), batch):
            requests.start_async({0: pictures[first : first + batch]})
        requests.wait_all()

    return encode


def in_torch(pictures: torch.Tensor) -> Callable[[], object]:
    """Encode one by one in torch."""
    network = load_backbone(weights_file(None))

    def encode() -> None:
        with torch.no_grad():
            for picture in pictures:
                network(picture[None])

    return encode


@click.command()
def main() -> None:
    """Measure all ways, one after the other, with all cores."""
    shape = (PICTURES, INPUT_SIDE_PIXELS, INPUT_SIDE_PIXELS, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    weights = weights_file(None)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        network = converted(weights, version_of(weights).weights_sha256, Path(folder))
        encoder = OpenVinoEncoder(EncoderConfig(), Path(folder))
        figures["framekeep"] = pictures_per_second(lambda: encoder.encode(list(pictures)), PICTURES)
        for batch, hint in ((4, "THROUGHPUT"), (1, "LATENCY"), (8, "LATENCY")):
            name = f"batches of {batch}, {hint.lower()}"
            figures[name] = pictures_per_second(in_batches(network, batch, hint, pictures), PICTURES)
    few = torch.from_numpy(pictures[:64])
    figures["torch, one by one"] = pictures_per_second(in_torch(few), len(few))
    for name, speed in figures.items():
        click.echo(f"{name:24} {speed:7.1f} pictures/s")
    click.echo(json.dumps({"pictures_per_second": figures}))


if __name__ == "__main__":
    main()
