"""The key file: private, whole, and never written over."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from registry.keys import KeyFileError, create_key_file, read_key_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "données privées" / "keys.json"


def test_a_key_file_made_is_read_back(path: Path) -> None:
    made = create_key_file(path)
    assert read_key_file(path) == made
    assert {len(made.id), len(made.alias), len(made.vault)} == {32}
    assert len({made.id, made.alias, made.vault}) == 3


def test_a_key_file_is_for_its_owner_only(path: Path) -> None:
    create_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_left_beside_a_key_file(path: Path) -> None:
    create_key_file(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_is_never_written_over(path: Path) -> None:
    made = create_key_file(path)
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert read_key_file(path) == made
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666, 0o610])
def test_a_key_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    create_key_file(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="mode 0600"):
        read_key_file(path)


def test_a_missing_key_file_is_asked_back(path: Path) -> None:
    with pytest.raises(KeyFileError, match="put the key file back"):
        read_key_file(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_key_file_written_by_half_is_refused(path: Path, share: float) -> None:
    create_key_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(KeyFileError, match="not a key file"):
        read_key_file(path)


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", '{"id": 1, "alias": 2, "vault": 3}', '{"id": "!"}', "\udcff"]
)
def test_another_file_is_refused(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(KeyFileError, match="not a key file"):
        read_key_file(path)


@pytest.mark.parametrize("name", ["id", "alias", "vault"])
def test_a_secret_of_another_size_is_refused(path: Path, name: str) -> None:
    create_key_file(path)
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, name: base64.b64encode(b"k" * 31).decode()}))
    with pytest.raises(KeyFileError, match="32 bytes"):
        read_key_file(path)


def test_a_refusal_does_not_repeat_a_secret(path: Path) -> None:
    create_key_file(path)
    held = json.loads(path.read_text())
    path.write_text(json.dumps({"id": held["id"], "alias": held["alias"]}))
    with pytest.raises(KeyFileError) as refused:
        read_key_file(path)
    assert held["id"] not in str(refused.value)
