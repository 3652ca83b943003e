// The phase plane as a drawing: basins, nullclines, fixed points, the path of the state, and the state itself, which can be moved.

import { basins, fixedPoints, nullcline, rateGrid } from "./analysis.js";
import { drawn, onDrag, symbol } from "./dom.js";

const SIZE = 300, LEFT = 34, TOP = 8, WIDTH = SIZE + LEFT + 10, GRID = 101, BASIN = 65;

// {node, show(plane, key, elapsed, path)}: `plane` of analysis.js, `key` names what the ground is drawn from, `path`
// [[v_a, v_b], ...] leads to the present state. `put(v)` is called while pointer or arrow keys move the state, `letGo()` at the end.
export function phasePlane({ put, letGo }) {
  const shown = { low: -1, high: 1, now: [0, 0], key: null }, known = new Map();
  const x = (value) => LEFT + SIZE * (value - shown.low) / (shown.high - shown.low);
  const y = (value) => TOP + SIZE - SIZE * (value - shown.low) / (shown.high - shown.low);
  const ground = drawn("g"), still = drawn("g"), trail = drawn("path", { class: "cff-trail" }), dot = drawn("circle", { r: 8, class: "cff-state" });
  const node = drawn("svg", { viewBox: `0 0 ${WIDTH} ${SIZE + TOP + 24}`, class: "cff-plane", tabindex: 0, role: "application",
    "aria-label": "Phase plane of the two potentials. Arrow keys move the state, Enter lets it go." },
    drawn("rect", { x: LEFT, y: TOP, width: SIZE, height: SIZE, class: "cff-frame" }), ground, still, trail, dot, axes());
  listen(node, shown, { put, letGo });
  const lay = (plane, key, elapsed) => {
    Object.assign(shown, { key, low: plane.low, high: plane.high });
    if (known.size > 30) known.clear();
    if (!known.has(key)) known.set(key, curvesAndPoints(plane, x, y));
    const entry = known.get(key);
    still.replaceChildren(...entry.nodes);
    if (entry.ground) return ground.replaceChildren(...entry.ground);
    // basins take longest: they wait until nothing has been moved for a while
    setTimeout(() => {
      if (shown.key !== key) return;
      entry.ground = basinPaths(plane, entry.points, elapsed);
      ground.replaceChildren(...entry.ground);
    }, known.size > 1 ? 60 : 0);
  };
  return {
    node,
    show(plane, key, elapsed, path) {
      if (key !== shown.key) lay(plane, key, elapsed);
      shown.now = path.at(-1);
      trail.setAttribute("d", polyline(path, x, y));
      dot.setAttribute("cx", x(shown.now[0]));
      dot.setAttribute("cy", y(shown.now[1]));
    },
  };
}

const polyline = (points, x, y) => points.map(([a, b], k) => `${k ? "L" : "M"} ${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join(" ");

function curvesAndPoints(plane, x, y) {
  const grid = rateGrid(plane, GRID), points = fixedPoints(plane, grid);
  const curve = (which) => nullcline(grid, which).map((ends) => polyline(ends, x, y)).join(" ");
  const curves = [drawn("path", { d: curve(0), class: "cff-line-a" }), drawn("path", { d: curve(1), class: "cff-line-b" })];
  return { points, nodes: [...curves, ...marks(points, x, y), ...ticks(plane, x, y)], ground: null };
}

function listen(node, shown, { put, letGo }) {
  const within = (value) => Math.min(shown.high, Math.max(shown.low, value));
  const place = (event) => {
    const box = node.getBoundingClientRect(), scale = WIDTH / box.width, span = (shown.high - shown.low) / SIZE;
    return [within(shown.low + ((event.clientX - box.left) * scale - LEFT) * span), within(shown.high - ((event.clientY - box.top) * scale - TOP) * span)];
  };
  const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  onDrag(node, { move: (event) => put(place(event)), end: letGo });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") letGo();
    else if (keys[event.key]) put(shown.now.map((value, i) => within(value + keys[event.key][i] * (shown.high - shown.low) / 40)));
    else return;
    event.preventDefault();
  });
}

function axes() {
  const text = (x, y, name) => drawn("text", { x, y, class: "cff-label", "text-anchor": "middle" }, symbol(name, true));
  return drawn("g", {}, text(LEFT + 3 * SIZE / 4, TOP + SIZE + 17, "v_a"), text(15, TOP + SIZE / 4, "v_b"));
}

function ticks(plane, x, y) {
  const values = [plane.low, 0, plane.high].filter((value) => value >= plane.low && value <= plane.high);
  const short = (value) => String(Number(value.toFixed(2))).replace("-", "−");
  return [...new Set(values)].flatMap((value) => [
    drawn("text", { x: x(value), y: TOP + SIZE + 15, class: "cff-tick", "text-anchor": "middle" }, short(value)),
    drawn("text", { x: LEFT - 4, y: y(value) + 4, class: "cff-tick", "text-anchor": "end" }, short(value)),
  ]);
}

// Basins as two paths of rows, so that they take the page's colours.
function basinPaths(plane, points, elapsed) {
  const bits = basins(plane, points, elapsed, BASIN), cell = SIZE / BASIN, rows = { 1: "", "-1": "" };
  for (let j = 0; j < BASIN; j++) {
    for (let i = 0, from = 0; i < BASIN; i = from) {
      const bit = bits[i * BASIN + j];
      while (from < BASIN && bits[from * BASIN + j] === bit) from++;
      if (bit) rows[bit] += `M ${(LEFT + i * cell).toFixed(1)} ${(TOP + SIZE - (j + 1) * cell).toFixed(1)} h ${((from - i) * cell).toFixed(1)} v ${(cell + 0.4).toFixed(1)} h ${((i - from) * cell).toFixed(1)} Z`;
    }
  }
  return [drawn("path", { d: rows[1], class: "cff-basin-a" }), drawn("path", { d: rows[-1], class: "cff-basin-b" })];
}

function marks(points, x, y) {
  return points.map(({ v, stable }) => {
    const at = `translate(${x(v[0]).toFixed(1)} ${y(v[1]).toFixed(1)})`;
    return stable ? drawn("circle", { r: 5.5, transform: at, class: "cff-stable" }) : drawn("path", { d: "M -5 -5 L 5 5 M -5 5 L 5 -5", transform: at, class: "cff-unstable" });
  });
}
