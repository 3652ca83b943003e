// Tells require.js where the script of anywidget lies, so that no widget is asked from another host.
(() => {
  const here = document.currentScript.src.split("?")[0].replace(/\/[^/]*$/, "");
  window.requirejs.config({ paths: { anywidget: `${here}/anywidget` } });
})();
