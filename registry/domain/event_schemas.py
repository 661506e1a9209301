"""A JSON Schema for the `data` of each event type and schema version, made from the fact's class."""

from __future__ import annotations

from typing import Any

import msgspec

from registry.domain.events import FACTS
from registry.domain.values import BRIN, UUID

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
EVENTS = {
    "institution.admitted": "An institution may award badges from a day on.",
    "institution.changed": "The particulars of an institution changed; the event holds all of them.",
    "institution.suspended": "An institution may not award badges until it is reinstated.",
    "institution.reinstated": "The suspension of an institution ended.",
    "institution.exempted": "A rule of the policy does not apply to one module reference of an institution.",
    "module.registered": "The first version of a module.",
    "module.revised": "A later version of a module; the event holds all of its content.",
    "module.withdrawn": "A module takes no award from a day on.",
    "badge.awarded": "A learner was awarded a badge for a version of a module.",
    "badge.corrected": "A wrong grade or spelling was corrected.",
    "badge.suspended": "A badge does not count until it is reinstated.",
    "badge.reinstated": "The suspension of a badge ended.",
    "badge.revoked": "A badge does not count any more, permanently.",
    "token.created": "A token of the API was made. Its name is kept outside the log.",
    "token.revoked": "A token of the API was revoked, permanently.",
    "registry.skipped": "An operator had a read model skip the event at which it had stopped.",
    "registry.retried": "An operator had a read model retry the event at which it had stopped.",
    "registry.replaced": "A rebuilt read model was put in place although it differed from the one before.",
    "registry.repartitioned": "The topics were deleted and made again, with another number of partitions.",
}
MEMBERS = {
    "admittedFrom": "The first day for which the institution may award badges.",
    "admittedUntil": "The last day for which the institution may award badges.",
    "assessment": "How the learning outcomes are assessed.",
    "atPosition": "The position of the event at which the read model had stopped.",
    "awardedOn": "The day of the award, in the Netherlands. Every event of a badge repeats it.",
    "badgeType": "The kind of an imported badge that is not a microcredential.",
    "channel": "The way in which the fact came: the API, a batch, an import, a stream, the demo data or an"
    " operator.",
    "client": "The id of the token that was used, never its name; `cli` where a command wrote.",
    "commitments": "Salted hashes of private parts.",
    "content": "The content of the version; null where an import did not find a member.",
    "contentHash": "SHA-256 of the canonical JSON of the `content` of the module's version.",
    "description": "A text for people.",
    "ects": "ECTS credits, in halves.",
    "effectiveOn": "The day from which the reason held. It informs, and changes no status.",
    "eqf": "The level in the European Qualifications Framework.",
    "evidence": "The commitment of the evidence.",
    "expiresAt": "The moment from which the token is refused.",
    "faculty": "The faculty that offers the module.",
    "findings": "What an import noted: codes that the operators' manual explains.",
    "from": "The first day on which the module takes no award.",
    "grade": "The commitment of the grade.",
    "institution": "The BRIN of the institution.",
    "institutionName": "The institution's name on the day of the award.",
    "isced": "The field of study: an ISCED-F 2013 code.",
    "kind": "The sector of the institution.",
    "language": "The language of instruction: a BCP 47 tag.",
    "learnerId": "The learner's pseudonymous id; all events of a badge have it, and it keeps them in order.",
    "learningOutcomes": "What a learner can do after the module.",
    "legalGround": "The legal ground on which the module is offered.",
    "level": "The level of the module.",
    "moduleId": "The id of the module.",
    "moduleName": "The module's name in that version.",
    "moduleReference": "The reference of the module.",
    "moduleVersion": "The version of the module for which the badge was awarded.",
    "name": "The name.",
    "nameEn": "The name in English.",
    "nlqf": "The level in the Dutch qualifications framework, NLQF.",
    "noteCommitment": "The commitment of a private note.",
    "observed": "True where an import saw the fact; its date is unknown.",
    "partitions": "The number of partitions.",
    "participation": "How learners take part.",
    "programme": "The programme to which the module belongs.",
    "qualityAssurance": "The body that assures the quality.",
    "readModel": "The name of the read model.",
    "reason": "The reason: one of a fixed list, or a text that names no person.",
    "recipient": "The commitment of the learner as the institution named them.",
    "reference": "The institution's own name of the module, or the commitment of that of the award.",
    "role": "The role of the token, which decides what it may do.",
    "rule": "The rule that does not apply.",
    "salt": "Random, so that nobody can find the event that belongs to a hash by trying.",
    "sbu": "Hours of study (SBU).",
    "schacHome": "The domain name of the institution.",
    "sector": "The institution's sector on the day of the award.",
    "stackable": "Whether the module can be part of a larger whole.",
    "studyLoad": "The study load: ECTS credits or hours (SBU).",
    "supersedes": "The id of the revoked badge that this one replaces.",
    "supervision": "How the assessment is supervised.",
    "targetGroup": "Whom the module is for.",
    "url": "An http or https address.",
    "validUntil": "The last day on which the badge is valid.",
    "version": "The version of the module, or of the read model, from 1.",
}
_HASH, _ID = "^[0-9a-f]{64}$", f"^{UUID.pattern}$"
_PATTERNS = {
    "client": "^([0-9a-f]{16}|cli)$",
    "contentHash": _HASH,
    "institution": f"^{BRIN.pattern}$",
    "learnerId": _ID,
    "moduleId": _ID,
    "noteCommitment": _HASH,
    "salt": "^[0-9a-f]{32}$",
    "supersedes": _ID,
}
# The objects in which every text is a commitment.
_COMMITMENTS = ("Commitments", "Correction")


def event_schema(topic: str) -> dict[str, Any]:
    """The schema of `{type}/{schema version}`; raises `KeyError` for one that does not exist.

    No object has a member that the schema does not name.
    """
    fact = FACTS[topic]
    made = msgspec.json.schema(fact)
    definitions = made["$defs"]
    for name, schema in definitions.items():
        _complete(schema, everything=_HASH if name in _COMMITMENTS else None)
    return {
        "$schema": _DIALECT,
        "$id": f"urn:microcredential-registry:event:{fact.TYPE}:{fact.SCHEMA_VERSION}",
        "title": topic,
        "description": EVENTS[fact.TYPE],
        **definitions.pop(fact.__name__),
        "$defs": definitions,
    }


def _complete(schema: dict[str, Any], everything: str | None) -> None:
    del schema["title"]
    schema.pop("description", None)
    schema["additionalProperties"] = False
    for name, member in schema["properties"].items():
        if "default" in member:  # it is left out when absent, and never null
            del member["default"]
            present = [schema for schema in member.pop("anyOf") if schema != {"type": "null"}]
            member.update(present[0] if len(present) == 1 else {"anyOf": present})
        if pattern := everything or _PATTERNS.get(name):
            member["pattern"] = pattern
        member["description"] = MEMBERS[name]
