"""Every method against a float64 loop written from its paper, on a small model of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import ndimage, special

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.cams.method_registry import get_method, list_methods
from adcc_onnx.cams.token_grid import TokenGrid
from adcc_onnx.kernels.gradient_maps import gradient_maps

N, K, CLASSES, MAP, IMAGE = 3, 12, 5, (6, 5), (24, 20)
TARGETS = np.array([4, 0, 2])
_rng = np.random.default_rng(0)
PROJECTION = _rng.standard_normal((CLASSES, 3, *IMAGE)) / 20


def _scores(images: np.ndarray) -> np.ndarray:
    """Logits [M, classes] of images [M, 3, H, W]: a linear and a quadratic part, in float64."""
    linear = np.einsum("mchw,kchw->mk", images.astype(np.float64), PROJECTION)
    return linear + 0.1 * linear**2 + 0.3


def _resized(mask: np.ndarray) -> np.ndarray:
    """A mask [h, w] at the image's size: bilinear, half-pixel centers, by scipy in float64."""
    centers = [(np.arange(t) + 0.5) * s / t - 0.5 for s, t in zip(mask.shape, IMAGE, strict=True)]
    grid = np.meshgrid(*centers, indexing="ij")
    return ndimage.map_coordinates(mask.astype(np.float64), grid, order=1, mode="nearest")


@dataclass
class Shown:
    """Evidence from arrays, that counts what it is asked for."""

    images: np.ndarray
    targets: np.ndarray
    activations: np.ndarray
    gradients: np.ndarray
    noisy: list[np.ndarray] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)

    def gradient_map(self, method):
        return gradient_maps(self.activations, self.gradients, [method.formula])[method.formula]

    def noisy_gradients(self, copies, sigma):
        self.asked.append((copies, sigma))
        yield from self.noisy[:copies]

    def masked_scores(self, image, masks, baseline=None):
        assert masks.dtype == np.float32
        self.asked.append(len(masks))
        masked = [self.images[image] * _resized(mask) for mask in masks]
        return _scores(np.stack(masked)).astype(np.float32)

    def suffix_scores(self, image, masks):
        means = (self.activations[image] * masks).mean(axis=(2, 3))
        return means[:, :CLASSES].astype(np.float32)

    @property
    def image_gradient(self):
        return self.image_gradients(self.images)

    def image_gradients(self, images):
        return np.cos(images).astype(np.float32)

    def share_gradients(self, shares):
        return np.zeros((len(shares), CLASSES), np.float32), np.sin(shares)

    logits = np.linspace(-1, 1, N * CLASSES).reshape(N, CLASSES).astype(np.float32)

    @property
    def hessian_product(self):
        return np.sin(self.activations)

    @property
    def full_gradient(self):
        return np.abs(self.images[:, 0])

    @property
    def token_grid(self):
        return TokenGrid(MAP, 1)

    @property
    def attentions(self):
        rng, tokens = np.random.default_rng(3), 1 + MAP[0] * MAP[1]
        return [rng.random((N, 2, tokens, tokens), np.float32) for _ in range(2)]

    attention_gradients = block_score_gradients = attentions

    @property
    def block_tokens(self):
        return [one.sum(axis=1) for one in [*self.attentions, self.attentions[0]]]

    block_gradients = block_tokens

    @property
    def token_transforms(self):
        return [(one[:, 0], one[:, 1]) for one in self.attentions]

    def mixed_gradients(self, weights):
        return self.gradients * weights.sum(axis=1)[:, None, None, None]

    def noise(self, copies, sigma):
        return (np.full(self.images.shape, sigma, np.float32) for _ in range(copies))

    def rngs(self, resample=False):
        return [np.random.default_rng(i) for i in range(len(self.images))]

    def probability(self, image, logits):
        return special.softmax(logits.astype(np.float64), axis=1)[:, self.targets[image]]

    def note(self, image, text):
        self.asked.append(text)

    tokens = False

    def blank_scores(self):
        return _scores(np.zeros((1, 3, *IMAGE)))[0].astype(np.float32)


def _shown(seed: int = 1, channels: int = K) -> Shown:
    rng = np.random.default_rng(seed)

    def gradients() -> np.ndarray:
        return (1e-2 * rng.standard_normal((N, channels, *MAP))).astype(np.float32)

    return Shown(
        rng.standard_normal((N, 3, *IMAGE)).astype(np.float32),
        TARGETS,
        np.maximum(rng.standard_normal((N, channels, *MAP)), 0).astype(np.float32),
        gradients(),
        [gradients() for _ in range(25)],
    )


def _loop(shown: Shown, weight: Callable[[int, int, np.ndarray], float]) -> np.ndarray:
    """ReLU(sum_k w_k A_k) with w_k = weight(n, k, A_k)."""
    maps = np.zeros((N, *MAP))
    for n in range(N):
        for k, channel in enumerate(shown.activations[n].astype(np.float64)):
            maps[n] += weight(n, k, channel) * channel
    return np.maximum(maps, 0)


def _pp_weight(a: np.ndarray, g: np.ndarray, g2: np.ndarray, g3: np.ndarray) -> float:
    mass, weight = a.sum(), 0.0
    for place in np.ndindex(*a.shape):
        denominator = 2 * g2[place] + mass * g3[place]
        if denominator:
            weight += g2[place] / denominator * max(g[place], 0.0)
    return weight


def _check(name: str, shown: Shown, expected: np.ndarray, rtol: float = 1e-5) -> None:
    assert (expected > 0).any(axis=(1, 2)).all(), "the oracle would not see a difference"
    found = get_method(name).raw_maps(shown)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-6 * expected.max())


def test_fakecam():
    shown = _shown()
    expected = np.ones((N, *IMAGE))
    expected[:, 0, 0] = 0
    np.testing.assert_array_equal(get_method("fakecam").raw_maps(shown), expected)


def test_gradcam():
    shown = _shown()
    g = shown.gradients.astype(np.float64)
    _check("gradcam", shown, _loop(shown, lambda n, k, a: g[n, k].mean()))


def test_gradcam_pp():
    shown = _shown()
    g = shown.gradients.astype(np.float64)
    expected = _loop(shown, lambda n, k, a: _pp_weight(a, g[n, k], g[n, k] ** 2, g[n, k] ** 3))
    _check("gradcam++", shown, expected)


@pytest.mark.parametrize(
    ("name", "n", "sigma"),
    [("smoothgradcam++", 25, 0.15), ("smoothgradcam++(n=4, sigma=0.3)", 4, 0.3)],
)
def test_smoothgradcam_pp(name, n, sigma):
    shown = _shown()
    copies = np.stack(shown.noisy[:n]).astype(np.float64)
    g, g2, g3 = ((copies**power).mean(axis=0) for power in (1, 2, 3))
    expected = _loop(shown, lambda n, k, a: _pp_weight(a, g[n, k], g2[n, k], g3[n, k]))
    _check(name, shown, expected)
    assert shown.asked == [(n, sigma)]


def test_smoothgradcam_pp_leaves_the_evidence_as_it_was():
    shown = _shown()
    before = [gradients.copy() for gradients in shown.noisy]
    get_method("smoothgradcam++").raw_maps(shown)
    np.testing.assert_array_equal(shown.noisy, before)


def test_xgradcam():
    shown = _shown()
    shown.activations[:, 3] = 0
    g = shown.gradients.astype(np.float64)
    expected = _loop(shown, lambda n, k, a: (g[n, k] * a).sum() / a.sum() if a.sum() != 0 else 0.0)
    _check("xgradcam", shown, expected)


def test_layercam_and_hirescam():
    shown = _shown()
    a, g = shown.activations.astype(np.float64), shown.gradients.astype(np.float64)
    _check("layercam", shown, np.maximum((np.maximum(g, 0) * a).sum(axis=1), 0))
    _check("hirescam", shown, np.maximum((g * a).sum(axis=1), 0))


def _score_of_masks(shown: Shown, probabilities: bool) -> tuple[np.ndarray, np.ndarray]:
    """(s_c(x * up(minmax(A_k))) [N, K], s_c(0) [N]), one pass a channel, constant ones too."""
    scores, blanks = np.zeros((N, shown.activations.shape[1])), np.zeros(N)

    def score(image: np.ndarray, target: int) -> float:
        logits = _scores(image[None])[0]
        return (special.softmax(logits) if probabilities else logits)[target]

    for n in range(N):
        blanks[n] = score(np.zeros((3, *IMAGE)), TARGETS[n])
        for k, channel in enumerate(shown.activations[n].astype(np.float64)):
            span = channel.max() - channel.min()
            mask = (channel - channel.min()) / span if span else np.zeros(MAP)
            scores[n, k] = score(shown.images[n] * _resized(mask), TARGETS[n])
    return scores, blanks


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_scorecam(probabilities, raw):
    """Constant channels, zero or not, take the zero image's score and a place in the softmax."""
    shown = _shown()
    shown.activations[0, [1, 7]] = 0
    shown.activations[1, 2] = 2.5
    scores, blanks = _score_of_masks(shown, probabilities)
    weights = scores - blanks[:, None] if raw else special.softmax(scores, axis=1)
    name = f"scorecam(scores={'probabilities' if probabilities else 'logits'}"
    name += f", weights={'raw' if raw else 'softmax'})"
    _check(name, shown, _loop(shown, lambda n, k, a: weights[n, k]))
    assert shown.asked == [K - 2, K - 1, K], "constant channels take no pass of their own"


def test_scorecam_runs_equal_masks_once():
    """Channels of one mask, whatever their scale, share a pass; the map is the one without that."""
    shown = _shown()
    shown.activations[:, 5] = shown.activations[:, 3]
    shown.activations[:2, 8] = 4 * shown.activations[:2, 3]
    shown.activations[0, 9] = shown.activations[0, 2]
    shown.activations[1, 7] = 1.5
    scores, _ = _score_of_masks(shown, False)
    weights = special.softmax(scores, axis=1)
    _check("scorecam", shown, _loop(shown, lambda n, k, a: weights[n, k]))
    assert shown.asked == [K - 3, K - 3, K - 1]


def test_scorecam_does_not_depend_on_the_blank_score_under_softmax():
    """The paper's baseline cancels: w = softmax(s_k - s_0) = softmax(s_k)."""
    shown = _shown()
    scores, blanks = _score_of_masks(shown, False)
    weights = special.softmax(scores - blanks[:, None], axis=1)
    _check("scorecam", shown, _loop(shown, lambda n, k, a: weights[n, k]))


def test_scorecam_where_every_channel_is_constant():
    shown = _shown()
    shown.activations[:] = np.arange(K)[None, :, None, None]
    found = get_method("scorecam").raw_maps(shown)
    np.testing.assert_allclose(found, np.full((N, *MAP), (K - 1) / 2), rtol=1e-6)
    assert not shown.asked


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["scorecam", "scorecam(passes=5)", "scorecam(agreement=0.9)"])
@pytest.mark.filterwarnings("error")
def test_scorecam_shows_broken_scores_in_the_map(bad, name):
    shown = _shown()
    whole = shown.masked_scores
    shown.masked_scores = lambda image, masks: whole(image, masks) * (bad if image == 1 else 1)
    found = get_method(name).raw_maps(shown)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=(1, 2)), [True, False, True])


def _pooled_head(seed: int) -> Shown:
    """What a global average pool and a linear head show: g_k = W[c, k] / (h w) everywhere."""
    shown = _shown(seed)
    head = np.random.default_rng(seed + 1).standard_normal((CLASSES, K))
    slopes = head[TARGETS] / (MAP[0] * MAP[1])
    shown.gradients = np.broadcast_to(
        slopes[:, :, None, None].astype(np.float32), shown.activations.shape
    )
    return shown


@pytest.mark.parametrize("seed", range(3))
def test_a_pooled_linear_head_makes_gradcam_xgradcam_and_hirescam_one(seed):
    """And all of them the ReLU of CAM itself: ReLU(sum_k W[c, k] A_k) / (h w)."""
    shown = _pooled_head(seed)
    slopes = shown.gradients[:, :, 0, 0].astype(np.float64)
    cam = np.maximum(np.einsum("nk,nkij->nij", slopes, shown.activations.astype(np.float64)), 0)
    for name in ("gradcam", "xgradcam", "hirescam"):
        np.testing.assert_allclose(
            get_method(name).raw_maps(shown), cam, rtol=1e-5, atol=1e-6 * cam.max()
        )
    plain = get_method("cam").raw_maps(shown) / np.prod(MAP)
    np.testing.assert_allclose(np.maximum(plain, 0), cam, rtol=1e-5, atol=1e-6 * cam.max())


def test_methods_read_only_what_they_need():
    readable = {
        Need.ACTIVATIONS: "activations",
        Need.GRADIENTS: "gradients",
        Need.NOISY_GRADIENTS: "noisy_gradients",
        Need.MASKED_SCORES: "masked_scores",
        Need.BLENDED_SCORES: "masked_scores",
        Need.SUFFIX_SCORES: "tail_scores",
        Need.IMAGE_GRADIENT: "image_gradient",
        Need.IMAGE_GRADIENTS: "image_gradients",
        Need.SHARE_GRADIENTS: "share_gradients",
        Need.MIXED_GRADIENTS: "mixed_gradients",
        Need.HESSIAN_PRODUCT: "hessian_product",
        Need.FULL_GRADIENT: "full_gradient",
        Need.ATTENTIONS: "attentions",
        Need.ATTENTION_GRADIENTS: "attention_gradients",
        Need.BLOCK_TOKENS: "block_tokens",
        Need.BLOCK_SCORE_GRADIENTS: "block_score_gradients",
        Need.TOKEN_TRANSFORMS: "token_transforms",
    }

    class Guarded:
        def __init__(self, shown: MethodContext, needs: frozenset[Need]) -> None:
            self._shown = shown
            self._closed = set(readable.values()) - {readable.get(need) for need in needs}

        def __getattr__(self, name: str) -> object:
            assert name not in self._closed, f"{name} is read, but not in `needs`"
            return getattr(self._shown, name)

    for cls in list_methods():
        found: Method = get_method({"rise": "rise(masks=5)"}.get(cls.name, cls.name))
        assert found.raw_maps(Guarded(_shown(), cls.needs)).ndim == 3
