"""Tracks of CVAT's videos over the images of their frames."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.config import DataConfig
from mgral.data.formats import read_dataset
from tests.data.test_cvat import image, load, shape
from tests.data.test_label_studio import boxes, noted, problem

FRAMES = tuple(f"images/frame_{number:06d}.jpg" for number in range(8))


def box(frame, x=1, outside=0, keyframe=1, tag="box", **more):
    return shape(tag, frame=frame, outside=outside, keyframe=keyframe, xtl=x, ytl=2, xbr=x + 10, ybr=12, **more)


def track(*shapes, label="cell", number=0):
    return f'<track id="{number}" label="{label}" source="manual">{"".join(shapes)}</track>'


def meta(count, more=""):
    return f"<meta><task><size>{count}</size>{more}<labels><label><name>cell</name></label></labels></task></meta>"


def lefts(loaded, names=FRAMES):
    """The left edges of the boxes of each frame."""
    return [[left for _, left, *_ in boxes(loaded, name)] for name in names]


def test_a_box_is_carried_on_until_it_is_outside(tmp_path):
    loaded = load(tmp_path, meta(8), track(box(0), box(5, outside=1)), images=FRAMES)
    assert lefts(loaded) == [[1]] * 5 + [[]] * 3
    assert len(noted(loaded, "the box of frame 0 is carried on to frame 4")) == 1
    assert (loaded.listed, loaded.silent) == (8, 3)


def test_keyframes_replace_one_another(tmp_path):
    shapes = box(1), box(3, 5), box(4, 6, outside=1), box(6, 7)
    for order in (shapes, shapes[::-1]):
        loaded = load(tmp_path, track(*order), track(box(7, 20), number=1), images=FRAMES)
        assert lefts(loaded) == [[], [1], [1], [5], [], [], [7], [7, 20]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 7), st.tuples(st.integers(0, 20), st.booleans()), min_size=1),
                min_size=1, max_size=4))
def test_tracks_frame_by_frame(tmp_path_factory, tracks):
    root = tmp_path_factory.mktemp("tracks")
    texts = [track(*(box(frame, x, int(outside)) for frame, (x, outside) in keys.items())) for keys in tracks]
    expected = []
    for frame in range(8):
        last = [keys[max(key for key in keys if key <= frame)] for keys in tracks if min(keys) <= frame]
        expected.append([x for x, outside in last if not outside])
    assert lefts(load(root, *texts, images=FRAMES)) == expected


@pytest.mark.parametrize("style", ["frame_{}.jpg", "frame_{:06d}.jpg", "v/frame_{:03d}.png", "Frame_{:010d}.jpg",
                                   "frame{:02d}.jpg"])
def test_frames_by_name(tmp_path, style):
    names = [style.format(number) for number in (0, 2, 10)]
    loaded = load(tmp_path, meta(11), track(box(2)), images=names)
    assert lefts(loaded, names) == [[], [1], [1]]


def test_frames_in_their_order(tmp_path):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    loaded = load(tmp_path, meta(3), track(box(1)), images=names)
    assert lefts(loaded, names) == [[], [1], [1]]
    assert noted(loaded, "its 3 frames are taken for 3 images, from a.jpg on, in their order")
    assert lefts(load(tmp_path, track(box(1, outside=1), box(2)), images=names), names) == [[], [], [1]]


def test_every_tenth_frame_in_their_order(tmp_path):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    more = "<start_frame>5</start_frame><stop_frame>25</stop_frame><frame_filter>step=10</frame_filter>"
    loaded = load(tmp_path, meta(3, more), track(box(15), box(25, outside=1)), images=names)
    assert lefts(loaded, names) == [[], [1], []]


def test_frames_counted_from_one(tmp_path):
    names = [f"frame_{number:04d}.jpg" for number in (1, 2, 3)]
    loaded = load(tmp_path, meta(3), track(box(0), box(1, outside=1)), images=names)
    assert lefts(loaded, names) == [[1], [], []]
    assert noted(loaded, "in their order")


def test_frames_that_cannot_be_told(tmp_path):
    loaded = load(tmp_path, meta(5), track(box(0)), images=("a.jpg", "b.jpg"))
    line = problem(loaded)
    assert "expected an image for each of its 5 frames, called frame_000000.jpg and so on, got 2 images" in line
    assert "name their folder in data.images" in line


def test_two_images_of_one_frame(tmp_path):
    names = "v1/frame_0.jpg", "v2/frame_000.jpg"
    assert "got v1/frame_0.jpg and v2/frame_000.jpg for frame 0" in problem(load(tmp_path, track(box(0)), images=names))
    loaded = read_dataset(DataConfig(images="v2"), tmp_path)
    assert lefts(loaded, names[1:]) == [[1]]
    assert set(loaded.dataset.images) == {"v2/frame_000.jpg"}


def test_a_video_a_folder(tmp_path):
    for number, name in enumerate(("v1", "v2")):
        load(tmp_path / name, track(box(0, number)), images=("frame_0.jpg",))
    loaded = read_dataset(DataConfig(), tmp_path)
    assert lefts(loaded, ("v1/frame_0.jpg", "v2/frame_0.jpg")) == [[0], [1]]


def test_a_keyframe_without_an_image(tmp_path):
    line = problem(load(tmp_path, track(box(3), box(99)), images=FRAMES))
    assert "expected an image file 'frame_000099'" in line


@pytest.mark.parametrize("frame", ["", "x", "-1", "1.5", "nan", "99999999999999999999", "²"])
def test_frames_that_are_no_numbers(tmp_path, frame):
    assert "expected the number of a frame" in problem(load(tmp_path, track(box(frame)), images=FRAMES))


def test_far_frames_take_no_time(tmp_path):
    loaded = load(tmp_path, track(box(0), box(999_999_999, outside=1)), images=FRAMES)
    assert lefts(loaded) == [[1]] * 8


def test_shapes_of_tracks(tmp_path):
    shapes = (box(0, rotation=90), shape("polygon", frame=1, points="1,2;9,2;9,8", outside=0),
              shape("ellipse", frame=2, cx=9, cy=9, rx=3, ry=4, outside=0),
              shape("mask", frame=3, left=1, top=1, width=5, height=5, rle="1", outside=0),
              shape("points", frame=4, points="1,2", outside=0), box(5, outside=1))
    loaded = load(tmp_path, track(*shapes), images=FRAMES)
    assert [len(boxes(loaded, name)) for name in FRAMES] == [1, 1, 1, 1, 1, 0, 0, 0]
    assert noted(loaded, "1 shapes of type 'points'")


def test_faulty_tracks(tmp_path):
    assert "expected a label" in problem(load(tmp_path, track(box(0), label=""), images=FRAMES))
    assert "box of frame 0" in problem(load(tmp_path, track(box(0, rotation="x")), images=FRAMES))
    assert "[1, 2, 91, 12]" in problem(load(tmp_path, track(box(0).replace('xbr="11"', 'xbr="91"'), box(1, outside=1)),
                                            images=FRAMES))


def test_images_beside_tracks(tmp_path):
    still = image(box(0), name="still.jpg")
    loaded = load(tmp_path, still, track(box(2)), images=(*FRAMES, "still.jpg"))
    assert len(boxes(loaded, "still.jpg")) == 1
    assert lefts(loaded) == [[]] * 2 + [[1]] * 6


def test_frames_whose_box_is_left_out_are_not_empty(tmp_path):
    shapes = box(0), box(2, rotation="inf"), box(4, outside=1)
    loaded = load(tmp_path, track(*shapes), images=FRAMES, invalid_boxes="repair")
    assert loaded.problems == ()
    assert noted(loaded, "expected finite numbers")
    assert lefts(loaded, [*FRAMES[:2], *FRAMES[4:]]) == [[1]] * 2 + [[]] * 4
