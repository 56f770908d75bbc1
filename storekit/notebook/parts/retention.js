// An input's events come faster than a kernel answers. One is sent at once, then the last one every so often; Jupyter's
// own manager holds back further while the kernel is still at work, so that one change is under way.
const PAUSE_MS = 60;

function render({ model, el }) {
  begin(el, "retention");
  const get = (name) => model.get(name);
  const [usedId, noteId, complaintId] = ["used", "note", "complaint"].map(unique);
  const described = `${usedId} ${noteId}`;

  const swatch = make("span", { class: "sk-swatch", "aria-hidden": "true" });
  const legendText = make("span", { dir: "auto" });
  const slider = make("input", {
    type: "range", min: "0", step: "1", "aria-describedby": described,
    on: { input: () => move(Number(slider.value), slider) },
  });
  const box = make("input", {
    type: "number", min: "0", step: "1", inputmode: "numeric",
    on: { input: typed, blur: () => { if (!complaint.textContent) box.value = String(current()); } },
  });
  const used = make("span", { class: "sk-used", id: usedId });
  const note = make("span", { class: "sk-soft", id: noteId, dir: "auto" });
  const complaint = make("span", { class: "sk-complaint", id: complaintId, role: "status" });
  const tick = make("input", {
    type: "checkbox",
    on: { change: () => { drop(); send(model, { unset: tick.checked }); } },
  });
  const ticking = make("label", { class: "sk-tick" }, tick, make("span", { text: "as written" }));
  const days = make("div", { class: "sk-line sk-days" }, slider, box, make("span", { class: "sk-soft", text: "days" }));
  el.append(
    make(
      "fieldset", {},
      make("legend", {}, swatch, legendText),
      make("div", { class: "sk-line" }, days, ticking),
      complaint,
      make("div", { class: "sk-line sk-told" }, used, note),
    ),
  );

  let waiting = null; // the last value that is still to be sent
  let timer = null;
  // While the user is ahead of the kernel, the kernel's older value is not shown.
  const current = () => waiting ?? get("value");

  function forward() {
    timer = null;
    if (waiting === null) return;
    const value = waiting;
    waiting = null;
    if (value !== get("value")) send(model, { value });
    timer = setTimeout(forward, PAUSE_MS);
  }

  function drop() {
    waiting = null;
    complain("");
  }

  function move(value, from) {
    waiting = value;
    complain("");
    tell(from);
    if (timer === null) forward();
  }

  function typed() {
    const [text, most] = [box.value, get("hard_maximum")];
    // A number box holds back what is no number at all, and takes 1e3.
    if (/^\d+$/.test(text) && Number(text) <= most) return move(Number(text), box);
    const what = text || box.validity.badInput ? "Not a whole number of days" : "A whole number of days is needed,";
    complain(`${what} from 0 to ${grouped(most)}; ${spelled(current())} used still`);
  }

  function complain(message) {
    setText(complaint, message);
    setAttribute(box, "aria-invalid", message ? "true" : null);
    setAttribute(box, "aria-describedby", message ? `${complaintId} ${described}` : described);
  }

  const spelled = (value) => `${grouped(value)} ${value === 1 ? "day" : "days"}`;

  /** Say which value is used, in both controls and in words; the one that it came from is left alone. */
  function tell(from) {
    const [value, most] = [current(), get("maximum")];
    if (from !== slider) slider.value = String(value);
    if (from !== box) box.value = String(value);
    slider.style.setProperty("--sk-part-done", `${(100 * Math.min(value, most)) / Math.max(1, most)}%`);
    const beyond = value > most;
    setAttribute(slider, "aria-valuetext", beyond ? `${spelled(value)}, beyond this slider` : spelled(value));
    const end = beyond ? `; the slider ends at ${grouped(most)}` : "";
    setText(used, get("unset") ? "as written: no retention set here" : `${spelled(value)} used${end}`);
  }

  function drawLimits() {
    setAttribute(slider, "max", get("maximum"));
    setAttribute(box, "max", get("hard_maximum"));
    tell(null);
  }

  function drawValue() {
    const typing = focusedIn(el) === box && (complaint.textContent || Number(box.value) === get("value"));
    tell(typing ? box : null);
    if (!typing) complain("");
  }

  function drawRest() {
    const label = get("label");
    setText(legendText, label);
    setAttribute(slider, "aria-label", `${label}, days`);
    setAttribute(box, "aria-label", `${label}, days`);
    setAttribute(tick, "aria-label", `${label}: as written`);
    setAttribute(swatch, "hidden", !get("colour"));
    el.style.setProperty("--sk-accent", get("colour") || "var(--sk-brand)");
  }

  function drawUnset() {
    const unset = get("unset");
    // A number that is not used is not shown, not even in grey.
    setAttribute(days, "hidden", unset);
    setText(note, unset ? "" : get("note"));
    tick.checked = unset;
    setAttribute(ticking, "hidden", !get("allow_unset"));
    if (unset) complain("");
    tell(null);
  }

  const end = watch(model, [
    [["maximum", "hard_maximum"], drawLimits],
    [["value"], drawValue],
    [["label", "colour"], drawRest],
    [["unset", "allow_unset", "note"], drawUnset],
  ]);
  return () => {
    clearTimeout(timer);
    if (waiting !== null) send(model, { value: waiting });
    end();
  };
}

export default { render };
