// Elements and controls: labelled, operable by keyboard, without a style of their own.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes; `on...` attributes are listeners, children are nodes or text.
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

// A symbol with a subscript, as HTML or as SVG text: symbol("v_a").
export function symbol(text, inSvg = false) {
  const [base, index] = text.split("_");
  if (!inSvg) return element("span", { class: "cff-symbol" }, element("i", {}, base), ...(index ? [element("sub", {}, index)] : []));
  return drawn("tspan", {}, drawn("tspan", { "font-style": "italic" }, base), ...(index ? [drawn("tspan", { dy: 4, "font-size": "75%" }, index), drawn("tspan", { dy: -4 }, "\u200b")] : []));
}

// A button that is pressed for as long as pointer or key holds it; a click without either, as screen readers give it, is `tap`.
export function holdButton(content, className, { press, release, tap }) {
  let held = false;
  const begin = () => { if (!held) { held = true; button.classList.add("cff-held"); press(); } };
  const end = () => { if (held) { held = false; button.classList.remove("cff-held"); release(); } };
  const isKey = (event) => event.key === " " || event.key === "Enter";
  const button = element("button", {
    type: "button", class: className,
    onpointerdown: (event) => { button.setPointerCapture(event.pointerId); begin(); },
    onpointerup: end, onpointercancel: end, onblur: end,
    onkeydown: (event) => { if (isKey(event)) { event.preventDefault(); begin(); } },
    onkeyup: (event) => { if (isKey(event)) { event.preventDefault(); end(); } },
    onclick: (event) => { if (event.detail === 0) tap(); },
    oncontextmenu: (event) => event.preventDefault(),
  }, ...content);
  return button;
}

// A drag with pointer or finger: `move(event)` on every move, `end()` once. A finger that scrolls the page up or down moves nothing.
export function onDrag(node, { move, end }) {
  const drag = { on: false, moved: false };
  const go = (event) => { drag.moved = true; move(event); };
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    Object.assign(drag, { on: true, moved: false });
    if (event.pointerType !== "touch") go(event);
  });
  node.addEventListener("pointermove", (event) => { if (drag.on) go(event); });
  node.addEventListener("pointerup", (event) => {
    if (drag.on && !drag.moved) go(event);
    if (drag.on) end();
    drag.on = false;
  });
  node.addEventListener("pointercancel", () => {
    if (drag.on && drag.moved) end();
    drag.on = false;
  });
}

// A slider with a number beside it: {node, show(value, note), limits(min, max), enable(on)}.
export function slider(label, { min, max, step }, onInput) {
  const send = (event) => { if (event.target.value !== "" && event.target.checkValidity()) onInput(Number(event.target.value)); };
  const range = element("input", { type: "range", min, max, step, oninput: send });
  const number = element("input", { type: "number", min, max, step: "any", onchange: send });
  const name = element("label", {}, element("span", {}, ...label), range);
  number.setAttribute("aria-label", `${name.textContent}, as a number`);
  const note = element("span", { class: "cff-note" });
  const node = element("div", { class: "cff-slider" }, name, number, note);
  return {
    node,
    show(value, text = "") {
      range.value = value; note.textContent = text;
      if (document.activeElement !== number) number.value = Number(value.toFixed(4));
    },
    limits(bottom, top) {
      for (const input of [range, number]) { input.min = bottom; input.max = top; }
    },
    enable(on) {
      for (const input of [range, number]) input.disabled = !on;
      node.classList.toggle("cff-absent", !on);
    },
  };
}

// A labelled choice among [value, text] pairs: {node, show(value)}; a value that is none of them is its own.
export function choice(label, options, onChange) {
  const select = element("select", { onchange: () => onChange(options[select.selectedIndex][0]) },
    ...options.map(([, text]) => element("option", {}, text)), element("option", { hidden: true }, "its own"));
  const node = element("label", { class: "cff-choice" }, element("span", {}, label), select);
  return {
    node,
    show(value) {
      const found = options.findIndex(([known]) => known === value);
      select.selectedIndex = found < 0 ? options.length : found;
    },
  };
}

// Keys belong to what has the focus: JupyterLab has shortcuts of its own, unless the very element asks it not to.
export function keepKeys(root) {
  for (const each of root.querySelectorAll("button, input, select, summary, [tabindex]")) each.setAttribute("data-lm-suppress-shortcuts", "true");
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Calls `work` once in the next frame, however often it is asked before.
export function onceAFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; work(); });
  };
}
