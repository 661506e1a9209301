"""The members of Edubadges' answers: those that are read, and those that are left out on purpose.

Whatever else an answer states is noted by the finding `members-not-taken`. What is left out describes the
document or its issuer, or has no place in the registry; docs/operating.md names each for those who import.
"""

from __future__ import annotations

from typing import Any, Literal

from registry.edubadges.texts import is_stated

Kind = Literal["assertion", "recipient", "evidence", "badge class", "issuer", "faculty"]

READ: dict[Kind, frozenset[str]] = {
    "assertion": frozenset(
        {"id", "type", "badge", "issuedOn", "expires", "recipient", "evidence", "narrative", "grade_achieved"}
        | {"gradeAchieved", "revoked", "revocationReason", "user"}
    ),
    "recipient": frozenset({"type", "identity", "hashed", "salt"}),
    "evidence": frozenset({"id", "name", "narrative", "description"}),
    "badge class": frozenset(
        {"id", "type", "name", "description", "issuer", "typeBadgeClass", "participation", "assessmentType"}
        | {"assessmentSupervised", "assessmentIdVerified", "stackable", "qualityAssuranceName"}
        | {"qualityAssuranceUrl", "qualityAssuranceDescription", "extensions:ECTSExtension"}
        | {"extensions:StudyLoadExtension", "extensions:TimeInvestmentExtension", "extensions:EQFExtension"}
        | {"extensions:LearningOutcomeExtension", "extensions:LanguageExtension"}
        | {"extensions:EducationProgramIdentifierExtension"}
    ),
    "issuer": frozenset({"id", "type", "faculty", "extensions:InstitutionIdentifierExtension"}),
    "faculty": frozenset({"name", "name_dutch"}),
}
LEFT_OUT: dict[Kind, frozenset[str]] = {
    "assertion": frozenset({"@context", "image", "verification", "updatedAt", "endorsement"}),
    "recipient": frozenset({"@context"}),
    "evidence": frozenset({"@context", "type"}),
    "badge class": frozenset(
        {"@context", "image", "criteria", "alignment", "tags", "endorsement", "achievementType"}
        | {"gradeAchievedRequired", "eqfNlqfLevelVerified"}
    ),
    "issuer": frozenset(
        {"@context", "name", "name_english", "name_dutch", "url", "url_english", "url_dutch", "email"}
        | {"description", "description_english", "description_dutch", "image", "image_english", "image_dutch"}
        | {"extensions:InstitutionNameExtension", "extensions:InstitutionCountryExtension"}
        | {"extensions:GradingTableExtension"}
    ),
    "faculty": frozenset({"name_english", "entityId", "institution"}),
}
NAMES = frozenset[str]().union(*READ.values(), *LEFT_OUT.values())
"""The names that a refusal may repeat: any other may be of a person."""


def states_more(kind: Kind, document: dict[str, Any]) -> bool:
    """Whether a document states a member that is neither read nor left out on purpose."""
    known = READ[kind] | LEFT_OUT[kind]
    return any(name not in known and is_stated(value) for name, value in document.items())
