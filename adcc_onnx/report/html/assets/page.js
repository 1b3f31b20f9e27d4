"use strict";
// Puts the page together: charts, sortable tables and the gallery of every run.

function sortTable(table, index, heading) {
  const descending = heading.getAttribute("aria-sort") === "descending";
  table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", descending ? "ascending" : "descending");
  const direction = descending ? 1 : -1;
  const key = (row) => {
    const cell = row.children[index], value = cell.dataset.value;
    return value === undefined ? cell.textContent.trim() : value === "" ? -Infinity : Number(value);
  };
  const order = (a, b) => (typeof key(a) === "string" ? key(b).localeCompare(key(a)) : key(a) - key(b));
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("divider"));
    rows.sort((a, b) => direction * order(a, b)).forEach((row) => body.append(row));
  }
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((heading, index) => {
    heading.querySelector(".sort").addEventListener("click", () => sortTable(table, index, heading));
  });
}

function openRun(run) {
  const article = document.getElementById(run.id);
  const figures = [...article.querySelectorAll("[data-chart]")];
  const choices = {
    scatter: run.methods.filter((m) => run.points[m.name]).map((m) => [m.name, m.title]),
    cost: [["seconds", "time"], ["passes", "model passes"]],
  };
  for (const [chart, entries] of Object.entries(choices)) {
    const chosen = article.querySelector(`[data-control="${chart}-choice"]`);
    if (!chosen) continue;
    options(chosen, entries);
    chosen.addEventListener("change", () =>
      figures.filter((f) => f.dataset.chart === chart).forEach((f) => drawChart(article, run, f)));
  }
  const draw = () => figures.forEach((figure) => drawChart(article, run, figure));
  draw();
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) { width = window.innerWidth; draw(); }
  });
  openGallery(article, run);
}

document.querySelectorAll("[data-sortable]").forEach(makeSortable);
document.querySelectorAll("script.run-data").forEach((data) => openRun(JSON.parse(data.textContent)));
