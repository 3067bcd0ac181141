// What is pointed at is told beside the pointer, and marked in every figure and table.
"use strict";
const tips = JSON.parse(document.getElementById("tips").textContent);
const tip = document.getElementById("tip");
const NEAR = 14;
let pointed = null;

function show(key, event) {
  if (key !== pointed) {
    for (const mark of document.querySelectorAll(".on")) mark.classList.remove("on");
    pointed = key;
    tip.hidden = !key;
    if (!key) return;
    for (const mark of document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)) mark.classList.add("on");
    const [title, ...lines] = tips[key];
    tip.replaceChildren(Object.assign(document.createElement("b"), { textContent: title }));
    for (const line of lines) tip.append(Object.assign(document.createElement("span"), { textContent: line }));
  }
  if (!key) return;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 16 + width < innerWidth ? event.clientX + 16 : event.clientX - 16 - width;
  const top = Math.min(event.clientY + 16, innerHeight - height - 8);
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${Math.max(top, 8)}px`;
}

// The height at which a line crosses x; nothing where it does not.
function crossing(line, x) {
  const points = line.points;
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1], points[i]];
    if (a.x <= x && x <= b.x) return a.y + (b.y - a.y) * (x - a.x) / (b.x - a.x);
  }
  return Infinity;
}

function nearest(figure, event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(figure.getScreenCTM().inverse());
  let [key, least] = [null, NEAR];
  for (const mark of figure.querySelectorAll("[data-key]")) {
    const away = mark.tagName === "circle"
      ? Math.hypot(mark.cx.baseVal.value - at.x, mark.cy.baseVal.value - at.y)
      : Math.abs(crossing(mark, at.x) - at.y);
    if (away < least) [key, least] = [mark.dataset.key, away];
  }
  return key;
}

for (const figure of document.querySelectorAll("figure svg")) {
  figure.addEventListener("pointermove", event => show(nearest(figure, event), event));
  figure.addEventListener("pointerleave", event => show(null, event));
}
for (const row of document.querySelectorAll("tr[data-key]")) {
  row.addEventListener("pointermove", event => show(row.dataset.key, event));
  row.addEventListener("pointerleave", event => show(null, event));
}
