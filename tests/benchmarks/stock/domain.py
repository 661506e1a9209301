"""Institutions, modules and badges, as the library's declarative aggregates."""

from __future__ import annotations

import hmac
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, event

SECRET = b"s" * 32


class Institution(Aggregate):
    @event("Admitted")
    def __init__(self, brin: str, name: str, kind: str, admitted_from: str) -> None:
        self.brin, self.name, self.kind, self.admitted_from = brin, name, kind, admitted_from
        self.suspended = False

    @staticmethod
    def create_id(brin: str) -> UUID:
        return made_id("institution", brin, "")

    @event("Suspended")
    def suspend(self) -> None:
        self.suspended = True


class Module(Aggregate):
    @event("Registered")
    def __init__(self, institution: str, reference: str, content: dict[str, Any], content_hash: str) -> None:
        self.institution, self.reference = institution, reference
        self.content, self.content_hash = content, content_hash
        self.withdrawn = False

    @staticmethod
    def create_id(institution: str, reference: str) -> UUID:
        return made_id("module", institution, reference)

    @event("Withdrawn")
    def withdraw(self) -> None:
        self.withdrawn = True


class Badge(Aggregate):
    @event("Awarded")
    def __init__(
        self,
        badge_id: UUID,
        client: str,
        institution: str,
        institution_name: str,
        sector: str,
        learner_id: UUID,
        module_id: UUID,
        module_version: int,
        module_name: str,
        study_load: dict[str, Any],
        level: dict[str, Any],
        isced: str | None,
        content_hash: str,
        awarded_on: str,
        valid_until: str | None,
        commitments: dict[str, str],
    ) -> None:
        self.institution, self.learner_id = institution, learner_id
        self.module_id, self.module_version = module_id, module_version
        self.awarded_on = awarded_on
        self.revoked_for: str | None = None

    @staticmethod
    def create_id(badge_id: UUID) -> UUID:
        return badge_id

    @event("Revoked")
    def revoke(self, reason: str) -> None:
        self.revoked_for = reason


def made_id(kind: str, brin: str, reference: str) -> UUID:
    digest = hmac.digest(SECRET, f"{kind}\n{brin}\n{reference}".encode(), "sha256")
    return UUID(bytes=digest[:16], version=4)
