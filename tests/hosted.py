"""Answers in the shape of Edubadges', of our own making: every institution, module and person is invented."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

SITE = "https://badges.example.org/public"
BADGE = f"{SITE}/badges/zorg1"
ISSUER = f"{SITE}/issuers/zorg"
EDU_ID = "b7c1e2d3-0000-4000-8000-000000000042"
SALT = "5a17"
OPEN_BADGES = "https://w3id.org/openbadges/v2"


def assertion_url(name: str) -> str:
    return f"{SITE}/assertions/{name}"


def extension(name: str, value: object) -> dict[str, Any]:
    kind = f"extensions:{name}Extension"
    return {kind: {"@context": f"{SITE}/{name}", "type": ["Extension", kind], name: value}}


def hashed(identity: str = EDU_ID, kind: str = "id") -> dict[str, Any]:
    digest = hashlib.sha256((identity.lower() + SALT).encode()).hexdigest()
    return {"hashed": True, "type": kind, "identity": f"sha256${digest}", "salt": SALT}


def issuer(identifier: str = "27UM") -> dict[str, Any]:
    return {
        "@context": OPEN_BADGES,
        "type": "Issuer",
        "id": ISSUER,
        "name": "Zorgopleidingen",
        "email": "zorg@hogeschool.example",
        **extension("InstitutionIdentifier", identifier),
        "faculty": {"name": "Health", "name_dutch": "Gezondheid", "name_english": "Health"},
    }


def badge_class(**changes: Any) -> dict[str, Any]:
    """A badge class as it stands at its address: without what `?expand=badge` adds."""
    stated = {
        "@context": OPEN_BADGES,
        "type": "BadgeClass",
        "id": BADGE,
        "name": "Wondzorg in de wijk",
        "description": "Complexe wonden\r\nverzorgen in de wijk.",
        "issuer": ISSUER,
        "criteria": {"narrative": "Een beoordeeld portfolio."},
        "alignment": [],
        "tags": [],
        **extension("ECTS", 3.5),
        **extension("EQF", 6),
        **extension("Language", "nl_NL"),
        **extension("LearningOutcome", "Kiest een passende wondbehandeling"),
        **extension("EducationProgramIdentifier", [34560, 34570]),
    }
    return stated | changes


def expanded_class(identifier: str = "27UM", **changes: Any) -> dict[str, Any]:
    return badge_class(
        issuer=issuer(identifier),
        **{
            "typeBadgeClass": "micro_credential",
            "stackable": True,
            "participation": "onsite",
            "assessmentType": "portfolio_assessment,oram_exam",
            "assessmentSupervised": True,
            "assessmentIdVerified": True,
            "qualityAssuranceName": "NVAO",
            "qualityAssuranceUrl": "https://www.nvao.net",
            "qualityAssuranceDescription": "Accreditatie",
        }
        | changes,
    )


def assertion(name: str = "a1", **changes: Any) -> dict[str, Any]:
    """A plain assertion, of a recipient whose eduID is hashed."""
    stated = {
        "@context": OPEN_BADGES,
        "type": "Assertion",
        "id": assertion_url(name),
        "badge": BADGE,
        "verification": {"type": "HostedBadge"},
        "evidence": [],
        "issuedOn": "2024-06-01T22:30:00+00:00",
        "recipient": hashed(),
    }
    return stated | changes


def expanded(name: str = "a1", of: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return assertion(name, badge=of or expanded_class(), **changes)


def revoked(name: str = "a1", reason: str = "ingetrokken op verzoek van J. Verzonnen") -> dict[str, Any]:
    """All that Edubadges says of a revoked assertion."""
    return {
        "@context": OPEN_BADGES,
        "type": "Assertion",
        "id": assertion_url(name),
        "revoked": True,
        "revocationReason": reason,
    }


def folder(path: Path, **documents: object) -> Path:
    """A folder with a file per document; bytes are written as they stand."""
    path.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        (path / f"{name}.json").write_bytes(raw)
    return path


TITLES = "Recipient mailadres;Recipient EPPN;Narrative;Evidence URL;Evidence NAME;Evidence Description;Grade"
BY_EPPN = f"""{TITLES}
a.verzonnen@hogeschool.example;AVerzonnen@Hogeschool.example;"Een; verhaal";https://example.org/e1;Map;Reflectie;8
b.verzonnen@hogeschool.example;bverzonnen@hogeschool.example;;;;;

c.verzonnen@hogeschool.example;123456789@hogeschool.example;;;;;7
d.verzonnen@hogeschool.example;;;;;;7
"""
BY_EMAIL = """Recipient mailadres,Recipient first name,Recipient surname,Narrative (optional),Grade (optional)
E.Verzonnen@example.org,Els,van Verzonnen,,voldoende
geen adres,Piet,Verzonnen,,9
"""
