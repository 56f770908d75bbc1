function render({ model, el }) {
  begin(el, "tabs");
  const strip = make("div", { role: "tablist", on: { keydown: pressed } });
  el.append(strip);

  const choose = (place) => {
    if (place !== model.get("selected")) send(model, { selected: place });
  };

  function pressed(event) {
    const tabs = [...strip.children];
    const target = moved(event.key, tabs.indexOf(event.target), tabs.length, "ArrowLeft", "ArrowRight");
    if (target === null) return;
    event.preventDefault();
    tabs[target].focus();
    choose(target);
  }

  function draw() {
    const [titles, selected] = [model.get("titles"), model.get("selected")];
    setAttribute(strip, "aria-label", model.get("label"));
    const held = focusedIn(strip) !== null;
    sizeTo(strip, titles.length, (place) =>
      make("button", { type: "button", role: "tab", dir: "auto", on: { click: () => choose(place) } }),
    );
    titles.forEach((title, place) => {
      const tab = strip.children[place];
      setText(tab, title);
      setAttribute(tab, "aria-selected", String(place === selected));
      setAttribute(tab, "tabindex", place === selected ? "0" : "-1");
    });
    if (held) strip.children[selected]?.focus();
  }

  return watch(model, [[["titles", "selected", "label"], draw]]);
}

export default { render };
