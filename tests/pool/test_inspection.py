from pathlib import Path

import numpy as np
import pytest

from mgral.arrays import ROWS, copied, forget, read_arrays, write_arrays
from mgral.pool.inspection import Detections, DetectionSequence, Inspection, write_inspection
from tests.lookup.pools import inspection

SEEN = inspection(50)


def assert_same(first: Inspection, second: Inspection) -> None:
    assert first.ids == second.ids
    for name in ("embedding", "class_scores"):
        assert getattr(first, name).dtype == getattr(second, name).dtype
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for detections, expected in zip(first.detections, second.detections, strict=True):
        for name in ("xyxy", "scores", "labels"):
            assert getattr(detections, name).dtype == getattr(expected, name).dtype
            np.testing.assert_array_equal(getattr(detections, name), getattr(expected, name))


def test_a_saved_inspection_is_read_again_from_the_disk(tmp_path):
    SEEN.save(tmp_path / "seen")
    loaded = Inspection.load(tmp_path / "seen")
    assert_same(SEEN, loaded)
    with pytest.raises(ValueError, match="read-only"):
        loaded.embedding[0] = 0
    assert isinstance(loaded.embedding.base, np.memmap)
    assert isinstance(loaded.detections.scores.base, np.memmap)
    assert loaded.of(loaded.ids[:2]).embedding.flags.writeable


def test_parts_make_the_whole_and_a_new_one_takes_the_place_of_the_old(tmp_path):
    SEEN.of(SEEN.ids[:3]).save(tmp_path / "seen")
    write_inspection(tmp_path / "seen", SEEN.blocks(7))
    assert_same(SEEN, Inspection.load(tmp_path / "seen"))
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_a_part_that_fails_leaves_the_old_inspection(tmp_path):
    def parts():
        yield SEEN.of(SEEN.ids[:3])
        raise RuntimeError("stopped")

    SEEN.save(tmp_path / "seen")
    with pytest.raises(RuntimeError, match="stopped"):
        write_inspection(tmp_path / "seen", parts())
    assert_same(SEEN, Inspection.load(tmp_path / "seen"))
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_ids_of_any_letters_and_images_without_detections(tmp_path):
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    seen = Inspection(("ä/1.jpg", "b\n", "日本"), SEEN.embedding[:3], SEEN.class_scores[:3], (nothing,) * 3)
    seen.save(tmp_path / "seen")
    assert_same(seen, Inspection.load(tmp_path / "seen"))


def test_detections_by_row_by_slice_and_by_choice_are_those_of_a_list():
    detections = SEEN.detections
    expected = list(detections)
    rows = np.array([4, 49, 0, 4])
    for part, expected_part in ((detections[5:9], expected[5:9]), (detections[40:99], expected[40:99]),
                                (detections[9:5], []), (detections.take(rows), [expected[row] for row in rows]),
                                (DetectionSequence.of(expected), expected)):
        assert len(part) == len(expected_part)
        for detections_of_image, expected_detections in zip(part, expected_part, strict=True):
            np.testing.assert_array_equal(detections_of_image.scores, expected_detections.scores)
            np.testing.assert_array_equal(detections_of_image.labels, expected_detections.labels)
    np.testing.assert_array_equal(detections[-1].scores, expected[49].scores)
    assert [len(expected[row]) for row in detections.images] == [len(image) for image in expected for _ in image.scores]
    with pytest.raises(IndexError):
        detections[50]
    with pytest.raises(ValueError, match="expected consecutive images, got every 2th"):
        detections[::2]


def test_blocks_are_views_of_consecutive_images():
    blocks = list(SEEN.blocks(20))
    assert [len(block.ids) for block in blocks] == [20, 20, 10]
    assert all(np.shares_memory(block.embedding, SEEN.embedding) for block in blocks)
    assert_same(blocks[1], SEEN.of(SEEN.ids[20:40]))


def test_arrays_of_other_shapes_types_or_names_do_not_join(tmp_path):
    first = {"a": np.zeros((2, 3))}
    for second, words in (({"a": np.zeros((2, 4))}, r"expected float64 of shape \(n, 3\), got float64 of shape \(2, 4"),
                          ({"a": np.zeros((2, 3), np.int8)}, "expected float64 of shape"),
                          ({"b": np.zeros((2, 3))}, "expected the arrays a in every part, got b")):
        with pytest.raises(ValueError, match=words):
            write_arrays(tmp_path / "arrays", [first, second])
    with pytest.raises(ValueError, match="expected at least one part to write, got none"):
        write_arrays(tmp_path / "arrays", [])
    assert list(tmp_path.iterdir()) == []


def test_long_arrays_keep_the_header_that_was_written_first(tmp_path):
    write_arrays(tmp_path / "arrays", ({"a": np.full(1000, part)} for part in range(1200)))
    (values,) = read_arrays(tmp_path / "arrays").values()
    np.testing.assert_array_equal(values, np.repeat(np.arange(1200), 1000))


def mapped_kilobytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what is mapped")
def test_copied_rows_are_those_of_the_array_and_leave_no_page_behind(tmp_path):
    write_arrays(tmp_path / "arrays", ({"a": np.random.default_rng(part).random((1000, 256))} for part in range(30)))
    mapped = read_arrays(tmp_path / "arrays")["a"]
    before = mapped_kilobytes()
    whole = np.array(mapped)
    assert mapped_kilobytes() - before > 50_000
    forget(mapped)
    rows = np.random.default_rng(0).integers(0, 30_000, 2 * ROWS + 5)
    np.testing.assert_array_equal(copied(mapped[10:20_000], rows % 19_000), whole[10:20_000][rows % 19_000])
    assert mapped_kilobytes() - before < 10_000
    np.testing.assert_array_equal(mapped, whole)
    forget(whole)
    np.testing.assert_array_equal(copied(whole, rows), whole[rows])


def test_a_strategy_adds_signals_of_its_own_and_they_are_kept(tmp_path):
    seen = inspection(size=7)
    loss = np.arange(14, dtype=np.float32).reshape(7, 2)
    more = seen.with_signal("predicted_loss", loss)
    more.save(tmp_path / "seen")
    loaded = Inspection.load(tmp_path / "seen")
    np.testing.assert_array_equal(loaded.signals["predicted_loss"], loss)
    np.testing.assert_array_equal(loaded.of(seen.ids[2:4]).signals["predicted_loss"], loss[2:4])
    assert [len(block.signals["predicted_loss"]) for block in loaded.blocks(4)] == [4, 3]
    assert seen.signals == {}
    for name, signal in (("predicted_loss", loss), ("short", loss[:3])):
        with pytest.raises(ValueError, match="expected a new signal of 7 images, got"):
            more.with_signal(name, signal)
