const MARKS = {
  delete: ["✕ delete", "Cleanup would delete this row"],
  danger: ["⚠ danger", "Something may still need this row, or something else than cleanup deletes it"],
};

const STEPS = [
  ["«", "First page", () => 0],
  ["‹", "Previous page", (page) => page - 1],
  ["›", "Next page", (page) => page + 1],
  ["»", "Last page", (page, last) => last],
];

// Airflow's run ids end alike: a fraction of a second and a zone.
const TO_THE_SECOND = /(T\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+00:00|Z)/;
const SHORT_HEAD = 28;
const SHORT_TAIL = 10;

function shortened(text) {
  const letters = [...text.replace(TO_THE_SECOND, "$1…")];
  if (letters.length <= SHORT_HEAD + SHORT_TAIL + 1) return letters.join("");
  return `${letters.slice(0, SHORT_HEAD).join("")}…${letters.slice(-SHORT_TAIL).join("")}`;
}

function render({ model, el }) {
  begin(el, "table");
  const get = (name) => model.get(name);
  const lastPage = () => Math.max(0, get("pages") - 1);

  const caption = make("caption", { dir: "auto" });
  const headRow = make("tr");
  const body = make("tbody");
  const region = make(
    "div",
    { class: "sk-scroll", role: "region", tabindex: "0", on: { scroll: drawEdges } },
    make("table", {}, caption, make("thead", {}, headRow), body),
  );

  // The pager: made once, so that its controls keep the focus.
  const total = make("span", { class: "sk-total", role: "status", dir: "auto" });
  const steps = STEPS.map(([sign, name, target]) =>
    make(
      "button",
      {
        type: "button",
        class: "sk-step",
        "aria-label": name,
        title: name,
        on: {
          click: (event) => {
            if (isUsable(event.currentTarget)) send(model, { page: target(get("page"), lastPage()) });
          },
        },
      },
      make("span", { "aria-hidden": "true", text: sign }),
    ),
  );
  const complaintId = unique("page");
  const complaint = make("span", { class: "sk-complaint", id: complaintId, role: "status" });
  const box = make("input", {
    type: "number", min: "1", step: "1", "aria-label": "Page", "aria-describedby": complaintId,
    on: { change: () => goTo(box.value), input: () => complain("") },
  });
  const count = make("span", { class: "sk-soft" });
  const turning = make("span", { class: "sk-turning" }, steps[0], steps[1], box, count, steps[2], steps[3]);
  const size = make("select", { on: { change: () => send(model, { page_size: Number(size.value) }) } });
  const sizing = make("label", { class: "sk-sizing" }, make("span", { class: "sk-soft", text: "Rows per page" }), size);
  const pager = make("nav", {}, total, turning, complaint, make("span", { class: "sk-gap" }), sizing);
  el.append(make("div", { class: "sk-edges" }, region), pager);

  function complain(message) {
    setText(complaint, message);
    setAttribute(box, "aria-invalid", message ? "true" : null);
  }

  function goTo(text) {
    const asked = Number(text);
    if (/^\d+$/.test(text) && asked >= 1 && asked <= get("pages")) {
      complain("");
      if (asked - 1 !== get("page")) send(model, { page: asked - 1 });
    } else complain(`Pages go from 1 to ${grouped(get("pages"))}`);
  }

  function sortBy(name) {
    send(model, get("sort") === name ? { descending: !get("descending") } : { sort: name, descending: false });
  }

  function drawCaption() {
    setText(caption, get("caption"));
    setAttribute(caption, "hidden", !get("caption"));
    const name = get("caption") || "Table";
    setAttribute(region, "aria-label", name);
    setAttribute(pager, "aria-label", `Pages of ${name}`);
  }

  const isMarked = () => get("marks").length > 0;
  // The marks stand in a column of their own, after the first one.
  const cellAt = (row, at) => row.children[at > 0 && isMarked() ? at + 1 : at];

  function drawHead() {
    const columns = get("columns");
    if (headRow.dataset.marked !== String(isMarked())) headRow.replaceChildren();
    setAttribute(headRow, "data-marked", String(isMarked()));
    sizeTo(headRow, columns.length + isMarked(), (place) =>
      place === 1 && isMarked() ? make("th", { scope: "col", text: "cleanup" }) : make("th", { scope: "col" }),
    );
    columns.forEach((column, place) => {
      const cell = cellAt(headRow, place);
      const wanted = column.sortable ? "BUTTON" : "SPAN";
      if (cell.firstElementChild?.tagName !== wanted) {
        const label = make("span", { class: "sk-name", dir: "auto" });
        cell.replaceChildren(
          column.sortable
            ? make(
                "button",
                { type: "button", class: "sk-sort", on: { click: () => sortBy(cell.dataset.name) } },
                label,
                make("span", { class: "sk-arrow", "aria-hidden": "true" }),
              )
            : label,
        );
      }
      cell.dataset.name = column.name;
      cell.classList.toggle("sk-numeric", Boolean(column.numeric));
      setText(cell.querySelector(".sk-name"), column.label);
      const sorted = column.sortable && get("sort") === column.name;
      const way = get("descending") ? "descending" : "ascending";
      setAttribute(cell, "aria-sort", sorted ? way : null);
      if (column.sortable) {
        setText(cell.querySelector(".sk-arrow"), sorted ? (get("descending") ? "▼" : "▲") : "");
        const next = sorted && !get("descending") ? "descending" : "ascending";
        setAttribute(cell.firstElementChild, "title", `Sort by ${column.label}, ${next}`);
      }
    });
  }

  const select = (place) => send(model, { selected: get("selected") === place ? -1 : place });
  const rowButtons = () => [...body.querySelectorAll("button.sk-row")];

  function firstCell(place, selectable) {
    const text = make("span", { class: "sk-cell", dir: "auto" });
    const inside = selectable
      ? make("button", { type: "button", class: "sk-row", on: { click: () => select(place) } }, text)
      : text;
    return make("th", { scope: "row" }, inside);
  }

  const furtherCell = (at) =>
    at === 1 && isMarked()
      ? make("td", {}, make("span", { class: "sk-mark" }))
      : make("td", {}, make("span", { class: "sk-cell", dir: "auto" }));

  function drawBody() {
    const rows = get("rows");
    const [columns, marks, selectable, selected] = ["columns", "marks", "selectable", "selected"].map(get);
    const held = focusedIn(body) ? Number(focusedIn(body).closest("tr").dataset.place) : null;
    if (rows.length === 0) {
      const span = Math.max(1, columns.length + isMarked());
      const text = make("td", { class: "sk-empty", colspan: span, dir: "auto" });
      setText(text, get("empty"));
      body.replaceChildren(make("tr", { class: "sk-none" }, text));
      if (held !== null) region.focus();
      return;
    }
    const kind = `${selectable} ${isMarked()}`;
    if (body.querySelector(".sk-none") || body.dataset.kind !== kind) body.replaceChildren();
    setAttribute(body, "data-kind", kind);
    sizeTo(body, rows.length, (place) => make("tr", { "data-place": place }, firstCell(place, selectable)));
    rows.forEach((cells, place) => {
      const row = body.children[place];
      sizeTo(row, Math.max(1, cells.length + isMarked()), furtherCell);
      cells.forEach((text, at) => {
        const around = cellAt(row, at);
        const cell = around.querySelector(".sk-cell");
        setText(cell, columns[at]?.short ? shortened(text) : text);
        setAttribute(cell, "title", text);
        setAttribute(around, "data-at", at);
        around.classList.toggle("sk-numeric", Boolean(columns[at]?.numeric));
      });
      if (isMarked()) {
        const [word, meaning] = MARKS[marks[place]] ?? ["", null];
        const mark = row.querySelector(".sk-mark");
        setText(mark, word);
        setAttribute(mark, "title", meaning);
        setAttribute(mark, "data-mark", word ? marks[place] : null);
      }
      row.classList.toggle("sk-selected", place === selected);
    });
    // One row is reached by Tab, the others from it by arrow: forty rows are not forty stops.
    const stop = Math.min(held ?? (selected >= 0 ? selected : 0), rows.length - 1);
    const buttons = rowButtons();
    buttons.forEach((button, place) => {
      setAttribute(button, "aria-pressed", String(place === selected));
      setAttribute(button, "tabindex", place === stop ? "0" : "-1");
    });
    if (held !== null && held >= rows.length && buttons.length) buttons[stop].focus();
  }

  body.addEventListener("keydown", (event) => {
    const buttons = rowButtons();
    const place = buttons.indexOf(event.target);
    const target = place < 0 ? null : moved(event.key, place, buttons.length, "ArrowUp", "ArrowDown");
    if (target === null) return;
    event.preventDefault();
    setAttribute(buttons[place], "tabindex", "-1");
    setAttribute(buttons[target], "tabindex", "0");
    buttons[target].focus();
  });
  // By mouse the whole row selects, unless a text in it is being marked.
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-place]");
    const marking = !document.getSelection().isCollapsed;
    if (row && get("selectable") && !marking && !event.target.closest("button")) select(Number(row.dataset.place));
  });

  function drawPager() {
    const [page, pages] = [get("page"), get("pages")];
    setText(total, get("total"));
    setAttribute(turning, "hidden", pages <= 1);
    setText(count, `of ${grouped(pages)}`);
    setAttribute(box, "max", Math.max(1, pages));
    // What is being typed is not overwritten, unless the page has changed.
    if (box.dataset.page !== String(page)) {
      box.value = String(page + 1);
      box.dataset.page = String(page);
      complain("");
    }
    steps.forEach((step, at) => setUsable(step, at < 2 ? page > 0 : page < pages - 1));
    const sizes = get("page_sizes");
    const all = sizes.includes(get("page_size")) ? sizes : [get("page_size"), ...sizes];
    setAttribute(sizing, "hidden", sizes.length < 2);
    sizeTo(size, all.length, () => make("option"));
    all.forEach((each, at) => {
      setText(size.children[at], grouped(each));
      setAttribute(size.children[at], "value", each);
    });
    size.value = String(get("page_size"));
  }

  function drawBusy() {
    setAttribute(region, "aria-busy", String(get("busy")));
  }

  /** Say by a shadow on which side there is more to scroll to. */
  function drawEdges() {
    const [from, over] = [region.scrollLeft, region.scrollWidth - region.clientWidth];
    region.parentElement.classList.toggle("sk-more-before", from > 1);
    region.parentElement.classList.toggle("sk-more-after", over - from > 1);
  }

  const sized = new ResizeObserver(drawEdges);
  sized.observe(region);
  sized.observe(region.firstElementChild);

  const end = watch(model, [
    [["caption"], drawCaption],
    [["columns", "sort", "descending", "marks"], drawHead],
    [["rows", "columns", "marks", "selected", "selectable", "empty"], drawBody],
    [["page", "pages", "total", "page_size", "page_sizes"], drawPager],
    [["busy"], drawBusy],
  ]);
  return () => {
    sized.disconnect();
    end();
  };
}

export default { render };
