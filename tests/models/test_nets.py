"""One contract for every segmentation network: sizes, bands, gradients, locality, a round trip through safetensors."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")
safetensors_torch = pytest.importorskip("safetensors.torch")

from lakecube.errors import InvalidInputError
from lakecube.models.nets import build

NETS = {
    "linknet18": ("linknet18", {}),
    "linknet34": ("linknet34", {}),
    "linknet50": ("linknet50", {}),
    "unet": ("unet", {"width": 4}),
    "unet, from afar": ("unet", {"width": 4, "halvings": 1}),
    "efficientnet-unet": ("efficientnet-unet", {}),
    "efficientnet-unet, lite2": ("efficientnet-unet", {"encoder": "lite2", "decoder": (16, 16, 8, 8, 8)}),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=NETS, ids=lambda name: name.replace(", ", "-"))
def net(request):
    torch.manual_seed(0)
    architecture, options = NETS[request.param]
    return build(architecture, 4, **options).eval()


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 96)])
def test_any_size_gives_logits_of_that_size(net, size):
    with torch.no_grad():
        out = net(torch.rand(2, 4, *size))
    assert out.shape == (2, 1, *size)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (4, 32, 32), (1, 5, 32, 32)])
def test_other_bands_or_dims_are_refused_by_a_sentence_that_says_which(net, shape):
    with pytest.raises(InvalidInputError, match=r"takes \(n, 4, h, w\)"):
        net(torch.zeros(shape))


def test_every_weight_gets_a_gradient(net):
    net.train()
    try:
        net.zero_grad()
        net(torch.rand(2, 4, 64, 64)).square().mean().backward()
        missing = [name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    finally:
        net.eval()
    assert not missing


def test_nothing_beyond_the_radius_is_seen(net):
    """Two strips that differ only farther than the radius from a column give it the same logits, bit for bit."""
    assert net.local
    centre = -(-(net.radius + 33) // net.stride) * net.stride
    torch.manual_seed(1)
    one = torch.rand(1, 4, 32, 2 * centre)
    other = one.clone()
    other[..., : centre - net.radius] += 1
    other[..., centre + net.radius + 1 :] -= 1
    with torch.no_grad():
        a, b = net(one), net(other)
    assert torch.equal(a[..., centre], b[..., centre])
    assert not torch.equal(a, b)


def test_a_shift_by_the_stride_shifts_the_result(net):
    """The grid of the network is anchored to its stride: what tiles rely on."""
    torch.manual_seed(2)
    side = 8 * net.stride
    image = torch.rand(1, 4, side, side + net.stride)
    with torch.no_grad():
        a, b = net(image[..., :side]), net(image[..., net.stride :])
    if net.radius * 2 + net.stride < side:
        inside = slice(net.radius + net.stride, side - net.radius)
        assert torch.equal(a[..., inside], b[..., net.radius : side - net.radius - net.stride])
    else:
        middle = slice(side // 2, side // 2 + net.stride)
        before = slice(side // 2 - net.stride, side // 2)
        assert (a[..., side // 2, middle] - b[..., side // 2, before]).abs().max() < 0.5 * a.abs().max()


def test_what_is_seen_from_afar_counts_as_much_as_what_is_seen_near_by():
    torch.manual_seed(3)
    near = build("unet", 3, width=4).eval()
    both = build("unet", 3, width=4, halvings=2).eval()
    both.load_state_dict(near.state_dict())
    one = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        views = [near(torch.nn.functional.avg_pool2d(one, f)).sigmoid() for f in (1, 2, 4)]
        large = [torch.nn.functional.interpolate(v, size=(128, 128), mode="bilinear") for v in views]
        said = both(one).sigmoid()
    assert both.stride == 4 * near.stride
    assert torch.allclose(said, torch.stack(large).mean(0), atol=1e-6)
    assert not torch.allclose(said, views[0], atol=1e-3)
    with pytest.raises(InvalidInputError, match="0 to 3"):
        build("unet", 3, halvings=9)
    with pytest.raises(InvalidInputError, match="does not take"):
        build("sapcnn", 3, halvings=1)


def test_depthwise_convolutions_learn_in_float32_on_a_cpu():
    """Their output stays in the number format of the layers around; those that do not learn are left alone."""
    from lakecube.models.efficientnet import SameConv

    torch.manual_seed(4)
    conv = SameConv(8, 8, 5, 2, groups=8)
    one = torch.rand(1, 8, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(one)
    exact = conv(one.float())
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.bfloat16())
    found.float().sum().backward()
    assert torch.isfinite(conv.weight.grad).all()
    rounded = copy.deepcopy(conv).bfloat16().requires_grad_(False)(one)
    assert rounded.dtype == torch.bfloat16
    assert not torch.equal(rounded, exact.bfloat16())


def test_safetensors_keep_every_weight(net, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors_torch.save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    again = copy.deepcopy(net)
    for p in again.parameters():
        p.data.zero_()
    again.load_state_dict(safetensors_torch.load_file(path))
    image = torch.rand(1, 4, 40, 40)
    with torch.no_grad():
        assert torch.equal(net(image), again(image))


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(InvalidInputError, match="did you mean 'linknet50'"):
        build("linknet5", 3)
    with pytest.raises(InvalidInputError, match="does not take these options"):
        build("unet", 3, depth=7)
    with pytest.raises(InvalidInputError, match="at least one band"):
        build("unet", 0)


def test_linknet50_has_the_stages_of_table_3():
    shapes = [tuple(f.shape[1:]) for f in build("linknet50", 3).eval().encoder(torch.zeros(1, 3, 256, 256))]
    assert shapes == [(64, 128, 128), (256, 64, 64), (512, 32, 32), (1024, 16, 16), (2048, 8, 8)]


def test_linknet50_has_the_decoders_of_figure_4():
    """Channels to a quarter, twice the size, channels of the link, to which they are added; last 4 × 4, halved."""
    torch.manual_seed(5)
    net, into, out = build("linknet50", 3).eval(), [], []
    for decoder in net.decoders:
        decoder.register_forward_pre_hook(lambda _, given: into.append(given[0]))
        decoder.register_forward_hook(lambda _, __, found: out.append(found))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        net(image)
        _, c2, c3, c4, c5 = net.encoder(image)
    for given, expected in zip(into, (c5, out[0] + c4, out[1] + c3, out[2] + c2), strict=True):
        assert torch.equal(given, expected)
    kernels = [
        [(layer[0].in_channels, layer[0].out_channels, *layer[0].kernel_size) for layer in decoder.children()]
        for decoder in net.decoders
    ]
    assert kernels[0] == [(2048, 512, 1, 1), (512, 512, 3, 3), (512, 1024, 1, 1)]
    assert kernels[3] == [(256, 64, 1, 1), (64, 64, 3, 3), (64, 64, 1, 1)]
    head = [m for m in net.head.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels, *m.kernel_size) for m in head] == [
        (64, 32, 4, 4), (32, 32, 3, 3), (32, 1, 3, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("kernel", "before", "after"), [(3, 0, 1), (5, 1, 2)])
def test_halving_convolutions_are_padded_as_the_published_weights_expect(kernel, before, after):
    from lakecube.models.efficientnet import SameConv

    torch.manual_seed(6)
    conv, image = SameConv(2, 2, kernel, 2), torch.rand(1, 2, 8, 8)
    padded = torch.nn.functional.pad(image, (before, after, before, after))
    with torch.no_grad():
        assert torch.allclose(conv(image), torch.nn.functional.conv2d(padded, conv.weight, stride=2), atol=1e-6)
