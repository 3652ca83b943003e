// Sliders for every parameter of a pair, choices of its kind, and ready-made pairs to start from.

import { choice, element, slider, symbol } from "./dom.js";

const GROUPS = [
  ["What the latch condition weighs", true, ["reciprocal_conductance", "self_conductance", "leak_reversal", "leak_conductance"]],
  ["Membrane and time", false, ["capacitance", "unfolds", "elapsed"]],
  ["Reciprocal synapse", false, ["reciprocal_slope", "reciprocal_half_activation", "reciprocal_reversal"]],
  ["Self synapse", false, ["self_slope", "self_half_activation", "self_reversal"]],
  ["Sensory synapse", false, ["sensory_conductance", "sensory_slope", "sensory_half_activation", "sensory_reversal"]],
  ["Steering gate", false, ["steering_slope", "steering_half_activation"]],
];
const WORDS = { conductance: "w", slope: "γ", half_activation: "μ", reversal: "E" };
const SPECIAL = {
  capacitance: ["capacitance ", "C"], leak_conductance: ["leak conductance ", "g"], leak_reversal: ["leak reversal ", "E_leak"],
  unfolds: ["unfolds a sample", ""], elapsed: ["time a sample ", "Δt"],
};
const RANGES = {
  capacitance: [0.05, 20, 0.05], sensory_conductance: [0, 20, 0.1], leak_reversal: [-1, 2, 0.05], unfolds: [1, 12, 1], elapsed: [0.1, 5, 0.1],
  conductance: [0, 10, 0.05], slope: [0.5, 24, 0.1], half_activation: [-1, 1.5, 0.05], reversal: [0, 2, 0.05],
};
const CHOICES = [
  ["self_polarity", "self synapse", [[-1, "inhibitory"], [0, "none"], [1, "excitatory"]]],
  ["sensory", "sensory synapse", [["plain", "plain"], ["steered", "steered"]]],
  ["scheme", "input", [["set_reset", "set and reset lines"], ["shared", "one shared line"]]],
];
// by what they are called, what differs from the pair that a reader meets first
const EXAMPLES = [
  ["the proposal's pair", {}],
  ["no self synapse", { self_polarity: 0 }],
  ["too much self-inhibition", { self_conductance: 4 }],
  ["a leak that does not drive", { leak_reversal: 0 }],
  ["steered: both lines toggle", { sensory: "steered", unfolds: 2 }],
  ["one unfold: lock-step", { unfolds: 1 }],
  ["slow: ten times the capacitance", { capacitance: 5 }],
];

function splitName(name) {
  const kind = Object.keys(WORDS).find((word) => name.endsWith(`_${word}`));
  return [name.slice(0, name.length - kind.length - 1), kind];
}

// What a slider is called: words and a symbol.
function labelOf(name) {
  const index = { reciprocal: "rec", self: "self", sensory: "in", steering: "st" };
  if (SPECIAL[name]) return [SPECIAL[name][0], symbol(SPECIAL[name][1])];
  const [group, kind] = splitName(name);
  return [`${group} ${kind.replace("_", "-")} `, symbol(`${WORDS[kind]}_${index[group]}`)];
}

// Lowest and highest value and step; an inhibitory reversal potential is negative.
function rangeOf(name, self_polarity) {
  const [low, high, step] = RANGES[name] ?? RANGES[splitName(name)[1]];
  const sign = { self_reversal: self_polarity, reciprocal_reversal: -1 }[name] ?? 1;
  return sign < 0 ? [-high, -low, step] : [low, high, step];
}

function isAbsent(name, settings) {
  if (name.startsWith("self_")) return settings.self_polarity === 0;
  return name.startsWith("steering_") && settings.sensory !== "steered";
}

// {node, show(settings)}; `change(traits)` is called with new values of traits.
export function parameterPanel(first, change) {
  const latest = { settings: first, whom: "both" };
  const inputs = Object.fromEntries(GROUPS.flatMap(([, , names]) => names).map((name) => {
    const [min, max, step] = rangeOf(name, -1);
    return [name, slider(labelOf(name), { min, max, step }, (value) => change(moved(latest, name, value)))];
  }));
  const choices = CHOICES.map(([name, label, options]) => [name, choice(label, options, (value) => change({ [name]: value }))]);
  const examples = choice("start from", [["", "…"], ...EXAMPLES.map(([text, differs]) => [differs, text])], (differs) => differs && change(example(first, differs)));
  const whom = choice("sliders move", [["both", "both neurons"], ["a", "neuron a"], ["b", "neuron b"]], (value) => { latest.whom = value; });
  whom.show("both");
  const groups = GROUPS.map(([title, open, names]) => element("details", { open, class: "cff-group" }, element("summary", {}, title), ...names.map((name) => inputs[name].node)));
  return {
    node: element("div", { class: "cff-parameters" },
      element("div", { class: "cff-choices" }, examples.node, ...choices.map(([, each]) => each.node), whom.node),
      element("div", { class: "cff-groups" }, ...groups)),
    show(settings) {
      latest.settings = settings;
      for (const [name, each] of choices) each.show(settings[name]);
      for (const [name, each] of Object.entries(inputs)) {
        const [a, b] = settings.values[name] ?? [settings[name], settings[name]], sign = name === "self_reversal" && settings.self_polarity;
        each.limits(...rangeOf(name, settings.self_polarity));
        each.show(sign ? sign * Math.abs(a) : a, a === b ? "" : `b: ${Number(b.toFixed(3))}`);
        each.enable(!isAbsent(name, settings));
      }
    },
  };
}

function moved({ settings, whom }, name, value) {
  if (!(name in settings.values)) return { [name]: value };
  const [a, b] = settings.values[name];
  return { values: { ...settings.values, [name]: [whom === "b" ? a : value, whom === "a" ? b : value] } };
}

// An example differs from the first pair in a few traits and values.
function example(first, differs) {
  const { values, ...traits } = structuredClone(first);
  for (const [name, value] of Object.entries(differs)) {
    if (name in values) values[name] = [value, value]; else traits[name] = value;
  }
  return { ...traits, values };
}
