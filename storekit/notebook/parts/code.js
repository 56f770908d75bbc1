function render({ model, el }) {
  begin(el, "code");
  const code = make("code");
  const pre = make("pre", { tabindex: "0", role: "group" }, code);
  const said = make("span", { class: "sk-said sk-soft", role: "status" });
  const button = make("button", { type: "button", class: "sk-button", text: "Copy", on: { click: copy } });
  const label = make("span", { class: "sk-heading", dir: "auto" });
  el.append(make("div", { class: "sk-top" }, label, said, button), pre);
  let timer = null;

  function say(message) {
    setText(said, message);
    clearTimeout(timer);
    timer = setTimeout(() => setText(said, ""), 4000);
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(model.get("text"));
      say("Copied");
    } catch {
      // No clipboard where the page is not secure or may not: then it is marked, and one key is left to press.
      const range = document.createRange();
      range.selectNodeContents(code);
      const selection = document.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      pre.focus();
      say("Selected: press Ctrl+C or ⌘C");
    }
  }

  const end = watch(model, [
    [["text"], () => setText(code, model.get("text"))],
    [["label"], () => {
      const name = model.get("label") || "Code";
      setText(label, model.get("label"));
      setAttribute(pre, "aria-label", name);
      setAttribute(button, "aria-label", `Copy: ${name}`);
    }],
  ]);
  return () => {
    clearTimeout(timer);
    end();
  };
}

export default { render };
