"""A registry with many badges: institutions, modules, learners and months in turn, a tenth revoked."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from registry.domain.events import (
    BadgeAwarded,
    BadgeRevoked,
    Commitments,
    Level,
    ModuleContent,
    StudyLoad,
)
from registry.domain.institution import Particulars
from registry.domain.private_parts import PrivateParts, Recipient, Salts
from registry.event_store.append import Row, row
from registry.event_store.vault import Owner, Vault, encoded
from registry.keys import RandomBytes
from registry.recording.commands import AdmitInstitution
from registry.recording.registry import Registry
from tests import support
from tests.benchmarks.material import ORIGIN
from tests.postgres.commands import register_module
from tests.postgres.writing import Writer

BATCH = 1_000
INSTITUTIONS = 40
MODULES_EACH = 5
MONTHS = 36
BADGES_A_LEARNER = 4
FIRST_MONTH = dt.date(2022, 2, 1)


@dataclass(frozen=True)
class Filled:
    """What there is to ask about."""

    badges: int
    institutions: list[str]
    learners: list[str]
    some_badges: list[str]


def fill(url: str, badges: int) -> Filled:
    """Records so many awards, and a revocation of every tenth."""
    registry, writer = Registry(url, support.KEYS), Writer(url)
    try:
        modules = [_module(registry, brin, place) for brin in _brins() for place in range(MODULES_EACH)]
        learners = [str(uuid.uuid4()) for _ in range(max(1, badges // BADGES_A_LEARNER))]
        vault, some = Vault(support.KEYS), []
        awards = _awards(vault, itertools.cycle(modules), itertools.cycle(learners), badges)
        while batch := list(itertools.islice(awards, BATCH)):
            writer.append([*batch, *map(_revocation, batch[::10])])
            some.append(batch[0].subject)
    finally:
        registry.close()
        writer.close()
    return Filled(badges, list(_brins()), learners, some)


def _brins() -> Iterator[str]:
    for number in range(INSTITUTIONS):
        yield f"{10 + number}AB"


def _module(registry: Registry, brin: str, place: int) -> tuple[str, str]:
    registry.record(AdmitInstitution(brin, Particulars(f"Hogeschool {brin}", "hbo", FIRST_MONTH), ORIGIN))
    members = {name: value for name, value in support.MODULE.items() if name != "reference"}
    content = msgspec.convert(members, ModuleContent)
    return brin, register_module(registry, brin, f"M-{place}", content, ORIGIN).id


def _awards(
    vault: Vault, modules: Iterator[tuple[str, str]], learners: Iterator[str], count: int
) -> Iterator[Row]:
    salt = "0" * 32
    parts = PrivateParts(
        salts=Salts(recipient=salt, reference=salt, grade=salt),
        recipient=Recipient(edu_id="bench", name="A. Jansen", email="a@example.org"),
        reference="bench",
        grade="8",
        content_fingerprint="0" * 64,
    )
    for number, (brin, module_id), learner_id in zip(range(count), modules, learners, strict=False):
        badge_id = str(uuid.uuid4())
        month = number // (INSTITUTIONS * MODULES_EACH) % MONTHS
        day = FIRST_MONTH.replace(year=2022 + month // 12, month=month % 12 + 1, day=number % 28 + 1)
        fact = BadgeAwarded(
            channel=ORIGIN.channel,
            client=ORIGIN.client,
            institution=brin,
            institution_name=f"Hogeschool {brin}",
            sector="hbo",
            learner_id=learner_id,
            module_id=module_id,
            module_version=1,
            module_name=support.MODULE["name"],
            content_hash="0" * 64,
            study_load=StudyLoad(ects=5),
            level=Level(nlqf="6", eqf="6"),
            isced="0913",
            awarded_on=day,
            commitments=Commitments(recipient="0" * 64, reference="0" * 64, grade="0" * 64),
        )
        award = row(badge_id, 1, fact)
        award.institution, award.learner_id = brin, learner_id
        owner = Owner(f"{badge_id}/1", brin, learner_id)
        award.sealed = vault.seal(owner, encoded(parts), RandomBytes())
        yield award


def _revocation(award: Row) -> Row:
    awarded = msgspec.json.decode(award.data, type=BadgeAwarded)
    fact = BadgeRevoked(
        channel=ORIGIN.channel,
        client=ORIGIN.client,
        institution=awarded.institution,
        learner_id=awarded.learner_id,
        module_id=awarded.module_id,
        module_version=1,
        awarded_on=awarded.awarded_on,
        reason="other",
        salt="0" * 32,
    )
    return row(award.subject, 2, fact)
