"""The models of answers, from which both the answers and the OpenAPI document are made."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from registry.domain.badge import Status
from registry.domain.events import Sector, TokenRole
from registry.domain.values import iso_time
from registry.event_store.log import Extent

Time = Annotated[
    dt.datetime, PlainSerializer(iso_time), WithJsonSchema({"type": "string", "format": "date-time"})
]


class Answer(BaseModel):
    """camelCase members."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def json_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


# The default of a member that is left out when absent; without it, an absent member is null.
LEFT_OUT = Field(default=None, exclude_if=lambda value: value is None)


def answered(answer: Answer, status: int = 200, extent: Extent | None = None) -> Response:
    """The answer as JSON; that of a look-up says through where it is complete."""
    return json_answer(answer.json_bytes(), extent, status)


def json_answer(body: bytes, extent: Extent | None = None, status: int = 200) -> Response:
    headers = None if extent is None else extent_headers(extent)
    return Response(body, status, headers, "application/json")


EXTENT_HEADERS = {
    "Registry-Position": "The answer includes every event through this position.",
    "Registry-As-Of": "The answer includes everything recorded by this time, that of the event at"
    " `Registry-Position`.",
}


def extent_headers(extent: Extent) -> dict[str, str]:
    return dict(zip(EXTENT_HEADERS, (str(extent.position), iso_time(extent.time)), strict=True))


class InstitutionAnswer(Answer):
    """An institution, as the registrar admitted it. `suspended` holds as of now."""

    brin: str
    name: str
    name_en: str | None = LEFT_OUT
    kind: Sector
    schac_home: str | None = LEFT_OUT
    admitted_from: dt.date
    admitted_until: dt.date | None = LEFT_OUT
    suspended: bool
    suspended_since: Time | None = LEFT_OUT
    position: int


class InstitutionList(Answer):
    """A page of institutions."""

    items: list[InstitutionAnswer]
    next: str | None


class InstitutionWritten(Answer):
    """The institution that a write admitted or changed."""

    brin: str
    position: int


class StudyLoad(Answer):
    """The study load: ECTS credits or hours (SBU)."""

    ects: int | float | None = LEFT_OUT
    sbu: int | None = LEFT_OUT


class Level(Answer):
    """The level of a module."""

    nlqf: str
    eqf: str | None = LEFT_OUT


class QualityAssurance(Answer):
    """The body that assures the quality of a module."""

    name: str
    url: str
    description: str | None = LEFT_OUT


class ModuleContent(Answer):
    """The content of a module version; a member that an import did not find is null."""

    name: str
    description: str | None
    study_load: StudyLoad | None
    level: Level | None
    learning_outcomes: list[str] | None
    language: str | None
    isced: str | None = LEFT_OUT
    participation: str | None
    assessment: list[str] | None
    supervision: str | None = LEFT_OUT
    quality_assurance: QualityAssurance | None
    stackable: bool | None = LEFT_OUT
    faculty: str | None = LEFT_OUT
    programme: str | None = LEFT_OUT
    target_group: str | None = LEFT_OUT
    legal_ground: str | None = LEFT_OUT


class ModuleAnswer(ModuleContent):
    """A version of a module. `latestVersion` and `withdrawnFrom` hold for the module, as of now."""

    id: str
    institution: str
    reference: str
    version: int
    latest_version: int
    content_hash: str
    registered_at: Time
    withdrawn_from: dt.date | None = LEFT_OUT
    position: int


class ModuleList(Answer):
    """A page of modules."""

    items: list[ModuleAnswer]
    next: str | None


class ModuleWritten(Answer):
    """The version that a write registered."""

    id: str
    version: int
    position: int


class BadgeWritten(Answer):
    """The badge that a write awarded or changed; `status` holds as of now."""

    id: str
    learner_id: str
    module_id: str
    module_version: int
    status: Status
    position: int


class StatusAnswer(Answer):
    """What anyone may know about a badge, judged at `asOf`."""

    id: str
    status: Status
    since: Time
    institution: str
    position: int
    as_of: Time


class ModuleShort(Answer):
    """The module of a badge in a list, as it was when awarded."""

    id: str
    version: int
    name: str
    study_load: Any
    level: Any


class BadgeItem(Answer):
    """A badge in a list. `reference` is left out for an auditor, and after the learner's erasure."""

    id: str
    status: Status
    since: Time
    institution: str
    learner_id: str
    module: ModuleShort
    awarded_on: dt.date
    valid_until: dt.date | None
    reference: str | None = LEFT_OUT
    position: int


class BadgeList(Answer):
    """A page of badges."""

    items: list[BadgeItem]
    next: str | None


class LearnerFound(Answer):
    """The pseudonymous id of a learner."""

    learner_id: str


class LearnerAnswer(Answer):
    """The learner, as the award named them: for the learner and the awarding institution only."""

    edu_id: str | None = LEFT_OUT
    eppn: str | None = LEFT_OUT
    edubadges: str | None = LEFT_OUT
    name: str | None = LEFT_OUT
    email: str | None = LEFT_OUT


class EvidenceAnswer(Answer):
    """A piece of evidence."""

    url: str | None = LEFT_OUT
    name: str | None = LEFT_OUT
    narrative: str | None = LEFT_OUT
    description: str | None = LEFT_OUT


class SaltsAnswer(Answer):
    """The salts of the commitments in the badge's events, in hex: with them the parts can be proved."""

    recipient: str | None = LEFT_OUT
    reference: str | None = LEFT_OUT
    grade: str | None = LEFT_OUT
    evidence: str | None = LEFT_OUT


class StatusReason(Answer):
    """The reason of a suspension or revocation; the note and its salt are for institution and learner."""

    reason: str
    since: Time
    effective_on: dt.date | None = LEFT_OUT
    note: str | None = LEFT_OUT
    note_salt: str | None = LEFT_OUT


class BadgeModule(ModuleContent):
    """The module as it was when awarded."""

    id: str
    version: int
    reference: str
    content_hash: str


class BadgeAnswer(Answer):
    """A badge in full. Only its institution and its learner see the private members and their salts."""

    id: str
    status: Status
    since: Time
    institution: str
    learner_id: str
    module: BadgeModule
    awarded_on: dt.date
    valid_until: dt.date | None = LEFT_OUT
    supersedes: str | None = LEFT_OUT
    suspension: StatusReason | None = LEFT_OUT
    revocation: StatusReason | None = LEFT_OUT
    learner: LearnerAnswer | None = LEFT_OUT
    reference: str | None = LEFT_OUT
    grade: str | None = LEFT_OUT
    evidence: list[EvidenceAnswer] | None = LEFT_OUT
    salts: SaltsAnswer | None = LEFT_OUT
    position: int


class RecordedEvent(Answer):
    """An event of the log, with its stored `data`."""

    position: int
    id: str
    source: str
    type: str
    subject: str
    time: Time
    dataschema: str
    data: dict[str, Any]


class History(Answer):
    """A badge's events in order."""

    items: list[RecordedEvent]


class TokenAnswer(Answer):
    """A token, without its secret: the bearer's role and, where it has one, institution or learner."""

    id: str
    role: TokenRole
    institution: str | None = LEFT_OUT
    learner_id: str | None = LEFT_OUT
    name: str | None = LEFT_OUT
    created_at: Time
    expires_at: Time
    revoked_at: Time | None = LEFT_OUT
    last_used_on: dt.date | None = LEFT_OUT


class TokenList(Answer):
    """Tokens, in the order of their ids, in pages."""

    items: list[TokenAnswer]
    next: str | None


class ReadModelHealth(Answer):
    name: str
    position: int
    behind_events: int
    behind_seconds: float
    stopped_at: int | None = LEFT_OUT
    stopped_because: str | None = LEFT_OUT


class RelayHealth(Answer):
    """How far the relay has carried the log to Kafka, and whether one is at work."""

    active: bool
    position: int
    behind_events: int
    behind_seconds: float


class Readiness(Answer):
    """`ready`, or `degraded` with the reasons: awards are recorded and statuses true all the same."""

    status: Literal["ready", "degraded"]
    release: str
    reasons: list[str] | None = LEFT_OUT
    position: int
    kafka: Literal["reachable", "unreachable"] | None = LEFT_OUT
    relay: RelayHealth | None = LEFT_OUT
    read_models: list[ReadModelHealth]


class ProblemError(Answer):
    """An error: where it is, and how to fix it."""

    pointer: str
    detail: str


class LineProblem(Answer):
    """RFC 9457 problem details for a line of a batch."""

    type: str
    title: str
    status: int
    detail: str | None = LEFT_OUT
    errors: list[ProblemError] | None = LEFT_OUT


class Problem(LineProblem):
    """RFC 9457 problem details."""

    instance: str


class BatchOutcome(Answer):
    """The outcome of a line of a batch; `problem` is what the call for one badge would answer."""

    line: int
    reference: str | None
    outcome: Literal["awarded", "revoked", "known", "refused"]
    id: str | None = LEFT_OUT
    learner_id: str | None = LEFT_OUT
    position: int | None = LEFT_OUT
    problem: LineProblem | None = LEFT_OUT


class AwardFigures(Answer):
    """The requested dimensions and measures: see the codebook."""

    model_config = ConfigDict(extra="allow")

    awarded: int | None = LEFT_OUT
    revoked: int | None = LEFT_OUT
    superseded: int | None = LEFT_OUT
    active: int | None = LEFT_OUT
    ects: int | float | None = LEFT_OUT
    sbu: int | None = LEFT_OUT
    learners: int | None = LEFT_OUT


class Statistics(Answer):
    """The figures at a position of the log, one item for each group."""

    position: int
    as_of: dt.date | None = LEFT_OUT
    items: list[AwardFigures]


class RevocationFigures(Answer):
    """The requested dimensions, and the figures of revocations: see the codebook."""

    model_config = ConfigDict(extra="allow")

    revoked: int
    median_days: int | float


class RevocationStatistics(Answer):
    """The revocations at a position of the log, one item for each group."""

    position: int
    as_of: dt.date | None = LEFT_OUT
    items: list[RevocationFigures]


class LearnerFigures(Answer):
    """How many learners hold a number of microcredentials: see the codebook."""

    model_config = ConfigDict(extra="allow")

    microcredentials: int
    learners: int


class LearnerStatistics(Answer):
    """Learners by how many microcredentials they hold, at a position of the log."""

    position: int
    as_of: dt.date | None = LEFT_OUT
    items: list[LearnerFigures]


class CodebookEntry(Answer):
    """A name that the statistics use, and its meaning."""

    name: str
    description: str


class Codebook(Answer):
    """The meaning of the names in the statistics, and how its CSV is read."""

    dimensions: list[CodebookEntry]
    measures: list[CodebookEntry]
    revocations: list[CodebookEntry]
    learners: list[CodebookEntry]
    filters: list[CodebookEntry]
    csv: list[CodebookEntry]
    notes: list[CodebookEntry]
