"""TokenTM against a float64 loop in torch that is written from its definition, and its properties.

The loop has the attention of each block, with the networks' own weights: qkv in one linear layer
(timm, the built-in transformer) or in `in_proj` (torchvision), with and without a class token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

from helpers.architectures import activations_of, export
from helpers.cam_oracles import minmax
from helpers.library_networks import declare_torchvision_operators
from helpers.shared_models import shared_model
from helpers.torch_twin import Array, ours

declare_torchvision_operators()  # timm imports torchvision
timm = pytest.importorskip("timm")

import adcc_onnx as adcc
from adcc_onnx.cams.array_context import ArrayContext
from adcc_onnx.cams.attention_cams import TokenTM
from adcc_onnx.cams.token_grid import TokenGrid
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.errors import AdccWarning, ModelError
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_classes": 5}
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
TARGETS = np.array([0, 3])
Function = Callable[[Any], Any]


@dataclass
class Block:
    """A block: its first norm, linear layers of q, k and v and of the output, and what follows.

    A linear layer is a weight [inputs, outputs] and a bias.
    """

    normalize: Function
    qkv: tuple[Any, Any]
    output: tuple[Any, Any]
    perceptron: Function


@dataclass
class Transformer:
    """A transformer in float64 behind its patch embedding, and the model of its ONNX file.

    Attributes:
        tokens: The tokens that enter the first block, [N, T, C].
        logits: The logits from the tokens that leave the last block.
        prefix: The number of class tokens.
    """

    model: Model
    images: Array
    targets: Array
    tokens: Any
    blocks: list[Block]
    logits: Function
    heads: int
    prefix: int = 1


def linear(module: Any) -> tuple[Any, Any]:
    return module.weight.T, module.bias


def jittered(network: Any) -> Any:
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def exported(network: Any) -> Model:
    return adcc.load(export(network, torch.from_numpy(IMAGES)), device="cpu")


def from_timm(network: Any, model: Model, images: Array, targets: Array) -> Transformer:
    network = network.double()
    entering: list[Any] = []
    network.blocks[0].register_forward_pre_hook(lambda module, given: entering.append(given[0]))
    with torch.no_grad():
        network(torch.from_numpy(images).double())
    blocks = [
        Block(b.norm1, linear(b.attn.qkv), linear(b.attn.proj), lambda x, b=b: b.mlp(b.norm2(x)))
        for b in network.blocks
    ]

    def logits(x: Any) -> Any:
        return network.forward_head(network.norm(x))

    heads, prefix = network.blocks[0].attn.num_heads, network.num_prefix_tokens
    return Transformer(model, images, targets, entering[0], blocks, logits, heads, prefix)


@pytest.fixture(scope="module")
def deit(data: Path, images: Array) -> Transformer:
    network = timm.create_model("deit_tiny_patch16_224").eval()
    path = data / "models" / "deit_tiny_state_dict.pth"
    network.load_state_dict(torch.load(path, weights_only=True))
    model = shared_model(data, "deit_tiny_patch16_224")
    return from_timm(network, model, images[1:3], np.array([281, 500]))


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    return jittered(timm.models.VisionTransformer(**{**SIZES, "num_heads": 4, **options}))


@pytest.fixture(scope="module")
def packed() -> Transformer:
    network = small()
    return from_timm(network, exported(network), IMAGES, TARGETS)


@pytest.fixture(scope="module")
def pooled() -> Transformer:
    network = small(global_pool="avg", class_token=False)
    return from_timm(network, exported(network), IMAGES, TARGETS)


@pytest.fixture(scope="module")
def in_proj() -> Transformer:
    """torchvision's network, whose attention is `torch.nn.MultiheadAttention`."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = jittered(models.VisionTransformer(32, 8, 3, 4, 24, 48, num_classes=5))
    model = exported(network)
    network, entering = network.double(), []
    layers = list(network.encoder.layers)
    layers[0].register_forward_pre_hook(lambda module, given: entering.append(given[0]))
    with torch.no_grad():
        network(torch.from_numpy(IMAGES).double())
    blocks = [
        Block(
            one.ln_1,
            (one.self_attention.in_proj_weight.T, one.self_attention.in_proj_bias),
            linear(one.self_attention.out_proj),
            lambda x, one=one: one.mlp(one.ln_2(x)),
        )
        for one in layers
    ]

    def logits(x: Any) -> Any:
        return network.heads(network.encoder.ln(x)[:, 0])

    return Transformer(model, IMAGES, TARGETS, entering[0], blocks, logits, 4)


@pytest.fixture(scope="module")
def built_in() -> Transformer:
    """The built-in transformer, with the weights of its file."""
    path = classifier_path("transformer")
    model = adcc.load(path, device="cpu")
    assert model.preprocessing is not None
    images = np.stack([model.preprocessing(drawing.image) for drawing in draw_many(5, 2)])
    proto = onnx.load(path)
    values = {t.name: torch.from_numpy(np.array(numpy_helper.to_array(t), np.float64))
              for t in proto.graph.initializer}  # fmt: skip
    products = [n for n in proto.graph.node if n.op_type == "MatMul" and n.input[1] in values]
    biases = {n.input[1]: values[n.input[0]] for n in proto.graph.node
              if n.op_type == "Add" and n.input[0] in values}  # fmt: skip
    layers = iter([(values[n.input[1]], biases[n.output[0]]) for n in products])
    norms = iter([[values[name] for name in n.input[1:]] for n in proto.graph.node
                  if n.op_type == "LayerNormalization"])  # fmt: skip

    def norm() -> Function:
        weights = next(norms)
        return lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], *weights)

    def block() -> Block:
        first, second = norm(), norm()
        qkv, output, up, down = (next(layers) for _ in range(4))
        gelu = torch.nn.functional.gelu
        return Block(first, qkv, output, lambda x: apply(gelu(apply(second(x), up)), down))

    blocks, last = [block() for _ in range(3)], norm()
    (head,) = [n for n in proto.graph.node if n.op_type == "Gemm"]
    weight, bias = (values[name] for name in head.input[1:])
    (first,) = activations_of(proto, ["/Add_output_0"], images).values()
    tokens = torch.from_numpy(first).double()

    def logits(x: Any) -> Any:
        return last(x)[:, 0] @ weight.T + bias

    return Transformer(model, images, np.array([4, 9]), tokens, blocks, logits, 3)


@pytest.fixture(params=["deit", "packed", "pooled", "in_proj", "built_in"])
def transformer(request: pytest.FixtureRequest) -> Transformer:
    found: Transformer = request.getfixturevalue(request.param)
    return found


def apply(x: Any, layer: tuple[Any, Any]) -> Any:
    return x @ layer[0] + layer[1]


def split(x: Any, heads: int) -> Any:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def join(x: Any) -> Any:
    return x.transpose(1, 2).flatten(2)


def tokentm(net: Transformer, weighted: bool = True) -> tuple[Array, Any]:
    """The maps from the definition with full matrices, [N, h, w], and the logits [N, classes]."""
    x = net.tokens.detach().requires_grad_()
    attentions, weights = [], []
    for block in net.blocks:
        e = block.normalize(x)
        q, k, v = (split(part, net.heads) for part in apply(e, block.qkv).chunk(3, dim=-1))
        a = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1)
        attentions.append(a)
        x = x + apply(join(a @ v), block.output)
        x = x + block.perceptron(x)
        transformed = apply(join(v), block.output)
        likeness = torch.cosine_similarity(e, transformed, dim=-1).exp()
        necc = likeness / likeness.mean(dim=1, keepdim=True)
        weights.append(transformed.norm(dim=-1) / e.norm(dim=-1) * necc if weighted else None)
    logits = net.logits(x)
    score = logits[torch.arange(len(net.targets)), torch.from_numpy(net.targets)].sum()
    contributions = torch.diag_embed(net.tokens.norm(dim=-1))
    gradients = torch.autograd.grad(score, attentions)
    for a, gradient, w in zip(attentions, gradients, weights, strict=True):
        update = (a * gradient).clamp(min=0).mean(1)
        update = update @ torch.diag_embed(w) if w is not None else update
        contributions = contributions + update @ contributions
    rows = contributions[:, 0] if net.prefix else contributions.mean(1)
    patches = rows[:, net.prefix :].detach().numpy()
    side = round(patches.shape[1] ** 0.5)
    return np.stack([minmax(one.reshape(side, side)) for one in patches]), logits.detach().numpy()


def test_the_maps_equal_a_float64_loop(transformer: Transformer) -> None:
    expected, logits = tokentm(transformer)
    scores = transformer.model.pool.session(Pass.FORWARD).run({"image": transformer.images})
    np.testing.assert_allclose(logits, scores["logits"], rtol=1e-3, atol=1e-3)
    found = ours(transformer.model, transformer.images, "tokentm", transformer.targets)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # The weights and the lengths matter: without them, the map is another one.
    plain = ours(transformer.model, transformer.images, "chefer", transformer.targets)
    assert np.abs(found - plain).max() > 0.05


def test_tokens_that_stay_as_they_are_leave_gradient_rollout_times_lengths() -> None:
    """One head whose output projection undoes the value projection, so that all w are 1."""
    network = small(num_heads=1)
    rotation = torch.linalg.qr(torch.randn(24, 24))[0]
    for block in network.blocks:
        attention = block.attn
        attention.qkv.weight.data[48:], attention.qkv.bias.data[48:] = rotation, 0
        attention.proj.weight.data[:], attention.proj.bias.data[:] = rotation.T, 0
    net = from_timm(network, exported(network), IMAGES, TARGETS)
    found = ours(net.model, IMAGES, "tokentm", TARGETS)
    np.testing.assert_allclose(found, tokentm(net, weighted=False)[0], atol=1e-4)


class EinsteinSums(torch.nn.Module):
    """An attention of timm, all of whose products are Einstein sums over separate heads."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        heads, width = attention.num_heads, attention.proj.in_features
        q, k, v = attention.qkv.weight.T.reshape(width, 3, heads, -1).unbind(1)
        self.weights = torch.nn.ParameterList([q, k, v])
        self.biases = torch.nn.Parameter(attention.qkv.bias.reshape(3, heads, -1))
        self.output = torch.nn.Parameter(attention.proj.weight.T.reshape(heads, -1, width))
        self.bias = attention.proj.bias

    def forward(self, x: Any, **options: Any) -> Any:
        pairs = zip(self.weights, self.biases, strict=True)
        q, k, v = (torch.einsum("btc,chd->bthd", x, w) + bias for w, bias in pairs)
        a = (torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5).softmax(-1)
        return (
            torch.einsum("bqhd,hdc->bqc", torch.einsum("bhqk,bkhd->bqhd", a, v), self.output)
            + self.bias
        )


def test_einstein_sums_give_the_same_maps(packed: Transformer) -> None:
    network = small()
    for block in network.blocks:
        block.attn = EinsteinSums(block.attn)
    proto = export(network, torch.from_numpy(IMAGES))
    assert sum(node.op_type == "Einsum" for node in proto.graph.node) == 3 * 6
    found = ours(adcc.load(proto, device="cpu"), IMAGES, "tokentm", TARGETS)
    np.testing.assert_allclose(found, tokentm(packed)[0], atol=1e-4)


def context(after: Array) -> ArrayContext:
    """One block of one head over a class token and two patches, all gradients 1."""
    a = np.array([[[[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1]]]], np.float32)
    x = np.array([[[1, 1], [3, 0], [0, 5]]], np.float32)
    return ArrayContext(
        attentions=[a],
        attention_gradients=[np.ones_like(a)],
        block_tokens=[x, x],
        token_transforms=[(x, after.astype(np.float32))],
        token_grid=TokenGrid((1, 2), 1),
    )


def test_direction_and_length_of_one_token() -> None:
    """The second patch is turned by 90 degrees, and becomes half as long."""
    found = TokenTM().raw_maps(context(np.array([[[1, 1], [3, 0], [2.5, 0]]])))
    mean = (2 * np.e + 1) / 3
    expected = [0.25 * 3 * np.e / mean, 0.25 * 5 * 0.5 / mean]
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


def test_a_token_without_length_has_no_weight_and_nan_stays() -> None:
    after = np.array([[[1, 1], [3, 0], [0, 0]]], float)
    assert TokenTM().raw_maps(context(after))[0, 0, 1] == 0
    after[0, 1] = np.nan
    assert np.isnan(TokenTM().raw_maps(context(after))).any()


def gated() -> Model:
    """A network whose attention has a nonlinear function before its output projection."""
    network = small(depth=2)
    for block in network.blocks:
        block.attn.proj = torch.nn.Sequential(torch.nn.Tanh(), block.attn.proj)
    return exported(network)


def test_an_attention_without_the_two_linear_layers_is_refused() -> None:
    model = gated()
    layer = "/blocks/blocks.0/attn/Softmax_output_0"
    message = f"before the values and behind the attention '{layer}', .* the method chefer needs"
    with pytest.raises(ModelError, match=message):
        adcc.explain(model, IMAGES, "tokentm")
    with pytest.warns(AdccWarning, match=f"tokentm cannot explain .*{layer}"):
        found = adcc.evaluate(model, IMAGES, ["chefer", "tokentm"], ["complexity"])
    assert "chefer" in found.methods


def test_blocks_of_parallel_attentions_are_refused() -> None:
    parallel = timm.models.vision_transformer.ParallelThingsBlock
    model = exported(small(depth=2, block_fn=parallel))
    message = "needs blocks of one attention each .* rollout and chefer need only the attentions"
    with pytest.raises(ModelError, match=message):
        adcc.explain(model, IMAGES, "tokentm")
