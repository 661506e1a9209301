"""Which partition a key is on: for ever, as librdkafka's `consistent` partitioner has it.

The checksums of the first two are those of the check value of CRC-32 (ISO 3309) and of the empty text.
"""

from __future__ import annotations

import pytest

from registry.event_store.log import partition_of

VECTORS = [
    ("123456789", 0xCBF43926),
    ("", 0),
    ("27UM", 2_514_716_703),
    ("0b8b2f5e-8d2f-8a51-9c1e-0d2f4c1b7a10", 966_769_252),
]


@pytest.mark.parametrize(("key", "checksum"), VECTORS)
@pytest.mark.parametrize("partitions", [1, 3, 8, 256])
def test_a_key_stays_on_its_partition_for_ever(key: str, checksum: int, partitions: int) -> None:
    assert partition_of(key, partitions) == checksum % partitions
