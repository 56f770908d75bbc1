// For controls that are not ours: those of ipywidgets around this part say nothing to keep Lab's shortcuts off.
const WRITABLE = "textarea, input:is([type=text], [type=number], [type=search])";

function render({ el }) {
  // Not to be seen, but as wide as its view: so it knows when a view that was put aside is shown again. A figure that
  // was drawn, or whose window was resized, meanwhile takes its width anew.
  el.style.cssText = "position: absolute; inset-inline: 0; height: 0; margin: 0; visibility: hidden;";
  const shown = new ResizeObserver(() => el.clientWidth && window.dispatchEvent(new Event("resize")));
  shown.observe(el);
  const mark = ({ target }) => {
    const root = el.closest(".sk-view, .sk-app");
    if (root?.contains(target) && !target.matches(WRITABLE)) ownKeys(target);
  };
  document.addEventListener("focusin", mark, true);
  return () => {
    shown.disconnect();
    document.removeEventListener("focusin", mark, true);
  };
}

export default { render };
