function render({ model, el }) {
  begin(el, "facet");
  const get = (name) => model.get(name);
  const known = new Map(); // value → how it was last written, for a chosen one that is no longer among the items
  const headingId = unique("facet");

  const heading = make("span", { class: "sk-heading", id: headingId, dir: "auto" });
  const clear = make("button", {
    type: "button", class: "sk-clear", text: "clear",
    on: { click: () => { choose(null); list.querySelector("button")?.focus(); } },
  });
  const list = make("ul");
  const more = make("div", { class: "sk-more sk-soft", dir: "auto" });
  el.append(
    make(
      "div", { role: "group", "aria-labelledby": headingId },
      make("div", { class: "sk-top" }, heading, clear), list, more,
    ),
  );

  const choose = (value) => send(model, { selected: value });

  function entry(value) {
    return make(
      "li", {},
      make(
        "button",
        { type: "button", class: "sk-item", on: { click: () => choose(get("selected") === value ? null : value) } },
        make("span", { class: "sk-bar", "aria-hidden": "true" }),
        make("span", { class: "sk-text", dir: "auto" }),
        make("span", { class: "sk-rows" }),
        make("span", { class: "sk-size sk-soft" }),
      ),
    );
  }

  const entries = new Map(); // value → its element, so that what is focused stays what it was

  function draw() {
    const selected = get("selected");
    const items = [...get("items")];
    for (const item of items) known.set(item.value, item);
    if (selected !== null && !items.some((item) => item.value === selected)) {
      const text = known.get(selected)?.text ?? (get("selected_text") || selected);
      items.unshift({ value: selected, text, missing: known.get(selected)?.missing, rows: "", size: "", share: 0 });
    }
    setText(heading, get("label"));
    setAttribute(clear, "hidden", selected === null);
    setAttribute(clear, "aria-label", `Clear ${get("label")}`);
    setText(more, get("more"));
    setAttribute(more, "hidden", !get("more"));

    const focused = focusedIn(list);
    const wanted = items.map((item) => {
      if (!entries.has(item.value)) entries.set(item.value, entry(item.value));
      return entries.get(item.value);
    });
    for (const [value, node] of entries) {
      if (!wanted.includes(node)) {
        entries.delete(value);
        node.remove();
      }
    }
    wanted.forEach((node, place) => {
      if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
    });
    items.forEach((item, place) => {
      const button = wanted[place].firstElementChild;
      const [bar, text, rows, size] = button.children;
      setText(text, item.text);
      setAttribute(text, "title", item.text);
      text.classList.toggle("sk-missing", Boolean(item.missing));
      setText(rows, item.rows ?? "");
      setText(size, item.size ?? "");
      bar.style.width = `${100 * Math.min(1, Math.max(0, Number(item.share) || 0))}%`;
      setAttribute(button, "aria-pressed", String(item.value === selected));
    });
    // A node that was moved has lost the focus; one that went leaves it to its neighbours.
    if (focused && focusedIn(list) !== focused) (focused.isConnected ? focused : list.querySelector("button"))?.focus();
  }

  return watch(model, [[["label", "items", "selected", "selected_text", "more"], draw]]);
}

export default { render };
