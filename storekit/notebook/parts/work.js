// A reader that is told of every batch says nothing else.
const READ_ALOUD_MS = 1000;

function render({ model, el }) {
  begin(el, "work");
  const get = (name) => model.get(name);
  el.tabIndex = -1;
  const text = make("span", { class: "sk-worded", "aria-hidden": "true", dir: "auto" });
  const bar = make("progress");
  const stop = make("button", {
    type: "button", class: "sk-button",
    on: {
      click: () => {
        if (!isUsable(stop)) return;
        stopping = true;
        send(model, { stops: get("stops") + 1 });
        draw();
      },
    },
  });
  const shown = make("div", { class: "sk-line" }, bar, text, stop);
  const aloud = make("span", { class: "sk-unseen", role: "status" });
  el.append(shown, aloud);

  let stopping = false;
  let running = false;
  let timer = null;
  let words = "";

  function say() {
    if (!get("aloud")) return;
    setText(aloud, running ? words : "");
    timer = running ? setTimeout(() => { timer = null; if (aloud.textContent !== words) say(); }, READ_ALOUD_MS) : null;
  }

  function draw() {
    const [label, done, total] = ["label", "done", "total"].map(get);
    if (get("running") !== running) {
      running = get("running");
      stopping = false;
    }
    const share = total > 0 ? ` (${Math.floor((100 * Math.min(done, total)) / total)} %)` : "";
    const progress = total > 0 ? `${grouped(done)} of ${grouped(total)}${share}` : done > 0 ? grouped(done) : "";
    words = [stopping ? `${label}, stopping` : label, progress].filter(Boolean).join(": ");
    setText(text, words);
    setAttribute(bar, "aria-label", label || "Work");
    setAttribute(bar, "aria-valuetext", progress || "under way");
    setAttribute(bar, "max", total > 0 ? total : null);
    setAttribute(bar, "value", total > 0 ? Math.min(done, total) : null);
    setText(stop, stopping ? "Stopping…" : "Stop");
    setAttribute(stop, "aria-label", stopping ? `Stopping: ${label}` : `Stop: ${label}`);
    setAttribute(stop, "hidden", !get("stoppable"));
    setUsable(stop, !stopping);
    if (!running && focusedIn(el) === stop) el.focus();
    setAttribute(shown, "hidden", !running);
    if (timer === null || !running) {
      clearTimeout(timer);
      say();
    }
  }

  const end = watch(model, [[["label", "done", "total", "running", "stoppable"], draw]]);
  return () => {
    clearTimeout(timer);
    end();
  };
}

export default { render };
