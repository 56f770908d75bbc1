// For controls that are not ours: those of ipywidgets around this part say nothing to keep Lab's shortcuts off.
const WRITABLE = "textarea, input:is([type=text], [type=number], [type=search])";

function render({ el }) {
  el.hidden = true;
  const mark = ({ target }) => {
    const root = el.closest(".sk-view, .sk-app");
    if (root?.contains(target) && !target.matches(WRITABLE)) ownKeys(target);
  };
  document.addEventListener("focusin", mark, true);
  return () => document.removeEventListener("focusin", mark, true);
}

export default { render };
