// A run while it trains: loss and score over the steps, what the flip-flops hold, and a button that ends it.

import { raster } from "./array.js";
import { drawn, element, onceAFrame } from "./dom.js";

const RUN = { width: 320, height: 140, left: 40, bottom: 20, top: 24, names: 14 }; // names stand above the curves

// Draws the widget into `el` and returns what undoes it.
export function renderTraining({ model, el }) {
  const said = element("p", { role: "status" }), picture = raster();
  const button = element("button", { type: "button", class: "cff-button", onclick: () => { model.set("stop", true); model.save_changes(); } }, "Stop");
  const loss = runChart("loss", [["train_loss", "training", "a"], ["valid_loss", "validation", "b"]]);
  const score = runChart(model.get("score_name") || "score", [["valid_score", "validation", "b"]]);
  el.append(element("div", { class: "cff", role: "group", "aria-label": "a run that trains" },
    element("div", { class: "cff-bar" }, button, said),
    element("div", { class: "cff-top" }, loss.node, score.node),
    element("p", { class: "cff-note" }, "What the flip-flops hold while they read one example, a row each:"), picture.node));
  const draw = () => {
    const curves = model.get("curves"), state = model.get("state"), running = state === "running", last = (name) => curves[name].at(-1);
    button.disabled = !running || model.get("stop");
    said.textContent = curves.step.length
      ? `${model.get("stop") && running ? "stopping" : state}: step ${last("step")}, validation loss ${last("valid_loss").toFixed(3)}, ${model.get("score_name")} ${last("valid_score").toFixed(4)}`
      : state;
    loss.show(curves);
    score.show(curves);
    if (model.get("held").length) picture.show(model.get("held"));
  };
  const update = onceAFrame(draw), names = ["curves", "held", "state", "stop"];
  for (const name of names) model.on(`change:${name}`, update);
  draw();
  return () => { for (const name of names) model.off(`change:${name}`, update); };
}

// Curves over the steps, from zero up; `show(curves)` draws them anew.
function runChart(title, lines) {
  const node = drawn("svg", { viewBox: `0 0 ${RUN.width} ${RUN.height}`, role: "img" });
  return {
    node,
    show(curves) {
      const steps = curves.step, most = Math.max(...lines.flatMap(([name]) => curves[name]), 1e-9), end = Math.max(steps.at(-1) ?? 1, 1);
      const x = (step) => RUN.left + (step / end) * (RUN.width - RUN.left - 10), y = (value) => RUN.height - RUN.bottom - (value / most) * (RUN.height - RUN.bottom - RUN.top);
      const label = (text, at, anchor) => drawn("text", { ...at, "text-anchor": anchor, class: "cff-run-text" }, text);
      node.setAttribute("aria-label", `${title} over steps: ${lines.map(([name, what]) => `${what} ${(curves[name].at(-1) ?? 0).toFixed(3)}`).join(", ")}`);
      node.replaceChildren(
        drawn("path", { d: `M ${RUN.left} ${RUN.top} V ${RUN.height - RUN.bottom} H ${RUN.width - 10}`, class: "cff-run-axis" }),
        label(most.toPrecision(2), { x: RUN.left - 4, y: RUN.top + 4 }, "end"), label("0", { x: RUN.left - 4, y: RUN.height - RUN.bottom }, "end"),
        label(title, { x: RUN.left, y: RUN.names }, "start"), label(`step ${steps.at(-1) ?? 0}`, { x: RUN.width - 10, y: RUN.height - 5 }, "end"),
        ...lines.map(([name, , colour]) => drawn("path", {
          d: curves[name].map((value, k) => `${k ? "L" : "M"} ${x(steps[k])} ${y(value)}`).join(" "), class: `cff-run-line cff-run-${colour}` })),
        ...lines.map(([name, what, colour], k) => curves[name].length ? drawn("text", { x: RUN.left + 90 + 90 * k, y: RUN.names, class: `cff-run-text cff-run-name-${colour}` }, what) : ""));
    },
  };
}
