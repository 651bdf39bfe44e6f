"""Embeddings from elsewhere belong to the images that they say, or are refused."""

import numpy as np
import pytest

from mgral.errors import DataError
from mgral.pool.embeddings import read_embeddings

IDS = ("b.jpg", "c/d.jpg", "a.jpg")
ROWS = np.arange(6, dtype=np.float64).reshape(3, 2)


def saved(folder, array, names=None):
    np.save(folder / "e.npy", array, allow_pickle=array.dtype == object)
    if names is not None:
        (folder / "e.txt").write_text("".join(f"{name}\n" for name in names))
    return folder / "e.npy"


def test_rows_are_in_the_order_of_sorted_names(tmp_path):
    embedding = read_embeddings(saved(tmp_path, ROWS), IDS)
    np.testing.assert_array_equal(embedding, ROWS[[1, 2, 0]])
    assert embedding.dtype == np.float32


def test_a_text_file_beside_names_the_rows_and_may_name_more(tmp_path):
    more = np.concatenate([ROWS, [[9, 9]]]).astype(np.float16)
    path = saved(tmp_path, more, ["d", "x/a.jpg", "elsewhere.jpg", "b.jpg"])
    np.testing.assert_array_equal(read_embeddings(path, IDS), more[[3, 0, 1]])


@pytest.mark.parametrize(("array", "names", "said"), [
    (ROWS[:2], None, "expected a row for each of the 3 images, in the order of their sorted names, got 2"),
    (ROWS[:, 0], None, "expected floating-point numbers of shape (images, dimensions), got float64 of shape (3,)"),
    (ROWS.astype(int), None, "got int64 of shape (3, 2)"), (ROWS[:, :0], None, "got float64 of shape (3, 0)"),
    (ROWS.astype(object), None, "expected a .npy file of numbers, got"),
    (np.where(ROWS == 3, np.nan, ROWS), None, "row 1: expected finite numbers for 'b.jpg', got NaN or infinity"),
    (np.where(ROWS > 2, 1e300, ROWS), None, "(and 1 more rows like this)"),
    (ROWS, ["a", "b"], "e.txt: expected a line for each of the 3 rows, got 2"),
    (ROWS, ["a", "b", "b.jpg"], "e.txt:3: expected a name that means an image of its own, got 'b.jpg'"),
    (ROWS, ["a", "x", "y"], "e.txt: expected a row for 'b.jpg', got none")])
def test_what_does_not_fit_is_refused(tmp_path, array, names, said):
    with pytest.raises(DataError) as caught:
        read_embeddings(saved(tmp_path, array, names), IDS)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", None])
def test_damaged_and_missing_files(tmp_path, content):
    if content is not None:
        (tmp_path / "e.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"e\.npy: expected a \.npy file of"):
        read_embeddings(tmp_path / "e.npy", IDS)
