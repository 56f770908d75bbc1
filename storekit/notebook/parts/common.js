// Shared by every part: put in front of its own text, since a widget's module can import no neighbour.
// Texts are hostile. They become text nodes or attributes that nothing interprets; never markup.

let serial = 0;
const family = Math.random().toString(36).slice(2);

/** An id that no other view has. */
const unique = (name) => `sk-${name}-${family}-${++serial}`;

function listen(node, listeners) {
  for (const [event, listener] of Object.entries(listeners)) node.addEventListener(event, listener);
}

const CONTROLS = new Set(["button", "input", "select"]);

/**
 * Keep JupyterLab's shortcuts off an element that can have the focus. They would take arrows and Enter, and a D typed
 * twice deletes a cell. Lab asks the focused element itself before any around it, so each must say so.
 */
const ownKeys = (node) => node.setAttribute("data-lm-suppress-shortcuts", "true");

/** An element with attributes (text and on are none) and children. */
function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  if (CONTROLS.has(tag) || "tabindex" in options) ownKeys(node);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") listen(node, value);
    else setAttribute(node, name, value);
  }
  node.append(...children);
  return node;
}

/** Set an attribute if it differs; null or false takes it away, true leaves it empty. */
function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Enable or disable a button that shall keep its focus: a disabled element would lose it. */
function setUsable(button, usable) {
  setAttribute(button, "aria-disabled", usable ? null : "true");
}

const isUsable = (button) => button.getAttribute("aria-disabled") !== "true";

/** Have exactly `count` children, made or taken at the end. */
function sizeTo(parent, count, create) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(create(parent.children.length));
}

/** The element inside `root` that has the focus, or null. */
function focusedIn(root) {
  const active = root.getRootNode().activeElement;
  return active && root.contains(active) ? active : null;
}

/** Make the root a part. */
function begin(el, name) {
  el.classList.add("sk-part", `sk-${name}`);
  ownKeys(el);
}

/** Send what the user did, as one message. */
function send(model, changes) {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  model.save_changes();
}

/**
 * Draw now, and again when one of the traits changes. Several traits of one message are one drawing.
 * `drawings` is a list of [names, draw]; returned is what ends it.
 */
function watch(model, drawings) {
  const due = new Set();
  let ended = false;
  const listeners = [];
  const flush = () => {
    const now = drawings.filter(([, draw]) => due.has(draw));
    due.clear();
    if (!ended) for (const [, draw] of now) draw();
  };
  for (const [names, draw] of drawings) {
    draw();
    for (const name of names) {
      const listener = () => {
        if (due.size === 0) queueMicrotask(flush);
        due.add(draw);
      };
      model.on(`change:${name}`, listener);
      listeners.push([`change:${name}`, listener]);
    }
  }
  return () => {
    ended = true;
    for (const [event, listener] of listeners) model.off(event, listener);
  };
}

/** The place in a list that a key moves to, or null if the key moves nothing. */
function moved(key, place, count, back, forth) {
  if (key === back) return Math.max(0, place - 1);
  if (key === forth) return Math.min(count - 1, place + 1);
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  return null;
}

const grouped = (number) => number.toLocaleString("en-US");
