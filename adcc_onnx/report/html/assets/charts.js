"use strict";
// Charts of one run, drawn by Observable Plot. Every chart is a function from the run's data and
// a width in pixels to an SVG element.

// Okabe and Ito's colors, which color-blind people can distinguish, readable on light and dark.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d"];
const CONTROL_COLOR = "#888888";

const percentOf = (score) => (score.percent ? 100 : 1);
const formatted = (value, score) =>
  value === null || value === undefined ? "–" : (value * percentOf(score)).toFixed(score.percent ? 1 : 3);

function colorOf(run, name) {
  const index = run.methods.filter((m) => !m.control).findIndex((m) => m.name === name);
  return index < 0 ? CONTROL_COLOR : COLORS[index % COLORS.length];
}

function titleOf(run, name) {
  return run.methods.find((m) => m.name === name).title;
}

const leftMargin = (run) => 16 + 7 * Math.min(26, Math.max(...run.methods.map((m) => m.title.length)));

const CHARTS = {
  intervals(run, width) {
    const scale = percentOf(run.main);
    const rows = run.methods
      .map((m) => ({ ...m, ends: run.values[m.name][run.main.name] }))
      .filter((row) => row.ends);
    const point = (row) => row.ends[0] * scale;
    return Plot.plot({
      width, marginLeft: leftMargin(run), height: 50 + 26 * rows.length,
      x: { label: `${run.main.title}${run.main.percent ? " (%)" : ""}`, grid: true },
      y: { domain: rows.map((row) => row.title), label: null },
      marks: [
        Plot.ruleX(rows.filter((row) => row.control), { x: point, stroke: CONTROL_COLOR, strokeDasharray: "4 3" }),
        Plot.ruleY(rows.filter((row) => row.ends[1] !== null), {
          y: "title", x1: (row) => row.ends[1] * scale, x2: (row) => row.ends[2] * scale,
          stroke: (row) => colorOf(run, row.name), strokeWidth: 5, strokeOpacity: 0.45,
        }),
        Plot.dot(rows, {
          y: "title", x: point, fill: (row) => colorOf(run, row.name), r: 5, tip: true,
          title: (row) => `${row.title}: ${formatted(row.ends[0], run.main)}`
            + (row.ends[1] === null ? "" : ` [${formatted(row.ends[1], run.main)}, ${formatted(row.ends[2], run.main)}]`),
        }),
      ],
    });
  },

  ranks(run, width) {
    if (!run.ranks) return null;
    const { names, ranks, groups, critical } = run.ranks;
    const rows = names.map((name, i) => ({ name, title: titleOf(run, name), rank: ranks[i] }))
      .sort((a, b) => a.rank - b.rank);
    const step = 22, first = 40 + 12 * groups.length;
    const bars = groups.map((group, i) => ({
      y: 26 + 12 * i, low: Math.min(...group.map((g) => ranks[g])), high: Math.max(...group.map((g) => ranks[g])),
    }));
    rows.forEach((row, i) => { row.y = first + step * i; });
    const height = first + step * rows.length;
    return Plot.plot({
      width, height: height + 20, marginTop: 30, marginRight: 130, marginLeft: 20,
      x: { domain: [1, names.length], axis: "top", label: `Mean rank (critical difference ${critical.toFixed(2)})`, ticks: Math.min(names.length, 8) },
      y: { domain: [0, height], reverse: true, axis: null },
      marks: [
        Plot.link(rows, { x1: "rank", x2: "rank", y1: 0, y2: "y", stroke: (row) => colorOf(run, row.name) }),
        Plot.link(rows, { x1: "rank", x2: names.length, y1: "y", y2: "y", stroke: (row) => colorOf(run, row.name) }),
        Plot.link(bars, { x1: "low", x2: "high", y1: "y", y2: "y", stroke: "currentColor", strokeWidth: 5 }),
        Plot.text(rows, { x: names.length, y: "y", dx: 5, textAnchor: "start", fill: "currentColor", text: (row) => `${row.title} ${row.rank.toFixed(2)}` }),
      ],
    });
  },

  pairs(run, width) {
    if (!run.pairs) return null;
    const scale = percentOf(run.main);
    const titles = run.pairs.names.map((name) => titleOf(run, name));
    const cells = run.pairs.cells.flatMap(([i, j, value, low, high, p]) => [
      { row: titles[i], column: titles[j], value: value * scale, low: low * scale, high: high * scale, p },
      { row: titles[j], column: titles[i], value: -value * scale, low: -high * scale, high: -low * scale, p },
    ]);
    const most = Math.max(1e-9, ...cells.map((cell) => Math.abs(cell.value)));
    const digits = run.main.percent ? 1 : 2;
    const side = Math.min(width, leftMargin(run) + 44 * titles.length + 50);
    return Plot.plot({
      width: side, height: 44 + leftMargin(run) * 0.7 + 26 * titles.length, marginLeft: leftMargin(run),
      marginTop: leftMargin(run) * 0.7, marginRight: 50,
      x: { domain: titles, axis: "top", label: null, tickRotate: -40 },
      y: { domain: titles, label: null },
      color: { type: "diverging", scheme: "PuOr", domain: [-most, most], reverse: run.main.higher },
      marks: [
        Plot.cell(cells, { x: "column", y: "row", fill: "value", inset: 1 }),
        Plot.text(cells, {
          x: "column", y: "row", fontSize: 10, tip: true,
          fill: (cell) => (Math.abs(cell.value) > 0.6 * most ? "white" : "black"),
          text: (cell) => `${cell.value > 0 ? "+" : ""}${cell.value.toFixed(digits)}${cell.p >= run.alpha ? " •" : ""}`,
          title: (cell) => `${cell.row} minus ${cell.column}: ${cell.value.toFixed(2)} [${cell.low.toFixed(2)}, ${cell.high.toFixed(2)}], p = ${cell.p.toPrecision(2)}`,
        }),
      ],
    });
  },

  scatter(run, width, method) {
    const found = run.points[method];
    if (!found) return null;
    const points = found.coherency.map((coherency, i) => ({
      coherency, kept: 1 - found.average_drop[i], complexity: found.complexity[i], name: run.names[found.images[i]],
    }));
    const simple = 1 - d3.mean(found.complexity);
    const lines = [0.3, 0.5, 0.7, 0.8, 0.9].flatMap((level) => isoLine(level, simple));
    return Plot.plot({
      width, height: Math.min(width, 380), grid: true,
      x: { domain: [0, 1], label: "Coherency", tickFormat: "%" },
      y: { domain: [0, 1], label: "1 - drop", tickFormat: "%" },
      color: { label: "Complexity", legend: true, scheme: "viridis", tickFormat: "%" },
      marks: [
        Plot.line(lines, { x: "x", y: "y", z: "level", stroke: "currentColor", strokeOpacity: 0.35 }),
        Plot.text(lines.filter((line) => line.label), { x: "x", y: "y", dx: -4, dy: -6, text: (line) => `ADCC ${(100 * line.level).toFixed(0)}`, fill: "currentColor", fillOpacity: 0.6, textAnchor: "end" }),
        Plot.dot(points, {
          x: "coherency", y: "kept", fill: "complexity", r: 3.5, stroke: "currentColor", strokeOpacity: 0.25, tip: true,
          title: (p) => `${p.name}\ncoherency ${(100 * p.coherency).toFixed(1)}\n1 - drop ${(100 * p.kept).toFixed(1)}\ncomplexity ${(100 * p.complexity).toFixed(1)}`,
        }),
      ],
    });
  },

  distributions(run, width) {
    const rows = Object.entries(run.distributions).flatMap(([method, metrics]) =>
      Object.entries(metrics).map(([metric, [low, q1, median, q3, high]]) =>
        ({ method, title: titleOf(run, method), metric: run.columns[metric].title, low, q1, median, q3, high })));
    if (!rows.length) return null;
    const color = (row) => colorOf(run, row.method);
    return Plot.plot({
      width, marginLeft: leftMargin(run), marginRight: 20, height: 60 + 3 * (24 + 20 * run.methods.length),
      fy: { axis: null, domain: [...new Set(rows.map((row) => row.metric))] },
      x: { domain: [0, 1], tickFormat: "%", grid: true, label: null },
      y: { domain: run.methods.map((m) => m.title), label: null },
      marks: [
        Plot.text([...new Set(rows.map((row) => row.metric))].map((metric) => ({ metric })), { fy: "metric", text: "metric", frameAnchor: "top-left", dy: -12, fontWeight: "bold", fill: "currentColor" }),
        Plot.ruleY(rows, { fy: "metric", y: "title", x1: "low", x2: "high", stroke: color }),
        Plot.barX(rows, { fy: "metric", y: "title", x1: "q1", x2: "q3", fill: color, fillOpacity: 0.4, insetTop: 2, insetBottom: 2 }),
        Plot.tickX(rows, {
          fy: "metric", y: "title", x: "median", stroke: color, strokeWidth: 2.5, tip: true,
          title: (row) => `${row.title}, ${row.metric}: median ${(100 * row.median).toFixed(1)}, quartiles ${(100 * row.q1).toFixed(1)} to ${(100 * row.q3).toFixed(1)}`,
        }),
      ],
    });
  },

  curve(run, width, name) {
    const { x, methods } = run.curves[name];
    const points = Object.entries(methods).flatMap(([method, curve]) =>
      x.map((share, i) => ({ method, share, mean: curve.mean[i], low: curve.low[i], high: curve.high[i] })));
    const stroke = (point) => colorOf(run, point.method);
    return Plot.plot({
      width, height: Math.min(width, 320), grid: true,
      color: { legend: true, domain: Object.keys(methods).map((m) => titleOf(run, m)), range: Object.keys(methods).map((m) => colorOf(run, m)) },
      x: { label: "Share of changed pixels", tickFormat: "%" },
      y: { label: "Mean score" },
      marks: [
        Plot.areaY(points, { x: "share", y1: "low", y2: "high", z: "method", fill: stroke, fillOpacity: 0.15 }),
        Plot.line(points, { x: "share", y: "mean", z: "method", stroke, strokeWidth: 2, strokeDasharray: (p) => dashOf(run, p.method) }),
        Plot.tip(points, Plot.pointerX({ x: "share", y: "mean", title: (p) => `${titleOf(run, p.method)}: ${p.mean.toFixed(3)} at ${(100 * p.share).toFixed(0)} %` })),
      ],
    });
  },

  cost(run, width, axis) {
    const cost = axis === "passes" ? run.passes : run.seconds;
    const costText = (value) => (axis === "passes" ? `${Number(value.toPrecision(3))} passes` : secondsText(value));
    const scale = percentOf(run.main), sign = run.main.higher ? 1 : -1;
    const rows = run.methods
      .map((m) => ({ ...m, cost: cost[m.name], ends: run.values[m.name][run.main.name] }))
      .filter((row) => row.cost && row.ends)
      .map((row) => ({ ...row, quality: row.ends[0] * scale }))
      .sort((a, b) => a.cost - b.cost || sign * (b.quality - a.quality));
    const front = [];
    const methods = rows.filter((row) => !row.control);
    for (const row of methods) {
      if (!front.length || sign * row.quality > sign * front[front.length - 1].quality) front.push(row);
    }
    // Controls far below the methods would squeeze these into one line.
    const [low, high] = d3.extent(methods, (row) => row.quality);
    const reach = Math.max(high - low, 0.1 * Math.abs(high) || 1);
    const shown = rows.filter((row) => row.quality >= low - reach && row.quality <= high + reach);
    return Plot.plot({
      width, height: 320, grid: true, marginLeft: 50, marginRight: 110,
      x: { type: "log", label: `${axis === "passes" ? "Model passes" : "Time"} per image (log scale)`, tickFormat: costText, ticks: 5 },
      y: { label: `${run.main.title}${run.main.percent ? " (%)" : ""}`, nice: true, inset: 8 },
      marks: [
        Plot.line(front, { x: "cost", y: "quality", curve: "step-after", stroke: "currentColor", strokeOpacity: 0.4, strokeDasharray: "4 3" }),
        Plot.dot(shown, {
          x: "cost", y: "quality", r: 5, fill: (row) => colorOf(run, row.name), tip: true,
          title: (row) => `${row.title}: ${formatted(row.ends[0], run.main)}, ${costText(row.cost)} per image`,
        }),
        Plot.text(shown, { x: "cost", y: "quality", text: "title", dx: 8, textAnchor: "start", fill: "currentColor" }),
      ],
    });
  },
};

function secondsText(seconds) {
  return seconds < 1 ? `${Number((1000 * seconds).toPrecision(3))} ms` : `${Number(seconds.toPrecision(3))} s`;
}

// Controls have a dashed line, as in the chart of intervals.
function dashOf(run, name) {
  return run.methods.find((m) => m.name === name).control ? "5 4" : null;
}

// Points of equal ADCC: 3 / (1/x + 1/simple + 1/y) = level.
function isoLine(level, simple) {
  const points = [];
  for (let i = 1; i <= 100; i += 1) {
    const x = i / 100, rest = 3 / level - 1 / simple - 1 / x;
    const y = 1 / rest;
    if (rest > 0 && y <= 1) points.push({ x, y, level });
  }
  if (points.length) points[points.length - 1].label = true;
  return points;
}

function drawChart(article, run, figure) {
  const kind = figure.dataset.chart;
  const chosen = article.querySelector(`[data-control="${kind}-choice"]`);
  const argument = chosen ? chosen.value : figure.dataset.name;
  const chart = CHARTS[kind](run, Math.max(280, Math.floor(figure.clientWidth)), argument);
  figure.querySelectorAll(":scope > :not(figcaption)").forEach((old) => old.remove());
  if (!chart) { figure.hidden = true; return; }
  const caption = figure.querySelector("figcaption");
  const svg = chart.matches("svg") ? chart : chart.querySelector(":scope > svg:last-of-type");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", caption.textContent);
  figure.insertBefore(chart, caption);
}
