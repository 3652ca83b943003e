// A page without a kernel: the model of a widget is this object, and every holder of the page is filled when it is read.

class PageModel {
  constructor(traits) { this.traits = traits; this.listeners = []; }
  get(name) { return this.traits[name]; }
  set(name, value) {
    this.traits[name] = value;
    for (const [event, call] of this.listeners) if (event === `change:${name}`) call();
  }
  on(event, call) { this.listeners.push([event, call]); }
  off(event, call) { this.listeners = this.listeners.filter(([other, known]) => other !== event || known !== call); }
  save_changes() {}
}

// Draw every widget that the page holds as JSON; `views` has a render function for each kind.
export function fillPage(views) {
  for (const holder of document.querySelectorAll(".cffbook-widget:not([data-drawn])")) {
    try {
      const model = new PageModel(JSON.parse(holder.querySelector("script").textContent));
      const el = document.createElement("div");
      views[holder.dataset.widget]({ model, el });
      holder.append(el);
      holder.model = model;
      holder.dataset.drawn = "true";
      holder.dataset.ready = performance.now().toFixed(); // milliseconds since the page was asked for
    } catch (error) {
      holder.dataset.drawn = "failed";
      console.error("a widget could not be drawn:", error);
    }
  }
}

export function whenRead(call) {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", call);
  else call();
}
