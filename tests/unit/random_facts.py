"""Random facts of every type, for properties that hold whatever is recorded."""

from __future__ import annotations

import datetime as dt
import types
import typing
from typing import Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from registry.domain.events import FACTS, Fact, StudyLoad

LARGEST = 2**53 - 1
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
credits_ = st.integers(1, 20_000).map(lambda halves: halves // 2 if halves % 2 == 0 else halves / 2)
study_loads = st.one_of(st.builds(StudyLoad, ects=credits_), st.builds(StudyLoad, sbu=st.integers(1, 10_000)))


def facts() -> st.SearchStrategy[Fact]:
    return st.sampled_from(list(FACTS.values())).flatmap(fact_of)


def fact_of(kind: type[Fact]) -> st.SearchStrategy[Any]:
    return _struct(kind)


def _struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    if kind is StudyLoad:
        return study_loads
    members = typing.get_type_hints(kind)
    return st.builds(kind, **{name: _value(members[name]) for name in kind.__struct_fields__})


def _value(kind: Any) -> st.SearchStrategy[Any]:
    """A strategy for a member's type; a type that is not known here is an error."""
    if get_origin(kind) in (typing.Union, types.UnionType):
        return st.one_of(*map(_value, get_args(kind)))
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        return st.lists(_value(get_args(kind)[0]), max_size=5).map(tuple)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    known: dict[Any, st.SearchStrategy[Any]] = {
        str: texts,
        int: st.integers(0, LARGEST),
        bool: st.booleans(),
        dt.date: st.dates(),
        dt.datetime: st.datetimes(timezones=st.just(dt.UTC)),
        type(None): st.none(),
    }
    return known[kind]
