// Draws the figures that the page holds as JSON, as wide as the text and in the page's light or dark colours.
(() => {
  "use strict";

  const PANEL = 150, TITLE = 45; // pixels that a panel beside others needs, and the title of an upright axis

  const colour = (name, otherwise) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim() || otherwise;

  // The figure's own template with the page's colours; what a figure sets explicitly stays as it is.
  function themed(template) {
    const text = colour("--pst-color-text-base", "#222832");
    const line = colour("--pst-color-border", "#c9c9c9");
    const surface = colour("--pst-color-surface", "#f3f4f5");
    const result = structuredClone(template || {});
    const layout = (result.layout = result.layout || {});
    const axis = (old) => ({ ...old, gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line });
    const wall = (old) => ({ ...axis(old), backgroundcolor: "rgba(0,0,0,0)" });
    const control = (old) => ({ ...old, bgcolor: surface, bordercolor: line });
    layout.font = { ...layout.font, color: text };
    layout.title = { ...layout.title, font: { ...layout.title?.font, color: text } };
    layout.paper_bgcolor = "rgba(0,0,0,0)";
    layout.plot_bgcolor = "rgba(0,0,0,0)";
    for (const name of ["xaxis", "yaxis"]) layout[name] = axis(layout[name]);
    layout.scene = { ...layout.scene };
    for (const name of ["xaxis", "yaxis", "zaxis"]) layout.scene[name] = wall(layout.scene[name]);
    layout.updatemenudefaults = control(layout.updatemenudefaults);
    layout.sliderdefaults = control(layout.sliderdefaults);
    layout.annotationdefaults = { ...layout.annotationdefaults, arrowcolor: text };
    return result;
  }

  async function draw(holder) {
    const figure = JSON.parse(holder.querySelector("script").textContent);
    const layout = { ...figure.layout, autosize: true };
    delete layout.width;
    const template = layout.template;
    layout.template = themed(template);
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.style.height = `${layout.height || 450}px`;
    const axes = (kind) => Object.entries(layout).filter(([name]) => name.startsWith(kind)).map(([, axis]) => axis);
    const across = new Set(axes("xaxis").map((axis) => axis.domain?.[0] ?? 0)).size, titled = axes("yaxis").filter((axis) => axis.title?.text).length;
    const least = across > 1 ? PANEL * across + TITLE * titled : (layout.meta?.width ?? 0);
    if (least) { // on a phone it scrolls sideways, where its parts would cover each other
      plot.style.minWidth = `${least}px`;
      holder.tabIndex = 0;
    }
    holder.append(plot);
    const config = { responsive: true, displaylogo: false };
    await Plotly.newPlot(plot, { data: figure.data, layout, frames: figure.frames || [], config });
    holder.dataset.drawn = "true";
    new MutationObserver(() => Plotly.relayout(plot, { template: themed(template) })).observe(
      document.documentElement, { attributeFilter: ["data-theme"] });
    // a figure in a folded cell has no width until it is unfolded
    let width = plot.clientWidth;
    new ResizeObserver(() => {
      if (plot.clientWidth && plot.clientWidth !== width) {
        width = plot.clientWidth;
        Plotly.Plots.resize(plot);
      }
    }).observe(holder);
  }

  async function drawAll() {
    for (const holder of document.querySelectorAll(".cffbook-figure:not([data-drawn])")) {
      try {
        await draw(holder);
      } catch (error) {
        holder.dataset.drawn = "failed";
        console.error("a figure could not be drawn:", error);
      }
      await new Promise((next) => setTimeout(next)); // between two figures the page answers its reader
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", drawAll);
  else drawAll();
})();
