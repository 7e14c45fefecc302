"use strict";

// Tables: a heading sorts by its column, pressed again the other way round; what has no value stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(table, heads, column)));
}

function sort(table, heads, column) {
  const head = heads[column];
  const other = { ascending: "descending", descending: "ascending" };
  const way = other[head.getAttribute("aria-sort")] || head.dataset.first;
  heads.forEach((each) => each.setAttribute("aria-sort", each === head ? way : "none"));
  const words = head.classList.contains("words");
  const value = (row) => row.cells[column].dataset.value;
  const sign = way === "ascending" ? 1 : -1;
  const compare = (one, two) => {
    const [a, b] = [value(one), value(two)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (words ? a.localeCompare(b, "en", { numeric: true }) : Number(a) - Number(b));
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

// Arms that are left out disappear from tables and figures; nothing is computed anew.
for (const filter of document.querySelectorAll(".filter")) {
  const boxes = [...filter.querySelectorAll("input")];
  const show = () => {
    const shown = new Map(boxes.map((box) => [box.value, box.checked]));
    for (const element of document.querySelectorAll("main [data-arm]")) {
      element.toggleAttribute("data-left-out", shown.get(element.dataset.arm) === false);
    }
    const count = boxes.filter((box) => box.checked).length;
    filter.querySelector("[data-shown]").textContent = count === boxes.length ? `all ${count}` : `${count} of ${boxes.length}`;
  };
  filter.addEventListener("change", show);
  for (const button of filter.querySelectorAll("[data-all]")) {
    button.addEventListener("click", () => {
      boxes.forEach((box) => (box.checked = button.dataset.all === "on"));
      show();
    });
  }
  show(); // a browser remembers what was ticked when a page is loaded again
}

// A shade at the right edge says that a table goes on.
const boxes = new Map([...document.querySelectorAll(".box")].map((box) => [box.querySelector(".scroll"), box]));
const shade = (scroll) => {
  boxes.get(scroll).toggleAttribute("data-more", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 2);
};
const watch = new ResizeObserver((changes) => changes.forEach((change) => shade(change.target)));
for (const scroll of boxes.keys()) {
  scroll.addEventListener("scroll", () => shade(scroll), { passive: true });
  watch.observe(scroll);
}

// Files: a figure as drawn on white paper, whatever the theme, and its numbers.
const STYLES = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin",
  "stroke-linecap", "paint-order", "opacity", "font-family", "font-size", "font-weight", "font-variant-numeric",
];
const SVG = "http://www.w3.org/2000/svg";

for (const button of document.querySelectorAll("button[data-save]")) {
  button.addEventListener("click", () => save(button));
}

async function save(button) {
  const home = button.closest("[data-name]");
  const name = home.dataset.name;
  if (button.dataset.save === "csv") {
    hand(new Blob(["\ufeff", csv(JSON.parse(home.querySelector("script").textContent))], { type: "text/csv" }), `${name}.csv`);
    return;
  }
  const { text, width, height } = paper(home);
  if (button.dataset.save === "svg") hand(new Blob([text], { type: "image/svg+xml" }), `${name}.svg`);
  else hand(await png(text, width, height), `${name}.png`);
}

function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function csv({ header, rows }) {
  const write = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [header, ...rows].map((row) => row.map(write).join(",")).join("\r\n") + "\r\n";
}

// All panels of a figure on one sheet, every style written out, so that the file stands by itself.
function paper(figure) {
  const panels = [...figure.querySelectorAll(".panel:not([data-left-out]) > svg")];
  if (!panels.length) panels.push(...figure.querySelectorAll(".panel > svg"));
  const columns = panels.length > 4 ? Math.ceil(Math.sqrt(panels.length)) : panels.length;
  const gap = 24, head = 44;
  const sizes = panels.map((panel) => [panel.viewBox.baseVal.width, panel.viewBox.baseVal.height]);
  const wide = Math.max(...sizes.map((size) => size[0]));
  const tall = [];
  sizes.forEach((size, i) => (tall[Math.floor(i / columns)] = Math.max(tall[Math.floor(i / columns)] || 0, size[1])));
  const width = columns * wide + (columns + 1) * gap;
  const height = head + tall.reduce((sum, each) => sum + each + gap, 0);
  const sheet = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) sheet.setAttribute(key, value);
  const ground = document.createElementNS(SVG, "rect");
  ground.setAttribute("width", width);
  ground.setAttribute("height", height);
  ground.setAttribute("class", "paper-ground");
  const title = document.createElementNS(SVG, "text");
  title.setAttribute("x", gap);
  title.setAttribute("y", 28);
  title.setAttribute("class", "paper-title");
  title.textContent = figure.dataset.title;
  sheet.append(ground, title);
  let top = head;
  panels.forEach((panel, i) => {
    const copy = panel.cloneNode(true);
    copy.querySelectorAll("[data-left-out]").forEach((element) => element.remove());
    copy.setAttribute("x", gap + (i % columns) * (wide + gap));
    copy.setAttribute("y", top);
    sheet.append(copy);
    if (i % columns === columns - 1) top += tall[Math.floor(i / columns)] + gap;
  });
  const desk = document.createElement("div");
  desk.className = "paper";
  desk.append(sheet);
  document.body.append(desk);
  for (const element of sheet.querySelectorAll("*")) {
    const style = getComputedStyle(element);
    if (!["title", "desc", "svg"].includes(element.tagName)) {
      element.setAttribute("style", STYLES.map((key) => `${key}:${style.getPropertyValue(key)}`).join(";"));
    }
    for (const key of ["class", "id", "aria-labelledby"]) element.removeAttribute(key);
  }
  desk.remove();
  return { text: new XMLSerializer().serializeToString(sheet), width, height };
}

async function png(text, width, height) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await image.decode();
  const scale = Math.min(2, 8000 / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.unfolded = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-unfolded]")) {
    details.open = false;
    delete details.dataset.unfolded;
  }
});
