"""A registry on a database, with invented institutions, modules and learners."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from registry.domain.badge import AwardTerms
from registry.domain.events import Level, ModuleContent, QualityAssurance, StudyLoad
from registry.domain.institution import Origin, Particulars
from registry.domain.private_parts import Evidence, Recipient
from registry.recording.awards import StatedAward
from registry.recording.commands import AdmitInstitution, RegisterModule
from registry.recording.decisions import BadgeOutcome, Outcome, Settled
from registry.recording.registry import Registry
from tests.support import KEYS

ORIGIN = Origin("api", "0123456789abcdef")
LEARNER_NAME = "A. Jansen (verzonnen)"
REFERENCE = "KLINRED"
AWARDED_ON = dt.date(2023, 4, 19)
CONTENT = ModuleContent(
    name="Klinisch redeneren",
    description="Redeneren over complexe zorg.",
    study_load=StudyLoad(ects=5),
    level=Level(nlqf="6"),
    learning_outcomes=("Beargumenteert beslissingen",),
    language="nl-NL",
    participation="blended",
    assessment=("portfolio",),
    quality_assurance=QualityAssurance(name="NVAO", url="https://www.nvao.net"),
)


@contextmanager
def registry_on(url: str, clock: Callable[[], dt.datetime] | None = None) -> Iterator[Registry]:
    registry = Registry(url, KEYS, clock or (lambda: dt.datetime.now(dt.UTC)))
    try:
        yield registry
    finally:
        registry.close()


def admitted(registry: Registry, *brins: str) -> None:
    """Admits the institutions, each with a module of its own under the one reference."""
    for brin in brins:
        registry.record(
            AdmitInstitution(brin, Particulars(f"Hogeschool {brin}", "hbo", dt.date(2022, 2, 1)), ORIGIN)
        )
        register_module(registry, brin, REFERENCE, CONTENT, ORIGIN)


def award(registry: Registry, brin: str, reference: str, edu_id: str, **stated: Any) -> BadgeOutcome:
    return award_badge(registry, command(brin, reference, edu_id, **stated))


def command(
    brin: str, reference: str, edu_id: str, module: str = REFERENCE, version: int | None = None, **stated: Any
) -> StatedAward:
    recipient = Recipient(edu_id=edu_id, name=LEARNER_NAME, email="jansen@example.org")
    evidence = (Evidence(url="https://example.org/e1", narrative="Portfolio met reflectie"),)
    return StatedAward(
        brin,
        reference,
        None,
        module,
        recipient,
        AwardTerms(version, AWARDED_ON, **stated),
        ORIGIN,
        "grade-8",
        evidence,
    )


def register_module(
    registry: Registry, brin: str, reference: str, content: ModuleContent, origin: Origin = ORIGIN
) -> Outcome:
    module_id = registry.module_id(brin, reference)
    return registry.record(RegisterModule(brin, module_id, reference, content, origin))


def award_badge(registry: Registry, stated: StatedAward) -> BadgeOutcome:
    return registry.record(registry.preparation().prepare(stated))


def award_badges(registry: Registry, stated: Sequence[StatedAward]) -> list[Settled]:
    """As one page."""
    return registry.settle(registry.preparation().prepare_all(stated))
