"""Private parts: sealed for the institution and learner of one event, committed to with salts."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import assume, given, settings
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
from registry.event_store.vault import EPOCH, NONCE, Owner, Vault, encoded
from registry.keys import Keys, RandomBytes, new_salt

KEYS = Keys(id=b"i" * 32, alias=b"a" * 32, vault=b"v" * 32)
RECIPIENT = Recipient(edu_id="a1b2c3d4-0000-4000-8000-000000000001", name="Zoë Jansen", email="z@example.org")
EVIDENCE = (Evidence(url="https://example.org/e1", narrative="Portfolio met reflectie"),)
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50)


def parts() -> PrivateParts:
    return commit_award(RECIPIENT, "2023-0419-01", "8", EVIDENCE, b"s" * 32, os.urandom(4 * SALT))[1]


OWNER = Owner("0a5ee7fc-34a0-8d26-9fec-235c6014656a/1", "27UM", "f9a42834-3d6d-4b47-8e35-102cb026c62f")
names = st.text(alphabet="0a/\n-", max_size=4)
owners = st.builds(Owner, names, st.none() | names, st.none() | names)


def sealed_for(owner: Owner = OWNER, keys: Keys = KEYS) -> bytes:
    return Vault(keys).seal(owner, encoded(parts()), RandomBytes())


@pytest.mark.parametrize("owner", [OWNER, Owner("27UM/3", "27UM", None)])
def test_sealed_parts_are_opened_for_their_owner(owner: Owner) -> None:
    vault, same = Vault(KEYS), parts()
    assert vault.open(owner, vault.seal(owner, encoded(same), RandomBytes())) == same


@pytest.mark.parametrize(
    "other",
    [
        OWNER._replace(event_id=OWNER.event_id[:-1] + "2"),
        OWNER._replace(event_id="3d267b66-671c-8083-8eaa-02ca264204e8/1"),
        OWNER._replace(institution="22OJ"),
        OWNER._replace(institution=None),
        OWNER._replace(learner_id="f9a42834-3d6d-4b47-8e35-102cb026c630"),
        OWNER._replace(learner_id=None),
        Owner("", "", ""),
    ],
)
def test_sealed_parts_are_not_opened_for_another_event_institution_or_learner(other: Owner) -> None:
    with pytest.raises(InvalidTag):
        Vault(KEYS).open(other, sealed_for())


@given(owners, owners)
def test_two_owners_without_line_feeds_never_have_the_same_associated_data(one: Owner, other: Owner) -> None:
    assume("\n" not in "".join(filter(None, (*one, *other))))
    same = [(each.event_id, each.institution or "", each.learner_id or "") for each in (one, other)]
    assert (one.associated_data(1) == other.associated_data(1)) == (same[0] == same[1])
    assert one.associated_data(1) != one.associated_data(2)


def test_sealed_parts_are_not_opened_with_another_secret() -> None:
    sealed = sealed_for()
    with pytest.raises(InvalidTag):
        Vault(Keys(id=KEYS.id, alias=KEYS.alias, vault=b"w" * 32)).open(OWNER, sealed)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_sealed_parts_changed_in_any_byte_are_not_opened(data: st.DataObject) -> None:
    sealed = bytearray(sealed_for())
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidTag):
        Vault(KEYS).open(OWNER, bytes(sealed))


@pytest.mark.parametrize("length", [0, 1, 1 + NONCE, 1 + NONCE + 15, 1 + NONCE + 16])
def test_sealed_parts_that_are_cut_off_are_not_opened(length: int) -> None:
    with pytest.raises(InvalidTag):
        Vault(KEYS).open(OWNER, sealed_for()[:length])


def test_the_epoch_of_the_key_is_the_first_byte_and_is_sealed_with_the_rest() -> None:
    sealed = sealed_for()
    assert sealed[0] == EPOCH == 1
    for epoch in {*range(256)} - {EPOCH}:
        with pytest.raises(InvalidTag):
            Vault(KEYS).open(OWNER, bytes([epoch]) + sealed[1:])


def test_the_same_parts_are_sealed_to_other_bytes_each_time() -> None:
    vault, same, random = Vault(KEYS), encoded(parts()), RandomBytes()
    assert len({vault.seal(OWNER, same, random)[1 : 1 + NONCE] for _ in range(3_000)}) == 3_000
    assert len({vault.seal(OWNER, same, RandomBytes()) for _ in range(20)}) == 20


def test_sealed_parts_hold_nothing_in_the_clear() -> None:
    sealed = sealed_for()
    for word in ("Jansen", "example.org", "a1b2c3d4", "2023-0419", "Portfolio", "recipient"):
        assert word.encode() not in sealed


def test_a_commitment_is_the_hash_of_its_salt_and_then_the_part() -> None:
    salt = bytes.fromhex("0f" * 16)
    assert commitment(salt, b"8") == hashlib.sha256(salt + b"8").hexdigest()


def test_the_commitments_of_an_award_are_proved_by_its_private_parts() -> None:
    commitments, private = commit_award(
        RECIPIENT, "2023-0419-01", "8", EVIDENCE, b"s" * 32, os.urandom(4 * SALT)
    )
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
    commitments, private = commit_award(RECIPIENT, "1", None, None, b"", os.urandom(4 * SALT))
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
