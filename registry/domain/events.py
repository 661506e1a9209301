"""Every recorded fact: one frozen class each, with its eternal name and schema version.

A class describes the `data` of one event type in one
schema version; stored bytes never change, so a changed shape is a new schema version with a class of
its own and an upcast on reading.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, Literal, get_args

import msgspec

Channel = Literal["api", "batch", "import", "stream", "demo", "operator"]
Sector = Literal["hbo", "wo", "mbo"]
SuspensionReason = Literal["accreditation", "quality", "request", "other"]
BadgeSuspensionReason = Literal["investigation", "appeal", "other"]
RevocationReason = Literal["awarded-in-error", "fraud", "identity-error", "learner-request", "other"]
BadgeType = Literal["regular", "extra-curricular"]
ExemptionRule = Literal["study-load"]
TokenRole = Literal["registrar", "institution", "auditor", "statistician", "learner", "operator"]


class _Members(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """JSON members in camelCase; one that is absent is left out.

    No fact ever holds itself, so that the garbage collector need not walk through them.
    """


class StudyLoad(_Members, frozen=True):
    """ECTS credits in halves (hbo, wo) or hours of study, SBU (mbo): exactly one of them."""

    ects: int | float | None = None
    sbu: int | None = None


class Level(_Members, frozen=True):
    """NLQF level `1`..`8` or `4+`, and EQF level `1`..`8`."""

    nlqf: str
    eqf: str | None = None


class QualityAssurance(_Members, frozen=True):
    """The body that assures the quality."""

    name: str
    url: str
    description: str | None = None


class ModuleContent(_Members, frozen=True):
    """What a module version says: public, frozen, hashed. Null where an import did not find it."""

    name: str
    description: str | None
    study_load: StudyLoad | None
    level: Level | None
    learning_outcomes: tuple[str, ...] | None
    language: str | None
    participation: str | None
    assessment: tuple[str, ...] | None
    quality_assurance: QualityAssurance | None
    isced: str | None = None
    supervision: str | None = None
    stackable: bool | None = None
    faculty: str | None = None
    programme: str | None = None
    target_group: str | None = None
    legal_ground: str | None = None


class Commitments(_Members, frozen=True):
    """Salted hashes (hex) of the private parts; the salts are kept in the vault only."""

    recipient: str
    reference: str
    grade: str | None = None
    evidence: str | None = None


class _Fact(_Members, frozen=True):
    """The `data` of an event: the channel and the client that recorded it, and the members of its type."""

    TYPE: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int] = 1
    TOPIC: ClassVar[str]

    channel: Channel
    client: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "TYPE"):
            cls.TOPIC = f"{cls.TYPE}/{cls.SCHEMA_VERSION}"


class _InstitutionParticulars(_Fact, frozen=True):
    name: str
    kind: Sector
    admitted_from: dt.date
    name_en: str | None = None
    schac_home: str | None = None
    admitted_until: dt.date | None = None


class InstitutionAdmitted(_InstitutionParticulars, frozen=True):
    TYPE = "institution.admitted"


class InstitutionChanged(_InstitutionParticulars, frozen=True):
    TYPE = "institution.changed"


class InstitutionSuspended(_Fact, frozen=True):
    TYPE = "institution.suspended"
    reason: SuspensionReason
    note_commitment: str | None = None


class InstitutionReinstated(_Fact, frozen=True):
    TYPE = "institution.reinstated"


class InstitutionExempted(_Fact, frozen=True):
    TYPE = "institution.exempted"
    module_reference: str
    rule: ExemptionRule
    reason: str


class _ModuleVersion(_Fact, frozen=True):
    institution: str
    reference: str
    version: int
    content_hash: str
    content: ModuleContent
    badge_type: BadgeType | None = None
    findings: tuple[str, ...] | None = None


class ModuleRegistered(_ModuleVersion, frozen=True):
    TYPE = "module.registered"


class ModuleRevised(_ModuleVersion, frozen=True):
    TYPE = "module.revised"


class ModuleWithdrawn(_Fact, frozen=True):
    TYPE = "module.withdrawn"
    institution: str
    from_: dt.date = msgspec.field(name="from")


class _BadgeMembers(_Fact, frozen=True):
    """What every `badge.*` event repeats, so that each can be routed and counted by itself.

    A badge's events are kept in order by `learner_id` (`LoggedEvent.key`): it is the same in all of them.
    """

    institution: str
    learner_id: str
    module_id: str
    module_version: int
    awarded_on: dt.date


class BadgeAwarded(_BadgeMembers, frozen=True):
    TYPE = "badge.awarded"
    module_name: str
    institution_name: str
    sector: Sector
    study_load: StudyLoad | None
    level: Level | None
    content_hash: str
    commitments: Commitments
    isced: str | None = None
    programme: str | None = None
    legal_ground: str | None = None
    valid_until: dt.date | None = None
    supersedes: str | None = None
    badge_type: BadgeType | None = None
    findings: tuple[str, ...] | None = None


class Correction(_Members, frozen=True):
    """Commitments of what a correction changed, and of nothing else."""

    grade: str | None = None
    recipient: str | None = None


class BadgeCorrected(_BadgeMembers, frozen=True):
    TYPE = "badge.corrected"
    commitments: Correction
    salt: str


class BadgeSuspended(_BadgeMembers, frozen=True):
    TYPE = "badge.suspended"
    reason: BadgeSuspensionReason
    salt: str
    note_commitment: str | None = None


class BadgeReinstated(_BadgeMembers, frozen=True):
    TYPE = "badge.reinstated"
    salt: str


class BadgeRevoked(_BadgeMembers, frozen=True):
    TYPE = "badge.revoked"
    reason: RevocationReason
    salt: str
    note_commitment: str | None = None
    effective_on: dt.date | None = None
    observed: bool | None = None


class TokenCreated(_Fact, frozen=True):
    """The subject is the token's id: the `client` of what its bearer records. Its name is not in the log."""

    TYPE = "token.created"
    role: TokenRole
    expires_at: dt.datetime
    institution: str | None = None
    learner_id: str | None = None


class TokenRevoked(_Fact, frozen=True):
    TYPE = "token.revoked"


class _OperatorsAct(_Fact, frozen=True):
    """An act of an operator on the registry itself; `reason` is the operator's, and names no person."""

    reason: str


class _Intervention(_OperatorsAct, frozen=True):
    """What a read model is to do with the event at `at_position`, at which it had stopped."""

    read_model: str
    at_position: int


class EventSkipped(_Intervention, frozen=True):
    TYPE = "registry.skipped"


class EventRetried(_Intervention, frozen=True):
    TYPE = "registry.retried"


class ReadModelReplaced(_OperatorsAct, frozen=True):
    """A rebuilt copy was swapped in without comparing it with the one in use."""

    TYPE = "registry.replaced"
    read_model: str
    version: int


class LogRepartitioned(_OperatorsAct, frozen=True):
    """The topics were deleted and recreated, with this number of partitions."""

    TYPE = "registry.repartitioned"
    partitions: int


InstitutionFact = (
    InstitutionAdmitted
    | InstitutionChanged
    | InstitutionSuspended
    | InstitutionReinstated
    | InstitutionExempted
)
ModuleFact = ModuleRegistered | ModuleRevised | ModuleWithdrawn
BadgeFact = BadgeAwarded | BadgeCorrected | BadgeSuspended | BadgeReinstated | BadgeRevoked
TokenFact = TokenCreated | TokenRevoked
OperatorFact = EventSkipped | EventRetried | ReadModelReplaced | LogRepartitioned
Fact = InstitutionFact | ModuleFact | BadgeFact | TokenFact | OperatorFact
"""Every fact there is. A `match` over facts ends in `assert_never`: mypy then names each place that must
handle a class that is added to a union."""

FACTS: dict[str, type[Fact]] = {fact.TOPIC: fact for fact in get_args(Fact)}


class Event(msgspec.Struct, frozen=True, gc=False):
    """A fact in its stream. The store gives `position` and `time`: 0 and None until it is recorded.

    `originator_id` (the subject: a BRIN, the id of a module, badge, learner or token, or `registry`) and
    `originator_version` (its place in the stream, from 1) carry the names of the eventsourcing library.
    """

    originator_id: str
    originator_version: int
    data: Fact
    position: int = 0
    time: dt.datetime | None = None

    @property
    def recorded_at(self) -> dt.datetime:
        if self.time is None:
            raise AssertionError("only a recorded event has a time")
        return self.time


class UnknownEventError(Exception):
    """An event of a type or schema version that this release does not know."""


class MisplacedEventError(Exception):
    """An event that cannot be where it is: another subject's, or first where another type begins a stream."""


def institution_fact(event: Event) -> InstitutionFact:
    """The fact of an institution's event; raises `MisplacedEventError` for an event of another subject."""
    if not isinstance(event.data, InstitutionFact):
        raise MisplacedEventError(f"{event.data.TYPE} is not an event of an institution")
    return event.data


def module_fact(event: Event) -> ModuleFact:
    """The fact of a module's event; raises `MisplacedEventError` for an event of another subject."""
    if not isinstance(event.data, ModuleFact):
        raise MisplacedEventError(f"{event.data.TYPE} is not an event of a module")
    return event.data


def badge_fact(event: Event) -> BadgeFact:
    """The fact of a badge's event; raises `MisplacedEventError` for an event of another subject."""
    if not isinstance(event.data, BadgeFact):
        raise MisplacedEventError(f"{event.data.TYPE} is not an event of a badge")
    return event.data


_encoder = msgspec.json.Encoder(order="sorted")
_decoders = {topic: msgspec.json.Decoder(fact) for topic, fact in FACTS.items()}


def canonical(value: object) -> bytes:
    """RFC 8785 canonical JSON, for ASCII member names, integers below 2^53 and halves.

    Within those bounds sorted encoding gives exactly the bytes of the RFC: held by a property test
    against an RFC 8785 library.
    """
    return _encoder.encode(value)


def decode(topic: str, data: bytes) -> Fact:
    """The fact in stored `data`; `topic` is `{type}/{schema version}`."""
    decoder = _decoders.get(topic)
    if decoder is None:
        raise UnknownEventError(f"no reader for events of type and schema version {topic}")
    return decoder.decode(data)
