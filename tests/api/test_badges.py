"""Awards, look-ups and revocation over HTTP."""

from __future__ import annotations

from tests.support import Service, award


def test_an_award_is_visible_at_once_to_who_asks_for_its_position(service: Service) -> None:
    institution = service.admitted()
    awarded = institution("POST", "/v1/badges", award())
    assert awarded.status_code == 201, awarded.text
    badge, position = awarded.json()["id"], awarded.json()["position"]
    status = service.client.get(f"/v1/badges/{badge}/status", params={"minPosition": position})
    assert status.json()["status"] == "active"
    revoked = institution("POST", f"/v1/badges/{badge}/revocation", {"reason": "fraud"})
    assert revoked.status_code == 200
    after = service.client.get(
        f"/v1/badges/{badge}/status", params={"minPosition": revoked.json()["position"]}
    ).json()
    assert after["status"] == "revoked"
    assert after["position"] == revoked.json()["position"]
    assert set(after) == {"id", "status", "since", "institution", "position", "asOf"}
