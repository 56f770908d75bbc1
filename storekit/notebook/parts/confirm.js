// What is armed here only enables a button. The kernel decides, from what was typed, whether anything is done.
function render({ model, el }) {
  begin(el, "confirm");
  const get = (name) => model.get(name);
  const [promptId, boxId] = ["prompt", "typed"].map(unique);

  const prompt = make("div", { id: promptId, class: "sk-prompt", dir: "auto" });
  const expected = make("code", { class: "sk-expected", dir: "auto" });
  const box = make("input", {
    type: "text", id: boxId, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-describedby": promptId,
    on: {
      input: () => send(model, { typed: box.value, armed: armed(box.value) }),
      // Enter comes by habit; deleting shall not.
      keydown: (event) => { if (event.key === "Enter") event.preventDefault(); },
    },
  });
  const fire = make("button", { type: "button", class: "sk-button sk-grave", on: { click: pulled } });
  const cancel = make("button", {
    type: "button", class: "sk-button", text: "Cancel",
    on: { click: () => { box.value = ""; send(model, { typed: "", armed: false }); box.focus(); } },
  });
  el.append(
    make(
      "div", { role: "group", "aria-labelledby": promptId },
      prompt,
      make("label", { class: "sk-asked", for: boxId }, "Type ", expected, " to confirm"),
      make("div", { class: "sk-line" }, box, fire, cancel),
    ),
  );

  const armed = (typed) => !get("disabled") && get("expected") !== "" && typed === get("expected");

  function pulled() {
    const typed = box.value;
    if (!armed(typed)) return;
    // Disarmed by the same message: a second click finds nothing to fire.
    box.value = "";
    box.focus();
    send(model, { fired: { typed, about: get("about"), count: (get("fired").count ?? 0) + 1 }, typed: "", armed: false });
  }

  function draw() {
    setText(prompt, get("prompt"));
    setText(expected, get("expected"));
    setText(fire, get("label"));
    if (box.value !== get("typed")) box.value = get("typed");
    box.disabled = get("disabled");
    const ready = armed(box.value);
    fire.disabled = !ready;
    if (get("armed") !== ready) send(model, { armed: ready });
  }

  return watch(model, [[["prompt", "expected", "typed", "label", "disabled"], draw]]);
}

export default { render };
