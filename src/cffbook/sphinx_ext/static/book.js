// What the theme leaves to do: names for the arrows of the contents, downloads that are saved and not shown, and a card with what a citation or an equation says.
(() => {
  for (const arrow of document.querySelectorAll(".has-children > details > summary")) {
    const chapter = arrow.closest(".has-children").querySelector(":scope > a");
    arrow.setAttribute("aria-label", `Sections of ${chapter ? chapter.textContent.trim() : "this part"}`);
  }

  for (const link of document.querySelectorAll("a.btn-download-source-button")) link.download = ""; // a browser would show a notebook as text

  const card = document.createElement("div");
  card.className = "cffbook-card";
  card.hidden = true;
  document.body.append(card);
  const hide = () => { card.hidden = true; };

  // beside the link, inside the window, gone at the next move
  function show(link, content) {
    card.replaceChildren(content);
    card.hidden = false;
    const at = link.getBoundingClientRect(), gap = 8;
    card.style.left = `${Math.max(gap, Math.min(at.left, innerWidth - card.offsetWidth - gap))}px`;
    card.style.top = `${at.bottom + gap + card.offsetHeight < innerHeight ? at.bottom + gap : Math.max(gap, at.top - card.offsetHeight - gap)}px`;
  }

  function attach(link, content) {
    for (const event of ["mouseenter", "focus"]) link.addEventListener(event, () => show(link, content()));
    for (const event of ["mouseleave", "blur"]) link.addEventListener(event, hide);
  }

  for (const link of document.querySelectorAll('article a[href*="bibliography.html#"][title]')) {
    const source = link.title;
    link.removeAttribute("title"); // the browser would show it a second time
    link.setAttribute("aria-description", source);
    attach(link, () => document.createTextNode(source));
  }
  for (const link of document.querySelectorAll('article a[href^="#equation-"]:not(.headerlink)')) {
    const equation = document.getElementById(link.getAttribute("href").slice(1));
    if (!equation) continue;
    attach(link, () => {
      const copy = equation.cloneNode(true);
      copy.removeAttribute("id");
      return copy;
    });
  }
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
