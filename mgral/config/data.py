"""What a data set is and where its parts come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator

from mgral.section import AtLeastOne, Fraction, Scenes, Section, Side, alone_or_several, fit_into_paths, pairs


class SyntheticConfig(Section):
    """The scenes that `mgral.data.synthetic` draws when `data.format` is `synthetic`."""

    pool: Scenes = 1000
    """Scenes to draw labelled images from and to choose from."""
    reward: Scenes = 100
    """Scenes to measure rewards on."""
    test: Scenes = 200
    """Scenes to report on."""
    image_size: Side = 64
    """Side of a scene, in pixels."""
    duplicates: Fraction = 0.5
    """Share of the pool that shows the scene of the image before it again, a moment later."""
    empty: Fraction = 0.4
    """Share of the pool with no object at all."""
    spoiled: Fraction = 0.1
    """Share of the pool that is dark, blurred or noisy."""


class DataConfig(Section):
    format: Literal["auto", "coco", "voc", "yolo", "cvat", "label_studio", "images", "synthetic"] = "auto"
    """The layout of the data set's files; `auto` looks and says what it found, `images` is a folder without labels,
    `synthetic` draws scenes and needs no files."""
    root: str | None = None
    """Folder of the data set; the command line's --data takes precedence. Not used by `synthetic`."""
    images: str | None = None
    """Folder below `root` whose images belong to the set, all of them; when absent they are found."""
    annotations: Annotated[tuple[str, ...] | None, BeforeValidator(alone_or_several)] = None
    """Annotation files, or folders of them, below `root` or by absolute path; when absent they are found."""
    splits: Annotated[tuple[tuple[str, str], ...] | None, BeforeValidator(pairs)] = None
    """Splits by name: each a folder, a list of image names or an annotation file below `root`, such as
    `{train: lists/train.txt, test: part2}`; when absent they are told by the names train, valid, val and test."""
    pool: str | None = None
    """The split from which labelled images and the pool come; when absent all images but those of the next two."""
    reward: str | Fraction | None = None
    """The split on which rewards are measured, or the share of the labelled images to set aside for it; when absent the
    split called val or valid, else a fifth."""
    test: str | Fraction | None = None
    """The split on which results are reported, or the share of the labelled images to set aside for it; when absent the
    split called test, else a fifth."""
    labelled: AtLeastOne | None = None
    """For simulations: so many images are labelled before the first cycle, drawn at random once; mgral plays the
    annotator with the labels of the others. When absent all images are labelled that are annotated, or listed."""
    labelled_list: str | None = None
    """A file below `root` that lists the images, a path a line, that are labelled before the first cycle."""
    without_boxes: Literal["empty", "unlabelled"] | None = None
    """What an image is that a COCO or CVAT file lists without a box, for these formats cannot say: `empty` (somebody
    looked, nothing is there) or `unlabelled`. When absent `empty`, and asked for where it is more than half of them."""
    orientation: Literal["auto", "upright", "stored"] = "auto"
    """What boxes were drawn on where EXIF turns a picture and its annotated size is the one before: the picture as one
    sees it (`upright`) or the pixels as they are `stored`; `auto` lets the boxes decide. `stored` also holds where no
    size is said, as in YOLO."""
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(alone_or_several)] = None
    """The classes to detect, in order; taken from the data set when absent. A class outside the list is a fault."""
    invalid_boxes: Literal["error", "repair"] = "error"
    """`repair` clips boxes to the image and drops those of no area, saying which; `error` refuses the data set."""
    max_pixels: AtLeastOne = 178_000_000
    """Most pixels of an image; larger ones are refused before they fill the memory (4 bytes a pixel)."""
    image_range: AtLeastOne | None = None
    """Brightest value of 16-bit images, which becomes white; when absent told from all of them: 65535, or, where they
    use less than an eighth of that, the next of 255, 511, … 8191."""
    synthetic: SyntheticConfig = SyntheticConfig()

    _paths = field_validator("*")(fit_into_paths)
