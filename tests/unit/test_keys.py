"""What is made from the three secrets: ids, aliases, fingerprints."""

from __future__ import annotations

import uuid
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.keys import Keys, RandomBytes, random_id

KEYS = Keys(id=b"i" * 32, alias=b"a" * 32, vault=b"v" * 32)


@pytest.mark.parametrize(
    ("kind", "brin", "reference", "expected"),
    [
        ("module", "27UM", "KLINRED", "73ad44ec-bff6-869f-b65f-6fc290053191"),
        ("badge", "27UM", "2023-0419-01", "d766ca5a-8802-8786-9642-96e3ccb10518"),
        ("badge", "22OJ", "2023-0419-01", "5b6a1254-d0c2-80cd-859d-412e17a79b93"),
        ("badge", "27UM", "é/☃", "6e0926c4-b033-8027-90c8-86ad98a1cf21"),
    ],
)
def test_an_id_is_the_same_for_ever(
    kind: Literal["module", "badge"], brin: str, reference: str, expected: str
) -> None:
    assert KEYS.made_id(kind, brin, reference) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_an_id_is_a_uuid_of_version_8(reference: str) -> None:
    made = uuid.UUID(KEYS.made_id("badge", "27UM", reference))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


def test_an_id_depends_on_every_part_of_it_and_on_the_secret() -> None:
    other = Keys(id=b"j" * 32, alias=b"a" * 32, vault=b"v" * 32)
    made = {
        KEYS.made_id("badge", "27UM", "1"),
        KEYS.made_id("module", "27UM", "1"),
        KEYS.made_id("badge", "22OJ", "1"),
        KEYS.made_id("badge", "27UM", "2"),
        other.made_id("badge", "27UM", "1"),
    }
    assert len(made) == 5


def test_an_alias_is_the_same_until_its_secret_is_rotated() -> None:
    found = KEYS.alias_key("eduId", "eduid.nl", "a1b2c3d4-0000-4000-8000-000000000001")
    assert found.hex() == "40233cca09ffe161cc6423f1eb7e87e467db846d01dfc6ff39cad37b2184982b"


def test_an_alias_is_compared_in_lower_case() -> None:
    assert KEYS.alias_key("eppn", "27UM", "Jansen@HHS.nl") == KEYS.alias_key("eppn", "27UM", "jansen@hhs.nl")


def test_an_alias_depends_on_its_kind_its_scope_and_its_value() -> None:
    made = {
        KEYS.alias_key("eppn", "27UM", "a"),
        KEYS.alias_key("eppn", "22OJ", "a"),
        KEYS.alias_key("eppn", "27UM", "b"),
        KEYS.alias_key("eduId", "27UM", "a"),
    }
    assert len(made) == 4


def test_a_fingerprint_tells_secrets_apart_and_holds_none_of_them() -> None:
    prints = KEYS.fingerprints()
    assert set(prints) == {"id", "alias", "vault"}
    assert len(set(prints.values())) == 3
    for name, found in prints.items():
        assert len(found) == 32
        assert bytes.fromhex(found)[:4] not in getattr(KEYS, name)


def test_the_secrets_are_not_shown() -> None:
    assert "iiii" not in repr(KEYS) + str(KEYS)


def test_what_is_drawn_together_is_never_given_twice() -> None:
    chance = RandomBytes()
    drawn = [chance.draw(16) for _ in range(3_000)]
    assert {len(each) for each in drawn} == {16}
    assert len(set(drawn)) == len(drawn)


def test_a_random_id_is_a_uuid_of_version_4() -> None:
    chance = RandomBytes()
    made = [uuid.UUID(random_id(chance)) for _ in range(500)]
    assert {(each.version, each.variant) for each in made} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == 500
