const WORDS = { info: ["ℹ", "Note"], warning: ["⚠", "Warning"], error: ["✕", "Error"] };

function render({ model, el }) {
  begin(el, "notice");
  // Both live regions are there before there is something to say; one that arrives with its text is often not read.
  const polite = make("div", { role: "status" });
  const loud = make("div", { role: "alert" });
  el.append(polite, loud);

  function draw() {
    const [kind, message, hint] = ["kind", "message", "hint"].map((name) => model.get(name));
    const shown = WORDS[kind];
    setAttribute(el, "data-kind", kind || null);
    (kind === "error" ? polite : loud).replaceChildren();
    const here = kind === "error" ? loud : polite;
    if (!shown) return here.replaceChildren();
    const text = make(
      "div", { class: "sk-message" },
      make("strong", { text: `${shown[1]}: ` }),
      make("span", { class: "sk-words", dir: "auto", text: message }),
    );
    if (hint) text.append(make("div", { class: "sk-hint sk-soft", dir: "auto", text: hint }));
    here.replaceChildren(make("span", { class: "sk-sign", "aria-hidden": "true", text: shown[0] }), text);
  }

  return watch(model, [[["kind", "message", "hint"], draw]]);
}

export default { render };
