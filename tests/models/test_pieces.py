"""What makes passes fast changes nothing but the last bits: layers in pieces, batch normalisation folded in."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")

from lakecube.models import forward, pieces, registry
from lakecube.models.folding import fold_batch_norm
from lakecube.models.nets import build

NETS = {
    "unet": {"width": 4},
    "efficientnet-unet": {"encoder": "lite1", "decoder": (16, 16, 8, 8, 8)},
    "linknet18": {},
    "linknet50": {},
}


@pytest.fixture(params=NETS)
def net(request):
    """With statistics of its own in every batch normalisation."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(request.param, 3, **NETS[request.param]).eval().requires_grad_(False)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
                torch.nn.init.uniform_(module.weight, 0.8, 1.6)
                torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return net


def answer(net, shape=(1, 3, 128, 192)):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return net(image.contiguous(memory_format=torch.channels_last))


def assert_ulps_apart(found, expected):
    """By how much answers differ among themselves: a network of random weights says nearly the same everywhere."""
    spread = float(expected.max() - expected.min())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * spread)


@pytest.mark.parametrize("side", [16, 40])
def test_a_network_in_pieces_is_the_whole_one(net, side, monkeypatch):
    whole = answer(net)
    made = []
    inner = pieces._window
    monkeypatch.setattr(pieces, "SIDE", side)
    monkeypatch.setattr(pieces, "_window", lambda *given: made.append(1) or inner(*given))
    found = answer(net)
    assert len(made) > 10
    assert_ulps_apart(found, whole)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_a_block_of_efficientnet_sees_as_far_as_its_halo(kernel, stride, monkeypatch):
    from lakecube.models.efficientnet import InvertedBottleneck

    torch.manual_seed(2)
    block, image = InvertedBottleneck(4, 4, kernel, stride, 6).eval(), torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        whole = block(image)
        monkeypatch.setattr(pieces, "SIDE", 16)
        assert_ulps_apart(block(image), whole)


def test_nothing_is_cut_where_gradients_are_kept(net, monkeypatch):
    monkeypatch.setattr(pieces, "SIDE", 16)
    monkeypatch.setattr(pieces, "_window", None)
    assert torch.isfinite(net(torch.rand(1, 3, 64, 64))).all()


def test_pieces_cover_everything_once():
    for units in (1, 383, 385, 1280):
        cuts = pieces._cuts(units, 1)
        assert [n for a, b in cuts for n in range(a, b)] == list(range(units))
        assert all(b - a < 1.5 * pieces.SIDE for a, b in cuts)
    assert len(pieces._cuts(192, 2)) == 2  # of 384 px at the finer side


def test_folded_batch_normalisation_changes_ulps_only(net):
    folded = copy.deepcopy(net)
    fold_batch_norm(folded)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert_ulps_apart(answer(folded), answer(net))


@pytest.mark.parametrize("kind", [torch.nn.Conv2d, torch.nn.ConvTranspose2d])
def test_batch_normalisation_is_folded_with_its_epsilon(kind):
    torch.manual_seed(3)
    net = torch.nn.Sequential(kind(3, 2, 3, bias=False), torch.nn.BatchNorm2d(2, eps=0.3)).eval()
    torch.nn.init.uniform_(net[1].running_var, 0.1, 0.2)
    torch.nn.init.uniform_(net[1].bias, 1.0, 2.0)
    folded = copy.deepcopy(net)
    fold_batch_norm(folded)
    assert_ulps_apart(answer(folded), answer(net))


def test_a_convolution_with_a_bias_keeps_its_batch_normalisation():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)).eval()
    torch.nn.init.constant_(net[0].bias, 3.0)
    torch.nn.init.constant_(net[1].running_mean, 0.5)
    folded = copy.deepcopy(net)
    fold_batch_norm(folded)
    assert_ulps_apart(answer(folded), answer(net))


def test_networks_are_loaded_with_batch_normalisation_folded_in():
    loaded = forward.network(registry.find("green-nir-unet"))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in loaded.modules())
