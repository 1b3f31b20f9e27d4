"use strict";
// The gallery: each card shows the model's crop behind a slider with the overlay or the explanation
// map e, both drawn from the thumbnail and the map at the layer's resolution.

const PAGE = 24;
const OPACITY = 0.55;

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

// Maps are stored as bytes: 0 is 0, 255 is 1.
function mapOf([height, width, base64]) {
  return { height, width, values: bytesOf(base64) };
}

// Bilinear upsampling with half-pixel centers, as the evaluation itself does it.
function upsampled(map, height, width) {
  const found = new Float32Array(height * width);
  const place = (i, from, to) => Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
  for (let i = 0; i < height; i += 1) {
    const y = place(i, map.height, height), y0 = Math.floor(y), y1 = Math.min(y0 + 1, map.height - 1);
    for (let j = 0; j < width; j += 1) {
      const x = place(j, map.width, width), x0 = Math.floor(x), x1 = Math.min(x0 + 1, map.width - 1);
      const at = (row, column) => map.values[row * map.width + column] / 255;
      const top = at(y0, x0) * (1 - (x - x0)) + at(y0, x1) * (x - x0);
      const bottom = at(y1, x0) * (1 - (x - x0)) + at(y1, x1) * (x - x0);
      found[i * width + j] = top * (1 - (y - y0)) + bottom * (y - y0);
    }
  }
  return found;
}

const PALETTE = d3.range(256).map((level) => {
  const { r, g, b } = d3.rgb(d3.interpolateViridis(level / 255));
  return [r, g, b];
});

// Blends the gray thumbnail with the colors of the map, so that every color is a value of the map, or
// the thumbnail with the fill of masked pixels.
function painted(pixels, mask, mode, fill) {
  const found = new ImageData(pixels.width, pixels.height);
  for (let i = 0; i < mask.length; i += 1) {
    const color = PALETTE[Math.round(mask[i] * 255)];
    const [red, green, blue] = pixels.data.slice(4 * i, 4 * i + 3);
    const gray = 0.299 * red + 0.587 * green + 0.114 * blue;
    for (let c = 0; c < 3; c += 1) {
      found.data[4 * i + c] = mode === "overlay"
        ? gray * (1 - OPACITY) + color[c] * OPACITY
        : pixels.data[4 * i + c] * mask[i] + fill[c] * (1 - mask[i]);
    }
    found.data[4 * i + 3] = 255;
  }
  return found;
}

async function pixelsOf(image) {
  const picture = new Image();
  picture.src = `data:image/jpeg;base64,${image.thumbnail}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function element(tag, text, attributes = {}) {
  const found = document.createElement(tag);
  if (text !== null) found.textContent = text;
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

function describe(run, image) {
  const name = (index) => run.labels[index] ?? `class ${index}`;
  if (image.target === null) return "not scored";
  let text = `${name(image.target)}, p(x) = ${(100 * image.probability).toFixed(1)} %`;
  if (image.predicted !== image.target) text += `; predicted: ${name(image.predicted)}`;
  if (image.label !== null && image.label !== image.predicted) text += `; label: ${name(image.label)}`;
  return text;
}

function scoresText(run, image, method) {
  const values = image.values[method];
  if (!values) return image.failures[method] ?? image.failures[""] ?? "no scores";
  const parts = [];
  if (method in image.masked) parts.push(`p(e) = ${(100 * image.masked[method]).toFixed(1)} %`);
  for (const [metric, value] of Object.entries(values)) {
    const score = run.columns[metric];
    if (score && value !== null) parts.push(`${score.title} ${formatted(value, score)}`);
  }
  return parts.join(" · ");
}

function card(run, image, method) {
  const found = element("section", null, { class: "card" });
  found.append(element("h4", image.name));
  if (image.thumbnail && image.maps[method]) {
    found.append(...viewer(run, image, method));
  } else if (image.thumbnail) {
    found.append(element("img", null, { src: `data:image/jpeg;base64,${image.thumbnail}`, alt: image.name, width: "100%" }));
  }
  found.append(element("p", describe(run, image)), element("p", scoresText(run, image, method)));
  if (image.kinds.length) found.append(element("p", image.kinds.join(", "), { class: "tags" }));
  return found;
}

function viewer(run, image, method) {
  const view = element("div", null, { class: "view" });
  const back = element("canvas", null, { role: "img", "aria-label": `${image.name}, the input x` });
  const front = element("canvas", null, { class: "front", role: "img", "aria-label": `map of ${titleOf(run, method)}` });
  view.append(back, front);
  const slider = element("input", null, { type: "range", min: 0, max: 100, value: 100, "aria-label": `Reveal the map of ${image.name}` });
  const reveal = () => view.style.setProperty("--reveal", `${slider.value}%`);
  slider.addEventListener("input", reveal);
  reveal();
  const group = `view-${run.id}-${image.position}`;
  const modes = element("fieldset", null, { class: "views", "aria-label": "What the slider reveals" });
  let pixels = null;
  const paint = (mode) => {
    for (const canvas of [back, front]) { canvas.width = pixels.width; canvas.height = pixels.height; }
    back.getContext("2d").putImageData(pixels, 0, 0);
    const mask = upsampled(mapOf(image.maps[method]), pixels.height, pixels.width);
    front.getContext("2d").putImageData(painted(pixels, mask, mode, run.fill), 0, 0);
  };
  for (const [mode, title] of [["overlay", "overlay"], ["masked", "explanation map e"]]) {
    const label = element("label", null);
    const radio = element("input", null, { type: "radio", name: group, value: mode });
    radio.checked = mode === "overlay";
    radio.addEventListener("change", () => pixels && paint(mode));
    label.append(radio, title);
    modes.append(label);
  }
  pixelsOf(image).then((found) => {
    pixels = found;
    view.style.setProperty("--aspect", `${found.width} / ${found.height}`);
    paint("overlay");
  });
  return [view, slider, modes];
}

function options(select, entries) {
  select.replaceChildren(...entries.map(([value, title]) => element("option", title, { value })));
}

function openGallery(article, run) {
  const section = article.querySelector(".gallery-section");
  if (!section) return;
  const control = (name) => section.querySelector(`[data-control="gallery-${name}"]`);
  const targets = [...new Set(run.images.map((image) => image.target).filter((t) => t !== null))].sort((a, b) => a - b);
  const metrics = Object.keys(run.columns).filter((name) => run.images.some((i) => Object.values(i.values).some((v) => name in v)));
  options(control("method"), run.methods.map((m) => [m.name, m.title]));
  options(control("kind"), [["", "all images"], ...run.kinds.map((kind) => [kind, kind])]);
  options(control("class"), [["", "all classes"], ...targets.map((t) => [t, run.labels[t] ?? `class ${t}`])]);
  options(control("sort"), [["", "order of the data"], ...metrics.flatMap((m) => [[`-${m}`, `${run.columns[m].title}, high first`], [`+${m}`, `${run.columns[m].title}, low first`]])]);
  let shown = PAGE;
  const render = () => {
    const method = control("method").value, found = selected(run, control, method);
    section.querySelector(".gallery").replaceChildren(...found.slice(0, shown).map((image) => card(run, image, method)));
    section.querySelector(".count").textContent = `${Math.min(shown, found.length)} of ${found.length} images`;
    section.querySelector(".more").hidden = found.length <= shown;
  };
  for (const name of ["method", "kind", "class", "sort"]) {
    control(name).addEventListener("change", () => { shown = PAGE; render(); });
  }
  section.querySelector(".more").addEventListener("click", () => { shown += PAGE; render(); });
  render();
}

function selected(run, control, method) {
  const kind = control("kind").value, target = control("class").value, sort = control("sort").value;
  const found = run.images.filter((image) =>
    (!kind || image.kinds.includes(kind)) && (!target || String(image.target) === target));
  if (!sort) return found;
  const direction = sort[0] === "-" ? -1 : 1, metric = sort.slice(1);
  const value = (image) => image.values[method]?.[metric] ?? direction * -Infinity;
  return [...found].sort((a, b) => direction * (value(a) - value(b)));
}
