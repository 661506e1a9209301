"""Private parts: sealed for one event, committed to with salts."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain.private_parts import (
    SALT,
    Evidence,
    PrivateParts,
    Recipient,
    Salts,
    commit_award,
    commit_note,
    commitment,
)
from registry.event_store.vault import NONCE, Vault
from registry.keys import Keys, RandomBytes, new_salt

KEYS = Keys(id=b"i" * 32, alias=b"a" * 32, vault=b"v" * 32)
RECIPIENT = Recipient(edu_id="a1b2c3d4-0000-4000-8000-000000000001", name="Zoë Jansen", email="z@example.org")
EVIDENCE = (Evidence(url="https://example.org/e1", narrative="Portfolio met reflectie"),)
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50)


def parts() -> PrivateParts:
    return commit_award(RECIPIENT, "2023-0419-01", "8", EVIDENCE, 1, os.urandom(4 * SALT))[1]


def test_sealed_parts_are_opened_for_their_event() -> None:
    vault, same = Vault(KEYS), parts()
    assert vault.open("badge/1", vault.seal("badge/1", same)) == same


@pytest.mark.parametrize("event_id", ["badge/2", "other/1", "", "badge/1 "])
def test_sealed_parts_are_not_opened_for_another_event(event_id: str) -> None:
    vault = Vault(KEYS)
    sealed = vault.seal("badge/1", parts())
    with pytest.raises(InvalidTag):
        vault.open(event_id, sealed)


def test_sealed_parts_are_not_opened_with_another_secret() -> None:
    sealed = Vault(KEYS).seal("badge/1", parts())
    with pytest.raises(InvalidTag):
        Vault(Keys(id=KEYS.id, alias=KEYS.alias, vault=b"w" * 32)).open("badge/1", sealed)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_sealed_parts_changed_in_any_byte_are_not_opened(data: st.DataObject) -> None:
    vault = Vault(KEYS)
    sealed = bytearray(vault.seal("badge/1", parts()))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidTag):
        vault.open("badge/1", bytes(sealed))


def test_the_same_parts_are_sealed_to_other_bytes_each_time() -> None:
    vault, same, chance = Vault(KEYS), parts(), RandomBytes()
    assert len({vault.seal("badge/1", same) for _ in range(20)}) == 20
    assert len({vault.seal("badge/1", same, chance)[:NONCE] for _ in range(3_000)}) == 3_000


def test_sealed_parts_hold_nothing_in_the_clear() -> None:
    sealed = Vault(KEYS).seal("badge/1", parts())
    for word in ("Jansen", "example.org", "a1b2c3d4", "2023-0419", "Portfolio", "recipient"):
        assert word.encode() not in sealed


def test_a_commitment_is_the_hash_of_its_salt_and_then_the_part() -> None:
    salt = bytes.fromhex("0f" * 16)
    assert commitment(salt, b"8") == hashlib.sha256(salt + b"8").hexdigest()


def test_the_commitments_of_an_award_are_proved_by_its_private_parts() -> None:
    commitments, private = commit_award(RECIPIENT, "2023-0419-01", "8", EVIDENCE, 1, os.urandom(4 * SALT))
    recipient = {"eduId": RECIPIENT.edu_id, "name": RECIPIENT.name, "email": RECIPIENT.email}
    evidence = [{"url": EVIDENCE[0].url, "narrative": EVIDENCE[0].narrative}]
    for name, shown in {
        "recipient": _sorted_json(recipient),
        "reference": b"2023-0419-01",
        "grade": b"8",
        "evidence": _sorted_json(evidence),
    }.items():
        salt = bytes.fromhex(getattr(private.salts, name))
        assert len(salt) == 16
        assert getattr(commitments, name) == hashlib.sha256(salt + shown).hexdigest()


def _sorted_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_every_commitment_has_a_salt_of_its_own() -> None:
    salts = [parts().salts for _ in range(5)]
    drawn = [
        getattr(each, name) for each in salts for name in ("recipient", "reference", "grade", "evidence")
    ]
    assert len(set(drawn)) == 20


def test_what_an_award_does_not_state_has_no_commitment() -> None:
    commitments, private = commit_award(RECIPIENT, "1", None, None, None, os.urandom(4 * SALT))
    assert (commitments.grade, commitments.evidence) == (None, None)
    assert (private.salts.grade, private.salts.evidence) == (None, None)


@settings(max_examples=50, deadline=None)
@given(texts)
def test_the_commitment_of_a_note_is_proved_by_its_private_part(note: str) -> None:
    committed, private = commit_note(note, new_salt())
    assert private is not None
    assert private == PrivateParts(salts=Salts(note=private.salts.note), note=note)
    salt = bytes.fromhex(private.salts.note or "")
    assert committed == hashlib.sha256(salt + note.encode()).hexdigest()


def test_no_note_has_no_commitment() -> None:
    assert commit_note(None, new_salt()) == (None, None)
