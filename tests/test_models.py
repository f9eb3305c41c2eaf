"""kdlab.models: every net builds, runs, and shows its stages."""

import pytest
import torch
from torchvision.models.feature_extraction import create_feature_extractor

from kdlab.metrics import parameters
from kdlab.models import MODELS, Attention, OwnNormalisation, build, forward, rounded, wrn

SIZES = {  # read once from the definitions; the first is the course's 78 k student
    "wrn-10-1": 77_850,
    "wrn-10-1-s2": 77_850,  # its stem's stride changes the cost alone
    "wrn-16-1": 175_066,
    "wrn-16-2": 691_674,
    "wrn-40-2": 2_243_546,
    "cnn3-8": 27 * 8 + 72 * 16 + 144 * 32 + 2 * (8 + 16 + 32) + 32 * 10 + 10,
    "mlp-800": 784 * 800 + 800 + 800 * 800 + 800 + 800 * 10 + 10,
    "mlp-1200": 784 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 10 + 10,
    "mlp-30": 784 * 30 + 30 + 30 * 30 + 30 + 30 * 10 + 10,
    "rgb-mlp-128": 3072 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10,
    "gru-64": 2 * 3 * (64 * (96 + 64) + 2 * 64) + 128 * 10 + 10,
    # patches, places; per block norms, qkv, out, two layers; last norm and head
    "vit-64": (192 * 64 + 64 + 16 * 64)
    + 2 * (4 * 64 + 4 * (64 * 64 + 64) + 64 * 128 + 128 + 128 * 64 + 64)
    + (128 + 64 * 10 + 10),
}
CONVOLUTIONAL = [n for n in MODELS if n.startswith(("cnn", "wrn")) and not n.endswith("bit")]


def inputs(name, batch):
    grey = name.startswith("mlp") or name.endswith("grey")
    shape = (1, 28, 28) if grey else (3, 32, 32)
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_logits_and_every_parameter_gets_a_gradient(name):
    model = build(name)
    assert model.eval()(inputs(name, 2)).shape == (2, 10)
    assert build(name, classes=7).eval()(inputs(name, 2)).shape == (2, 7)
    assert not any(p.grad_fn for p in model.parameters())
    model.train()(inputs(name, 4)).square().mean().backward()
    idle = [k for k, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not idle


def test_two_tokens_are_apart_in_training_and_averaged_in_use():
    together, apart = build("vit-64-tokens"), build("vit-64-apart")
    apart.load_state_dict(together.state_dict())
    x = inputs("vit-64-apart", 3)
    assert apart(x).shape == (2, 3, 10)
    assert torch.allclose(apart(x).mean(dim=0), together(x), atol=1e-6)
    assert torch.allclose(apart.eval()(x), together.eval()(x), atol=1e-6)
    assert not torch.allclose(*apart.train()(x))  # a token has a head of its own


@pytest.mark.parametrize("bits", [4, 2])
def test_few_bits_are_a_grid_a_channel_and_leave_the_weights_trainable(bits):
    net = build(f"cnn3-16-{bits}bit")
    weight = net.net.stage1[0].weight
    rounded(weight, bits).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))  # the gradient of no rounding
    weight = weight.detach()
    coarse = rounded(weight, bits)
    top, largest = 2 ** (bits - 1) - 1, weight.abs().flatten(1).amax(dim=1)
    steps = coarse / (largest / top)[:, None, None, None]
    assert torch.allclose(steps, steps.round(), atol=1e-4) and int(steps.abs().max().round()) == top
    assert float((coarse - weight).abs().max()) <= float(largest.max()) / top / 2 + 1e-6
    dead = torch.cat([torch.zeros_like(weight[:1]), weight[1:]])  # once it was not a number
    assert torch.equal(rounded(dead, bits), torch.cat([dead[:1], coarse[1:]]))
    plain = build("cnn3-16").eval()
    plain.load_state_dict(net.net.state_dict())
    x = inputs("cnn3-16", 3)
    with torch.no_grad():
        exact, few = plain(x), net.eval()(x)
        for p in plain.parameters():
            if p.ndim > 1:
                p.copy_(rounded(p, bits))
        assert torch.allclose(plain(x), few, atol=1e-5) and not torch.allclose(exact, few)


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_sizes(name, size):
    assert parameters(build(name)) == size


def test_a_short_embedding_costs_hardly_a_weight():
    assert parameters(build("cnn3-16-e16")) - parameters(build("cnn3-16")) == 64 * 17 - 48 * 10 - 48
    with torch.no_grad():
        found = forward(build("cnn3-16-e16"), inputs("cnn3-16-e16", 3), ["flatten"])[1]["flatten"]
    assert found.shape == (3, 16) and bool((found < 0).any())  # linear: no ReLU cuts it


def test_an_mlp_has_no_embedding_to_match():
    """Its only flattening is of the input: no method may take that for what the net has learnt."""
    with pytest.raises(AttributeError, match="flatten"):
        forward(build("mlp-30"), inputs("mlp-30", 2), ["flatten"])


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_forward_gives_the_features_of_torchvisions_extractor_and_leaves_no_hook(name):
    stages = ["stage1", "stage2", "stage3", "flatten"]
    model, x = build(name).eval(), inputs(name, 2)
    logits, features = forward(model, x, stages)
    found = create_feature_extractor(model, [*stages, "head"])(x)
    assert torch.equal(logits, model(x)) and torch.equal(logits, found["head"])
    assert list(features) == stages
    assert all(torch.equal(features[stage], found[stage]) for stage in stages)
    sides = [features[stage].shape[-1] for stage in stages[:3]]
    assert sides == sorted(sides, reverse=True) and sides[-1] < sides[0]
    assert [features[stage].ndim for stage in stages] == [4, 4, 4, 2]
    with pytest.raises(AttributeError, match="stage9"):
        forward(model, x, ["stage1", "stage9"])
    assert not any(module._forward_hooks for module in model.modules())


def test_the_paper_teacher_has_dropout_and_the_student_has_none():
    for name, rates in (("mlp-1200", [0.2, 0.5, 0.5]), ("mlp-800", [0.0, 0.0, 0.0])):
        assert [m.p for m in build(name).modules() if isinstance(m, torch.nn.Dropout)] == rates


def test_wrong_requests_are_told():
    with pytest.raises(ValueError) as error:
        build("resnet-9000")
    assert all(name in str(error.value) for name in MODELS)
    with pytest.raises(ValueError, match=r"6n \+ 4, got 13"):
        wrn(13, 1)


@pytest.mark.parametrize("name", ["vit-64", "vit-64-conv"])
def test_a_transformer_knows_where_a_patch_is_only_by_its_place(name):
    """Without the learned places its output does not depend on the order of the tokens."""
    model, x = build(name).eval(), inputs(name, 2)
    shuffle, plain = torch.randperm(16, generator=torch.Generator().manual_seed(1)), model(x)
    hook = model.stem.register_forward_hook(
        lambda module, given, out: out.flatten(2)[:, :, shuffle].unflatten(2, (4, 4))
    )
    assert not torch.allclose(model(x), plain, atol=1e-3)
    model.places.data.zero_()
    mixed = model(x)
    hook.remove()
    assert torch.allclose(model(x), mixed, atol=1e-5)


def test_attention_is_the_librarys():
    torch.manual_seed(0)
    ours = Attention(64, 4).eval()
    theirs = torch.nn.MultiheadAttention(64, 4, batch_first=True).eval()
    theirs.in_proj_weight, theirs.in_proj_bias = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj = ours.out
    x = torch.randn(2, 16, 64)
    assert torch.allclose(ours(x), theirs(x, x, x)[0], atol=1e-5)


def test_a_net_keeps_its_own_normalisation_and_the_names_of_its_stages():
    torch.manual_seed(0)
    net, pixels = build("cnn3-8").eval(), torch.rand(4, 3, 32, 32)
    own, data = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)), ((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    normalised = [
        (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        for mean, std in (own, data)
    ]
    wrapped = OwnNormalisation(net, *own, data_mean=data[0], data_std=data[1])
    logits, features = forward(wrapped, normalised[1], ["stage2"])
    expected, known = forward(net, normalised[0], ["stage2"])
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(features["stage2"], known["stage2"], atol=1e-5)
