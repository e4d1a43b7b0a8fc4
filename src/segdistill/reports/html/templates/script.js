"use strict";
// Tables: a heading sorts its column; rows without a value stay last.
document.querySelectorAll("table").forEach((table) => {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") !== "descending";
    headings.forEach((each) => each.setAttribute("aria-sort", each === heading ? (down ? "descending" : "ascending") : "none"));
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }));
});
// Curves: the arrow keys or the pointer move a cursor, whose values are read out.
document.querySelectorAll("svg[data-x]").forEach((chart) => {
  const [low, high, start, end] = chart.dataset.x.split(" ").map(Number);
  const curves = [...chart.querySelectorAll(".curve")].map((curve) => ({
    name: curve.dataset.name,
    steps: curve.dataset.steps.split(" ").map(Number),
    values: curve.dataset.values.split(" "),
  }));
  const steps = [...new Set(curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
  const cursor = chart.querySelector(".cursor"), output = chart.parentElement.querySelector("output");
  let place = -1;
  const show = (index) => {
    place = Math.max(0, Math.min(steps.length - 1, index));
    const step = steps[place], x = start + (step - low) / (high - low) * (end - start);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    const parts = curves.filter((curve) => curve.steps.includes(step))
      .map((curve) => `${curve.name} ${curve.values[curve.steps.indexOf(step)]}`);
    output.textContent = `step ${step}: ${parts.join(", ")}`;
  };
  chart.addEventListener("keydown", (event) => {
    const jump = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (jump === undefined) return;
    event.preventDefault();
    show(jump);
  });
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect(), width = chart.viewBox.baseVal.width;
    const at = low + ((event.clientX - box.left) / box.width * width - start) / (end - start) * (high - low);
    let nearest = 0;
    steps.forEach((step, index) => { if (Math.abs(step - at) < Math.abs(steps[nearest] - at)) nearest = index; });
    show(nearest);
  });
});
// Pictures: a divider between two of them, and the choice of the two.
document.querySelectorAll(".scene").forEach((scene) => {
  const stack = scene.querySelector(".stack"), layers = [...stack.querySelectorAll(".layer")];
  const divider = scene.querySelector(".divider");
  const cut = () => {
    stack.style.setProperty("--cut", `${divider.value}%`);
    const names = [...scene.querySelectorAll("select")].map((select) => select.selectedOptions[0].text);
    divider.setAttribute("aria-valuetext", `${divider.value} percent ${names[0]}, the rest ${names[1]}`);
  };
  divider.addEventListener("input", cut);
  scene.querySelectorAll("select").forEach((select) => select.addEventListener("change", () => {
    layers.forEach((layer, index) => layer.classList.toggle(select.dataset.side, index === Number(select.value)));
    cut();
  }));
  cut();
});
const opacity = document.getElementById("opacity");
if (opacity) opacity.addEventListener("input", () => {
  document.documentElement.style.setProperty("--opacity", opacity.value / 100);
});
