// From a picture to the input tensor of a model, with the same values as adcc_onnx.Preprocessing.
"use strict";

const adccPreprocessing = (() => {
  // Pillow resizes with integer weights of this many fractional bits.
  const WEIGHT_BITS = 22;

  const FILTERS = {
    bilinear: { radius: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
    bicubic: { radius: 2, weight: bicubic },
  };

  // Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -0.5.
  function bicubic(x) {
    const t = Math.abs(x);
    if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
  }

  // Half to even, as Python rounds.
  function roundHalfToEven(x) {
    const below = Math.floor(x);
    const rest = x - below;
    if (rest !== 0.5) return Math.round(x);
    return below % 2 === 0 ? below : below + 1;
  }

  // For every pixel of the output: the first pixel of the input that counts, and the weights.
  function antialiasedWeights(from, to, filter) {
    const step = from / to;
    const stretch = Math.max(step, 1);
    const reach = filter.radius * stretch;
    return Array.from({ length: to }, (_, i) => {
      const center = (i + 0.5) * step;
      const first = Math.max(0, Math.trunc(center - reach + 0.5));
      const end = Math.min(from, Math.trunc(center + reach + 0.5));
      const raw = Array.from({ length: end - first }, (_, k) =>
        filter.weight((first + k - center + 0.5) / stretch));
      const total = raw.reduce((sum, weight) => sum + weight, 0);
      const weights = raw.map((weight) => {
        const scaled = (weight / total) * 2 ** WEIGHT_BITS;
        return Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
      });
      return { first, weights };
    });
  }

  // Resizes along one axis of interleaved bytes; `stride` separates neighbors along this axis.
  function resizeAxis(pixels, outer, from, to, stride, filter) {
    if (from === to) return pixels;
    const table = antialiasedWeights(from, to, filter);
    const out = new Uint8ClampedArray(outer * to * stride);
    for (let row = 0; row < outer; row++) {
      for (let i = 0; i < to; i++) {
        const { first, weights } = table[i];
        for (let lane = 0; lane < stride; lane++) {
          let sum = 2 ** (WEIGHT_BITS - 1);
          let at = (row * from + first) * stride + lane;
          for (const weight of weights) {
            sum += pixels[at] * weight;
            at += stride;
          }
          out[(row * to + i) * stride + lane] = Math.floor(sum / 2 ** WEIGHT_BITS);
        }
      }
    }
    return out;
  }

  // Resizes RGBA bytes, horizontally first, and rounds to bytes after each axis, as Pillow does.
  function resize(image, width, height, filter) {
    const wide = resizeAxis(image.data, image.height, image.width, width, 4, filter);
    return { data: resizeAxis(wide, 1, image.height, height, width * 4, filter), width, height };
  }

  // The size before the crop: the shorter side gets `resize` pixels.
  function sizeBeforeCrop(image, card) {
    const [height, width] = card.size;
    if (!card.crop) return [width, height];
    if (image.width <= image.height) {
      return [card.resize, Math.trunc((card.resize * image.height) / image.width)];
    }
    return [Math.trunc((card.resize * image.width) / image.height), card.resize];
  }

  // Returns the RGBA bytes that the model sees, {data, width, height}.
  function crop(image, card) {
    const [height, width] = card.size;
    const filter = FILTERS[card.interpolation];
    const scaled = resize(image, ...sizeBeforeCrop(image, card), filter);
    const top = roundHalfToEven((scaled.height - height) / 2);
    const left = roundHalfToEven((scaled.width - width) / 2);
    const data = new Uint8ClampedArray(width * height * 4);
    for (let row = 0; row < height; row++) {
      const start = ((top + row) * scaled.width + left) * 4;
      data.set(scaled.data.subarray(start, start + width * 4), row * width * 4);
    }
    return { data, width, height };
  }

  // Returns the float32 tensor [1, C, H, W] (or [1, H, W, C]) of a cropped picture.
  function normalize(cropped, card) {
    const order = card.channels === "BGR" ? [2, 1, 0] : [0, 1, 2];
    const area = cropped.width * cropped.height;
    const tensor = new Float32Array(3 * area);
    order.forEach((source, channel) => {
      const [scale, mean, std] = [card.scale, card.mean[channel], card.std[channel]].map(Math.fround);
      for (let i = 0; i < area; i++) {
        const scaled = Math.fround(cropped.data[i * 4 + source] / scale);
        const value = Math.fround(Math.fround(scaled - mean) / std);
        tensor[card.layout === "NHWC" ? i * 3 + channel : channel * area + i] = value;
      }
    });
    return tensor;
  }

  return { crop, normalize };
})();
