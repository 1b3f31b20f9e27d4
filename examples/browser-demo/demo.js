// The page: a picture goes through a baked model in this browser, and its heatmap is drawn.
"use strict";

const adccDemo = (() => {
  const element = (id) => document.getElementById(id);
  const settings = JSON.parse(element("settings").textContent);
  const sessions = new Map();
  let shown = null; // the last result
  let newest = 0; // counts pictures, so that a slow older one never replaces a newer one

  async function bytesOf(id) {
    const answer = await fetch(`data:application/octet-stream;base64,${element(id).textContent}`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  async function startRuntime() {
    const loader = new Blob([await bytesOf("runtime-loader")], { type: "text/javascript" });
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(loader) };
    ort.env.wasm.wasmBinary = await bytesOf("runtime");
    ort.env.wasm.numThreads = 1; // more need response headers that a plain file does not have
  }

  let runtime = null;

  async function openSession(number) {
    if (!sessions.has(number)) {
      runtime ??= startRuntime();
      await runtime;
      const model = await bytesOf(`model-${number}`);
      sessions.set(number, await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }));
    }
    return sessions.get(number);
  }

  async function decode(blob) {
    const bitmap = await createImageBitmap(blob, {
      colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image",
    });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  function probabilities(scores, kind) {
    if (kind === "probabilities") return Array.from(scores);
    const largest = Math.max(...scores);
    const powers = Array.from(scores, (score) => Math.exp(score - largest));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  }

  // Explains one picture with one model.
  async function explain(blob, number) {
    const model = settings.models[number];
    const session = await openSession(number);
    const cropped = adccPreprocessing.crop(await decode(blob), model.card);
    const [height, width] = model.card.size;
    const shape = model.card.layout === "NHWC" ? [1, height, width, 3] : [1, 3, height, width];
    const tensor = new ort.Tensor("float32", adccPreprocessing.normalize(cropped, model.card), shape);
    const start = performance.now();
    const outputs = await session.run({ [model.input]: tensor });
    const milliseconds = performance.now() - start;
    const chances = probabilities(outputs[model.scores].data, model.kind);
    return { cropped, heatmap: outputs.heatmap.data, chances, milliseconds, model };
  }

  // (1 - alpha) Y + alpha C, with the luminance Y and the color C, as `adcc-onnx explain` draws.
  function drawOverlay() {
    const { cropped, heatmap } = shown;
    const alpha = Number(element("opacity").value);
    const pixels = new Uint8ClampedArray(cropped.data);
    for (let i = 0; i < heatmap.length; i++) {
      const [red, green, blue] = cropped.data.subarray(i * 4, i * 4 + 3);
      const gray = Math.floor((red * 19595 + green * 38470 + blue * 7471 + 32768) / 65536);
      const color = settings.colors[Math.round(heatmap[i] * 255)];
      for (let c = 0; c < 3; c++) pixels[i * 4 + c] = (1 - alpha) * gray + alpha * color[c];
      pixels[i * 4 + 3] = 255;
    }
    put(element("overlay"), { ...cropped, data: pixels });
  }

  function put(canvas, { data, width, height }) {
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  }

  function listClasses({ chances, model }) {
    const best = chances.map((chance, index) => ({ chance, index }))
      .sort((a, b) => b.chance - a.chance).slice(0, 5);
    element("classes").replaceChildren(...best.map(({ chance, index }) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = model.labels?.[index] ?? `class ${index}`;
      const bar = document.createElement("meter");
      bar.value = chance;
      bar.setAttribute("aria-hidden", "true");
      const number = document.createElement("td");
      number.textContent = `${(100 * chance).toFixed(1)} %`;
      const cell = document.createElement("td");
      cell.append(bar);
      row.append(name, cell, number);
      return row;
    }));
  }

  function say(state, text) {
    element("status").textContent = text;
    element("result").dataset.state = state;
  }

  let picture = null;

  async function show(blob) {
    picture = blob;
    const mine = ++newest;
    say("busy", "The model is running …");
    // Lets the browser paint the message before the computation blocks it.
    await new Promise((resolve) => setTimeout(resolve, 30));
    try {
      const result = await explain(blob, Number(element("model").value));
      if (mine !== newest) return;
      shown = result;
      put(element("seen"), result.cropped);
      drawOverlay();
      listClasses(result);
      element("result").hidden = false;
      say("done", `${result.model.title}: ${result.milliseconds.toFixed(0)} ms in this browser.`);
    } catch (error) {
      if (mine === newest) say("failed", explanationOf(error));
    }
  }

  function explanationOf(error) {
    if (error.name === "InvalidStateError" || error.name === "EncodingError") {
      return "This file is not a picture that the browser can read. Choose a PNG, JPEG or WebP file.";
    }
    return `The picture could not be explained: ${error.message}`;
  }

  function showFirst(files) {
    if (files.length > 0) show(files[0]);
  }

  function listen() {
    const zone = element("drop");
    element("file").addEventListener("change", (event) => showFirst(event.target.files));
    element("opacity").addEventListener("input", () => shown && drawOverlay());
    element("model").addEventListener("change", () => picture && show(picture));
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
    document.addEventListener("dragleave", () => zone.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      showFirst(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => showFirst(event.clipboardData.files));
    for (const button of document.querySelectorAll("#samples button")) {
      button.addEventListener("click", () => showSample(button));
    }
  }

  async function showSample(button) {
    const answer = await fetch(button.querySelector("img").src);
    show(await answer.blob());
  }

  settings.models.forEach((model, number) => {
    element("model").append(new Option(model.title, number));
  });
  listen();
  showSample(document.querySelector("#samples button"));

  return { explain, get shown() { return shown; } };
})();
