"""Awards read the short way mean what the model of the body makes of them, or are left to it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.bodies import parse
from api.commands.award_bodies import AwardBody, award_command
from api.commands.plain_awards import plain_award
from registry.awards import AwardCommand
from registry.domain.errors import InvalidInput
from registry.domain.institution import Origin
from tests.support import award

TODAY = dt.date(2024, 6, 3)
BRIN, ORIGIN = "27UM", Origin("batch", "0" * 16)
ID = "22222222-2222-8222-8222-222222222222"


def by_the_model(raw: bytes) -> AwardCommand | None:
    try:
        return parse(AwardBody, raw, {"today": TODAY}).command(BRIN, ORIGIN)
    except InvalidInput:
        return None


def plainly(raw: bytes) -> AwardCommand | None:
    return plain_award(raw, TODAY, BRIN, ORIGIN)


# JSON as it is written: objects are lists of members, so that a name can stand twice.
Members = list[tuple[str, Any]]


class Token(str):
    """A number as it is written."""

    __slots__ = ()


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    space = draw(st.sampled_from(["", "", "", " ", "\n", "\t ", "\r", "\u00a0"]))
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


@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_read_plainly_is_what_the_model_makes_of_it(data: st.DataObject) -> None:
    text = data.draw(written(data.draw(bent(GOOD))))
    raw = text.encode("utf-8", "surrogatepass")
    found = plainly(raw)
    if found is not None:
        assert found == by_the_model(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=8), st.integers(0, 400), st.integers(0, 3))
def test_so_it_is_where_bytes_of_a_line_are_changed(put: bytes, at: int, over: int) -> None:
    raw = json.dumps(award("x")).encode()
    raw = raw[:at] + put + raw[at + over :]
    found = plainly(raw)
    if found is not None:
        assert found == by_the_model(raw)


plain_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, blacklist_characters='\\"'), min_size=1, max_size=100
)


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
        award_command(raw, TODAY, BRIN, ORIGIN)
    assert found.value.errors == by_model.value.errors
