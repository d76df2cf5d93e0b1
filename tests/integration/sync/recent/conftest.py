from __future__ import annotations

import pytest

from etl.db import migrations
from etl.settings import Endpoint
from tests.api_server import ApiServer
from tests.integration.sync.movements import MOVEMENTS, Bank, enrol
from tests.integration.sync.pipeline import Pipeline


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def pipeline(scripted_pipeline: Pipeline, api: ApiServer) -> Pipeline:
    """Return the steps for an entity without any SQL of its own, with one login."""
    migrations.migrate(scripted_pipeline.db, [MOVEMENTS])
    scripted_pipeline.endpoint = Endpoint(api.url)
    scripted_pipeline.entity = MOVEMENTS
    enrol(scripted_pipeline, "a1")
    return scripted_pipeline
