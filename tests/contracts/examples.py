"""One fixed event of each type, with every member that the contract gives it; all of it is invented."""

from __future__ import annotations

import datetime as dt
from typing import Any

from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Commitments,
    Correction,
    Event,
    EventRetried,
    EventSkipped,
    Fact,
    InstitutionAdmitted,
    InstitutionChanged,
    InstitutionExempted,
    InstitutionReinstated,
    InstitutionSuspended,
    Level,
    LogRepartitioned,
    ModuleContent,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    QualityAssurance,
    ReadModelReplaced,
    StudyLoad,
    TokenCreated,
    TokenRevoked,
)
from registry.domain.module import content_hash

BRIN = "27UM"
MODULE = "73ad44ec-bff6-869f-b65f-6fc290053191"
BADGE = "d766ca5a-8802-8786-9642-96e3ccb10518"
SUPERSEDED = "5b6a1254-d0c2-80cd-859d-412e17a79b93"
LEARNER = "7b6a2c1e-5d0f-4a55-9f3e-0c1d2e3f4a5b"
CLIENT = "0123456789abcdef"
NOTE = "40233cca09ffe161cc6423f1eb7e87e467db846d01dfc6ff39cad37b2184982b"
SALT = "000102030405060708090a0b0c0d0e0f"
FIRST_TIME = dt.datetime(2024, 6, 3, 10, 0, 0, 1, dt.UTC)

ORIGIN: dict[str, Any] = {"channel": "api", "client": CLIENT}
OPERATOR: dict[str, Any] = {"channel": "operator", "client": "cli"}
INTERVENTION: dict[str, Any] = {"read_model": "badges", "at_position": 12, "reason": "Zie “storing” 12"}
TOKEN = "00112233445566ff"
PARTICULARS: dict[str, Any] = {
    "name": "De Haagse Hogeschool",
    "name_en": "The Hague University of Applied Sciences",
    "kind": "hbo",
    "schac_home": "hhs.nl",
    "admitted_from": dt.date(2022, 2, 1),
    "admitted_until": dt.date(2029, 12, 31),
}
CONTENT = ModuleContent(
    name="Klinisch redeneren “complex” — zoë",
    description='Redeneren over\n\tcomplexe zorg: "waarom" \\ hoe.',
    study_load=StudyLoad(ects=2.5),
    level=Level(nlqf="4+", eqf="4"),
    learning_outcomes=("Beargumenteert beslissingen", "Weegt € en risico’s"),
    language="nl-NL",
    participation="blended",
    assessment=("portfolio", "oral-exam"),
    quality_assurance=QualityAssurance(
        name="NVAO", url="https://www.nvao.net", description="Accreditatieorganisatie"
    ),
    isced="0913",
    supervision="onsite-with-identity",
    stackable=True,
    faculty="Gezondheid, Voeding en Sport",
    programme="Verpleegkunde",
    target_group="professionals",
    legal_ground="WHW 7.3d",
)
CONTENT_HASH = content_hash(CONTENT)
VERSION: dict[str, Any] = {
    "institution": BRIN,
    "reference": "KLINRED/α",
    "content_hash": CONTENT_HASH,
    "content": CONTENT,
    "badge_type": "extra-curricular",
    "findings": ("no-level", "no-outcomes"),
}
OF_BADGE: dict[str, Any] = {
    "institution": BRIN,
    "learner_id": LEARNER,
    "module_id": MODULE,
    "module_version": 2,
    "awarded_on": dt.date(2024, 5, 31),
}

FACTS: tuple[tuple[str, Fact], ...] = (
    (BRIN, InstitutionAdmitted(**ORIGIN, **PARTICULARS)),
    (BRIN, InstitutionChanged(**ORIGIN, **PARTICULARS)),
    (BRIN, InstitutionSuspended(**ORIGIN, reason="accreditation", note_commitment=NOTE)),
    (BRIN, InstitutionReinstated(**ORIGIN)),
    (
        BRIN,
        InstitutionExempted(
            channel="api",
            client="cli",
            module_reference="KLINRED/α",
            rule="study-load",
            reason="Deel van een proef\nmet kleine eenheden",
        ),
    ),
    (MODULE, ModuleRegistered(**ORIGIN, **VERSION, version=1)),
    (MODULE, ModuleRevised(**ORIGIN, **VERSION, version=2)),
    (MODULE, ModuleWithdrawn(**ORIGIN, institution=BRIN, from_=dt.date(2024, 9, 1))),
    (
        BADGE,
        BadgeAwarded(
            **ORIGIN,
            **OF_BADGE,
            module_name=CONTENT.name,
            institution_name="De Haagse Hogeschool",
            sector="hbo",
            study_load=StudyLoad(ects=5),
            level=Level(nlqf="6", eqf="6"),
            content_hash=CONTENT_HASH,
            commitments=Commitments(
                recipient="aa" * 32, reference="bb" * 32, grade="cc" * 32, evidence="dd" * 32
            ),
            isced="0913",
            programme="Verpleegkunde",
            legal_ground="WHW 7.3d",
            valid_until=dt.date(2029, 5, 31),
            supersedes=SUPERSEDED,
            badge_type="regular",
            findings=("recipient-hashed",),
        ),
    ),
    (
        BADGE,
        BadgeCorrected(
            **ORIGIN,
            **OF_BADGE,
            commitments=Correction(grade="cc" * 32, recipient="aa" * 32),
            salt=SALT,
        ),
    ),
    (BADGE, BadgeSuspended(**ORIGIN, **OF_BADGE, reason="appeal", salt=SALT, note_commitment=NOTE)),
    (BADGE, BadgeReinstated(**ORIGIN, **OF_BADGE, salt=SALT)),
    (
        BADGE,
        BadgeRevoked(
            **ORIGIN,
            **OF_BADGE,
            reason="identity-error",
            salt=SALT,
            note_commitment=NOTE,
            effective_on=dt.date(2024, 6, 1),
            observed=True,
        ),
    ),
    (
        TOKEN,
        TokenCreated(
            **OPERATOR,
            role="learner",
            expires_at=dt.datetime(2024, 7, 3, 10, 0, 0, 1, dt.UTC),
            institution=BRIN,
            learner_id=LEARNER,
        ),
    ),
    (TOKEN, TokenRevoked(**OPERATOR)),
    ("registry", EventSkipped(**OPERATOR, **INTERVENTION)),
    ("registry", EventRetried(**OPERATOR, **INTERVENTION)),
    ("registry", ReadModelReplaced(**OPERATOR, read_model="badges", version=2, reason="Storing 12")),
    ("registry", LogRepartitioned(**OPERATOR, partitions=8, reason="Meer afnemers")),
)


def events() -> dict[str, Event]:
    """By topic; each at the position of its place here, and as late a version of its own stream.

    The golden files hold both, so a new example is the last one.
    """
    found: dict[str, Event] = {}
    versions: dict[str, int] = {}
    for position, (subject, fact) in enumerate(FACTS, 1):
        versions[subject] = versions.get(subject, 0) + 1
        time = FIRST_TIME + dt.timedelta(seconds=position)
        found[fact.TOPIC] = Event(subject, versions[subject], fact, position, time)
    return found
