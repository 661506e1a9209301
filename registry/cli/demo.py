"""The command `registry demo-data`: the pilot's first awards, as the two institutions published them.

Source: De Haagse Hogeschool, "reikt de eerste 25 microcredentials uit": 10 professionals received
Klinisch redeneren on 19 April, and Make IT Work led to three microcredentials for 5 participants.
The page names no year, study loads, levels or people: the year 2023 is assumed, and what is invented is
marked as such.
"""

from __future__ import annotations

import argparse
import datetime as dt
from dataclasses import dataclass

from registry.cli import database
from registry.cli.common import checked_keys
from registry.domain.badge import AwardTerms
from registry.domain.events import Level, ModuleContent, QualityAssurance, StudyLoad
from registry.domain.institution import Origin, Particulars
from registry.domain.private_parts import Recipient
from registry.recording.awards import StatedAward
from registry.recording.commands import AdmitInstitution, RegisterModule
from registry.recording.registry import Registry, utc_now
from registry.settings import Settings

ORIGIN = Origin("demo", "cli")
INVENTED = "Study load, level and learning outcomes are invented for this demonstration."
HAAGSE, ROTTERDAM = "27UM", "22OJ"
# The page gives day and month; the year is assumed.
AWARD_DAY = dt.date(2023, 4, 19)


@dataclass(frozen=True)
class DemoModule:
    brin: str
    reference: str
    name: str
    faculty: str
    ects: int
    outcome: str
    isced: str
    programme: str | None = None


INSTITUTIONS: tuple[tuple[str, Particulars], ...] = (
    (
        HAAGSE,
        Particulars(
            "De Haagse Hogeschool",
            "hbo",
            dt.date(2022, 2, 1),
            "The Hague University of Applied Sciences",
            "hhs.nl",
        ),
    ),
    (
        ROTTERDAM,
        Particulars(
            "Hogeschool Rotterdam",
            "hbo",
            dt.date(2022, 2, 1),
            "Rotterdam University of Applied Sciences",
            "hr.nl",
        ),
    ),
)

KLINRED = DemoModule(
    HAAGSE,
    "KLINRED",
    "Klinisch redeneren bij complexe (verpleegkundige) problematiek",
    "Gezondheid, Voeding en Sport",
    5,
    "Beargumenteert beslissingen in complexe zorgsituaties",
    "0913",
)
MAKE_IT_WORK = tuple(
    DemoModule(HAAGSE, reference, name, "IT & Design", 5, outcome, "0613", "Make IT Work")
    for reference, name, outcome in (
        ("MIW-1", "Make IT Work: microcredential 1", "Ontwerpt en bouwt een eenvoudige webapplicatie"),
        ("MIW-2", "Make IT Work: microcredential 2", "Modelleert gegevens en bevraagt een databank"),
        ("MIW-3", "Make IT Work: microcredential 3", "Test en levert software op in een team"),
    )
)
ROTTERDAM_MODULES = (
    DemoModule(
        ROTTERDAM,
        "IVL-1",
        "Didactiek voor zij-instromers",
        "Instituut voor Lerarenopleidingen",
        5,
        "Ontwerpt een lessenreeks",
        "0114",
    ),
    DemoModule(
        ROTTERDAM,
        "CA-1",
        "Projectmatig werken",
        "Career Academy",
        3,
        "Leidt een klein project van opdracht tot oplevering",
        "0413",
    ),
)
MODULES = (KLINRED, *MAKE_IT_WORK, *ROTTERDAM_MODULES)


def load(registry: Registry) -> int:
    """Records the pilot's data, once: a second run changes nothing. Returns the last position."""
    last = 0
    for brin, particulars in INSTITUTIONS:
        last = max(last, registry.record(AdmitInstitution(brin, particulars, ORIGIN)).position)
    for module in MODULES:
        module_id = registry.module_id(module.brin, module.reference)
        command = RegisterModule(module.brin, module_id, module.reference, _content(module), ORIGIN)
        last = max(last, registry.record(command).position)
    for number in range(1, 11):
        last = max(last, _award(registry, KLINRED, f"2023-0419-{number:02}", number))
    for module in MAKE_IT_WORK:
        for number in range(11, 16):
            last = max(last, _award(registry, module, f"2023-{module.reference}-{number:02}", number))
    return last


def _content(module: DemoModule) -> ModuleContent:
    return ModuleContent(
        name=module.name,
        description=f"{module.name}. {INVENTED}",
        study_load=StudyLoad(ects=module.ects),
        level=Level(nlqf="6", eqf="6"),
        learning_outcomes=(module.outcome,),
        language="nl-NL",
        isced=module.isced,
        participation="blended",
        assessment=("portfolio",),
        supervision="onsite-with-identity",
        quality_assurance=QualityAssurance(name="NVAO", url="https://www.nvao.net"),
        stackable=True,
        faculty=module.faculty,
        programme=module.programme,
    )


def _award(registry: Registry, module: DemoModule, reference: str, learner: int) -> int:
    """One award to an invented person."""
    recipient = Recipient(
        edu_id=f"00000000-0000-4000-8000-{learner:012}",
        name=f"Deelnemer {learner} (verzonnen)",
        email=f"deelnemer{learner}@example.org",
    )
    award = StatedAward(
        module.brin, reference, None, module.reference, recipient, AwardTerms(None, AWARD_DAY), ORIGIN
    )
    return registry.record(registry.preparation().prepare(award)).position


def run(settings: Settings, _: argparse.Namespace) -> int:
    with database.started(settings, "registry_serve") as url:
        registry = Registry(url, checked_keys(url, settings), utc_now)
        try:
            last = load(registry)
        finally:
            registry.close()
    print(f"the pilot's data is recorded, through position {last}")
    return 0
