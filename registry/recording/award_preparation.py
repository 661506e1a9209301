"""Preparing awards: ids, the learner's alias, and private parts, committed and sealed.

None of it depends on what is recorded, so it is done in the caller's thread, before the award waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.domain.events import canonical
from registry.event_store.vault import Vault
from registry.keys import Keys, RandomBytes, random_id
from registry.recording.awards import AwardBadge, ImportAward, ImportedAward, StatedAward
from registry.recording.commitments import commit_award

EDUID_SCOPE = "eduid.nl"
MAX_MODULES = 1_000


class Preparation:
    """Prepares awards, one after the other and in one thread: its random bytes are for nobody else."""

    def __init__(self, keys: Keys, vault: Vault) -> None:
        self._keys, self._vault, self._random = keys, vault, RandomBytes()
        self._module_ids: dict[tuple[str, str | None], str] = {}

    def prepare(self, stated: StatedAward) -> AwardBadge:
        keys, random = self._keys, self._random
        badge_id = keys.made_id("badge", stated.brin, stated.reference)
        module_id = stated.module_id or self._module_id(stated.brin, stated.module_reference or "")
        fingerprint = keys.content_fingerprint(canonical(stated.statement(module_id)))
        commitments, private = commit_award(
            stated.recipient, stated.reference, stated.grade, stated.evidence, fingerprint, random
        )
        subjects: tuple[str, ...] = (badge_id, stated.brin, module_id)
        if stated.terms.supersedes is not None:
            subjects = (*subjects, stated.terms.supersedes)
        kind = ImportAward if isinstance(stated, ImportedAward) else AwardBadge
        return kind(
            stated,  # type: ignore[arg-type] # an import's award by the line before
            badge_id,
            module_id,
            subjects,
            self._alias_key(stated),
            random_id(random),
            fingerprint,
            commitments,
            self._vault.seal(f"{badge_id}/1", private, random),
        )

    def prepare_all(self, stated: Sequence[StatedAward]) -> list[AwardBadge]:
        return [self.prepare(award) for award in stated]

    def _module_id(self, brin: str, reference: str) -> str:
        """Most awards of a batch are for few modules."""
        module_id = self._module_ids.get((brin, reference))
        if module_id is None:
            if len(self._module_ids) >= MAX_MODULES:
                self._module_ids.clear()
            module_id = self._module_ids[brin, reference] = self._keys.made_id("module", brin, reference)
        return module_id

    def _alias_key(self, stated: StatedAward) -> bytes | None:
        recipient = stated.recipient
        if recipient.edu_id is not None:
            return self._keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
        if recipient.eppn is not None:
            return self._keys.alias_key("eppn", stated.brin, recipient.eppn)
        return None
