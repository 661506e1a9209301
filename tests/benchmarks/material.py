"""What is recorded in the measurements: award-sized events with their private rows, made beforehand."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from registry.domain.badge import AwardTerms
from registry.domain.events import (
    BadgeAwarded,
    BadgeRevoked,
    Commitments,
    Level,
    ModuleContent,
    StudyLoad,
)
from registry.domain.institution import Origin, Particulars
from registry.domain.private_parts import Evidence, PrivateParts, Recipient, Salts
from registry.event_store.append import Row, row
from registry.event_store.vault import Owner, Vault, encoded
from registry.keys import RandomBytes
from registry.postgres.connections import connect
from registry.recording.awards import AwardBadge, StatedAward
from registry.recording.commands import AdmitInstitution
from registry.recording.registry import Registry
from tests import support
from tests.postgres.commands import register_module

BRIN = "27UM"
ORIGIN = Origin("batch", "5f3c9a1e7b2d4c68")
DAY = dt.date(2023, 4, 19)


class Maker:
    """Makes awards as the registry does, to one module, each to another learner."""

    def __init__(self, module_id: str = "") -> None:
        self._vault = Vault(support.KEYS)
        self._module_id = module_id or str(uuid.uuid4())
        self._number = 0

    @property
    def module_id(self) -> str:
        return self._module_id

    def awards(self, count: int) -> list[Row]:
        return [self._award() for _ in range(count)]

    def alike(self, count: int) -> list[Row]:
        """Awards of new badges with the contents of some hundreds, in turn: quick to make by the thousand."""
        some = self.awards(min(count, 500))
        return [
            msgspec.structs.replace(like, subject=str(uuid.uuid4()))
            for like in itertools.islice(itertools.cycle(some), count)
        ]

    def _award(self) -> Row:
        self._number += 1
        badge_id, learner_id = str(uuid.uuid4()), str(uuid.uuid4())
        fact = BadgeAwarded(
            channel=ORIGIN.channel,
            client=ORIGIN.client,
            institution=BRIN,
            institution_name=support.INSTITUTION["name"],
            sector="hbo",
            learner_id=learner_id,
            module_id=self._module_id,
            module_version=1,
            module_name=support.MODULE["name"],
            content_hash=uuid.uuid4().hex * 2,
            study_load=StudyLoad(ects=5),
            level=Level(nlqf="6", eqf="6"),
            isced="0913",
            awarded_on=DAY,
            commitments=Commitments(**{name: uuid.uuid4().hex * 2 for name in _COMMITTED}),
        )
        parts = PrivateParts(
            salts=Salts(**{name: uuid.uuid4().hex for name in _COMMITTED}),
            recipient=Recipient(edu_id=learner_id, name="A. Jansen", email="a@example.org"),
            reference=f"bench-{self._number:010}",
            grade="8",
            evidence=(Evidence(url="https://example.org/e1", narrative="Portfolio met reflectie"),),
            content_fingerprint=uuid.uuid4().hex * 2,
        )
        made = row(badge_id, 1, fact)
        made.institution, made.learner_id = BRIN, learner_id
        owner = Owner(f"{badge_id}/1", BRIN, learner_id)
        made.sealed = self._vault.seal(owner, encoded(parts), RandomBytes())
        return made


_COMMITTED = ("recipient", "reference", "grade", "evidence")


def without_vault(awards: Sequence[Row]) -> list[Row]:
    """The events of the awards alone."""
    return [
        Row(award.subject, award.version, award.type, award.schema_version, award.data) for award in awards
    ]


def prepared(registry: Registry, module_id: str, prefix: str, count: int) -> list[AwardBadge]:
    """Awards as the service hands them to the recorder, each to a new learner."""
    terms = AwardTerms(None, DAY)
    return registry.preparation().prepare_all(
        [
            StatedAward(
                BRIN,
                f"{prefix}-{number}",
                module_id,
                None,
                Recipient(edu_id=f"{prefix}-{number}", name="A. Jansen", email="a@example.org"),
                terms,
                ORIGIN,
                "8",
                (Evidence(url="https://example.org/e1", narrative="Portfolio met reflectie"),),
            )
            for number in range(count)
        ]
    )


def revocation(award: Row, module_id: str) -> Row:
    """The award's revocation, made beforehand."""
    fact = BadgeRevoked(
        channel=ORIGIN.channel,
        client=ORIGIN.client,
        institution=BRIN,
        learner_id=award.learner_id or "",
        module_id=module_id,
        module_version=1,
        awarded_on=DAY,
        reason="awarded-in-error",
        salt=uuid.uuid4().hex,
    )
    return row(award.subject, 2, fact)


def catalogue(url: str) -> str:
    """Admits an institution and registers a module in an empty registry; answers the module's id."""
    registry = Registry(url, support.KEYS, lambda: dt.datetime.now(dt.UTC))
    try:
        stated = support.INSTITUTION
        particulars = Particulars(stated["name"], "hbo", dt.date(2022, 2, 1), stated["nameEn"])
        registry.record(AdmitInstitution(BRIN, particulars, ORIGIN))
        members = {name: value for name, value in support.MODULE.items() if name != "reference"}
        content = msgspec.convert(members, ModuleContent)
        return register_module(registry, BRIN, support.MODULE["reference"], content, ORIGIN).id
    finally:
        registry.close()


def key_file(folder: Path) -> Path:
    """The key file of the databases that the tests make."""
    path = folder / "keys.json"
    held = {name: base64.b64encode(getattr(support.KEYS, name)).decode() for name in ("id", "alias", "vault")}
    path.touch(mode=0o600)
    path.write_text(json.dumps(held))
    return path


def size_of_log(url: str) -> int:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(position), 0) FROM event")
            (last,) = cursor.fetchone() or (0,)
            return int(last)
    finally:
        connection.close()
