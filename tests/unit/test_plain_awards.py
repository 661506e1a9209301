"""Awards read the short way mean what the model of the body makes of them, or are left to it."""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.commands.award_bodies import AwardBody, plain_award, stated_award
from api.http.requests import parse
from registry.domain.errors import InvalidInput
from registry.domain.institution import Origin
from registry.recording.awards import StatedAward
from tests.support import award

TODAY = dt.date(2024, 6, 3)
BRIN, ORIGIN = "27UM", Origin("batch", "0" * 16)
ID = "22222222-2222-8222-8222-222222222222"


def by_the_model(raw: bytes) -> StatedAward | None:
    try:
        return parse(AwardBody, raw, {"today": TODAY}).stated(BRIN, ORIGIN)
    except InvalidInput:
        return None


def plainly(raw: bytes) -> StatedAward | None:
    return plain_award(raw, TODAY, BRIN, ORIGIN)


# JSON as it is written: objects are lists of members, so that a name can stand twice.
Members = list[tuple[str, Any]]


class Token(str):
    """A number as it is written."""

    __slots__ = ()


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    space = draw(st.sampled_from(["", "", "", " ", "\n", "\t ", "\r"]))
    match value:
        case Token():
            return space + str(value)
        case str():
            return space + draw(string(value))
        case tuple():
            members = [draw(string(name)) + space + ":" + draw(written(each)) for name, each in value]
            return "{" + space + ",".join(members) + "}"
        case list():
            return "[" + ",".join(draw(written(each)) for each in value) + space + "]"
        case _:
            return space + json.dumps(value) + space


@st.composite
def string(draw: st.DrawFn, value: str) -> str:
    how = draw(st.integers(0, 9))
    if how == 0:  # every character as an escape
        units = value.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'
    return json.dumps(value, ensure_ascii=how < 3)


alphabet = st.sampled_from(
    'aZ 9@-/\\"\n\r\t\u0000\u001c\u007f\u0085\u00a0é\u0301Åß\u200e\u2028\u202e\u212b\ufeff𝔸\ud800\udc00가ᄀ'
)
texts = (
    st.text(max_size=6)
    | st.text(alphabet, max_size=6)
    | st.sampled_from(["", "a" * 100, "a" * 101, "é" * 100, "e\u0301" * 60, "123456789", "123456789@hhs.nl"])
    | st.sampled_from(["a@example.org", "https://example.org/e1", "http://x y", "https://", ID, ID.upper()])
)
days = st.dates(dt.date(2017, 12, 30), dt.date(2024, 6, 5)).map(str) | st.sampled_from(
    [
        "2023-02-30",
        "2023-4-19",
        "20230419",
        "2023-04-19T00:00:00Z",
        "0000-01-01",
        "9999-12-31",
        "２０２３-04-19",
    ]
)
numbers = st.sampled_from(
    ["0", "1", "-1", "-0", "1.0", "1e0", "1E2", "1000000", "1000001", "9" * 30, "01", "1e400", "NaN"]
).map(Token)
leaves = texts | days | numbers | st.none() | st.booleans()
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.lists(st.tuples(texts, inner), max_size=2).map(tuple),
    max_leaves=4,
)
names = st.sampled_from(
    [
        "reference", "moduleId", "moduleReference", "moduleVersion", "learner", "awardedOn", "validUntil",
        "grade", "evidence", "supersedes", "eduId", "eppn", "name", "email", "url", "narrative",
        "description", "edubadges", "module_id", "Reference", "",
    ]
)  # fmt: skip

GOOD: tuple[tuple[str, Any], ...] = (
    ("reference", "2023-0419-01"),
    ("moduleReference", "KLINRED"),
    ("learner", (("eduId", "a1b2c3d4"), ("name", "A. Jansen"), ("email", "a@example.org"))),
    ("awardedOn", "2023-04-19"),
    ("grade", "8"),
    ("evidence", [(("url", "https://example.org/e1"), ("narrative", "Portfolio met reflectie"))]),
)


@st.composite
def bent(draw: st.DrawFn, value: Any, left: int = 2) -> Any:
    """A good award with a few things changed, added, doubled or left out, at any depth."""
    members = list(value)
    for _ in range(draw(st.integers(0, left))):
        at = draw(st.integers(0, len(members)))
        name, held = members[at] if at < len(members) else (draw(names), draw(anything))
        match draw(st.integers(0, 5)):
            case 0:
                members[at : at + 1] = []
            case 1:
                members[at : at + 1] = [(name, draw(anything))]
            case 2:
                members.insert(draw(st.integers(0, len(members))), (name, held))
            case 3:
                members.insert(at, (name, draw(anything)))
            case 4 if isinstance(held, tuple):
                members[at : at + 1] = [(name, draw(bent(held, 1)))]
            case 5 if isinstance(held, list) and held and isinstance(held[0], tuple):
                more = held[:1] * draw(st.sampled_from([1, 2, 21]))
                members[at : at + 1] = [(name, [draw(bent(each, 1)) for each in more])]
            case _:
                members[at : at + 1] = [(name, draw(texts | days | numbers))]
    return tuple(members)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_read_plainly_is_what_the_model_makes_of_it(data: st.DataObject) -> None:
    text = data.draw(written(data.draw(bent(GOOD))))
    raw = text.encode("utf-8", "surrogatepass")
    found = plainly(raw)
    if found is not None:
        assert found == by_the_model(raw)


LINES = tuple(
    json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode()
    for each in (
        award(
            "2023-0419-01",
            moduleVersion=1,
            validUntil="2025-04-19",
            grade="8",
            evidence=[{"url": "https://example.org/e1", "narrative": "Portfolio"}, {"name": "x"}],
        ),
        award("r", moduleId=ID, learner={"eppn": "123@hhs.nl"}, supersedes=ID),
        award("ré", learner={"eduId": "12345678x", "name": "Zoë 𝔸"}, awardedOn="2024-02-29", evidence=[]),
    )
)
CHARACTERS = (
    "\u0301\u0338\u212b\u0344\ufb1d\u200e\u061c\u2066\u2028\x85\xa0\u2003\u200b\ufeff"
    "０가ᄀ𝔸😀\x7f\x9f\xad\x00\x01\x1f"
)
ESCAPES = (
    rb"\"", rb"\\", rb"\/", rb"\n", rb"\t", rb"\u0000", rb"\u0022", rb"\u0065", rb"\u0301", rb"\u202e",
    rb"\ud83d\ude00", rb"\ud83d", rb"\ude00", rb"\x41",
    b"\xed\xa0\x80", b"\xc0\xa2", b"\xff", b"\xef\xbb\xbf",
)  # fmt: skip
VALUES = (
    b"null", b"true", b"0", b"1", b"-0", b"1.0", b"1e0", b"01", b"1000000", b"1000001", b"9" * 25, b"NaN",
    b'"1"', b"[]", b"{}", b'""', b'" "', b"[null]", b"[{}]", b'[{"url":null}]', b'"2023-02-30"',
    b'"20230419"',
    b'"2023-04-19T00:00:00"', b'"2017-12-31"', b'"2018-01-01"', b'"2024-06-03"', b'"2024-06-04"',
    b'"9999-12-31"', b'"123456789"', b'"123456789@x"', b'"' + b"a" * 100 + b'"', b'"' + b"a" * 101 + b'"',
    b'"http://x"', b'"http://x y"', b'"a@b"', b'"a@b@c"', b'"a@"', b'"' + ID.upper().encode() + b'"',
)  # fmt: skip
MEMBERS = (
    b',"reference":"z"', b',"grade":null', b',"grade":"9"', rb',"\u0067rade":"9"', b',"moduleVersion":2',
    b',"name":"n"', b',"url":"https://q"', b',"edubadges":"n"', b',"module_reference":"n"', b'"eppn":null,',
    b'"evidence":[],', b'"learner":{"eduId":"q"},', b",", b":", b"{", b"}", b"[", b"]", b'"', b" ", b"\n",
    b"//",
)  # fmt: skip
VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|\d+|\[\]')


def mutated(chance: random.Random, raw: bytes) -> bytes:
    """With a token in a text, in the place of a value or between members; or a part left out or doubled."""
    found = chance.choice(list(VALUE.finditer(raw)))
    begin, end = found.span()
    match chance.randrange(6):
        case 0 | 1:
            at = chance.randrange(begin, end + 1)
            put = chance.choice([*ESCAPES, *(each.encode() for each in CHARACTERS)])
            return raw[:at] + put + raw[at:]
        case 2 | 3:
            return raw[:begin] + chance.choice(VALUES) + raw[end:]
        case 4:
            at = chance.choice([at for at, each in enumerate(raw) if each in b",{}[]"]) + chance.randrange(2)
            return raw[:at] + chance.choice(MEMBERS) + raw[at:]
        case _:
            at = chance.randrange(len(raw))
            rest = chance.choice([at, min(len(raw), at + chance.randrange(1, 40))])
            return raw[:rest] + raw[at:] if rest > at else raw[:at] + raw[at + 1 :]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_plainly_of_a_spoilt_line_is_what_the_model_makes_of_it(seed: int) -> None:
    chance, accepted = random.Random(seed), 0
    for _ in range(6_000):
        line = chance.choice(LINES)
        raw = mutated(chance, line)
        if chance.random() < 0.3:
            raw = mutated(chance, raw)
        found = plainly(raw)
        if found is not None:
            assert found == by_the_model(raw), raw
            accepted += raw != line
    assert accepted > 200, "too few were read plainly for this to say anything"


TEXTS = {
    "reference": (100, "{}"),
    "grade": (100, "{}"),
    "moduleReference": (100, "{}"),
    "learner.eduId": (200, "{}"),
    "learner.eppn": (200, "{}@hhs.nl"),
    "learner.name": (255, "{}"),
    "learner.email": (255, "{}@b"),
    "evidence.name": (255, "{}"),
    "evidence.url": (2_000, "https://{}"),
    "evidence.narrative": (2_000, "{}"),
    "evidence.description": (2_000, "{}"),
}


@pytest.mark.parametrize("member", TEXTS)
def test_at_every_limit_of_a_text_the_two_agree(member: str) -> None:
    most, shape = TEXTS[member]
    for length in (0, 1, 64, 99, 100, 101, 199, 200, 201, 254, 255, 256, 1_999, 2_000, 2_001, 4_000, 4_001):
        for letter in "aé𝔸":
            text = shape.format(letter * (length - len(shape.format(""))))
            raw = json.dumps(_with(member, text), ensure_ascii=False).encode()
            found = plainly(raw)
            assert found is None or found == by_the_model(raw), (member, length)
    assert by_the_model(json.dumps(_with(member, shape.format("a" * (most - 50)))).encode()) is not None


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21])
def test_at_the_limit_of_the_evidence_the_two_agree(count: int) -> None:
    raw = json.dumps(award("x", evidence=[{"name": "e"}] * count)).encode()
    assert plainly(raw) == by_the_model(raw)


def _with(member: str, text: str) -> dict[str, Any]:
    """An award with this text as one of its members."""
    outer, _, inner = member.rpartition(".")
    match outer:
        case "learner":
            others = {} if inner in ("eduId", "eppn") else {"eduId": "a"}
            return award("x", learner={inner: text, **others})
        case "evidence":
            return award("x", evidence=[{inner: text}])
    return award("x") | {inner: text}


plain_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, blacklist_characters='\\"'), min_size=1, max_size=100
).filter(lambda text: text == text.strip())


@settings(max_examples=200, deadline=None)
@given(plain_texts, plain_texts, plain_texts)
@example("René", "Zoë van ’t Hof", "Ναταλία")
def test_plain_lines_are_read_plainly(reference: str, name: str, narrative: str) -> None:
    body = award(reference, learner={"eduId": "a1-b2", "name": name, "email": "a@example.org"})
    body["evidence"] = [{"url": "https://example.org/e1", "narrative": narrative}]
    for written_ in (json.dumps(body), json.dumps(body, ensure_ascii=False), json.dumps(body, indent=1)):
        found = plainly(written_.encode())
        assert found is not None
        assert found == by_the_model(written_.encode())


@pytest.mark.parametrize(
    "twice",
    [
        '{"reference": "a", "reference": "a", %s}',
        '{"reference": "a", "\\u0072eference": "a", %s}',
        '{"reference": "a", "grade": null, %s}',
        '{"reference": "a", "grade": null, "grade": "8", %s}',
        '{"reference": "a", "moduleVersion": 1, "moduleVersion": 1, %s}',
        '{"reference": "a", "evidence": [{"name": "x", "name": "x"}], %s}',
        '{"reference": "a", "learner": {"eppn": "x"}, %s}',
    ],
)
def test_a_member_that_stands_twice_or_is_null_is_left_to_the_model(twice: str) -> None:
    rest = '"moduleReference": "K", "learner": {"eduId": "x"}, "awardedOn": "2023-04-19"'
    assert plainly((twice % rest).encode()) is None
    assert plainly(b'{"reference": "a", %s}' % rest.encode()) is not None


def test_what_is_not_plain_is_refused_in_the_words_of_the_model() -> None:
    raw = json.dumps(award("a\u202eb", grade="", awardedOn="2031-01-01")).encode()
    with pytest.raises(InvalidInput) as by_model:
        parse(AwardBody, raw, {"today": TODAY})
    with pytest.raises(InvalidInput) as found:
        stated_award(raw, TODAY, BRIN, ORIGIN)
    assert found.value.errors == by_model.value.errors
