"""OpenVINO without its usage reports.

Importing `openvino` sends an event to Intel's and Google's servers through the package `openvino_telemetry`. A
program that watches cameras reports to nobody, so that package is made unavailable first; OpenVINO then falls back to
a stub of its own. Nothing else may import `openvino` (a test sees to that).
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # how Python marks a module as not to be had

import openvino  # noqa: E402  # after the line that keeps it quiet

__all__ = ["openvino"]
