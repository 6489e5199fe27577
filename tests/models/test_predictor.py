"""Prediction in tiles: the same bits however it is cut and run, the whole image where the margin covers the radius."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import dask
import numpy as np
import pytest
import xarray as xr

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")

from lakecube.errors import InvalidInputError, LakecubeError, MissingBandError, ReadError
from lakecube.models import forward, predict_blocks, registry, weights_file
from lakecube.models.inputs import WHITE, network_input
from lakecube.models.locality import effective_radius, seams
from lakecube.models.predictor import default_tiling, predict
from lakecube.names import JUDGED, OBSERVATION
from lakecube.synthetic.cube import sentinel2_cube
from tests.models import made
from tests.models.tiny import tiny_weights

#: Of the small network: no output depends on an input farther away.
RADIUS = 76


@pytest.fixture(scope="module")
def cube():
    """Two dates, 150 × 170 px, the corner not on a multiple of the stride."""
    return sentinel2_cube((150, 170), 2, seed=5, clouds=[0.0, 0.2], missing=0.1, origin=(549650.0, 2986470.0))


@pytest.fixture(scope="module")
def large():
    """One date, 420 × 400 px; two tiles of 1024 px meet in column 331."""
    return sentinel2_cube((420, 400), 1, seed=7, missing=0.1, origin=(549650.0, 2986470.0)).load()


@pytest.fixture(scope="module")
def model():
    return made.shared()


def largest_difference(a, b):
    assert (a.isnull() == b.isnull()).all()
    return float(abs(a - b).max())


def test_tiles_give_the_whole_image_where_the_margin_covers_the_radius(cube, model):
    whole = predict(cube, model, tile=1024, margin=96, blend=0).compute()
    errors = {m: largest_difference(predict(cube, model, tile=64, margin=m, blend=16), whole) for m in (16, 48, 96)}
    assert errors[16] > errors[48] > errors[96]
    assert errors[96] <= 4 * np.finfo(np.float32).eps
    assert errors[16] > 1e-3  # the check is sharp


def test_a_network_that_looks_from_afar_gives_the_same_in_tiles_and_chunks(cube, tmp_path):
    """Its tiles begin at multiples of the larger stride, so that pixels are halved in the same pairs."""
    path = made.write(tmp_path, options={"width": 2, "halvings": 1}, stride=32, radius=218)
    one = cube.isel(time=[0])
    whole = predict(one, path, tile=1024, margin=224, blend=0).compute()
    errors = [largest_difference(predict(one, path, tile=64, margin=m, blend=16), whole) for m in (32, 224)]
    assert errors[0] > 1e-4 > 4 * np.finfo(np.float32).eps >= errors[1]
    cut = predict(one.chunk(y=31, x=59), path, tile=64, margin=32)
    xr.testing.assert_identical(cut.compute(num_workers=2), predict(one, path, tile=64, margin=32).compute())
    with pytest.raises(InvalidInputError, match="stride of 32"):
        predict(one, path, tile=64, margin=16)


def test_how_far_a_network_looks_is_measured(cube, model):
    table = seams(model, [cube], [0, 16, 96], tile=64)
    assert [seam.margin for seam in table] == [0, 16, 96]
    assert table[0].labels > table[1].labels > table[2].labels == 0
    radius = effective_radius(model, [cube], tolerance=table[1].labels, tile=64)
    assert radius == 16
    assert effective_radius(model, [cube], tolerance=0, tile=64) <= -(-RADIUS // 16) * 16
    with pytest.raises(InvalidInputError, match="not local"):
        seams(made.shared(window=64), [cube], [0])


def test_the_whole_image_is_the_networks_own_answer(cube, model):
    """At an anchor that is a multiple of the stride nothing is added around the image."""
    cube = cube.isel(time=[0], y=slice(0, 96), x=slice(0, 128)).drop_vars(["x", "y"])
    found = predict(cube, model, tile=128, margin=16, blend=0).compute()
    weights = registry.find(model)
    bands = [cube[b].values[0] for b in made.BANDS]
    image = np.stack(bands) * np.float32(4.0) - np.float32(0.5)
    with torch.inference_mode():
        logits = forward.network(weights)(torch.from_numpy(np.nan_to_num(image))[None])
    known = found.notnull().values[0]
    np.testing.assert_allclose(found.values[0][known], torch.sigmoid(logits)[0, 0].numpy()[known], atol=1e-6)


def test_unknown_pixels_are_unknown_and_all_others_are_not(cube, model):
    found = predict(cube, model, tile=64, margin=16).compute()
    judged = cube.observation.isin([OBSERVATION[name] for name in JUDGED]) & cube[
        list(made.BANDS)
    ].to_array().notnull().all("variable")
    np.testing.assert_array_equal(found.notnull(), judged)
    assert ((found >= 0) & (found <= 1)).values[judged].all()


def test_windows_that_are_wholly_unknown_are_not_forwarded(cube, model, monkeypatch):
    seen = []
    inner = predict_blocks.probabilities
    monkeypatch.setattr(
        predict_blocks, "probabilities", lambda w, images, *a: seen.append(len(images)) or inner(w, images, *a)
    )
    dark = cube.isel(time=[0]).copy(deep=True)
    dark["observation"][:] = OBSERVATION["cloud"]
    assert predict(dark, model, tile=64, margin=16).isnull().all()
    assert not seen
    predict(cube.isel(time=[0]).chunk(y=13, x=29), model, tile=64, margin=16).compute(scheduler="synchronous")
    anchor = -(-2986470 // 10), 549650 // 10  # each tile once, whatever the chunks
    rows, columns = (
        len(default_tiling(made.spec(), 64, 16).along(n, a)) for n, a in zip((150, 170), anchor, strict=True)
    )
    assert 0 < sum(seen) <= rows * columns


def test_two_requests_agree_beyond_the_reach(cube, model):
    whole = predict(cube, model, tile=32, margin=16, blend=8).compute()
    cut = cube.isel(y=slice(9, -3), x=slice(5, -14))
    part = predict(cut, model, tile=32, margin=16, blend=8).compute()
    reach = 32 + 16 + 8
    inner = part[:, reach:-reach, reach:-reach]
    xr.testing.assert_identical(inner, whole.sel(y=inner.y, x=inner.x))


def test_threads_and_their_number_change_nothing(cube, model):
    lazy = predict(cube.chunk(time=1, y=50, x=60), model, tile=32, margin=32)
    alone = lazy.compute(scheduler="synchronous")
    before = torch.get_num_threads()
    try:
        for outside in (1, 3):
            torch.set_num_threads(outside)
            with dask.config.set(scheduler="threads", num_workers=4):
                xr.testing.assert_identical(lazy.compute(), alone)
            assert torch.get_num_threads() == outside
    finally:
        torch.set_num_threads(before)


PACKAGED = [name for name, about in registry.available().items() if about.patch is None]


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_models_give_the_same_bits_however_the_cube_is_cut(name, large):
    """With their own tiles and margins, on an image large enough that layers run in pieces."""
    bands = [*registry.available()[name].bands, "observation"]
    whole = predict(large[bands].chunk(y=-1, x=-1), name, device="cpu").compute(scheduler="synchronous")
    chance = np.random.default_rng(len(name))
    cuts = [tuple(np.diff([0, *sorted(chance.choice(np.arange(1, n), 3, replace=False)), n])) for n in (420, 400)]
    for rows, columns in (cuts, (420, 400), (97, 113)):
        lazy = predict(large[bands].chunk(y=rows, x=columns), name, device="cpu")
        xr.testing.assert_identical(lazy.compute(num_workers=2), whole)


def test_the_number_of_threads_is_put_back_by_a_thread_that_once_left_before_the_last():
    before, both, left = torch.get_num_threads(), threading.Barrier(2), threading.Event()

    def leaves_first():
        with forward.one_thread(torch):
            both.wait(10)
        left.set()

    def leaves_last():
        with forward.one_thread(torch):
            both.wait(10)
            left.wait(10)

    def alone():
        with forward.one_thread(torch):
            pass

    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other, ThreadPoolExecutor(1) as third:
            for passes in (one.submit(leaves_first), other.submit(leaves_last)):
                passes.result()
            one.submit(alone).result()
            assert third.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_workers_in_other_processes_give_the_same(cube, model):
    from distributed import Client, LocalCluster

    lazy = predict(cube.isel(time=[0]).chunk(y=75, x=85), model, tile=64, margin=32)
    here = lazy.compute(scheduler="threads")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, \
            Client(cluster):  # fmt: skip
        xr.testing.assert_identical(lazy.compute(), here)


def test_a_model_is_a_small_handle_that_is_loaded_once(cube, model, monkeypatch):
    weights = registry.find(model)
    assert pickle.loads(pickle.dumps(weights)) == weights
    lazy = predict(cube.chunk(time=1, y=50, x=60), model, tile=32, margin=32)
    assert len(pickle.dumps(lazy.data.dask.layers[lazy.data.name])) < 2e5
    loads = []
    monkeypatch.setattr(forward, "_loaded", {})
    monkeypatch.setattr(forward, "load", lambda w: loads.append(w) or registry.load(w))
    threads = [threading.Thread(target=forward.network, args=(weights,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_only_the_last_networks_are_kept(monkeypatch):
    monkeypatch.setattr(forward, "_loaded", {})
    monkeypatch.setattr(forward, "_built", lambda weights, *_: weights.spec.sha256)
    for k in (0, 1, 2, 3, 0, 4):
        forward.network(registry.Weights(str(k), replace(made.spec(), sha256=str(k))))
    assert [key[0] for key in forward._loaded] == ["2", "3", "0", "4"]


def test_a_model_that_is_not_local_is_defined_on_its_window(cube):
    path = made.shared(window=64)
    tiling = default_tiling(made.spec(window=64))
    assert (tiling.tile, tiling.margin) == (32, 16)
    found = predict(cube, path).compute()
    xr.testing.assert_identical(predict(cube.chunk(time=2, y=31, x=170), path).compute(), found)
    small = predict(cube.isel(y=slice(0, 20), x=slice(0, 9)), path)  # smaller than the window
    assert small.notnull().any()
    with pytest.raises(InvalidInputError, match="window of 64"):
        predict(cube, path, tile=64, margin=16)


def test_bfloat16_keeps_the_labels(cube, model):
    full = predict(cube, model, tile=64, margin=80).compute()
    short = predict(cube, model, tile=64, margin=80, precision="bfloat16").compute()
    known = full.notnull().values
    assert 0 < np.abs(full - short).values[known].max() < 0.05
    assert ((full > 0.5) == (short > 0.5)).values[known].mean() > 0.985


def test_views_are_the_mean_of_what_turned_copies_say(cube, model):
    """By turning the cube itself, with one tile about all of it."""
    clear = cube[list(made.BANDS)].isel(time=[0], y=slice(0, 96), x=slice(0, 112)).fillna(0.1).drop_vars(("y", "x"))
    one = {"tile": 256, "margin": 0, "blend": 0}
    answers = []
    for turned in (False, True):
        for axes in ((), ("y", "x"), ("y",), ("x",)):
            seen = clear.isel({axis: slice(None, None, -1) for axis in axes})
            seen = seen.rename(y="x", x="y").transpose("time", "y", "x") if turned else seen
            said = predict(seen, model, **one)
            said = said.rename(y="x", x="y") if turned else said
            answers.append(said.isel({axis: slice(None, None, -1) for axis in axes}).transpose("time", "y", "x").values)
    assert np.abs(answers[0] - answers[3]).max() > 1e-3  # they do differ
    for views in (1, 2, 4, 8):
        found = predict(clear, model, views=views, **one).values
        np.testing.assert_allclose(found, np.mean(answers[:views], axis=0), atol=1e-5)


def test_a_picture_and_reflectance_reach_a_network_by_one_rule(cube):
    """What is shown white is reflectance 0.3, for every request; each kind of model gets its own kind of values."""
    spec = replace(made.spec(), radiometry="display", scale=(1.0,) * 3, offset=(0.0,) * 3)
    reflectance = [np.array([[0.0, 0.15, 0.3, 0.6, -0.1, np.nan]], np.float32)] * 3
    shown = network_input(reflectance, spec, "reflectance")
    np.testing.assert_allclose(shown[0, :, 0], [0, 0.5, 1, 1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(network_input(reflectance, spec, "display")[0, :4, 0], reflectance[0][0, :4])
    other = replace(spec, radiometry="reflectance")
    np.testing.assert_allclose(network_input(reflectance, other, "display")[0, 1, 0], 0.15 * WHITE)
    marked = cube.copy()
    for name in made.BANDS:
        marked[name] = cube[name].assign_attrs(radiometry="display")
    with pytest.raises(InvalidInputError, match="display and reflectance"):
        predict(marked, made.shared())
    shown_cube = marked[[*made.BANDS, "observation"]]
    path = made.shared(radiometry="display")
    given = predict(shown_cube, path, tile=64, margin=16)
    xr.testing.assert_identical(given, predict(cube, path, tile=64, margin=16, radiometry="display"))
    assert largest_difference(given, predict(cube, path, tile=64, margin=16)) > 0


def test_the_narrow_near_infrared_stands_in(cube, model):
    narrow = cube.rename(nir="was", nir08="nir08_was").drop_vars("nir08_was").rename(was="nir08")
    found = predict(narrow, model, tile=64, margin=16)
    np.testing.assert_array_equal(found, predict(cube, model, tile=64, margin=16))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tile": 40}, InvalidInputError, "multiples of the model's stride of 16"),
        ({"margin": -16}, InvalidInputError, "margin"),
        ({"precision": "int8"}, InvalidInputError, "bfloat16"),
        ({"views": 3}, InvalidInputError, "1, 2, 4 or 8"),
        ({"radiometry": "dB"}, InvalidInputError, "display"),
        ({"device": "abacus"}, InvalidInputError, "abacus"),
        ({"model": "nothing.safetensors"}, InvalidInputError, "no weights at"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(cube, model, options, error, words):
    with pytest.raises(error, match=words):
        predict(cube, **{"model": model, **options})


def test_nothing_to_predict_on_is_named(cube, model):
    for part in ({"time": slice(0)}, {"x": slice(0)}):
        with pytest.raises(InvalidInputError, match="nothing along"):
            predict(cube.isel(part), model)


def test_what_is_not_clear_is_shown_to_the_network_as_it_is(cube, model, monkeypatch):
    shown = []
    forwarded = predict_blocks.probabilities
    monkeypatch.setattr(predict_blocks, "probabilities", lambda w, x, *rest: shown.append(x) or forwarded(w, x, *rest))
    cloudy = cube.isel(time=[0], y=slice(32, 96), x=slice(32, 96)).drop_vars(["y", "x"]).load()
    cloudy["observation"] = cloudy["observation"].copy()
    cloudy["observation"][:, :, :32] = OBSERVATION["cloud"]
    found = predict(cloudy, model, tile=64, margin=0, blend=0).compute()
    assert found[:, :, :32].isnull().all()
    known = np.isfinite(cloudy["green"].values[0])
    np.testing.assert_allclose(shown[0][0, ..., 0][known], cloudy["green"].values[0][known] * 4 - 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"options": {"width": 10**6}}, "do not fit unet"),  # would take terabytes
        ({"options": {"width": 0}}, "do not fit unet"),
        ({"options": {"width": 2**40}}, "does not take these options"),
        ({"options": {"width": -1}}, "does not take these options"),
        ({"options": {"width": 2, "bands": 3}}, "does not take these options"),
        ({"options": {"width": 2, "halvings": 1}}, "a stride of 16 px; it is 32"),
        ({"options": {"width": 2, "halvings": "1"}}, "0 to 3"),
        ({"options": {"width": 2, "halvings": None}}, "0 to 3"),
        ({"options": {"depth": 3}}, "does not take these options"),
        ({"architecture": "efficientnet-unet", "options": {"decoder": [1]}}, "does not take these options"),
        ({"bands": ("green", "nir"), "scale": (4.0,) * 2, "offset": (-0.5,) * 2}, "do not fit unet"),
        ({"stride": 8}, "a stride of 8 px; it is 16"),
        ({"stride": 1024}, "a stride of 1024 px; it is 16"),
        ({"radius": 8192}, "a radius of 8192 px; unet looks no farther than 112"),
        ({"architecture": "resnet"}, "unknown architecture 'resnet'; .*there are 'linknet18'"),
        ({"architecture": "sapcnn", "options": {}}, "do not fit sapcnn"),
        ({"patch": 28}, "must not name a patch"),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_spec_that_lies_about_its_network_is_refused(model, tmp_path, lie, words):
    spec, state = registry.load(model)
    registry.save(tmp_path / "lies.safetensors", replace(spec, **lie), state)
    with pytest.raises(InvalidInputError, match=f"lies.safetensors is not the model that it says it is: .*{words}"):
        registry.find(tmp_path / "lies.safetensors")
    path = tmp_path / "lies.safetensors"
    told = replace(weights_file.described(path), sha256=weights_file.file_hash(path))
    with pytest.raises(InvalidInputError, match=words):  # of a handle that was made by hand
        forward.network(registry.Weights(str(path), told))


def test_the_packaged_weights_are_the_networks_that_they_name():
    for name, spec in registry.available().items():
        path = weights_file.FOLDER / f"{name}.safetensors"
        if path.is_file():
            registry._check_network(spec, path.read_bytes(), name)


def test_bands_and_weights_that_do_not_fit(cube, model, tmp_path):
    with pytest.raises(MissingBandError, match="needs swir16"):
        predict(cube.drop_vars("swir16"), model)
    with pytest.raises(InvalidInputError, match="class of a patch"):
        predict(cube, tiny_weights())
    with pytest.raises(InvalidInputError, match="float bands"):
        predict(cube.assign(green=cube.green.fillna(0).astype("int16")), model)
    path = made.write(tmp_path, "wrong")
    _, state = registry.load(path)
    registry.save(path, made.spec("wrong", options={"width": 3}), state)
    with pytest.raises(InvalidInputError, match="do not fit"):
        predict(cube, path)  # before anything is computed
    lazy = predict(cube, made.write(tmp_path, "gone", seed=3), tile=64, margin=16)
    (tmp_path / "gone.safetensors").unlink()
    with pytest.raises(ReadError, match="every worker must see"):
        lazy.compute()


def test_a_graph_of_packaged_weights_is_built_without_torch():
    code = (
        "import sys, lakecube\n"
        "from lakecube.synthetic.cube import sentinel2_cube\n"
        "lazy = sentinel2_cube((40, 40), 1).water.extract('linknet50')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_are_of_the_family():
    assert issubclass(ReadError, LakecubeError)
