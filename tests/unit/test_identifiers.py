"""An identifier means one thing at every door: single awards, batches, the bulk CSV and hosted assertions."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from api.commands.award_bodies import AwardBody, plain_award, stated_award
from api.http.requests import parse
from registry.domain import values
from registry.domain.errors import InvalidInput
from registry.domain.institution import Origin
from registry.domain.private_parts import Recipient
from registry.edubadges.assertions import read_assertion
from registry.edubadges.bulk import read_bulk
from registry.edubadges.items import AwardItem, RefusedItem, Unreadable
from tests.hosted import assertion, hashed
from tests.support import award

TODAY = dt.date(2026, 11, 26)
ORIGIN = Origin("api", "0" * 16)
MODULE = "11111111-1111-8111-8111-111111111111"
# From DerivedCoreProperties.txt of Unicode: Default_Ignorable_Code_Point, without what is in C anyway.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u200b\u200d\u2060\u3164\ufe00"
    "\ufe0f\ufeff\uffa0\ufff0\U0001bca0\U0001d173\U000e0001\U000e0100\U000e01ef\U000e0fff"
)
BLANKS = (
    "\u2800"
    + IGNORABLE
    + "".join(
        each
        for each in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(each) in {"Zs", "Cf"} and values.is_line(each)
    )
)
EDU_ID, EPPN = "a1b2c3d4-0000-4000-8000-00000000000f", "jan.de.vries@hhs.nl"


def by_api(kind: str, identifier: str) -> str | Recipient:
    """The recipient that both parsers of an award read, or the sentence about it."""
    answers: list[str | Recipient] = []
    for ensure_ascii in (True, False):
        raw = json.dumps(award("r", learner={kind: identifier}), ensure_ascii=ensure_ascii).encode()
        try:
            stated = stated_award(raw, TODAY, "27UM", ORIGIN)
        except InvalidInput as error:
            ((pointer, sentence),) = error.errors
            assert pointer == f"/learner/{kind}"
            answers.append(sentence)
        else:
            assert stated == parse(AwardBody, raw, {"today": TODAY}).stated("27UM", ORIGIN)
            answers.append(stated.recipient)
    assert answers[0] == answers[1]
    return answers[0]


def by_csv(_: str, identifier: str) -> str | Recipient:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";", quoting=csv.QUOTE_ALL)
    rows.writerows([["Recipient mailadres", "Recipient EPPN"], ["", identifier]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bulk.csv")
        path.write_bytes(text.getvalue().encode())
        (item,) = read_bulk(path, MODULE, TODAY)
    if isinstance(item, RefusedItem):
        return item.reason.removeprefix("needs a valid eppn: it ")
    return item.recipient


def by_import(_: str, identifier: str) -> str | Recipient:
    stated = {"hashed": False, "type": "id", "identity": identifier}
    try:
        item = read_assertion("a.json", assertion(recipient=stated), TODAY)
    except Unreadable as error:
        return str(error).removeprefix("recipient ")
    assert isinstance(item, AwardItem)
    return item.recipient


DOORS = [
    ("eduId", EDU_ID, by_api),
    ("eppn", EPPN, by_api),
    ("eppn", EPPN, by_csv),
    ("eduId", EDU_ID, by_import),
]
doors = pytest.mark.parametrize(("kind", "good", "door"), DOORS)
Door = Callable[[str, str], "str | Recipient"]

strange = st.characters(categories=["Z", "Cc", "Cf", "Cn", "Co"]) | st.sampled_from(IGNORABLE)
not_ascii = strange | st.characters(categories=["L", "N", "M"], min_codepoint=0x80)


@doors
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_an_identifier_with_anything_but_visible_ascii_is_refused_at_every_door(
    kind: str, good: str, door: Door, data: st.DataObject
) -> None:
    text = list(good)
    for put in data.draw(st.lists(not_ascii, min_size=1, max_size=3)):
        # At the ends, the CSV and imports cut off ordinary spaces and tabs.
        text.insert(data.draw(st.integers(1, len(text) - 1)), put)
    assume(not set(text[0] + text[-1]) & set(" \t"))
    identifier = "".join(text)
    assert door(kind, identifier) == "must contain only visible ASCII characters, and no white space"


@doors
def test_an_identifier_is_recorded_as_it_was_sent(kind: str, good: str, door: Door) -> None:
    recipient = door(kind, good)
    assert isinstance(recipient, Recipient)
    assert good in (recipient.edu_id, recipient.eppn)


@pytest.mark.parametrize("put", [" ", "\u00a0", "\u200b", "\u00ad", "\ufeff", "\t", "\n"])
@pytest.mark.parametrize(("kind", "good"), [("eduId", EDU_ID), ("eppn", EPPN)])
def test_the_api_cuts_nothing_off(kind: str, good: str, put: str) -> None:
    for identifier in (put + good, good + put):
        assert by_api(kind, identifier) == "must contain only visible ASCII characters, and no white space"


def test_the_csv_and_imports_cut_ordinary_spaces_and_tabs_off_and_nothing_else() -> None:
    assert by_csv("eppn", f" \t{EPPN}\t ") == Recipient(eppn=EPPN)
    assert by_import("eduId", f" \t{EDU_ID}\t ") == Recipient(edu_id=EDU_ID)
    for put in ("\u00a0", "\u200b", "\ufeff", "\n"):
        assert isinstance(by_csv("eppn", put + EPPN + put), str)
        assert isinstance(by_import("eduId", put + EDU_ID + put), str)


separator = st.text(st.sampled_from("!#%&'()*+,-./:;<=>?[]^_`{|}~"), max_size=3)


@doors
@settings(max_examples=200, deadline=None)
@given(data=st.data(), digits=st.from_regex("[0-9]{9}", fullmatch=True))
@example(data=None, digits="123456782")
def test_nine_digits_are_refused_at_every_door_however_they_are_written(
    kind: str, good: str, door: Door, data: st.DataObject | None, digits: str
) -> None:
    number = digits
    if data is not None:
        letters = data.draw(st.sampled_from(["", "BSN", "bsn", "Bsn"]))
        number = "".join(each + data.draw(separator) for each in f"{letters}{digits}")
        number = data.draw(separator) + number
    after = "@hhs.nl" if kind == "eppn" or (data is not None and data.draw(st.booleans())) else ""
    sentence = door(kind, number + after)
    assert sentence == "must not be nine digits, which may be a citizen number; send an eduID"


@doors
@pytest.mark.parametrize("text", ["12345678", "1234567890", "s123456789", "123456789a", "BSNR123456789"])
def test_other_numbers_are_accepted(kind: str, good: str, door: Door, text: str) -> None:
    assert isinstance(door(kind, text + good[good.find("@") :] if kind == "eppn" else text), Recipient)


@pytest.mark.parametrize("door", [by_api, by_csv])
@pytest.mark.parametrize("text", ["s28", "a@b@c", "@hhs.nl", "jan@", "@", "@@"])
def test_an_eppn_has_one_at_with_something_on_both_sides(door: Door, text: str) -> None:
    assert door("eppn", text) == "must have exactly one @, with something on both sides, as name@hhs.nl"


HASH = "sha256$" + "ab" * 32


@pytest.mark.parametrize("text", [HASH, HASH.upper(), "md5$0f", "sha512$" + "0" * 128])
def test_the_api_takes_no_hash_for_an_identifier(text: str) -> None:
    assert by_api("eduId", text) == "must be the identifier itself, not a hash of it"


# What an answer may say of its recipient.
flags: st.SearchStrategy[Any] = st.sampled_from([True, False, None, 0, 1, "true", "false", "", [], ...])
algorithms = st.sampled_from(["sha256", "md5", "SHA-256", "sha3_512", "x"])
hashes = st.builds("{}${}".format, algorithms, st.from_regex("[0-9a-fA-F]{1,64}", fullmatch=True))


@settings(max_examples=500, deadline=None)
@given(
    identity=hashes | st.sampled_from([EDU_ID, EPPN, f" {HASH}\t", "sha256$", "$00", "a$xyz"]) | st.text(),
    flag=flags,
    kind=st.sampled_from(["id", "email", "telephone", "url", None]),
    salt=st.none() | st.text(max_size=4),
)
def test_no_hash_is_ever_stored_as_an_identity(identity: str, flag: Any, kind: Any, salt: Any) -> None:
    stated = {"hashed": flag, "type": kind, "identity": identity, "salt": salt}
    recipient = {name: value for name, value in stated.items() if value is not ...}
    is_hash = values.is_hash(identity.strip(" \t"))
    item: object
    try:
        item = read_assertion("a.json", assertion(recipient=recipient), TODAY)
    except Unreadable as error:
        item = str(error)
    if isinstance(item, str):
        assert kind is None or not is_hash or "salt" in item
        return
    assert isinstance(item, AwardItem)
    assert ("recipient-hashed" in item.findings) == is_hash
    if is_hash:
        assert (item.recipient.edubadges or "").endswith(f"${salt}" if salt else identity.strip(" \t"))
        assert (item.recipient.edu_id, item.recipient.eppn, item.recipient.email) == (None, None, None)
    else:
        assert flag is not True


def test_a_recipient_marked_as_hashed_that_is_no_hash_is_refused_without_its_value() -> None:
    with pytest.raises(Unreadable, match="marked as hashed") as error:
        read_assertion("a.json", assertion(recipient=hashed() | {"identity": EDU_ID}), TODAY)
    assert EDU_ID not in str(error.value)


# References.


def read_reference(text: str) -> str | None:
    """The reference as it is recorded; None if it is refused."""
    raw = json.dumps(award(text), ensure_ascii=False).encode()
    try:
        return stated_award(raw, TODAY, "27UM", ORIGIN).reference
    except InvalidInput as error:
        return None if [pointer for pointer, _ in error.errors] == ["/reference"] else "another error"


@settings(max_examples=300, deadline=None)
@given(strange, st.sampled_from([0, 1, 3]))
def test_a_reference_has_no_invisible_character_and_no_white_space_at_its_ends(put: str, at: int) -> None:
    text = "A-1"[:at] + put + "A-1"[at:]
    assert read_reference(text) == (text if put == " " and at == 1 else None)


@pytest.mark.parametrize("put", BLANKS)
def test_no_blank_makes_another_reference_of_what_looks_the_same(put: str) -> None:
    assert read_reference(f"A-1{put}") is None
    assert read_reference(put) is None


def test_a_reference_may_have_spaces_within_and_any_visible_letters() -> None:
    for text in ("A 1", "Zoë/2024 – 1", "가나다", "１２３"):
        assert read_reference(text) == text


def test_a_hosted_assertion_at_an_address_with_an_invisible_character_is_refused() -> None:
    for put in "\u200b\u00ad\ufe0f\u00a0":
        with pytest.raises(Unreadable, match="id must be a web address"):
            read_assertion("a.json", assertion(id=f"https://badges.example.org/a{put}1"), TODAY)


# Blanks.

TEXTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "/reference": lambda text: {"reference": text},
    "/moduleReference": lambda text: {"moduleReference": text},
    "/grade": lambda text: {"grade": text},
    "/learner/name": lambda text: {"learner": {"eduId": "x", "name": text}},
    "/evidence/0/name": lambda text: {"evidence": [{"name": text}]},
    "/evidence/0/narrative": lambda text: {"evidence": [{"narrative": text}]},
    "/evidence/0/description": lambda text: {"evidence": [{"description": text}]},
}


@pytest.mark.parametrize("pointer", TEXTS)
def test_a_text_of_blanks_alone_is_refused_by_both_parsers(pointer: str) -> None:
    for blank in [*BLANKS, *map("".join, itertools.permutations(" \u00a0\u200b", 3))]:
        raw = json.dumps(award() | TEXTS[pointer](blank), ensure_ascii=False).encode()
        assert plain_award(raw, TODAY, "27UM", ORIGIN) is None
        with pytest.raises(InvalidInput) as error:
            parse(AwardBody, raw, {"today": TODAY})
        assert [place for place, _ in error.value.errors] == [pointer], repr(blank)
