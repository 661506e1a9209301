"""The command `registry demo-data`: the pilot's first awards, and invented ones of other years and sectors.

Sources, as `PILOT` below: De Haagse Hogeschool, "reikt de eerste 25 microcredentials uit": 10 professionals
received Klinisch redeneren on 19 April, and Make IT Work led to three microcredentials for 5 participants.
The page names no year, study loads, levels or people: the year 2023 is assumed.

Sources, as `LATER` below: Avans awarded Back-end development en databases to 8 students in July 2022, and
the University of Amsterdam began with Scientific Programming 1 and 2 in September 2024. All other days and
numbers are invented, and so are the third of these institutions and every person.
"""

from __future__ import annotations

import argparse
import datetime as dt
from dataclasses import dataclass

from registry.cli import database
from registry.cli.common import checked_keys
from registry.domain.badge import AwardTerms
from registry.domain.events import Level, ModuleContent, QualityAssurance, RevocationReason, StudyLoad
from registry.domain.institution import Origin, Particulars
from registry.domain.private_parts import Recipient
from registry.recording.awards import StatedAward
from registry.recording.commands import AdmitInstitution, RegisterModule, RevokeBadge
from registry.recording.registry import Registry, utc_now
from registry.settings import Settings

ORIGIN = Origin("demo", "cli")
INVENTED = "Study load, level and learning outcomes are invented for this demonstration."
INVENTED_AWARDS = "So are the numbers of awards, and their days."
HAAGSE, ROTTERDAM, AVANS, AMSTERDAM, FICTIONAL = "27UM", "22OJ", "07GR", "21PK", "99MB"
# The page gives day and month; the year is assumed.
AWARD_DAY = dt.date(2023, 4, 19)
FIRST_DAY = dt.date(2022, 2, 1)


@dataclass(frozen=True)
class DemoModule:
    brin: str
    reference: str
    name: str
    faculty: str | None
    study_load: StudyLoad
    outcome: str
    isced: str
    programme: str | None = None
    nlqf: str = "6"


@dataclass(frozen=True)
class Cohort:
    """The learners numbered `first` through `last` get a badge for this module on one day."""

    module: DemoModule
    day: dt.date
    first: int
    last: int


@dataclass(frozen=True)
class DemoData:
    institutions: tuple[tuple[str, Particulars], ...]
    modules: tuple[DemoModule, ...]
    cohorts: tuple[Cohort, ...]
    note: str


KLINRED = DemoModule(
    HAAGSE,
    "KLINRED",
    "Klinisch redeneren bij complexe (verpleegkundige) problematiek",
    "Gezondheid, Voeding en Sport",
    StudyLoad(ects=5),
    "Beargumenteert beslissingen in complexe zorgsituaties",
    "0913",
)
MAKE_IT_WORK = tuple(
    DemoModule(HAAGSE, reference, name, "IT & Design", StudyLoad(ects=5), outcome, "0613", "Make IT Work")
    for reference, name, outcome in (
        ("MIW-1", "Make IT Work: microcredential 1", "Ontwerpt en bouwt een eenvoudige webapplicatie"),
        ("MIW-2", "Make IT Work: microcredential 2", "Modelleert gegevens en bevraagt een databank"),
        ("MIW-3", "Make IT Work: microcredential 3", "Test en levert software op in een team"),
    )
)
PILOT = DemoData(
    institutions=(
        (
            HAAGSE,
            Particulars(
                "De Haagse Hogeschool",
                "hbo",
                FIRST_DAY,
                "The Hague University of Applied Sciences",
                "hhs.nl",
            ),
        ),
        (
            ROTTERDAM,
            Particulars(
                "Hogeschool Rotterdam", "hbo", FIRST_DAY, "Rotterdam University of Applied Sciences", "hr.nl"
            ),
        ),
    ),
    modules=(
        KLINRED,
        *MAKE_IT_WORK,
        DemoModule(
            ROTTERDAM,
            "IVL-1",
            "Didactiek voor zij-instromers",
            "Instituut voor Lerarenopleidingen",
            StudyLoad(ects=5),
            "Ontwerpt een lessenreeks",
            "0114",
        ),
        DemoModule(
            ROTTERDAM,
            "CA-1",
            "Projectmatig werken",
            "Career Academy",
            StudyLoad(ects=3),
            "Leidt een klein project van opdracht tot oplevering",
            "0413",
        ),
    ),
    cohorts=(
        Cohort(KLINRED, AWARD_DAY, 1, 10),
        *(Cohort(module, AWARD_DAY, 11, 15) for module in MAKE_IT_WORK),
    ),
    note=INVENTED,
)

BACK_END = DemoModule(
    AVANS,
    "BED-1",
    "Back-end development en databases",
    None,
    StudyLoad(ects=15),
    "Bouwt een service met een databank",
    "0613",
)
PROGRAMMING_1, PROGRAMMING_2 = (
    DemoModule(
        AMSTERDAM,
        f"SP-{number}",
        f"Scientific Programming {number}",
        None,
        StudyLoad(ects=6),
        outcome,
        "0613",
        "Scientific Programming",
        "7",
    )
    for number, outcome in (
        (1, "Schrijft programma's die gegevens van onderzoek verwerken"),
        (2, "Ontwerpt en toetst een rekenmodel"),
    )
)
CARE_AT_A_DISTANCE, ENERGY = (
    DemoModule(FICTIONAL, reference, name, None, StudyLoad(sbu=sbu), outcome, isced, nlqf="4")
    for reference, name, sbu, outcome, isced in (
        ("ZOA-1", "Zorg op afstand", 240, "Begeleidt een cliënt met beeldzorg", "0913"),
        ("ENC-1", "Energiecoach", 320, "Adviseert bewoners over isolatie", "0732"),
    )
)
LATER = DemoData(
    institutions=(
        (
            AVANS,
            Particulars(
                "Avans Hogeschool", "hbo", FIRST_DAY, "Avans University of Applied Sciences", "avans.nl"
            ),
        ),
        (
            AMSTERDAM,
            Particulars("Universiteit van Amsterdam", "wo", FIRST_DAY, "University of Amsterdam", "uva.nl"),
        ),
        (FICTIONAL, Particulars("MBO Voorbeeld (verzonnen)", "mbo", dt.date(2024, 8, 1))),
    ),
    modules=(BACK_END, PROGRAMMING_1, PROGRAMMING_2, CARE_AT_A_DISTANCE, ENERGY),
    cohorts=(
        Cohort(BACK_END, dt.date(2022, 7, 8), 21, 28),
        Cohort(BACK_END, dt.date(2024, 2, 2), 29, 34),
        Cohort(PROGRAMMING_1, dt.date(2024, 9, 27), 41, 52),
        Cohort(PROGRAMMING_2, dt.date(2025, 1, 31), 41, 49),
        Cohort(CARE_AT_A_DISTANCE, dt.date(2024, 11, 29), 61, 70),
        Cohort(ENERGY, dt.date(2025, 6, 20), 67, 75),
        # Some learners come back, also to another institution.
        Cohort(BACK_END, dt.date(2025, 7, 4), 47, 51),
    ),
    note=f"{INVENTED} {INVENTED_AWARDS}",
)
REVOKED: tuple[tuple[Cohort, int, RevocationReason], ...] = (
    (LATER.cohorts[1], 31, "learner-request"),
    (LATER.cohorts[2], 52, "awarded-in-error"),
    (LATER.cohorts[4], 65, "other"),
)


def load(registry: Registry) -> int:
    """Records the demo data, once: a second run changes nothing. Returns the last position.

    The data of the pilot comes first and alone: its figures are those of one position, whatever follows.
    """
    last = 0
    for data in (PILOT, LATER):
        for brin, particulars in data.institutions:
            last = max(last, registry.record(AdmitInstitution(brin, particulars, ORIGIN)).position)
        for module in data.modules:
            module_id = registry.module_id(module.brin, module.reference)
            content = _content(module, data.note)
            command = RegisterModule(module.brin, module_id, module.reference, content, ORIGIN)
            last = max(last, registry.record(command).position)
        for cohort in data.cohorts:
            for learner in range(cohort.first, cohort.last + 1):
                last = max(last, _award(registry, cohort, learner))
    for cohort, learner, reason in REVOKED:
        brin = cohort.module.brin
        badge_id = registry.badge_id(brin, _reference(cohort, learner))
        last = max(last, registry.record(RevokeBadge(brin, badge_id, reason, None, None, ORIGIN)).position)
    return last


def _content(module: DemoModule, note: str) -> ModuleContent:
    return ModuleContent(
        name=module.name,
        description=f"{module.name}. {note}",
        study_load=module.study_load,
        level=Level(nlqf=module.nlqf, eqf=module.nlqf),
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


def _reference(cohort: Cohort, learner: int) -> str:
    if cohort.module is KLINRED:
        return f"2023-0419-{learner:02}"
    return f"{cohort.day.year}-{cohort.module.reference}-{learner:02}"


def _award(registry: Registry, cohort: Cohort, learner: int) -> int:
    """One award to an invented person."""
    recipient = Recipient(
        edu_id=f"00000000-0000-4000-8000-{learner:012}",
        name=f"Deelnemer {learner} (verzonnen)",
        email=f"deelnemer{learner}@example.org",
    )
    module = cohort.module
    award = StatedAward(
        module.brin,
        _reference(cohort, learner),
        None,
        module.reference,
        recipient,
        AwardTerms(None, cohort.day),
        ORIGIN,
    )
    return registry.record(registry.preparation().prepare(award)).position


def run(settings: Settings, _: argparse.Namespace) -> int:
    with database.started(settings, "registry_serve") as url:
        registry = Registry(url, checked_keys(url, settings), utc_now)
        try:
            last = load(registry)
        finally:
            registry.close()
    print(f"the demo data is recorded, through position {last}")
    return 0
