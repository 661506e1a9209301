"""Badge classes change between answers: each award keeps what its own answer states, in any order.

An answer is an assertion, expanded, or plain with the document of its badge class beside it.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain import module as modules
from registry.domain.events import BadgeAwarded, ModuleRegistered, ModuleRevised
from registry.domain.imports import ImportedModule
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.files import read_documents
from registry.edubadges.importer import import_hosted
from registry.recording.registry import Registry
from tests.hosted import BADGE, assertion, assertion_url, expanded, expanded_class, extension
from tests.postgres.log import whole_log
from tests.support import KEYS

_worlds = itertools.count()

# What a badge class may say from one answer to the next: said otherwise, not understood, or not said.
CHANGES: dict[str, tuple[Any, ...]] = {
    "identifier": ("27UM", "22OJ"),
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
Form = Literal["expanded", "expanded and plain", "plain with document", "plain alone"]
forms: st.SearchStrategy[Form] = st.sampled_from(
    ["expanded", "expanded", "expanded and plain", "plain with document", "plain alone"]
)


class Answer(NamedTuple):
    """An assertion, and the state of its badge class; all documents of a badge class are in one state."""

    form: Form
    state: dict[str, Any]

    @property
    def badge(self) -> str:
        """The documents' badge class is one of its own, else they would speak of the others too."""
        digest = modules.content_hash(self.read(BADGE).content)[:8] if "document" in self.form else "x"
        return f"{BADGE}/{digest}{self.state['identifier'] if 'document' in self.form else ''}"

    def badge_class(self, badge: str) -> dict[str, Any]:
        return expanded_class(id=badge, **self.state)

    def read(self, badge: str) -> ImportedModule:
        return read_badge_class(badge, self.badge_class(badge))

    def files(self, at: str, number: int) -> list[dict[str, Any]]:
        """The files that may be apart from each other."""
        badge, name = f"{self.badge}/{at}", f"{at}{number}"
        plain = assertion(name, badge=badge)
        if self.form.startswith("expanded"):
            whole = expanded(name, self.badge_class(badge))
            return [whole, plain] if "plain" in self.form else [whole]
        return [plain]

    def beside(self, at: str) -> list[dict[str, Any]]:
        return [self.badge_class(f"{self.badge}/{at}")] if "document" in self.form else []


@dataclass
class World:
    """A way to import the answers: which run and folder each file is in, and what it is called."""

    runs: list[list[tuple[int, str]]]


@st.composite
def worlds(draw: st.DrawFn, files: int) -> World:
    order = draw(st.permutations(range(files)))
    names = draw(st.permutations([f"{letter}.json" for letter in "abcdefghijkl"[:files]]))
    places = [
        (number, draw(st.sampled_from(("", "deep/"))) + name)
        for number, name in zip(order, names, strict=True)
    ]
    cuts = sorted(draw(st.sets(st.integers(1, files - 1)))) if files > 1 else []
    return World([places[start:end] for start, end in itertools.pairwise([0, *cuts, files])])


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Answer], list[World]]:
    several = draw(st.lists(states, min_size=1, max_size=4))
    answers = draw(st.lists(st.builds(Answer, forms, st.sampled_from(several)), min_size=2, max_size=6))
    files = sum(len(answer.files("", 0)) for answer in answers)
    together = World([[(number, f"{number:02}.json") for number in range(files)]])
    return answers, [together, draw(worlds(files)), draw(worlds(files))]


def recorded_in(url: str, registry: Registry, answers: list[Answer], world: World) -> Any:
    """What is recorded of the answers after all runs, without versions' numbers, ids, positions and times."""
    at = f"{next(_worlds)}-"
    before = len(whole_log(url))
    files = [(file, answer) for number, answer in enumerate(answers) for file in answer.files(at, number)]
    for run in world.runs:
        with tempfile.TemporaryDirectory() as folder:
            for number, place in run:
                document, answer = files[number]
                file = Path(folder, place)
                file.parent.mkdir(exist_ok=True)
                file.write_text(json.dumps(document))
                for beside in answer.beside(at):
                    Path(folder, f"{place.replace('/', '')}-class.json").write_text(json.dumps(beside))
            items = read_documents(Path(folder), registry.today())
            lines = list(import_hosted(registry, items, None, all_types=True))
        for line in lines:
            if line.outcome == "refused":
                assert "is a badge class" in line.reason or "expand=badge" in line.reason
    names = {
        KEYS.made_id("badge", brin, assertion_url(f"{at}{n}")): n
        for n in range(len(answers))
        for brin in CHANGES["identifier"]
    }
    contents: dict[tuple[str, int], str] = {}
    awards: dict[int, Any] = {}
    for event in whole_log(url)[before:]:
        fact, subject = event.event().data, event.event().originator_id
        match fact:
            case ModuleRegistered() | ModuleRevised():
                contents[subject, fact.version] = fact.content_hash
            case BadgeAwarded():
                assert contents[fact.module_id, fact.module_version] == fact.content_hash
                assert names[subject] not in awards
                awards[names[subject]] = (
                    fact.institution,
                    fact.content_hash,
                    fact.module_name,
                    fact.level,
                    fact.study_load,
                    fact.awarded_on,
                    fact.badge_type,
                    fact.findings,
                )
    assert len({(subject, content) for (subject, _), content in contents.items()}) == len(contents)
    return sorted(contents.values()), awards


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories())
def test_each_award_shows_what_its_answer_states_in_one_folder_one_by_one_and_in_any_order(
    url: str, registry: Registry, history: tuple[list[Answer], list[World]]
) -> None:
    answers, spreads = history
    results = [recorded_in(url, registry, answers, world) for world in spreads]
    assert all(result == results[0] for result in results)
    contents, awards = results[0]
    stated = {n: answer for n, answer in enumerate(answers) if answer.form != "plain alone"}
    assert awards.keys() == stated.keys()
    for number, answer in stated.items():
        source = answer.read(BADGE)
        institution, digest, name, level, study_load, _, badge_type, findings = awards[number]
        assert institution == answer.state["identifier"]
        assert digest == modules.content_hash(source.content)
        assert (name, level, study_load) == (
            source.content.name,
            source.content.level,
            source.content.study_load,
        )
        assert badge_type == source.badge_type
        assert set(source.findings) <= set(findings)
        assert "module-differs" not in findings
        assert ("module-not-stated" in findings) == (answer.form == "plain with document")
    assert set(contents) == {modules.content_hash(answer.read(BADGE).content) for answer in stated.values()}
