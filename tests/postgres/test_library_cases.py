"""The eventsourcing library's own cases for recorders, on ours."""

from __future__ import annotations

import uuid

import pytest
from eventsourcing.tests import persistence as cases

from registry.event_store.read_model_positions import PositionRecorder
from registry.event_store.recorder import EventRecorder
from registry.postgres.connections import Pool


class StringIds(cases.RecorderTestCase):
    """Subjects are texts: a BRIN, or an id that was made."""

    url: str

    @pytest.fixture(autouse=True)
    def _database(self, url: str) -> None:
        self.url = url

    def new_originator_id(self) -> str:
        return str(uuid.uuid4())

    def create_recorder(self) -> EventRecorder:
        recorder = EventRecorder(self.url)
        self.addCleanup(recorder.close)
        return recorder


class TestApplicationRecorder(StringIds, cases.ApplicationRecorderTestCase[EventRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNonInterleavingPositions(StringIds, cases.NonInterleavingNotificationIDsBaseCase):
    pass


class TestPositionRecorder(cases.TrackingRecorderTestCase):
    url: str

    @pytest.fixture(autouse=True)
    def _database(self, url: str) -> None:
        self.url = url

    def create_recorder(self) -> PositionRecorder:
        pool = Pool(self.url, "registry_project", 2)
        self.addCleanup(pool.close)
        return PositionRecorder(pool, "statistics")
