// What a circuit does in the window: the signal, the potentials it causes, and the clock that moves on.
// The window has T samples and all of them have happened; a new sample at the end pushes the first one out.

import { reducedMotion } from "./dom.js";
import { run } from "./simulation.js";

const LEAST = 2, SETTLE = 14; // samples for which a short press lasts, and for which a released circuit is watched

// `kind` says what the circuit is made from and what a sample of the signal is:
//   settings   names of the traits that it depends on         circuit(settings), lines(settings, sample), key(settings)
//   elapsed(settings, sample), the time that a sample takes
//   silent     a sample in which nothing is pressed           read(model, session) -> samples, write(model, session)
//   signal     names of the traits that hold it               passed(session, sample), if there is more to keep than potentials
// `changed()` is called when there is something new to draw. `at` is where the cursor is, in samples.
export function makeSession(model, kind, changed) {
  const session = {
    inputs: [], start: [], at: 0, speed: 20, committing: false,
    lines: (t) => kind.lines(session.settings, session.inputs[Math.min(Math.max(t, 0), session.inputs.length - 1)]),
    readSettings() {
      session.settings = Object.fromEntries(kind.settings.map((name) => [name, model.get(name)]));
      session.circuit = kind.circuit(session.settings);
      session.key = kind.key(session.settings); // what pictures that do not depend on the signal are drawn from
      session.simulate();
    },
    readSignal() {
      if (session.committing) return;
      session.inputs = kind.read(model, session);
      session.start = model.get("start").flat();
      session.at = session.inputs.length;
      session.simulate();
    },
    // potentials after every unfold, so that the state moves as the solver moves it
    simulate() {
      if (session.start.length !== session.circuit.neurons) return; // the start comes next
      session.fine = [Float64Array.from(session.start)];
      session.inputs.forEach((_, t) => session.advance(t));
      changed();
    },
    advance(t) {
      const { unfolds } = session.circuit, each = { ...session.circuit, unfolds: 1 }, elapsed = kind.elapsed(session.settings, session.inputs[t]);
      session.fine.push(...run(each, Array(unfolds).fill(session.lines(t)), session.fine.at(-1), elapsed / unfolds));
    },
    potentials: () => session.fine.filter((_, k) => k % session.circuit.unfolds === 0),
    append(sample) {
      kind.passed?.(session, session.inputs[0]);
      session.fine.splice(0, session.circuit.unfolds);
      session.start = [...session.fine[0]];
      session.inputs.shift();
      session.inputs.push(sample);
      session.advance(session.inputs.length - 1);
      changed();
    },
    commit() {
      session.committing = true; // what it sets now is what it has
      kind.write(model, session);
      session.committing = false;
      model.save_changes();
    },
    edit(t, sample) {
      session.inputs[t] = sample;
      session.simulate();
    },
    // the state is put somewhere and left alone for the whole window
    put(v) {
      session.stop();
      session.start = [...v];
      session.inputs = session.inputs.map(() => kind.silent);
      session.at = 0;
      session.simulate();
    },
    clear() {
      session.put(session.start);
      session.at = session.inputs.length;
      session.commit();
    },
    seek(at) {
      session.stop();
      session.at = at;
      changed();
    },
    // the unfold that the cursor points at
    index: () => Math.round(session.at * session.circuit.unfolds),
  };
  return Object.assign(session, clock(session, kind.silent, changed));
}

// Reads again what changes in the model, and returns what undoes it.
export function bind(model, session, kind) {
  const events = [...kind.settings.map((name) => [`change:${name}`, session.readSettings]), ...[...kind.signal, "start"].map((name) => [`change:${name}`, session.readSignal])];
  for (const [event, call] of events) model.on(event, call);
  return () => {
    session.stop();
    for (const [event, call] of events) model.off(event, call);
  };
}

// press(sample) repeats a sample until release(); one(sample) gives it once; replay() lets the window pass by again; stop() ends all.
function clock(session, silent, changed) {
  const state = { held: false, sample: silent, least: 0, rest: 0, ticking: false, last: 0 };
  const due = () => state.held || state.least > 0 || state.rest > 0;
  const next = () => {
    const on = state.held || state.least > 0;
    if (on) state.least -= 1; else state.rest -= 1;
    session.append(on ? state.sample : silent);
  };
  const finish = () => {
    state.ticking = false;
    session.at = session.inputs.length;
    session.commit();
    changed();
  };
  const tick = (time) => {
    if (!state.ticking) return;
    session.at += Math.min(0.1, Math.max(0, time - state.last) / 1000) * session.speed;
    state.last = time;
    const end = session.inputs.length;
    while (session.at > end && due()) { session.at -= 1; next(); }
    if (session.at >= end && !due()) return finish();
    changed();
    requestAnimationFrame(tick);
  };
  const begin = () => {
    if (state.ticking) return;
    Object.assign(state, { ticking: true, last: performance.now() });
    requestAnimationFrame(tick);
  };
  return {
    press(sample) {
      session.at = session.inputs.length;
      Object.assign(state, { held: true, sample, least: LEAST, rest: SETTLE });
      if (!reducedMotion()) begin();
    },
    release() {
      state.held = false;
      if (!reducedMotion()) return;
      while (due()) next();
      finish();
    },
    one(sample) {
      session.stop();
      session.append(sample);
      finish();
    },
    replay() {
      session.at = 0;
      if (reducedMotion()) finish(); else begin();
    },
    stop() { Object.assign(state, { ticking: false, held: false, least: 0, rest: 0 }); },
  };
}
