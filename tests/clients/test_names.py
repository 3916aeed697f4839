from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framekeep import names
from framekeep.errors import InvalidRequest, ServerError

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


@given(NAMES, NAMES, st.integers(1, 2**62))
def test_names_come_back_as_they_went(memory: str, stream: str, exemplar: int) -> None:
    assert names.memory_name(names.memory_resource(memory)) == memory
    assert names.memory_name(names.stream_resource(memory, stream)) == memory
    assert names.stream_name(names.stream_resource(memory, stream)) == stream
    assert names.exemplar_id(names.exemplar_resource(memory, exemplar)) == exemplar


def test_resource_names_have_the_form_of_the_contract() -> None:
    assert names.memory_resource("lobby") == "memories/lobby"
    assert names.stream_resource("lobby", "door-1") == "memories/lobby/streams/door-1"
    assert names.exemplar_resource("lobby", 7) == "memories/lobby/exemplars/7"


@pytest.mark.parametrize("name", ["", "a/b", "-a", ".", "a b", "ä", "a" * 64, "a\n"])
def test_other_names_are_refused_here(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        names.memory_resource(name)

    assert caught.value.reason == "INVALID_NAME"


def test_exemplars_start_at_1() -> None:
    with pytest.raises(InvalidRequest):
        names.exemplar_resource("lobby", 0)


@pytest.mark.parametrize("resource", ["", "lobby", "memories/lobby/streams/", "memories/lobby/exemplars/x"])
def test_another_answer_is_a_fault_of_the_server(resource: str) -> None:
    with pytest.raises(ServerError):
        names.exemplar_id(resource)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("lobby.mp4", "lobby"),
        ("/videos/Front door (2).mp4", "Front-door-2"),
        ("C:\\videos\\lobby.tar.mp4", "lobby.tar"),
        ("https://host/path/cam%201.m3u8?token=1", "cam-201"),
        ("Über.mp4", "ber"),
        ("a" * 100 + ".mp4", "a" * 63),
        ("日本.mp4", None),
        ("rtsp://user:pw@front-door.local/", "front-door.local"),
        ("rtsp://user:p/w@cam/live.sdp?token=abc", "live"),
    ],
)
def test_streams_are_named_after_their_files(location: str, name: str | None) -> None:
    assert names.stream_name_for(location) == name


@given(st.text(max_size=200))
def test_a_name_made_from_a_file_is_a_name(location: str) -> None:
    name = names.stream_name_for(location)

    assert name is None or names.checked_name(name, "stream") == name


def test_session_ids_are_uuids_in_one_form() -> None:
    text = "0f8fad5b-d9cb-469f-a165-70867728950e"

    assert names.checked_session_id(text.upper()) == text
    assert names.checked_session_id(UUID(text)) == text
    with pytest.raises(InvalidRequest, match="expected a UUID as session id, got 'today'"):
        names.checked_session_id("today")
