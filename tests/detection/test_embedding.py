import pytest
import torch

from mgral.detection.embedding import embed

CANVAS = (32, 64)


def maps(width, levels=2, images=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, width, 8 // 2 ** level, 16 // 2 ** level, generator=generator)
            for level in range(levels)]


def test_a_neck_256_wide_gives_the_mean_over_levels():
    features = maps(256)
    expected = (features[0].mean(dim=(2, 3)) + features[1].mean(dim=(2, 3))) / 2
    torch.testing.assert_close(embed(features, [CANVAS] * 2, CANVAS), expected)


def test_a_tiny_neck_gives_means_and_deviations():
    features = maps(32, levels=4)
    expected = torch.cat([part for level in features for part in
                          (level.mean(dim=(2, 3)), level.flatten(2).std(dim=2, unbiased=False))], dim=1)
    assert expected.shape == (2, 256)
    torch.testing.assert_close(embed(features, [CANVAS] * 2, CANVAS), expected)


def test_few_numbers_are_filled_up_and_many_projected():
    few = embed(maps(16), [CANVAS] * 2, CANVAS)
    assert few.shape == (2, 256)
    assert few[:, 64:].abs().max() == 0
    many = embed(maps(128, levels=3), [CANVAS] * 2, CANVAS)
    assert many.shape == (2, 256)
    assert torch.equal(many, embed(maps(128, levels=3), [CANVAS] * 2, CANVAS))


@pytest.mark.parametrize("width", [256, 32])
def test_padding_is_not_seen(width):
    features = maps(width)
    changed = [level.clone() for level in features]
    for level in changed:
        level[0, :, :, level.shape[3] // 2:] = 99.0
    contents = [(32, 32), CANVAS]
    torch.testing.assert_close(embed(changed, contents, CANVAS), embed(features, contents, CANVAS))


def test_a_sliver_of_an_image_is_seen_in_one_cell():
    features = maps(256, levels=1, images=1)
    torch.testing.assert_close(embed(features, [(1, 1)], CANVAS), features[0][:, :, 0, 0])


def test_levels_of_several_widths_and_a_single_cell():
    """SSD's: 2 · 88 numbers are filled up, 2 · 176 are projected; a single cell deviates by nothing."""
    for widths in ((32, 32, 16, 8), (64, 64, 32, 16)):
        generator = torch.Generator().manual_seed(0)
        features = [torch.randn(3, width, side, side, generator=generator)
                    for width, side in zip(widths, (9, 5, 3, 1), strict=True)]
        embedding = embed(features, [CANVAS, (32, 20), (1, 1)], CANVAS)
        assert embedding.shape == (3, 256)
        assert torch.isfinite(embedding).all()
        assert torch.equal(embedding, embed(features, [CANVAS, (32, 20), (1, 1)], CANVAS))
        assert (embedding[0] - embedding[1]).norm() > 1e-3
    assert embed(features[-1:], [CANVAS] * 3, CANVAS)[:, 16:].abs().max() == 0
