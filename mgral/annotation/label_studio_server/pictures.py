"""How the picture of a task is shown: from a web server, from a folder of Label Studio's machine, or uploaded.

Boxes fit only what a browser shows as mgral sees it. Where it does not, be it TIFF, 16 bits a channel or a turned WebP,
a copy as PNG is uploaded in each of the three ways.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx
from PIL import Image

from mgral.annotation.label_studio_server.project import Project
from mgral.annotation.preannotations.label_studio import LOCAL_FILES
from mgral.data.dataset import Dataset, ImageId
from mgral.data.decoding import decode, exif_orientation, opened
from mgral.data.formats.reading import shown
from mgral.errors import ConfigError, StateError
from mgral.progress import current

ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp"}
"""What browsers show and Label Studio takes, with the endings by which it knows them."""
LONGEST_NAME = 50
"""Characters: Label Studio keeps at most a hundred, its folder and prefix among them."""
PATIENCE = 10.0
"""Seconds that a web server of pictures may take."""


class Pictures(Protocol):
    """A way to show pictures."""

    def prepare(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> None:
        """Does what has to be done once for a project; raises what is wrong before any task is there."""

    def addresses(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> Mapping[ImageId, str]:
        """What stands as `image` in the tasks of these images."""


@dataclass(frozen=True)
class Addressed:
    """Pictures on a web server: `base` and the path below the data set's folder.

    Raises:
        ConfigError: an address to which no path can be added.
    """

    base: str

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base)
            usable = parts.scheme in ("http", "https") and parts.hostname and self.base.isprintable()
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigError("--images-url: expected an address of the web, such as https://pictures.example/set, "
                              f"without a user, a '?' or a '#', got {shown(self.base.rpartition('@')[2])}; correct it")

    def prepare(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> None:
        """Looks at one picture, without any token; people's browsers may see what is not seen from here.

        Raises:
            StateError: there is none, or browsers would keep it from pages of other servers.
        """
        address, page = self._address(dataset, ids[0]), _origin(project.server.url)
        try:
            with httpx.stream("GET", address, timeout=PATIENCE, headers={"Origin": page}) as response:
                status, headers = response.status_code, response.headers
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            current.get().note(f"{address}: expected a picture, got {shown(str(error) or type(error).__name__)}; if "
                               "the annotators' browsers do not see it either, delete the project and push again with "
                               "another --images-url")
            return
        if status != 200:
            raise StateError(f"{address}: expected a picture, got {status}; correct --images-url: behind it comes the "
                             "path below the data set's folder")
        if "access-control-allow-origin" not in headers and _origin(address) != page:
            raise StateError(f"{address}: expected a picture that pages of Label Studio may show, got no header "
                             "Access-Control-Allow-Origin, without which browsers keep it back; have the web server "
                             f"send it (for {page}, or *), or leave out --images-url")

    def addresses(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> Mapping[ImageId, str]:
        return _with_copies(project, dataset, {image_id: self._address(dataset, image_id) for image_id in ids})

    def _address(self, dataset: Dataset, image_id: ImageId) -> str:
        return f"{self.base.rstrip('/')}/{quote(dataset.images[image_id].file_name)}"


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True)
class Served:
    """Pictures of Label Studio's own machine, below the `root` that it was started with."""

    root: Path

    def prepare(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> None:
        """Has the server show the folders that hold the pictures.

        Raises:
            StateError: the server does not.
        """
        root = self.root.absolute()
        for folder in self._folders(dataset, ids):
            project.show_folder(str(root / folder), f"{folder} (mgral)")
        address = self._address(dataset, ids[0])
        if not project.shows(address):
            raise StateError(f"{project.server.url}{address}: expected a picture, got none; start Label Studio with "
                             "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT="
                             f"{root} on a machine that has the pictures there, or leave out --document-root")

    def addresses(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> Mapping[ImageId, str]:
        return _with_copies(project, dataset, {image_id: self._address(dataset, image_id) for image_id in ids})

    def _address(self, dataset: Dataset, image_id: ImageId) -> str:
        return LOCAL_FILES + quote(str(self._below(dataset) / dataset.images[image_id].file_name))

    def _folders(self, dataset: Dataset, ids: Sequence[ImageId]) -> list[str]:
        """Folders below the root that hold all these pictures: Label Studio shows none that lies in the root itself."""
        below = self._below(dataset)
        if below.parts:
            return [str(below)]
        paths = [PurePosixPath(dataset.images[image_id].file_name) for image_id in ids]
        bare = [str(path) for path in paths if len(path.parts) < 2]
        if bare:
            raise StateError(f"--document-root: expected a folder above that of the pictures, as Label Studio shows no "
                             f"file that lies in its root itself, got {self.root} with {bare[0]} in it; start Label "
                             f"Studio with LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={self.root.absolute().parent} and "
                             "give that folder")
        return sorted({path.parts[0] for path in paths})

    def _below(self, dataset: Dataset) -> PurePosixPath:
        """The data set's folder, relative to the root."""
        for root, folder in ((self.root.absolute(), dataset.root.absolute()),
                             (self.root.resolve(), dataset.root.resolve())):
            if folder.is_relative_to(root):
                return PurePosixPath(folder.relative_to(root).as_posix())
        raise ConfigError(f"--document-root: expected a folder that holds {dataset.root.absolute()}, got {self.root}; "
                          "give the folder that Label Studio was started with as "
                          "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT")


@dataclass(frozen=True)
class Uploaded:
    """Pictures that Label Studio keeps itself, in its own folder: nothing has to be set up."""

    def prepare(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> None:
        """Nothing to do."""

    def addresses(self, project: Project, dataset: Dataset, ids: Sequence[ImageId]) -> Mapping[ImageId, str]:
        files = [for_browsers(dataset, image_id) for image_id in ids]
        return dict(zip(ids, project.upload(files), strict=True))


def for_browsers(dataset: Dataset, image_id: ImageId) -> tuple[str, bytes]:
    """A picture's name and content as any browser shows it: the file itself, or a copy as PNG.

    Raises:
        DataError: the file cannot be read.
    """
    path, image = dataset.path(image_id), dataset.images[image_id]
    stem, ending = PurePosixPath(image.file_name).stem[-LONGEST_NAME:], _shown_by_browsers(path)
    if ending:
        return stem + ending, path.read_bytes()
    copy = io.BytesIO()
    Image.fromarray(decode(path, image.width, image.height, dataset.white)).save(copy, "PNG")
    return f"{stem}.png", copy.getvalue()


def _shown_by_browsers(path: Path) -> str | None:
    """The ending of a file that browsers show upright and in eight bits; None for any other.

    Of pictures that EXIF turns only JPEG is shown upright everywhere.
    """
    with opened(path) as file, path.open("rb") as head:
        turned = file.format != "JPEG" and exif_orientation(file) != 1
        wide = file.format == "PNG" and head.read(25)[24] == 16  # the header's bits a channel
        return None if turned or wide else ENDINGS.get(file.format)


def _with_copies(project: Project, dataset: Dataset, addresses: Mapping[ImageId, str]) -> Mapping[ImageId, str]:
    """The addresses, with those of uploaded copies where no browser would show the file as it is."""
    hidden = [image_id for image_id in addresses if not _shown_by_browsers(dataset.path(image_id))]
    if not hidden:
        return addresses
    return {**addresses, **Uploaded().addresses(project, dataset, hidden)}
