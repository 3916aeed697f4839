from pathlib import Path

import pytest

from service.config import ConfigError, load_config


def test_the_file_overrides_the_defaults_and_the_command_line_the_file(tmp_path: Path) -> None:
    file = tmp_path / "framekeep.toml"
    file.write_text('[server]\nlisten = "localhost:1"\nmax_sessions = 3\n[memory]\nnovelty_threshold = 1\n')

    config = load_config(file, {"server": {"listen": "127.0.0.1:2", "data": tmp_path}})

    assert (config.server.listen, config.server.max_sessions, config.server.data) == ("127.0.0.1:2", 3, tmp_path)
    assert config.memory.novelty_threshold == 1.0
    assert config.encoder.weights is None


BAD = {
    "[server]\nport = 1": "unknown setting port in [server]",
    "[store]\nx = 1": "unknown table [store]",
    "server = 1": "unknown table [server]",
    '[server]\nmax_sessions = "many"': "[server] max_sessions: expected",
    "[server]\nmax_sessions = true": "[server] max_sessions: expected",
    "[server]\nmax_sessions = 0": "[server] max_sessions: expected 1 to 4096",
    '[server]\nlisten = "localhost"': "listen: expected HOST:PORT",
    '[server]\nlisten = "0.0.0.0:1"': "0.0.0.0 can be reached from other machines",
    '[server]\nmetrics = "9000"': "metrics: expected HOST:PORT",
    '[server]\nmetrics = "0.0.0.0:1"': "metrics: 0.0.0.0 can be reached from other machines",
    "[memory]\nrecord_frames = 1": "[memory] record_frames: expected",
    "[memory]\ncurve_frames = 1000": "curve_frames: expected 1024 to 1000000, got 1000",
    '[server]\nlisten = "example.org:1"': "example.org can be reached from other machines",
    "[memory]\nnovelty_threshold = 0": "[memory] novelty_threshold: expected",
    "[encoder]\nmax_picture_pixels = 0": "[encoder] max_picture_pixels: expected",
    "[server": "cannot read the settings",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_setting_stops_the_start_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "framekeep.toml"
    file.write_text(text)

    with pytest.raises(ConfigError) as error:
        load_config(file, {})

    assert BAD[text] in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml", {})


def test_other_machines_are_let_in_only_when_asked_for() -> None:
    config = load_config(None, {"server": {"listen": "0.0.0.0:1", "insecure": True}})

    assert config.server.listen == "0.0.0.0:1"
