// Tells require.js where the script of anywidget lies, so that no widget is asked from another host.
(() => {
  const here = document.currentScript.src.split("?")[0].replace(/\/[^/]*$/, "");
  window.requirejs.config({ paths: { anywidget: `${here}/anywidget` } });
})();

// html-manager asks for the queue of MathJax 2 to typeset labels; MathJax 3, which the pages have, typesets by itself.
document.addEventListener("DOMContentLoaded", () => {
  if (window.MathJax && !window.MathJax.Hub) {
    window.MathJax.Hub = { Queue: (call) => window.MathJax.typesetPromise?.([call[2]]) };
  }
});
