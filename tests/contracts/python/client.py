"""An institution's client of the registry on the generated package `registry_client`: see docs/clients.md."""

from __future__ import annotations

import datetime as dt
import io
import json
import os

from registry_client import AuthenticatedClient
from registry_client.api.badges import award_badge, award_badges, get_badge, get_badge_status, revoke_badge
from registry_client.models import (
    AwardBody,
    BadgeAnswer,
    BadgeWritten,
    LearnerBody,
    RevocationBody,
    RevocationBodyReason,
    StatusAnswer,
)
from registry_client.types import File

client = AuthenticatedClient(os.environ["REGISTRY"] + "/v1", os.environ["TOKEN"])


def award(number: int) -> AwardBody:
    learner = LearnerBody(eppn=f"student{number}@hhs.nl")
    day = dt.date(2024, 6, 28)
    return AwardBody(f"python-{number}", learner, day, module_reference="KLINRED", grade="8")


awarded = award_badge.sync(client=client, body=award(0))
assert isinstance(awarded, BadgeWritten), awarded
badge = get_badge.sync(awarded.id, client=client, min_position=awarded.position)
assert isinstance(badge, BadgeAnswer), badge
assert (badge.grade, badge.module.version, badge.awarded_on) == ("8", 1, dt.date(2024, 6, 28))

reason = RevocationBody(RevocationBodyReason.AWARDED_IN_ERROR)
revoked = revoke_badge.sync(awarded.id, client=client, body=reason)
assert isinstance(revoked, BadgeWritten), revoked
status = get_badge_status.sync(awarded.id, client=client, min_position=revoked.position)
assert isinstance(status, StatusAnswer), status

lines = "".join(json.dumps(award(number).to_dict()) + "\n" for number in range(3)).encode()
answer = award_badges.sync(client=client, body=File(io.BytesIO(lines)))
assert isinstance(answer, File), answer
outcomes = [json.loads(line)["outcome"] for line in answer.payload]

print(status.status.value, *outcomes)
