"""Pictures of products and of agreement: their numbers are those of the maps, and colours can be told apart."""

import numpy as np
import pytest
from matplotlib.text import Text

from lakecube.errors import InvalidInputError
from lakecube.names import COLOURS
from lakecube.product_panels import _AGREEMENT, PRODUCTS
from lakecube.store import to_zarr
from tests.store.bowls import bowls


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    water, wet = bowls()
    return to_zarr(water, tmp_path_factory.mktemp("products") / "s", chunks=96, progress=False), wet


def words(picture):
    return " | ".join(text.get_text() for text in picture.findobj(Text))


def test_products_are_those_of_the_store(made):
    store, _ = made
    wanted = {"occurrence": store.water.occurrence(), "recurrence": store.water.recurrence(),
              "seasonality": store.water.seasonality()}  # fmt: skip
    for name, product in wanted.items():
        picture = store.water.plot(product=name)
        drawn = picture.axes[0].images[0].get_array()
        np.testing.assert_array_equal(drawn, np.ma.masked_invalid(product.values), err_msg=name)
        assert name.capitalize() in words(picture) and "UTM zone 48N" in words(picture)
    assert "12 is permanent" in words(picture) and "never wet" in words(picture)


def test_classes_come_with_their_shares(made):
    store, _ = made
    text = words(store.water.plot(product="extent"))
    share = float((store.water.maximum_extent() == 1).mean())
    assert f"water {share:.1%}" in text and "Maximum extent" in text
    seen = store.water.transitions().values
    text = words(store.water.plot(product="transitions"))
    assert f"not water {(seen == 0).mean():.1%}" in text and "ephemeral permanent" not in text


def test_agreement_counts_what_was_found_invented_and_missed(made, tmp_path):
    store, wet = made
    at = int((store.water_mask != 255).sum(("y", "x")).values.argmax())
    truth = store.water_mask[at].drop_vars("time").copy(data=np.roll(wet[at], 3, axis=1).astype(np.uint8))
    date = store.time.values[at]
    picture = store.water.plot(reference=truth, date=date, path=tmp_path / "a.png")
    mask = store.water_mask[at].values
    known = mask != 255
    found, both = (mask == 1) & known, (mask == 1) & (truth.values == 1) & known
    iou = both.sum() / (found | ((truth.values == 1) & known)).sum()
    assert f"IoU {iou:.3f}" in words(picture)
    assert f"missed {((truth.values == 1) & (mask == 0)).mean():.1%}" in words(picture)
    assert f"mapped, not there {((truth.values == 0) & (mask == 1)).mean():.1%}" in words(picture)
    with pytest.raises(InvalidInputError, match="on the same coordinates"):
        store.water.plot(reference=truth[:50])


def test_what_is_no_product_is_named(made):
    with pytest.raises(InvalidInputError, match="use one of occurrence"):
        made[0].water.plot(product="magic")
    assert set(PRODUCTS) == {"occurrence", "recurrence", "seasonality", "transitions", "extent"}


def _dichromat(colour):
    """A colour as somebody without red or green cones may see it (Viénot et al., 1999), in CIE Lab."""
    from skimage.color import rgb2lab

    rgb = np.array([int(colour.strip("#")[k : k + 2], 16) for k in (0, 2, 4)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in ([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
                   [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]):  # fmt: skip
        seen = np.clip(np.array(matrix) @ linear, 0, 1)
        yield rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize(
    "colours", [[c for _, c in _AGREEMENT], [*COLOURS["water_transition"].values()]], ids=["agreement", "transitions"]
)
def test_colours_are_told_apart_without_red_or_green(colours):
    labs = np.array([[*_dichromat(colour)] for colour in colours])
    for sight in (0, 1):
        apart = np.linalg.norm(labs[:, None, sight] - labs[None, :, sight], axis=-1)
        apart[np.diag_indices(len(colours))] = np.inf
        assert apart.min() > 7, (sight, np.unravel_index(apart.argmin(), apart.shape))
