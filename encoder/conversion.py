"""The default network in OpenVINO's own format: made once, kept in a folder, read at every start.

Making it takes three seconds and leaves 150 MB behind in the process that does it, so another process does it:
`python -m encoder.conversion WEIGHTS FILE.xml`. The files are a copy of the weights and may be deleted.
"""

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from encoder import backbone, projection
from encoder.backbone import INPUT_SIDE_PIXELS, load_backbone
from encoder.errors import EncoderError, WeightsUnreadable
from encoder.openvino_runtime import openvino

INPUT_SHAPE = (1, INPUT_SIDE_PIXELS, INPUT_SIDE_PIXELS, 3)


def converted(weights: Path, weights_sha256: str, folder: Path) -> Path:
    """Give the converted network, made if it is not there or damaged.

    Args:
        weights: a state dict of the network.
        weights_sha256: its digest.
        folder: where converted networks are kept; created if it is missing.

    Returns:
        The .xml file, with its .bin file beside it.

    Raises:
        WeightsUnreadable: the file is not one of the network's, or the folder cannot be written.
    """
    libraries = [version(name) for name in ("torch", "openvino", "efficientnet-lite-pytorch")]
    made_by = (weights_sha256, libraries, [Path(str(code.__file__)).read_text() for code in (backbone, projection)])
    target = folder / f"{hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]}.xml"
    if not _is_whole(target):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _convert_apart(weights, target)
        except OSError as error:
            raise WeightsUnreadable(f"cannot keep the converted network in {folder}: {error}") from error
    return target


def _convert_apart(weights: Path, target: Path) -> None:
    with TemporaryDirectory(dir=target.parent) as draft:
        made = Path(draft) / target.name
        command = [sys.executable, "-m", "encoder.conversion", str(weights), str(made)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # itself
        if result.returncode:
            raise WeightsUnreadable(result.stderr.strip().splitlines()[-1])
        made.with_suffix(".bin").rename(target.with_suffix(".bin"))
        made.rename(target)
        target.with_suffix(".sha256").write_text(_digest(target))


def _is_whole(target: Path) -> bool:
    try:
        return target.with_suffix(".sha256").read_text() == _digest(target)
    except OSError:
        return False


def _digest(target: Path) -> str:
    return hashlib.sha256(target.read_bytes() + target.with_suffix(".bin").read_bytes()).hexdigest()


def main() -> None:
    """Convert the weights in the first argument to the file in the second."""
    weights, target = sys.argv[1:]
    try:
        network = load_backbone(Path(weights))
        with torch.no_grad():
            model = openvino.convert_model(network, example_input=torch.zeros(INPUT_SHAPE, dtype=torch.uint8))
        model.reshape(list(INPUT_SHAPE))
        openvino.save_model(model, target, compress_to_fp16=False)
    except EncoderError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
