import pytest

from tests.training.conftest import labelled, scenes, start  # noqa: F401  (fixtures)


@pytest.fixture
def reward(scenes):  # noqa: F811
    return {image_id: scenes.boxes[image_id] for image_id in scenes.ids[16:]}
