"""What each image file held when it joined a study: other pixels under an old name would make old figures wrong."""

from __future__ import annotations

from collections.abc import Mapping

from mgral.data.dataset import Dataset, ImageId
from mgral.data.decoding import each
from mgral.errors import StateError
from mgral.files import read_json, sha256_of, write_json
from mgral.study.workspace import Workspace


def keep_pixels(workspace: Workspace, digests: Mapping[ImageId, str]) -> None:
    """Checks the images that joined before, and remembers those that are new; `digests` are `ImageStore.digests`.

    Raises:
        StateError: images whose files hold other bytes than before.
    """
    before = _before(workspace)
    _compare(workspace, before, digests)
    if not digests.keys() <= before.keys():
        write_json(workspace.pixels, {**before, **digests})


def check_pixels(workspace: Workspace, dataset: Dataset) -> int:
    """Reads every byte of every image file and compares; gives the number of files that were compared.

    Raises:
        StateError: images whose files hold other bytes than before.
    """
    before = _before(workspace)
    ids = [image_id for image_id in dataset.images if image_id in before]
    hashes = each(sha256_of, [dataset.path(image_id) for image_id in ids])
    _compare(workspace, before, {image_id: digest for image_id, (digest, _) in zip(ids, hashes, strict=True)})
    return len(ids)


def _before(workspace: Workspace) -> dict[ImageId, str]:
    try:
        kept = read_json(workspace.pixels)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StateError(f"{workspace.pixels}: expected JSON, got {error}; delete it: the images are then taken as "
                         "they are") from error
    return kept if isinstance(kept, dict) else {}


def _compare(workspace: Workspace, before: Mapping[ImageId, str], now: Mapping[ImageId, str]) -> None:
    changed = [image_id for image_id, digest in now.items() if before.get(image_id, digest) != digest]
    if changed:
        others = f" and {len(changed) - 1} others" if len(changed) > 1 else ""
        raise StateError(f"{workspace.pixels}: expected the images that the study began with, got other pixels in "
                         f"{changed[0]}{others}; restore them, or give the study another study.name")
