"""Badge classes change between answers: each award keeps what its own answer states, in any order."""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain import module as modules
from registry.domain.events import BadgeAwarded, ModuleRegistered, ModuleRevised
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.files import read_documents
from registry.edubadges.importer import import_hosted
from registry.recording.registry import Registry
from tests.hosted import BADGE, assertion_url, expanded, expanded_class, extension
from tests.postgres.log import whole_log
from tests.support import KEYS

_worlds = itertools.count()

# What a badge class may say from one answer to the next: said otherwise, not understood, or not said.
CHANGES: dict[str, tuple[Any, ...]] = {
    "name": ("Wondzorg in de wijk", "Wondzorg"),
    "description": ("Oude tekst.", "Nieuwe tekst.", None),
    "extensions:EQFExtension": tuple(extension("EQF", n)["extensions:EQFExtension"] for n in (5, 6, 9)),
    "extensions:ECTSExtension": (extension("ECTS", 3)["extensions:ECTSExtension"], None),
    "extensions:StudyLoadExtension": (None, extension("StudyLoad", 240)["extensions:StudyLoadExtension"]),
    "participation": ("onsite", "online", "elders", None),
    "assessmentType": ("portfolio", "testing", None),
    "stackable": (True, False, None),
    "typeBadgeClass": ("micro_credential", "regular", None),
    "qualityAssuranceUrl": ("https://www.nvao.net", "nvao", None),
}
states = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHANGES.items()})


@dataclass
class World:
    """A way to import the answers: which run and folder each is in, and what its file is called."""

    runs: list[list[tuple[int, str]]]


@st.composite
def worlds(draw: st.DrawFn, answers: int) -> World:
    order = draw(st.permutations(range(answers)))
    names = draw(st.permutations([f"{letter}.json" for letter in "abcdefgh"[:answers]]))
    files = [
        (number, draw(st.sampled_from(("", "deep/"))) + name)
        for number, name in zip(order, names, strict=True)
    ]
    cuts = sorted(draw(st.sets(st.integers(1, answers - 1)))) if answers > 1 else []
    return World([files[start:end] for start, end in itertools.pairwise([0, *cuts, answers])])


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[World]]:
    several = draw(st.lists(states, min_size=1, max_size=4))
    answers = draw(st.lists(st.sampled_from(several), min_size=2, max_size=6))
    together = World([[(number, f"{number}.json") for number in range(len(answers))]])
    return answers, [together, draw(worlds(len(answers))), draw(worlds(len(answers)))]


def recorded_in(url: str, registry: Registry, answers: list[dict[str, Any]], world: World) -> Any:
    """What is recorded of the answers after all runs, without versions' numbers, ids, positions and times."""
    at = f"{next(_worlds)}-"
    badge = f"{BADGE}/{at}"
    before = len(whole_log(url))
    for run in world.runs:
        with tempfile.TemporaryDirectory() as folder:
            for number, place in run:
                file = Path(folder, place)
                file.parent.mkdir(exist_ok=True)
                stated = expanded_class(id=badge, **answers[number])
                file.write_text(json.dumps(expanded(f"{at}{number}", stated)))
            lines = list(
                import_hosted(registry, read_documents(Path(folder), registry.today()), None, all_types=True)
            )
        assert {line.outcome for line in lines} == {"imported"}
    names = {KEYS.made_id("badge", "27UM", assertion_url(f"{at}{n}")): n for n in range(len(answers))}
    contents: dict[int, Any] = {}
    awards: dict[int, Any] = {}
    for event in whole_log(url)[before:]:
        fact = event.event().data
        match fact:
            case ModuleRegistered() | ModuleRevised():
                contents[fact.version] = fact.content_hash
            case BadgeAwarded():
                assert contents[fact.module_version] == fact.content_hash
                awards[names[event.event().originator_id]] = (
                    fact.content_hash,
                    fact.module_name,
                    fact.level,
                    fact.study_load,
                    fact.awarded_on,
                    fact.badge_type,
                    fact.findings,
                )
    assert len(set(contents.values())) == len(contents)
    return sorted(contents.values()), awards


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories())
def test_each_award_shows_what_its_answer_states_in_one_folder_one_by_one_and_in_any_order(
    url: str, registry: Registry, history: tuple[list[dict[str, Any]], list[World]]
) -> None:
    answers, spreads = history
    results = [recorded_in(url, registry, answers, world) for world in spreads]
    assert all(result == results[0] for result in results)
    contents, awards = results[0]
    stated = [read_badge_class(BADGE, expanded_class(**answer)) for answer in answers]
    for number, source in enumerate(stated):
        digest, name, level, study_load, _, badge_type, findings = awards[number]
        assert digest == modules.content_hash(source.content)
        assert (name, level, study_load) == (
            source.content.name,
            source.content.level,
            source.content.study_load,
        )
        assert badge_type == source.badge_type
        assert set(source.findings) <= set(findings)
        assert "module-differs" not in findings
    assert set(contents) == {modules.content_hash(source.content) for source in stated}
