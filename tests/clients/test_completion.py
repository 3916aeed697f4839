import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from framekeep.cli import main

README = Path(__file__).parents[2] / "clients/python/README.md"
DOCUMENTED = re.findall(r"^.*_FRAMEKEEP_COMPLETE=.*$", README.read_text(), re.MULTILINE)


def completed(*words: str) -> list[str]:
    """What bash offers after `framekeep` and these words, of which the last is not finished."""
    environment = {
        "_FRAMEKEEP_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["framekeep", *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(main, [], prog_name="framekeep", env=environment)
    return [line.split(",")[1] for line in result.output.splitlines()]


def test_commands_are_completed() -> None:
    assert completed("") == sorted(main.commands)
    assert completed("ti") == ["timeline"]
    assert completed("memories", "s") == ["show"]


def test_options_are_completed() -> None:
    assert completed("timeline", "lobby", "door", "--fi") == ["--figure"]
    assert "--thresholds" in completed("evaluate", "--")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_each_shell_are_documented(shell: str) -> None:
    [line] = [line for line in DOCUMENTED if f"_FRAMEKEEP_COMPLETE={shell}_source framekeep" in line]

    script = CliRunner().invoke(main, [], prog_name="framekeep", env={"_FRAMEKEEP_COMPLETE": f"{shell}_source"})

    assert "eval" in line or "| source" in line
    assert script.exit_code == 0
    assert f"_FRAMEKEEP_COMPLETE={shell}_complete" in script.output


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_the_documented_line_works_in_bash() -> None:
    [line] = [line for line in DOCUMENTED if "bash_source" in line]
    ask = 'COMP_WORDS=(framekeep evaluate --th); COMP_CWORD=2; _framekeep_completion framekeep; echo "${COMPREPLY[@]}"'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    result = subprocess.run(
        ["bash", "-c", f"{line}\n{ask}"], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )

    assert result.stdout == "--thresholds\n"
