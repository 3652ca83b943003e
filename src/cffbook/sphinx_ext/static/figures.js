// Draws the figures that the page holds as JSON, as wide as the text and in the page's light or dark colours.
(() => {
  "use strict";

  // pixels that a panel beside others needs, one without axes, an upright axis with its title, a letter, and what surrounds the panels
  const PANEL = 150, PICTURE = 70, TITLE = 60, LETTER = 7.6, MARGINS = 110;
  // a legend beside so narrow a plot would leave it no room; the first of its lines has room above the plot
  // beside names and a scale of colours that leave a plot less than its room, it scrolls sideways
  const NARROW = 520, LINE = 25, ROOM = 150, ABOVE = { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" };

  const letters = (text) => (text ?? "").replace(/<[^>]*>/g, "").length;

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

  // The width below which parts of a figure would cover each other: there it scrolls sideways.
  function leastWidth(layout) {
    const axes = (kind) => Object.entries(layout).filter(([name]) => name.startsWith(kind)).map(([, axis]) => axis);
    const domain = (axis) => axis?.domain ?? [0, 1];
    const across = axes("xaxis"), titled = axes("yaxis").filter((axis) => letters(axis.title?.text)), panels = new Map();
    for (const axis of across) panels.set(domain(axis)[0], Math.max(panels.get(domain(axis)[0]) ?? 0, axis.visible === false ? PICTURE : PANEL));
    if (panels.size < 2) return layout.meta?.width ?? 0;
    const words = across.map((axis) => LETTER * letters(axis.title?.text) / (domain(axis)[1] - domain(axis)[0]));
    const between = titled.map((axis) => domain(layout[(axis.anchor ?? "x").replace("x", "xaxis")])[0]).filter((start) => start > 0)
      .map((start) => TITLE / (start - Math.max(...across.map((axis) => domain(axis)[1]).filter((end) => end <= start))));
    return Math.max([...panels.values()].reduce((sum, each) => sum + each) + TITLE * titled.length, MARGINS + Math.max(...words, ...between));
  }

  // A title in as many lines as it takes not to be wider than that.
  function lines(text, pixels) {
    const found = [];
    for (const word of text.split(" ")) {
      const longer = found.length ? `${found.at(-1)} ${word}` : word;
      if (found.length && LETTER * letters(longer) <= pixels) found[found.length - 1] = longer;
      else found.push(word);
    }
    return found.join("<br>");
  }

  // The titles of level axes, broken where they would end beyond the figure: they stand in the middle of their axes.
  function titles(plot, layout) {
    const changes = {}, full = plot._fullLayout;
    for (const name of Object.keys(layout).filter((each) => /^xaxis\d*$/.test(each) && layout[each].title?.text)) {
      const middle = full[name]._offset + full[name]._length / 2;
      const broken = lines(layout[name].title.text, 2 * Math.min(middle, full.width - middle));
      if (broken !== full[name].title.text) Object.assign(changes, { [`${name}.title.text`]: broken, [`${name}.automargin`]: true });
    }
    return changes;
  }

  // Above a narrow plot stands the legend that is beside a wide one, and the figure grows by the lines of its legend.
  async function arrange(plot, layout) {
    const narrow = plot.clientWidth > 0 && plot.clientWidth < NARROW;
    const legend = narrow && (layout.legend?.orientation ?? "v") === "v" ? { ...layout.legend, ...ABOVE } : structuredClone(layout.legend ?? {});
    if (!narrow && !plot.dataset.narrow) return;
    plot.dataset.narrow = narrow ? "true" : "";
    await Plotly.relayout(plot, { legend });
    const height = (layout.height || 450) + (narrow ? Math.max(0, Math.round(plot.querySelector(".legend .bg")?.getBoundingClientRect().height ?? 0) - LINE) : 0);
    plot.style.height = `${height}px`;
    await Plotly.relayout(plot, { height });
    await Plotly.relayout(plot, titles(plot, layout));
    const flat = Object.keys(layout).some((name) => name.startsWith("xaxis")), room = () => Math.floor(plot._fullLayout._size.w);
    for (let tries = 0; flat && narrow && room() < ROOM && tries < 5; tries++) { // a wider figure has wider margins
      plot.style.minWidth = `${plot.clientWidth + ROOM - room()}px`;
      plot.parentElement.tabIndex = 0;
      await Plotly.relayout(plot, { autosize: true }); // a height that was set has fixed the width too
      await Plotly.relayout(plot, titles(plot, layout));
    }
  }

  async function draw(holder) {
    const figure = JSON.parse(holder.querySelector("script").textContent);
    const layout = { ...structuredClone(figure.layout), autosize: true }; // plotly writes into it, and arrange reads what it was
    delete layout.width;
    const template = layout.template;
    layout.template = themed(template);
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.style.height = `${layout.height || 450}px`;
    const least = leastWidth(layout);
    if (least) {
      plot.style.minWidth = `${least}px`;
      holder.tabIndex = 0;
    }
    holder.append(plot);
    const config = { responsive: true, displaylogo: false };
    await Plotly.newPlot(plot, { data: figure.data, layout, frames: figure.frames || [], config });
    await arrange(plot, figure.layout);
    holder.dataset.drawn = "true";
    new MutationObserver(() => Plotly.relayout(plot, { template: themed(template) })).observe(
      document.documentElement, { attributeFilter: ["data-theme"] });
    // a figure in a folded cell has no width until it is unfolded
    let width = plot.clientWidth;
    new ResizeObserver(() => {
      if (plot.clientWidth && plot.clientWidth !== width) {
        width = plot.clientWidth;
        Plotly.relayout(plot, { autosize: true }).then(() => arrange(plot, figure.layout));
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
