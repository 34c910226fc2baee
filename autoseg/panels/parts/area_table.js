// The table of areas in the browser. Numbers come from Python; here they are only written, sorted and copied.

const TYPES = {
  csv: "text/csv",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  zip: "application/zip",
};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const escaped = (words) =>
  String(words).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

/** Gives words of which no spreadsheet makes a formula, as in the files. */
const harmless = (cell) =>
  typeof cell === "string" && /^[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(cell) && Number.isNaN(Number(cell)) ? `'${cell}` : String(cell);

/** Ten digits are more than any area has: as in the files. */
const exact = (value) => (value === null || value === "" ? "" : String(Number(value.toPrecision(10))));

const natural = new Intl.Collator("en", { numeric: true });

const same = (one, other) =>
  !!one && !!other && ["case_id", "slice_index", "label"].every((key) => one[key] === other[key]);

class Table {
  constructor(model, el) {
    this.model = model;
    this.build(el);
    this.chosen = () => this.mark();
    this.explained = () => this.explain();
    this.heard = (message, buffers) => this.receive(message, buffers);
    this.renewed = () => this.renew(el);
    model.on("change:_content", this.renewed);
    model.on("change:selected", this.chosen);
    model.on("change:_line", this.explained);
    model.on("msg:custom", this.heard);
    this.mark();
  }

  close() {
    clearTimeout(this.patience);
    this.model.off("change:_content", this.renewed);
    this.model.off("change:selected", this.chosen);
    this.model.off("change:_line", this.explained);
    this.model.off("msg:custom", this.heard);
  }

  // --- building

  heads() {
    const heads = [["slice", this.several ? "Slice or image" : "Slice", "counts from 1, as everywhere"]];
    if (this.content.levels) heads.push(["level", "Level", "of the spine, where it is known"]);
    heads.push(["position", "Position mm", "along the stack, towards the head, the back or the left"]);
    return heads;
  }

  /** Shows other areas of the same slices in the place of these, sorted and scrolled alike. */
  renew(el) {
    const { root, scroll, sorted } = this;
    const { scrollTop, scrollLeft } = scroll;
    const at = scroll.contains(document.activeElement) ? [...scroll.querySelectorAll("[data-c]")].indexOf(this.focused) : -1;
    const hidden = root.classList.contains("ast-no-intervals");
    this.build(el);
    root.remove();
    const head = this.headings.get(sorted.column);
    for (let times = { 1: 1, "-1": 2, 0: 0 }[sorted.direction]; head && times > 0; times--) this.sort(sorted.column, head);
    if (hidden) this.root.querySelector("[aria-pressed]")?.click();
    this.mark();
    Object.assign(this.scroll, { scrollTop, scrollLeft });
    const cell = this.scroll.querySelectorAll("[data-c]")[at];
    if (cell) this.focus(cell);
  }

  build(el) {
    this.content = this.model.get("_content");
    this.sorted = { column: null, direction: 0 };
    this.formats = this.content.columns.map(
      ({ decimals }) => new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }),
    );
    this.several = this.content.blocks.some((block) => block.single);
    this.leading = this.heads().length; // columns before the structures
    this.headings = new Map();
    this.root = make("div", { class: "ast", role: "group", "aria-label": "Areas", "data-lm-suppress-shortcuts": "true" });
    this.table = make("table", { class: "ast-table", role: "grid", "aria-label": `Areas in ${this.units()}, one row a slice` });
    this.table.append(this.buildHead());
    this.bodies = this.content.blocks.map((block, b) => {
      const body = make("tbody");
      if (block.title || (block.light && block.light.light !== "green")) body.innerHTML = this.titleRow(block);
      const before = body.childElementCount;
      body.insertAdjacentHTML("beforeend", block.rows.map((row, r) => this.row(block, row, b, r)).join(""));
      const rows = [...body.children].slice(before);
      body.insertAdjacentHTML("beforeend", block.statistics.map((line) => this.statistic(line)).join(""));
      this.table.append(body);
      return { body, rows, end: body.children[before + rows.length] || null };
    });
    this.scroll = make("div", { class: "ast-scroll" }, this.table);
    this.line = make("div", { class: "ast-line", role: "status" });
    this.says = make("div", { class: "ast-says", role: "status" });
    this.root.append(this.buildButtons(), this.scroll, this.line, this.says);
    el.append(this.root);
    this.table.addEventListener("click", (event) => this.click(event));
    this.table.addEventListener("keydown", (event) => this.key(event));
    // What a pointer sees when it rests on a cell, for who comes by the keys.
    this.table.addEventListener("focusin", ({ target }) => {
      if (target.matches("[data-c]:focus-visible")) this.say(target.title);
    });
    this.focused = this.table.querySelector("tbody [data-c]");
    if (this.focused) this.focused.tabIndex = 0;
    this.explain();
  }

  buildHead() {
    const row = make("tr");
    const add = (name, words, title, colour, number) => {
      const arrow = make("span", { class: "ast-arrow", "aria-hidden": "true" });
      const button = make("button", { type: "button", title }, words, arrow);
      const head = make("th", { scope: "col", "aria-sort": "none", class: number ? "ast-number" : "" }, button);
      if (colour) head.style.borderBottom = `4px solid rgb(${colour})`;
      button.addEventListener("click", () => this.sort(name, head));
      this.headings.set(name, head);
      row.append(head);
    };
    for (const [name, words, title] of this.heads()) add(name, words, `Sort by ${words.toLowerCase()} (${title})`, null, name === "position");
    this.content.columns.forEach(({ name, unit, colour }, c) => add(c, `${name} ${unit}`, `Sort by the area of ${name}`, colour, true));
    return make("thead", {}, row);
  }

  units() {
    return [...new Set(this.content.columns.map(({ unit }) => unit))].join(" or ") || "mm²";
  }

  titleRow(block) {
    const span = this.leading + this.content.columns.length;
    const { icon, words } = block.light || {};
    const parts = [escaped(block.title), words ? `${icon} ${escaped(words)}` : ""].filter(Boolean).join(" &ensp;");
    return `<tr class="ast-block"><th scope="rowgroup" colspan="${span}">${parts}</th></tr>`;
  }

  row(block, row, b, r) {
    const first = block.single ? row.case : row.number;
    const file = row.file ? ` title="${escaped(row.file)}"` : "";
    const cells = [`<th scope="row" data-c="-1" tabindex="-1"${file}>${escaped(first)}</th>`];
    if (this.content.levels) cells.push(`<td data-c="-1" tabindex="-1">${escaped(row.level)}</td>`);
    const position = row.position === null ? "" : row.position.toFixed(1);
    const where = position ? position : '<span class="ast-none">unknown</span>';
    cells.push(`<td class="ast-number" data-c="-1" tabindex="-1">${where}</td>`);
    row.cells.forEach((value, c) => {
      if (value === null || value === "") {
        const none = value === null ? "not drawn" : "–";
        cells.push(`<td class="ast-number" data-c="${c}" tabindex="-1"><span class="ast-none">${none}</span></td>`);
        return;
      }
      const words = row.flags[c];
      const between = (row.intervals[c] || []).map((end) => this.formats[c].format(end)).join("–");
      const interval = between ? `<div class="ast-interval">${between}</div>` : "";
      const number = this.formats[c].format(value);
      const text = (row.cut.includes(c) ? `at least ${number} (cut off)` : number) + interval;
      const dice = escaped(row.dice[c] || "");
      if (!words) cells.push(`<td class="ast-number" data-c="${c}" tabindex="-1" title="${dice}">${text}</td>`);
      else {
        const why = escaped([`${this.content.columns[c].name} ${words}`, row.dice[c]].filter(Boolean).join("; "));
        cells.push(
          `<td class="ast-number ast-flag" data-c="${c}" tabindex="-1" title="${why}">` +
            `<span role="img" aria-label="flagged: ${why}">⚠</span> ${text}</td>`,
        );
      }
    });
    return `<tr data-b="${b}" data-r="${r}">${cells.join("")}</tr>`;
  }

  statistic([words, values]) {
    const cells = values.map((value, c) => {
      const text = value === null ? "–" : /^n\b/.test(words) ? String(value) : this.formats[c].format(value);
      return `<td class="ast-number" data-c="${c}" tabindex="-1">${text}</td>`;
    });
    const head = `<th scope="row" colspan="${this.leading}" data-c="-1" tabindex="-1">${escaped(words)}</th>`;
    return `<tr class="ast-statistic">${head}${cells.join("")}</tr>`;
  }

  buildButtons() {
    const copy = make("button", { type: "button", title: "Copy the table as it is shown, to paste into a spreadsheet" }, "Copy");
    copy.addEventListener("click", () => this.copy());
    const row = make("div", { class: "ast-row" }, copy);
    if (this.content.interval) {
      const words = `${this.content.interval} intervals`;
      const title = "Between what the true area lies, below each area";
      const toggle = make("button", { type: "button", title, "aria-pressed": "true" }, words);
      toggle.addEventListener("click", () => {
        const hidden = this.root.classList.toggle("ast-no-intervals");
        toggle.setAttribute("aria-pressed", !hidden);
      });
      row.append(toggle);
    }
    const endings = this.content.files.map((name) => name.split(".").pop().toUpperCase());
    this.content.files.forEach((name, i) => {
      const alone = endings.filter((ending) => ending === endings[i]).length === 1;
      const words = `Download ${alone ? endings[i] : name}`;
      const button = make("button", { type: "button", title: `Save ${name} on this computer` }, words);
      button.addEventListener("click", () => this.ask(name));
      row.append(button);
    });
    return row;
  }

  // --- sorting

  value(block, row, column) {
    if (column === "slice") return block.single ? row.case : row.number;
    if (column === "level" || column === "position") return row[column];
    return row.cells[column] === "" ? null : row.cells[column];
  }

  /** Sorts inside each image: up, down, then as it was. Mean, SD and n stay below, empty cells last. */
  sort(column, head) {
    const direction = this.sorted.column === column ? { 1: -1, "-1": 0, 0: 1 }[this.sorted.direction] : 1;
    this.sorted = { column, direction };
    for (const other of this.table.tHead.rows[0].cells) {
      other.setAttribute("aria-sort", "none");
      other.querySelector(".ast-arrow").textContent = "";
    }
    head.setAttribute("aria-sort", { 1: "ascending", "-1": "descending", 0: "none" }[direction]);
    head.querySelector(".ast-arrow").textContent = { 1: " ▲", "-1": " ▼", 0: "" }[direction];
    this.content.blocks.forEach((block, b) => {
      const { body, rows, end } = this.bodies[b];
      const keyed = rows.map((node, r) => [this.value(block, block.rows[r], column), r, node]);
      if (direction) {
        keyed.sort(([x, i], [y, j]) => {
          if (x === null || y === null) return (x === null) - (y === null) || i - j;
          const order = typeof x === "string" ? natural.compare(x, y) : x - y;
          return order * direction || i - j;
        });
      }
      const part = document.createDocumentFragment();
      part.append(...keyed.map(([, , node]) => node));
      body.insertBefore(part, end);
    });
  }

  // --- choosing

  click(event) {
    const cell = event.target.closest("[data-c]");
    if (!cell) return;
    this.focus(cell);
    this.choose(cell);
  }

  choose(cell) {
    const { b, r } = cell.parentElement.dataset;
    if (r === undefined) return; // mean, SD and n belong to no slice
    const row = this.content.blocks[b].rows[r];
    const c = Number(cell.dataset.c);
    const drawn = c >= 0 && row.cells[c] !== null && row.cells[c] !== "";
    const label = drawn ? (row.labels[c] ?? this.content.columns[c].label) : 0;
    const chosen = { case_id: row.case, slice_index: row.slice, label };
    if (same(chosen, this.model.get("selected"))) {
      // The viewer may have moved on since: the same choice again must count as one.
      this.model.set("selected", null);
      this.model.save_changes();
    }
    this.model.set("selected", chosen);
    this.model.save_changes();
  }

  focus(cell) {
    if (this.focused) this.focused.tabIndex = -1;
    this.focused = cell;
    cell.tabIndex = 0;
    cell.focus({ preventScroll: true });
    // Not under the heading, nor under the first column, that stay in view.
    const [box, seen] = [cell.getBoundingClientRect(), this.scroll.getBoundingClientRect()];
    const top = seen.top + this.table.tHead.offsetHeight;
    const bottom = seen.top + this.scroll.clientHeight;
    if (box.top < top) this.scroll.scrollTop -= top - box.top;
    else if (box.bottom > bottom) this.scroll.scrollTop += box.bottom - bottom;
    const left = seen.left + (cell.cellIndex ? cell.parentElement.cells[0].offsetWidth : 0);
    const right = seen.left + this.scroll.clientWidth;
    if (box.left < left) this.scroll.scrollLeft -= left - box.left;
    else if (box.right > right) this.scroll.scrollLeft += box.right - right;
  }

  key(event) {
    const cell = event.target.closest("[data-c]");
    if (!cell || event.metaKey || event.altKey) return;
    const row = cell.parentElement;
    const rows = [...this.table.querySelectorAll("tbody tr")].filter((tr) => tr.querySelector("[data-c]"));
    const at = rows.indexOf(row);
    // Mean, SD and n have one cell in front where the slices have several.
    const column = (tr) => (tr.cells.length < this.leading + this.content.columns.length ? this.leading - 1 : 0);
    const place = cell.cellIndex && cell.cellIndex + column(row);
    const inRow = (tr, p) => tr.cells[Math.min(Math.max(p - column(tr), 0), tr.cells.length - 1)];
    const down = (steps) => inRow(rows[Math.min(Math.max(at + steps, 0), rows.length - 1)], place);
    const moves = {
      ArrowDown: () => down(1),
      ArrowUp: () => down(-1),
      ArrowRight: () => row.cells[Math.min(cell.cellIndex + 1, row.cells.length - 1)],
      ArrowLeft: () => row.cells[Math.max(cell.cellIndex - 1, 0)],
      PageDown: () => down(10),
      PageUp: () => down(-10),
      Home: () => (event.ctrlKey ? rows[0].cells[0] : row.cells[0]),
      End: () => (event.ctrlKey ? rows[rows.length - 1] : row).cells[row.cells.length - 1],
    };
    if (event.key === "Enter" || event.key === " ") this.choose(cell);
    else if (event.key in moves) this.focus(moves[event.key]() || cell);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  mark() {
    for (const old of this.table.querySelectorAll("[aria-selected=true]")) old.removeAttribute("aria-selected");
    const chosen = this.model.get("selected");
    this.explain();
    if (!chosen) return;
    this.content.blocks.forEach((block, b) => {
      const r = block.rows.findIndex((row) => row.case === chosen.case_id && row.slice === chosen.slice_index);
      if (r < 0) return;
      const labels = this.content.columns.map(({ label }, c) => block.rows[r].labels[c] ?? label);
      const c = chosen.label ? labels.indexOf(chosen.label) : -1;
      this.bodies[b].rows[r].cells[c < 0 ? 0 : c + this.leading].setAttribute("aria-selected", "true");
    });
  }

  /** Shows the line of the chosen cell; while the kernel has not answered yet, none. */
  explain() {
    const [chosen, line] = [this.model.get("selected"), this.model.get("_line")];
    const fits = chosen && same(chosen, line.selected);
    const none = "Choose a cell (click, or Enter) to see how its area came about.";
    this.line.textContent = !chosen ? none : fits ? line.text || "No area was chosen. Choose one to see how it came about." : "…";
  }

  // --- copying and downloading

  text() {
    const intervals = this.content.interval && !this.root.classList.contains("ast-no-intervals");
    const heads = this.heads().map(([, words]) => words);
    // As in the files: a number that is only the least of an area stands in a column of its own.
    const cut = this.content.columns.map((_, c) => this.content.blocks.some(({ rows }) => rows.some((row) => row.cut.includes(c))));
    this.content.columns.forEach(({ name, unit }, c) => {
      heads.push(`${name} ${unit}`, ...(cut[c] ? [`${name} at least ${unit}`] : []));
      if (intervals) heads.push(`${name} low ${unit}`, `${name} high ${unit}`);
    });
    const lines = [[...heads, "Flags", ...(this.content.lights ? ["Suitability"] : [])]];
    this.content.blocks.forEach((block, b) => {
      if (block.title) lines.push([block.title]);
      const { body } = this.bodies[b];
      for (const node of body.querySelectorAll("tr[data-r]")) {
        const row = block.rows[node.dataset.r];
        const line = [block.single ? row.case : row.number];
        if (this.content.levels) line.push(row.level);
        line.push(exact(row.position));
        row.cells.forEach((value, c) => {
          const is = row.cut.includes(c);
          line.push(is ? "" : exact(value), ...(cut[c] ? [is ? exact(value) : ""] : []));
          if (intervals) line.push(...(row.intervals[c] || ["", ""]).map(exact));
        });
        line.push(Object.entries(row.flags).map(([c, words]) => `${this.content.columns[c].name} ${words}`).join("; "));
        if (this.content.lights) line.push(row.light);
        lines.push(line);
      }
      const blank = Array(this.leading - 1).fill("");
      const light = this.content.lights ? [block.light?.light || ""] : [];
      for (const [words, values] of block.statistics) {
        const cells = values.flatMap((value, c) => [exact(value), ...(cut[c] ? [""] : []), ...(intervals ? ["", ""] : [])]);
        lines.push([words, ...blank, ...cells, "", ...light]);
      }
    });
    return lines.map((line) => line.map((cell) => harmless(cell).replace(/[\t\r\n]+/g, " ")).join("\t")).join("\n") + "\n";
  }

  async copy() {
    const words = this.text();
    try {
      await navigator.clipboard.writeText(words);
      this.say("Copied. Paste it into a spreadsheet.");
      return;
    } catch {
      // Not allowed, or no secure page (a hub at http://): the older way.
    }
    const area = make("textarea", { class: "ast-copy", "aria-label": "The table as text", readonly: true });
    area.value = words;
    this.root.append(area);
    area.select();
    if (document.execCommand("copy")) {
      area.remove();
      this.say("Copied. Paste it into a spreadsheet.");
      return;
    }
    area.classList.add("ast-copy-shown");
    area.addEventListener("blur", () => area.remove());
    this.say("The browser does not allow copying. The text is selected below: press Ctrl + C (Mac: Cmd + C).");
  }

  ask(name) {
    this.model.send({ file: name });
    clearTimeout(this.patience);
    this.awaited = name;
    this.patience = setTimeout(() => this.say(`Waiting for the kernel: ${name} …`), 400);
  }

  receive(message, buffers) {
    if (!message || message.file !== this.awaited) return; // asked by another view of this table
    this.awaited = null;
    clearTimeout(this.patience);
    if (message.failed) {
      this.say(message.failed, true);
      return;
    }
    const type = TYPES[message.file.split(".").pop().toLowerCase()] || "application/octet-stream";
    const address = URL.createObjectURL(new Blob([buffers[0]], { type }));
    const link = make("a", { href: address, download: message.file });
    this.root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    this.say(`${message.file} is saved where your browser puts downloads.`);
  }

  say(words, failed = false) {
    this.says.setAttribute("role", failed ? "alert" : "status");
    this.says.classList.toggle("ast-failed", failed);
    this.says.textContent = failed ? `✖ ${words}` : words;
  }
}

export default {
  render({ model, el }) {
    const table = new Table(model, el);
    return () => table.close();
  },
};
