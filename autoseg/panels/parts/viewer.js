// The slice viewer in the browser: fetches compressed slices, keeps some, draws them, answers keys and mouse.

const CACHE_BYTES = 192 * 2 ** 20;
const BATCH = 2; // slices that are fetched ahead in one request; one such request is open at a time
const REST_MS = 150; // so long a slice is looked at after a jump before its neighbours are fetched
const OUTLINE = 0.95; // as in the pictures that are written to files
// A brush grows by a step of its own size, so that a few keys lead from one pixel to a whole muscle.
const [FIRST_SIZE, MOST_SIZE] = [5, 200];
const TOOLS = [
  ["look", "Look", "Drag changes the window, as before (V)", "v"],
  ["brush", "Brush", "Paint the structure (B); [ and ] or Shift and the wheel change the size", "b"],
  ["eraser", "Eraser", "Take the structure away (E); other structures stay", "e"],
  ["polygon", "Polygon", "Click its corners, or drag along the outline; Enter or a double click paints what is inside (P)", "p"],
  ["cut", "Cut out", "As the polygon, and takes away what is inside (X)", "x"],
];
const DRAWS = new Set(["brush", "eraser", "polygon", "cut"]);
const MOST_ZOOM = 32;
// Closer than this each pixel is seen as the square that it is.
const SQUARES_FROM = 6;
const SMALL_AT_ONCE = 4; // slices of the strip in one request, so that a slice to look at waits for few
const UNSAVED_MS = 5000; // after so long without an answer it is said what to do
const SPEEDS = [["slow", 3], ["normal", 8], ["fast", 16]];

// ---------------------------------------------------------------- slices: fetch, unpack, keep

/** Fetches slices of one viewer's images from the kernel and keeps the last used ones, up to CACHE_BYTES. */
class Slices {
  constructor(model) {
    this.model = model;
    this.kept = new Map(); // oldest use first
    this.bytes = 0;
    this.open = new Map(); // request number -> {image, slices, since, patience, urgent}
    this.number = 0;
    this.cleared = 0;
    this.stroke = 0; // the number of the last stroke, sent or heard of
    this.patience = 10000;
    this.focus = null; // [stops, place, direction]: what is looked at, to fetch its neighbours
    this.listeners = new Set();
    this.heard = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.heard);
  }

  close() {
    this.model.off("msg:custom", this.heard);
    clearTimeout(this.rest);
    this.kept.clear();
    this.open.clear();
    this.focus = null;
  }

  /** Forgets all slices, whose areas are others now. */
  clear() {
    this.kept.clear();
    this.open.clear();
    this.bytes = 0;
    this.cleared += 1;
  }

  get(image, slice) {
    const key = `${image}:${slice}`;
    const entry = this.kept.get(key);
    if (entry) {
      this.kept.delete(key);
      this.kept.set(key, entry);
    }
    return entry;
  }

  look(stops, place, direction) {
    // After a jump the next one may follow at once; it must not wait behind neighbours of this one.
    if (!this.focus || this.focus[0] !== stops || Math.abs(this.focus[1] - place) > 3) {
      clearTimeout(this.rest);
      this.rest = null;
      this.jumped = true;
    }
    this.focus = [stops, place, direction];
    this.pump();
  }

  asked(image, slice) {
    return [...this.open.values()].some((r) => r.image === image && r.slices.has(slice));
  }

  /** Asks for what is missing: the slice that is looked at first, then its neighbours in small batches. */
  pump() {
    if (!this.focus) return;
    const now = performance.now();
    for (const [number, request] of this.open) {
      if (now - request.since > request.patience) {
        this.open.delete(number); // lost, or the kernel is busy: ask again, ever more rarely
        this.patience = Math.min(this.patience * 2, 160000);
      }
    }
    const [stops, place, direction] = this.focus;
    const [image, slice] = stops[place];
    const requests = [...this.open.values()];
    if (!this.kept.has(`${image}:${slice}`)) {
      if (!this.asked(image, slice) && !requests.some((r) => r.urgent)) this.ask(image, [slice], true);
      return;
    }
    if (this.jumped) {
      // From when it is there: where slices are slow to come, neighbours would else be on their way at the next jump.
      this.rest ??= setTimeout(() => {
        this.jumped = false;
        this.pump();
      }, REST_MS);
      return;
    }
    if (requests.length) return;
    const size = this.kept.get(`${image}:${slice}`).bytes;
    const most = Math.min(stops.length - 1, Math.floor(CACHE_BYTES / size / 2) - 1);
    const missing = [];
    let first = image;
    for (let step = 1, tried = 0; tried < most && missing.length < BATCH; step++) {
      // Three ahead for each one behind.
      for (const by of [3 * step - 2, 3 * step - 1, 3 * step, -step]) {
        if (tried++ >= most || missing.length >= BATCH) break;
        const [i, s] = stops[(((place + direction * by) % stops.length) + stops.length) % stops.length];
        if (this.kept.has(`${i}:${s}`) || missing.includes(s)) continue;
        if (!missing.length) first = i;
        if (i === first) missing.push(s);
      }
    }
    if (missing.length) this.ask(first, missing, false);
  }

  ask(image, slices, urgent) {
    const since = performance.now();
    this.open.set(++this.number, { image, slices: new Set(slices), since, patience: this.patience, urgent });
    this.model.send({ image, slices });
  }

  async receive(content, buffers) {
    if (!content || content.slice === undefined) return;
    const [came, cleared] = [performance.now(), this.cleared];
    const parts = await Promise.all([...buffers].map(inflate));
    if (cleared !== this.cleared) return;
    const grey = greysOf(new Uint8Array(parts[0]), this.model.get("_images")[content.image]);
    const labels = content.labels ? new Uint8Array(parts[1]) : null;
    const reference = content.reference ? new Uint8Array(parts[parts.length - 1]) : null;
    const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const { image, slice, areas, gaps, stroke } = content;
    // A slice from before a stroke that was sent since lacks it; one with it follows, or is asked for again.
    const isOld = stroke < Math.max(this.stroke, this.kept.get(`${image}:${slice}`)?.stroke ?? 0);
    this.stroke = Math.max(this.stroke, stroke);
    if (!isOld) this.keep({ image, slice, areas, gaps, grey, labels, reference, bytes, came, stroke });
    this.patience = 10000;
    for (const [number, request] of this.open) {
      if (request.image === content.image) request.slices.delete(content.slice);
      if (!request.slices.size) this.open.delete(number);
    }
    if (!isOld) for (const listener of this.listeners) listener(content.image, content.slice);
    this.pump();
  }

  keep(entry) {
    const key = `${entry.image}:${entry.slice}`;
    if (this.kept.has(key)) this.bytes -= this.kept.get(key).bytes;
    this.kept.delete(key);
    this.kept.set(key, entry);
    this.bytes += entry.bytes;
    for (const [oldest, old] of this.kept) {
      if (this.bytes <= CACHE_BYTES || oldest === key) break;
      this.kept.delete(oldest);
      this.bytes -= old.bytes;
    }
  }
}

/** Gives grey values of an image by their bytes: where there are two, the lower ones of all stand before the upper ones. */
function greysOf(bytes, { scale }) {
  if (scale[2] === 255) return bytes;
  const grey = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < grey.length; i++) grey[i] = bytes[i] | (bytes[i + grey.length] << 8);
  return grey;
}

async function inflate(view) {
  // Written straight into the stream: a Blob would travel through another process first.
  const stream = new DecompressionStream("deflate");
  const writer = stream.writable.getWriter();
  const written = writer.write(view).then(() => writer.close());
  const [unpacked] = await Promise.all([new Response(stream.readable).arrayBuffer(), written]);
  return unpacked;
}

// ---------------------------------------------------------------- drawing

const packed = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** Turns one slice into pixels by tables: number -> grey, (structure, grey) -> colour. */
class Painter {
  constructor() {
    this.key = "";
    this.fill = new Uint32Array(65536);
    this.edge = new Uint32Array(65536);
    this.shownAs = new Uint8Array(256);
  }

  greys(scale, centre, width) {
    const key = `${scale} ${centre} ${width}`;
    if (key === this.key) return this.table;
    const [first, step, most] = scale;
    this.key = key;
    this.table = new Uint8ClampedArray(most + 1); // clamps and rounds
    const low = centre - width / 2;
    for (let i = 0; i <= most; i++) this.table[i] = (255 * (first + step * i - low)) / width;
    return this.table;
  }

  /** Sets the colours; a structure that is switched off is drawn as the one around it that is on, if any. */
  colours(structures, off, look, highlight) {
    this.shownAs.fill(0);
    for (let g = 0; g < 256; g++) this.fill[g] = packed(g, g, g);
    const bright = structures.find((s) => s.label === highlight);
    for (const s of structures) {
      const around = structures.filter((o) => o.includes.includes(s.label) && !off.has(o.label));
      around.sort((a, b) => a.includes.length - b.includes.length);
      this.shownAs[s.label] = !off.has(s.label) ? s.label : around.length ? around[0].label : 0;
      const stands = !bright || s === bright || bright.includes.includes(s.label);
      const fill = look.outlineOnly ? 0 : look.opacity * (stands ? 1 : 0.3);
      const edge = stands ? Math.max(OUTLINE, look.opacity) : 0.4;
      for (const [table, share] of [[this.fill, fill], [this.edge, edge]]) {
        const [r, g, b] = s.colour.map((c) => c * share);
        const rest = 1 - share;
        for (let v = 0; v < 256; v++) {
          const grey = v * rest;
          table[(s.label << 8) | v] = packed(Math.round(grey + r), Math.round(grey + g), Math.round(grey + b));
        }
      }
    }
  }

  paint(entry, rows, columns, greys, out, withReference) {
    const { grey, labels, reference } = entry;
    const { fill, edge } = this;
    const count = rows * columns;
    if (!labels) for (let i = 0; i < count; i++) out[i] = fill[greys[grey[i]]];
    else {
      const drawn = this.mapped(labels, "a");
      for (let y = 0, i = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++, i++) {
          const s = drawn[i];
          const at = (s << 8) | greys[grey[i]];
          out[i] = s && isEdge(drawn, i, x, y, rows, columns) ? edge[at] : fill[at];
        }
      }
    }
    if (!reference || !withReference) return;
    const expert = this.mapped(reference, "b");
    for (let y = 0, i = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, i++) {
        if (!expert[i] || !isEdge(expert, i, x, y, rows, columns)) continue;
        if ((x + y) % 5 < 3) out[i] = 0xffffffff;
        // White dashes would vanish on what is bright.
        else if (greys[grey[i]] > 150) out[i] = 0xff000000;
      }
    }
  }

  mapped(labels, place) {
    if (this[place]?.length !== labels.length) this[place] = new Uint8Array(labels.length);
    const mapped = this[place];
    for (let i = 0; i < labels.length; i++) mapped[i] = this.shownAs[labels[i]];
    return mapped;
  }
}

function isEdge(drawn, i, x, y, rows, columns) {
  const s = drawn[i];
  return (
    (x > 0 && drawn[i - 1] !== s) ||
    (x < columns - 1 && drawn[i + 1] !== s) ||
    (y > 0 && drawn[i - columns] !== s) ||
    (y < rows - 1 && drawn[i + columns] !== s)
  );
}

/** Draws along points in a slice's labels, by the same rule as `strokes.brushed` and `Drawing` in Python. */
function brush({ labels, grey }, { rows, columns, aspect, structures }, label, points, size, erase, numbers) {
  const radius = size / 2;
  const own = structures.find((s) => s.label === label);
  const outer = structures.filter((s) => s.includes.includes(label) && s.label !== label);
  outer.sort((a, b) => a.includes.length - b.includes.length);
  const rest = outer.length ? outer[0].label : 0;
  const near = (a, b, reach, count) => [
    Math.max(0, Math.floor(Math.min(a, b) - reach)),
    Math.min(count, Math.ceil(Math.max(a, b) + reach) + 1),
  ];
  points.forEach(([row, column], i) => {
    const [nextRow, nextColumn] = points[i + 1] || points[i];
    const [down, right] = [(nextRow - row) * aspect, nextColumn - column];
    const length = down * down + right * right;
    const [top, bottom] = near(row, nextRow, radius / aspect, rows);
    const [left, end] = near(column, nextColumn, radius, columns);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < end; x++) {
        const [dy, dx] = [(y - row) * aspect, x - column];
        const share = length ? Math.min(Math.max((dy * down + dx * right) / length, 0), 1) : 0;
        if ((dy - share * down) ** 2 + (dx - share * right) ** 2 > radius * radius + 1e-9) continue;
        const at = y * columns + x;
        if (grey[at] < numbers[0] || grey[at] > numbers[1]) continue;
        const isOwn = labels[at] === label || own.includes.includes(labels[at]);
        if (isOwn === erase) labels[at] = erase ? rest : label;
      }
    }
  });
}

/** Gives a slice's labels in little, by the same rule as `shrink` in Python. */
function shrinkLabels(labels, { rows, columns }, small) {
  small.labels ||= new Uint8Array(small.rows * small.columns);
  for (let y = 0, i = 0; y < small.rows; y++) {
    const from = Math.floor(((y + 0.5) * rows) / small.rows) * columns;
    for (let x = 0; x < small.columns; x++, i++) small.labels[i] = labels[from + Math.floor(((x + 0.5) * columns) / small.columns)];
  }
}

// ---------------------------------------------------------------- the page

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

class View {
  constructor(model, el, slices) {
    Object.assign(this, { model, slices, painter: new Painter() });
    this.images = model.get("_images");
    this.singles = this.images.length > 1 && this.images.every((image) => image.slices === 1);
    this.image = model.get("image_index");
    this.slice = model.get("slice_index");
    this.direction = 1;
    this.shown = null;
    this.window = { preset: null, centre: 0, width: 1 };
    this.look = { opacity: 0.45, outlineOnly: false, reference: true };
    this.off = new Set();
    this.timers = {};
    this.zoom = { scale: 1, x: 0, y: 0 }; // of the frame: so many times as large, and where the picture's corner is
    this.touches = new Map(); // fingers on the picture: where each is
    this.ruler = null;
    this.drawing = { tool: "look", size: FIRST_SIZE, stroke: null, corners: [], follows: false, isSent: false };
    this.build(el);
    this.smallPainter = new Painter();
    this.small = new Map(); // image:slice -> a slice of the strip
    this.arrived = (image, slice) => {
      this.renewSmall(image, slice);
      if (image === this.image && slice === this.slice) this.update();
    };
    slices.listeners.add(this.arrived);
    this.changed = () => this.follow();
    this.lit = () => this.light();
    this.marked = () => this.shown && this.drawMarks(this.shown);
    this.told = () => this.tell();
    this.opened = () => this.refresh();
    this.allowed = () => this.allowDrawing();
    this.heard = (content, buffers) => {
      if (content?.drawing) this.hearDrawing(content.drawing);
      if (content?.small) this.hearSmall(content.small, buffers);
    };
    this.mended = () => this.markStrip();
    model.on("change:_corrected", this.mended);
    this.resized = () => this.fit();
    window.addEventListener("resize", this.resized);
    model.on("change:image_index", this.changed);
    model.on("change:slice_index", this.changed);
    model.on("change:highlight", this.lit);
    model.on("change:marks", this.marked);
    model.on("change:_click_hint", this.told);
    model.on("change:withheld", this.opened);
    model.on("change:_drawn_images", this.allowed);
    model.on("msg:custom", this.heard);
    this.tell();
    this.setStops();
    this.allowDrawing();
    this.update();
  }

  close() {
    this.stop();
    Object.values(this.timers).forEach(clearTimeout);
    this.slices.listeners.delete(this.arrived);
    window.removeEventListener("resize", this.resized);
    this.model.off("change:image_index", this.changed);
    this.model.off("change:slice_index", this.changed);
    this.model.off("change:highlight", this.lit);
    this.model.off("change:marks", this.marked);
    this.model.off("change:_click_hint", this.told);
    this.model.off("change:withheld", this.opened);
    this.model.off("change:_drawn_images", this.allowed);
    this.model.off("change:_corrected", this.mended);
    this.seen.disconnect();
    this.model.off("msg:custom", this.heard);
  }

  // --- building

  build(el) {
    // Each viewer on a page loads this file anew, so that none can count the others.
    const id = `autoseg-viewer-${Math.random().toString(36).slice(2)}`;
    this.canvas = make("canvas", { tabindex: 0, role: "img", class: "asv-canvas", "aria-label": "No slice is shown yet" });
    this.pixels = this.canvas.getContext("2d", { alpha: false });
    this.letters = ["left", "right", "top", "bottom"].map((side) => make("span", { class: `asv-letter asv-${side}` }));
    this.waiting = make("div", { class: "asv-waiting", role: "status" });
    this.over = make("div", { class: "asv-over" });
    this.ring = make("div", { class: "asv-brush", hidden: true });
    const lines = ["polygon", "polyline"].map((kind) => `<${kind}/><${kind} class="asv-line"/>`).join("");
    const outline = `<svg class="asv-outline" preserveAspectRatio="none">${lines}</svg>`;
    this.outline = new DOMParser().parseFromString(outline, "text/html").body.firstElementChild;
    this.length = make("div", { class: "asv-length", role: "status" });
    const over = make("div", { class: "asv-over" }, this.ring, this.length);
    this.sheet = make("div", { class: "asv-sheet" }, this.canvas, this.outline, over, this.over);
    this.frame = make("div", { class: "asv-frame" }, this.sheet, ...this.letters, this.waiting);
    this.readout = make("div", { class: "asv-readout" });
    this.slider = make("input", { type: "range", min: 0, class: "asv-slider", "aria-label": "Slice", id });
    this.ticks = make("div", { class: "asv-ticks" });
    this.title = make("div", { class: "asv-title", "aria-live": "polite" });
    this.list = make("div", { class: "asv-list" });
    this.picture = make("div", { class: "asv-picture" }, make("div", { class: "asv-stage" }, this.frame), this.readout);
    const track = make("div", { class: "asv-track" }, this.slider, this.ticks);
    this.picture.append(track, this.buildStrip(), this.buildButtons(), this.buildZoom());
    this.side = make("div", { class: "asv-side" }, this.title, this.list, this.buildDrawing(id), this.buildLook(id));
    this.root = make("div", {
      class: "asv",
      role: "group",
      "aria-label": "Slice viewer",
      // Else the notebook takes the keys: it moves between cells at the arrows.
      "data-lm-suppress-shortcuts": "true",
    });
    if (this.images.length > 1) this.root.append(this.buildChoice(id));
    this.main = make("div", { class: "asv-main" }, this.picture, this.side);
    this.root.append(this.main);
    el.append(this.root);
    this.slider.addEventListener("input", () => this.byHand(Number(this.slider.value)));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("fullscreenchange", () => this.setWide(this.root.matches(":fullscreen")));
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.hover(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, (event) => this.touches.delete(event.pointerId));
    }
    this.canvas.addEventListener("pointerleave", () => this.leave());
    // Else the middle button would begin the browser's own scrolling.
    this.canvas.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
    this.canvas.addEventListener("dblclick", () => this.twice());
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  buildChoice(id) {
    this.choice = make("select", { id: `${id}-image`, title: "Which image is shown" });
    this.images.forEach((image, i) => this.choice.append(make("option", { value: i }, image.name)));
    this.choice.addEventListener("change", () => {
      const i = Number(this.choice.value);
      this.stop();
      this.go(i, this.images[i].start);
    });
    return make("div", { class: "asv-row" }, make("label", { for: `${id}-image` }, "Image"), this.choice);
  }

  buildButtons() {
    const button = (sign, words, act) =>
      make("button", { type: "button", title: words, "aria-label": words, onclick: act }, sign);
    this.player = button("▶", "Play (space)", () => this.toggle());
    this.flagButtons = [
      button("⚑ ‹", "Previous flagged slice (Shift+F)", () => this.flagged(-1)),
      button("› ⚑", "Next flagged slice (F)", () => this.flagged(1)),
    ];
    this.speed = make("select", { "aria-label": "Speed", title: "Speed of playing" });
    SPEEDS.forEach(([name, rate]) => this.speed.append(make("option", { value: rate }, name)));
    this.speed.value = 8;
    this.wide = button("⤢", "Full screen", () => this.toggleWide());
    return make(
      "div",
      { class: "asv-row asv-buttons", role: "toolbar", "aria-label": "Moving through the slices" },
      this.flagButtons[0],
      button("‹", "Previous slice (arrow left)", () => this.byHand(this.place - 1)),
      this.player,
      button("›", "Next slice (arrow right)", () => this.byHand(this.place + 1)),
      this.flagButtons[1],
      make("label", {}, "Speed ", this.speed),
      this.wide,
    );
  }

  /** The slices in little; each is asked for when it comes into view. */
  buildStrip() {
    this.strip = make("div", { class: "asv-strip", role: "group", tabindex: 0, "aria-label": "All slices in little" });
    this.wanted = new Set(); // places in the strip
    this.seen = new IntersectionObserver(
      (changes) => {
        for (const { target, isIntersecting } of changes) {
          const place = Number(target.dataset.place);
          if (isIntersecting && !this.small.has(this.stops[place]?.join(":"))) this.wanted.add(place);
          else this.wanted.delete(place);
        }
        this.askSmallSoon();
      },
      { root: this.strip, rootMargin: "0px 120px" },
    );
    return this.strip;
  }

  buildZoom() {
    const button = (words, title, act) => make("button", { type: "button", title, onclick: act }, words);
    const pointer = (words, title, tool) => button(words, title, () => this.setTool(this.drawing.tool === tool ? "look" : tool));
    this.whole = button("Whole", "The whole picture again (0)", () => this.setZoom(1, 0, 0));
    this.times = make("output", { class: "asv-times", "aria-label": "So many times as large" });
    this.nearer = button("+", "Nearer (+, or Ctrl and the wheel, or two fingers)", () => this.zoomBy(1.5));
    this.farther = button("−", "Farther (−, or Ctrl and the wheel, or two fingers)", () => this.zoomBy(1 / 1.5));
    for (const one of [this.nearer, this.farther]) one.setAttribute("aria-label", one.title);
    this.pointers = new Map([
      ["hand", pointer("Move", "Drag moves the picture (H); so do Shift and drag, the middle button, and Shift and the arrows", "hand")],
      ["ruler", pointer("Ruler", "Drag measures a distance (R); Esc takes it away", "ruler")],
    ]);
    const attributes = { class: "asv-row asv-buttons", role: "toolbar", "aria-label": "Looking closely" };
    return make("div", attributes, this.farther, this.times, this.nearer, this.whole, ...this.pointers.values());
  }

  buildLook(id) {
    const range = (words, name, act) => {
      const input = make("input", { type: "range", id: `${id}-${name}`, class: "asv-range" });
      const output = make("output", { for: `${id}-${name}` });
      input.addEventListener("input", () => act(Number(input.value)));
      this[name] = { input, output };
      return make("div", { class: "asv-control" }, make("label", { for: input.id }, words), input, output);
    };
    const box = (words, checked, act) => {
      const input = make("input", { type: "checkbox", checked });
      input.addEventListener("change", () => act(input.checked));
      return make("label", { class: "asv-check" }, input, ` ${words}`);
    };
    this.presets = make("select", { id: `${id}-window`, title: "Which intensities are shown black and white" });
    this.presets.addEventListener("change", () => this.setPreset(Number(this.presets.value)));
    const boxes = make("div", { class: "asv-row" });
    if (this.images.some((image) => image.labelled)) {
      boxes.append(box("outline only", false, (on) => this.setLook({ outlineOnly: on })));
    }
    if (this.images.some((image) => image.reference)) {
      const name = this.model.get("_reference_name");
      boxes.append(box(`${name} (dashed, white)`, true, (on) => this.setLook({ reference: on })));
    }
    const look = make("fieldset", { class: "asv-look" }, make("legend", {}, "View"));
    look.append(
      make("div", { class: "asv-control" }, make("label", { for: `${id}-window` }, "Window"), this.presets),
      range("Centre", "centre", (value) => this.setWindow(value, this.window.width)),
      range("Width", "width", (value) => this.setWindow(this.window.centre, value)),
      range("Opacity", "opacity", (value) => this.setLook({ opacity: value / 100 })),
      boxes,
      (this.hint = make("div", { class: "asv-hint" })),
    );
    // Images alone have nothing to be seen through.
    const isDrawn = this.images.some((image) => image.labelled);
    this.opacity.input.parentElement.style.display = isDrawn ? "" : "none";
    Object.assign(this.opacity.input, { min: 0, max: 100, step: 1, value: 45 });
    this.opacity.output.value = "45 %";
    return look;
  }

  // --- drawing

  buildDrawing(id) {
    this.structure = make("select", { id: `${id}-structure`, title: "Which structure is drawn (1 to 9)" });
    this.structure.addEventListener("change", () => this.clearPolygon());
    const button = (words, title, act) => make("button", { type: "button", title, onclick: act }, words);
    this.tools = new Map();
    for (const [tool, words, title] of TOOLS) this.tools.set(tool, button(words, title, () => this.setTool(tool)));
    this.size = make("input", { type: "range", min: 1, max: MOST_SIZE, id: `${id}-size`, class: "asv-range" });
    this.size.addEventListener("input", () => this.setSize(Number(this.size.value)));
    this.sizeWords = make("output", { for: this.size.id });
    this.undo = button("Undo", "Take back the last stroke (Ctrl+Z)", () => this.sendStroke("undo"));
    this.redo = button("Redo", "Draw again what was taken back (Ctrl+Y)", () => this.sendStroke("redo"));
    const once = (words, title, tool) => button(words, title, () => this.sendStroke(tool));
    const whole = [
      once("Copy from before", "Draw the structure as on the slice before; others keep their pixels", "copy before"),
      once("Copy from behind", "Draw the structure as on the next slice; others keep their pixels", "copy behind"),
      once("Fill between", "Draw the structure on the slices between two on which you corrected it", "between"),
      once("Smooth", "Round the structure's outline on this slice; it keeps its area. Again: rounder", "smooth"),
      once("Fill holes", "Draw the structure in the holes that it encloses on this slice", "holes"),
      once("Largest piece", "Take away all but the structure's largest piece on this slice", "largest"),
      once("As it was", "Draw this slice, with all structures, as it was before it was corrected", "restore"),
    ];
    this.actions = [...this.tools.values(), ...whole];
    this.drawn = make("div", { class: "asv-hint", role: "status" });
    const row = (label, ...nodes) => make("div", { class: "asv-row asv-buttons", role: "toolbar", "aria-label": label }, ...nodes);
    this.drawingBox = make("fieldset", { class: "asv-look asv-drawing", hidden: true }, make("legend", {}, "Draw"));
    this.drawingBox.append(
      make("div", { class: "asv-control" }, make("label", { for: this.structure.id }, "Structure"), this.structure),
      row("Tools", ...this.tools.values()),
      make("div", { class: "asv-control" }, make("label", { for: this.size.id }, "Size"), this.size, this.sizeWords),
      this.buildRange(id),
      row("Undo and redo", this.undo, this.redo),
      row("Whole slices", ...whole),
      this.drawn,
    );
    this.setSize(FIRST_SIZE);
    return this.drawingBox;
  }

  /** The limit of grey values within which brush, eraser, polygon and cutting out change pixels. */
  buildRange(id) {
    const number = (words) => make("input", { type: "number", step: "any", class: "asv-value", "aria-label": words });
    this.limits = [number("Lowest grey value"), number("Highest grey value")];
    this.limit = make("input", { type: "checkbox", id: `${id}-limit` });
    const take = () => {
      this.takeRange();
      this.limit.checked = true;
    };
    this.limit.addEventListener("change", () => this.limits.some((input) => input.value === "") && this.takeRange());
    const title = "Brush, eraser and polygon leave pixels with other grey values as they are (T)";
    const label = make("label", { class: "asv-check", title }, this.limit, " only some grey values");
    const take95 = "Take the values that 95 of 100 pixels of the structure have on this slice; else those of the window";
    const taken = make("button", { type: "button", title: take95, onclick: take }, "As drawn here");
    const values = make("div", { class: "asv-row asv-buttons" }, this.limits[0], "to", this.limits[1], taken);
    return make("div", {}, label, values);
  }

  takeRange() {
    const { shown } = this;
    if (!shown?.labels) return;
    const { scale, structures } = this.images[shown.image];
    const own = structures.find((s) => s.label === this.drawnLabel);
    const values = shown.grey.filter((_, i) => own && (shown.labels[i] === own.label || own.includes.includes(shown.labels[i])));
    values.sort();
    const { centre, width } = this.window;
    const found = values.length
      ? [0.025, 0.975].map((share) => scale[0] + scale[1] * values[Math.round(share * (values.length - 1))])
      : [centre - width / 2, centre + width / 2];
    this.limits.forEach((input, i) => (input.value = Number(found[i].toPrecision(6))));
  }

  /** The lowest and the highest grey value that may be changed; null for any. */
  get within() {
    if (!this.limit.checked) return null;
    return this.limits.map((input) => (input.value === "" ? null : Number(input.value)));
  }

  /** Gives grey values as the numbers that stand for them in a slice. */
  numbersOf(within, { scale: [first, step] }) {
    if (within === null) return [0, Infinity];
    const [low, high] = within.map((value) => (value === null ? NaN : (value - first) / step));
    return Number.isNaN(low + high) ? [1, 0] : [low - 1e-6, high + 1e-6];
  }

  get mayDraw() {
    return this.image < this.model.get("_drawn_images") && this.images[this.image].labelled;
  }

  /** Whether the pointer draws, on the slice that is seen. */
  get draws() {
    const isHere = this.shown && this.shown.image === this.image && this.shown.slice === this.slice;
    return this.mayDraw && DRAWS.has(this.drawing.tool) && isHere && this.shown.labels !== null;
  }

  get drawnLabel() {
    return Number(this.structure.value);
  }

  /** Shows the tools as long as somebody may draw, and lets them be used on images that can be drawn in. */
  allowDrawing() {
    const isOpen = this.model.get("_drawn_images") > 0;
    const opens = isOpen && this.drawingBox.hidden;
    this.drawingBox.hidden = !isOpen;
    this.setTool(opens ? "brush" : isOpen || !DRAWS.has(this.drawing.tool) ? this.drawing.tool : "look");
    if (opens) this.hearDrawing({ undo: false, redo: false, said: "Each stroke is saved at once.", saved: true, where: [] });
  }

  listDrawn(image) {
    const before = this.structure.value;
    this.structure.replaceChildren(...image.structures.map((s) => make("option", { value: s.label }, s.name)));
    const lit = String(this.model.get("highlight"));
    for (const wanted of [before, lit]) {
      if (image.structures.some((s) => String(s.label) === wanted)) this.structure.value = wanted;
    }
  }

  setTool(tool) {
    this.drawing.tool = tool;
    this.clearPolygon();
    this.ring.hidden = true;
    for (const [name, button] of [...this.tools, ...this.pointers]) button.setAttribute("aria-pressed", name === tool);
    this.canvas.dataset.tool = tool;
    this.markDrawable();
  }

  markDrawable() {
    for (const button of this.actions) button.disabled = !this.mayDraw;
  }

  setSize(size) {
    this.drawing.size = Math.min(Math.max(Math.round(size), 1), MOST_SIZE);
    this.size.value = this.drawing.size;
    this.sizeWords.value = `${this.drawing.size} px`;
    this.size.setAttribute("aria-valuetext", `${this.drawing.size} pixels across`);
    if (!this.ring.hidden) this.sizeRing();
  }

  stepSize(direction) {
    const { size } = this.drawing;
    this.setSize(size + direction * Math.max(1, Math.round(size / 8)));
  }

  sizeRing() {
    const { rows, columns, aspect } = this.images[this.image];
    this.ring.style.width = `${(100 * this.drawing.size) / columns}%`;
    this.ring.style.height = `${(100 * this.drawing.size) / (rows * aspect)}%`;
  }

  moveRing(event) {
    this.ring.hidden = !(this.draws && ["brush", "eraser"].includes(this.drawing.tool));
    if (this.ring.hidden) return;
    const { rows, columns } = this.images[this.image];
    const [row, column] = this.pixelAt(event);
    this.sizeRing();
    this.ring.style.left = `${(100 * (Math.round(column) + 0.5)) / columns}%`;
    this.ring.style.top = `${(100 * (Math.round(row) + 0.5)) / rows}%`;
  }

  pixelAt(event) {
    const { rows, columns } = this.images[this.shown.image];
    const place = this.canvas.getBoundingClientRect();
    return [
      ((event.clientY - place.top) / place.height) * rows - 0.5,
      ((event.clientX - place.left) / place.width) * columns - 0.5,
    ];
  }

  /** Draws with mouse, pen or finger until it is lifted; the picture shows it at once, the kernel hears at the end. */
  strokeFrom(down) {
    if (this.drawing.stroke) return;
    this.stop();
    this.canvas.focus();
    down.preventDefault();
    const { size, corners } = this.drawing;
    const tool = down.button === 5 ? "eraser" : this.drawing.tool; // the other end of a pen
    const isBrush = ["brush", "eraser"].includes(tool);
    const { shown: entry, within, drawnLabel: label } = this;
    const stroke = { entry, tool, size, label, points: [], within, before: entry.labels.slice(), pen: down.pointerType === "pen" };
    const cornersBefore = corners.length;
    this.drawing.stroke = stroke;
    const add = (event) => {
      for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
        const [row, column] = this.pixelAt(one);
        if (isBrush) this.paintTo([Math.round(row), Math.round(column)]);
        else this.addCorner([row, column].map((n) => Number(n.toFixed(2))));
      }
    };
    const end = (event) => {
      this.drawing.stroke = null;
      const { entry, points } = stroke;
      if (!event) {
        // A second finger came, to zoom: nothing was to be drawn.
        if (isBrush) entry.labels.set(stroke.before);
        else this.drawing.corners.length = cornersBefore;
        this.drawPolygon();
        this.draw(this.shown);
      } else if (isBrush) this.sendStroke(tool, { image: entry.image, slice: entry.slice, label, size, points, within });
      else if (event.type === "pointercancel") this.clearPolygon();
    };
    this.track(down, add, end);
    add(down);
  }

  paintTo(point) {
    const { stroke } = this.drawing;
    const last = stroke.points[stroke.points.length - 1];
    if (last && last[0] === point[0] && last[1] === point[1]) return;
    stroke.points.push(point);
    this.paintStroke(last ? [last, point] : [point]);
  }

  paintStroke(points) {
    const { entry, tool, label, size, within } = this.drawing.stroke;
    const image = this.images[entry.image];
    brush(entry, image, label, points, size, tool === "eraser", this.numbersOf(within, image));
    if (this.timers.paint) return;
    this.timers.paint = requestAnimationFrame(() => {
      this.timers.paint = 0;
      const { shown } = this;
      if (shown && shown.image === entry.image && shown.slice === entry.slice) this.draw(shown);
    });
  }

  addCorner(corner) {
    const { corners } = this.drawing;
    const last = corners[corners.length - 1];
    if (last && Math.hypot(last[0] - corner[0], last[1] - corner[1]) < 0.5) return;
    corners.push(corner);
    this.drawPolygon();
  }

  drawPolygon() {
    this.drawLine("polygon", this.drawing.corners);
  }

  /** Draws a line through (row, column) over the picture. */
  drawLine(kind, corners) {
    const points = corners.map(([row, column]) => `${column},${row}`).join(" ");
    for (const line of this.outline.querySelectorAll(kind)) line.setAttribute("points", points);
  }

  clearPolygon() {
    this.drawing.corners = [];
    this.drawPolygon();
  }

  closePolygon() {
    const { tool, corners } = this.drawing;
    if (!["polygon", "cut"].includes(tool) || !corners.length) return;
    this.clearPolygon();
    this.sendStroke(tool, { points: corners, within: this.within });
  }

  sendStroke(tool, more = {}) {
    if (!this.model.get("_drawn_images") || (this.drawing.stroke && !more.points)) return;
    const { image, slice } = this;
    this.slices.stroke += 1;
    this.drawing.follows = tool === "undo" || tool === "redo";
    this.drawing.isSent = true;
    const number = this.slices.stroke;
    this.drawn.textContent = "Not saved yet …";
    clearTimeout(this.timers.saving);
    this.timers.saving = setTimeout(() => {
      this.drawn.textContent =
        "Not saved yet: the kernel does not answer. Strokes before are on the disk. If it was stopped or restarted, " +
        "run the cell again and go on.";
    }, UNSAVED_MS);
    this.model.send({ draw: { image, slice, label: this.drawnLabel, ...more, tool, number } });
  }

  hearDrawing({ undo, redo, said, saved, where, stroke }) {
    this.slices.stroke = Math.max(this.slices.stroke, stroke || 0);
    this.undo.disabled = !undo;
    this.redo.disabled = !redo;
    if (stroke < this.slices.stroke) return;
    clearTimeout(this.timers.saving);
    this.drawing.isSent = false;
    this.drawn.textContent = saved ? `${said} Saved.`.trim() : said || "Not saved yet …";
    if (!this.drawing.follows || where.length !== 2) return;
    this.drawing.follows = false;
    this.stop();
    this.go(...where);
  }

  /** Takes the keys of drawing; tells whether it was one. */
  drawingKey(event) {
    if (!this.mayDraw) return false;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (event.altKey || !["z", "y"].includes(key)) return false;
      this.sendStroke(key === "y" || event.shiftKey ? "redo" : "undo");
      return true;
    }
    if (event.altKey || event.target.matches("select")) return false;
    const tool = TOOLS.find((one) => one[3] === key);
    const { structures } = this.images[this.image];
    const isOpen = this.drawing.corners.length > 0;
    if (tool) this.setTool(tool[0]);
    else if (key === "t") this.limit.click();
    else if (key === "[" || key === "]") this.stepSize(key === "[" ? -1 : 1);
    else if (/^[1-9]$/.test(key) && structures[key - 1]) this.structure.value = structures[key - 1].label;
    else if (key === "enter" && isOpen && event.target === this.canvas) this.closePolygon();
    else if (key === "escape" && isOpen) this.clearPolygon();
    else if (key === "backspace" && isOpen) {
      this.drawing.corners.pop();
      this.drawPolygon();
    } else return false;
    return true;
  }

  // --- where we are

  get place() {
    return this.singles ? this.image : this.slice;
  }

  setStops() {
    const image = this.images[this.image];
    this.stops = this.singles
      ? this.images.map((_, i) => [i, 0])
      : Array.from({ length: image.slices }, (_, s) => [this.image, s]);
    this.slider.max = this.stops.length - 1;
    this.slider.disabled = this.stops.length < 2;
    this.marks = this.stops.map(([i, s]) => this.images[i].flagged[s] || "");
    this.ticks.replaceChildren();
    this.marks.forEach((words, place) => {
      if (!words) return;
      const share = this.stops.length > 1 ? place / (this.stops.length - 1) : 0;
      const tick = make("button", { type: "button", class: "asv-tick", tabindex: -1 }, "▲");
      tick.title = `${this.singles ? "Image" : "Slice"} ${place + 1}: ${words}`;
      tick.setAttribute("aria-label", tick.title);
      tick.style.left = `calc(8px + (100% - 16px) * ${share})`;
      tick.addEventListener("click", () => this.byHand(place));
      this.ticks.append(tick);
    });
    for (const button of this.flagButtons) button.disabled = !this.ticks.childElementCount;
    if (this.choice) this.choice.value = this.image;
    this.fillStrip();
  }

  // --- the strip

  fillStrip() {
    this.seen.disconnect();
    this.wanted.clear();
    this.strip.hidden = this.stops.length < 2;
    const nodes = this.stops.map(([image, slice], place) => {
      const number = this.singles ? place + 1 : this.images[image].first + slice;
      const words = make("span", { class: "asv-mark" });
      const node = make("button", { type: "button", class: "asv-small", tabindex: -1, "data-place": place });
      node.append(make("canvas", { width: 1, height: 1 }), make("span", {}, String(number)), words);
      node.addEventListener("click", () => {
        this.byHand(place);
        this.canvas.focus();
      });
      return node;
    });
    this.strip.replaceChildren(...nodes);
    this.markStrip();
    this.drawStrip();
    for (const node of this.strip.hidden ? [] : nodes) this.seen.observe(node);
  }

  /** Says which slices were corrected, and which are flagged. */
  markStrip() {
    const corrected = new Set(this.model.get("_corrected").map((place) => place.join(":")));
    [...this.strip.children].forEach((node, place) => {
      const isCorrected = corrected.has(this.stops[place].join(":"));
      const [, number, signs] = node.children;
      signs.textContent = `${isCorrected ? "✎" : ""}${this.marks[place] ? "▲" : ""}`;
      signs.classList.toggle("asv-mended", isCorrected);
      const parts = [`${this.singles ? "Image" : "Slice"} ${number.textContent}`];
      if (isCorrected) parts.push("corrected");
      if (this.marks[place]) parts.push(this.marks[place]);
      node.title = parts.join(": ");
      node.setAttribute("aria-label", node.title);
    });
  }

  /** The strip waits until somebody who leafs through the slices rests: the next slice must not wait behind it. */
  askSmallSoon() {
    clearTimeout(this.timers.rest);
    this.timers.rest = setTimeout(() => this.askSmall(), 250);
  }

  askSmall() {
    if (this.waited || !this.shown || !this.wanted.size) return;
    if (this.drawing.stroke || this.drawing.isSent) return this.askSmallSoon(); // areas come first
    const now = performance.now();
    if (this.smallSince && now - this.smallSince < 10000) return; // one request at a time; lost ones are asked again
    const places = [...this.wanted].slice(0, SMALL_AT_ONCE).map((place) => this.stops[place]);
    const [image] = places[0];
    this.smallSince = now;
    this.model.send({ image, slices: places.filter(([i]) => i === image).map(([, slice]) => slice), small: true });
    clearTimeout(this.timers.small);
    this.timers.small = setTimeout(() => this.askSmall(), 10500);
  }

  async hearSmall({ image, slices, shape, labels, stroke }, buffers) {
    const parts = await Promise.all([...buffers].map(inflate));
    const [rows, columns] = shape;
    const size = rows * columns;
    const greys = greysOf(new Uint8Array(parts[0]), this.images[image]);
    slices.forEach((slice, n) => {
      const own = { rows, columns, stroke };
      own.grey = greys.subarray(n * size, (n + 1) * size);
      own.labels = labels ? new Uint8Array(parts[1], n * size, size) : null;
      this.small.set(`${image}:${slice}`, own);
      const place = this.singles ? image : slice;
      if (this.singles || image === this.image) this.wanted.delete(place);
      this.renewSmall(image, slice);
      this.drawSmall(place);
    });
    this.smallSince = 0;
    if (!this.slices.jumped) this.askSmall();
  }

  /** Takes the labels of a whole slice that came over into the strip, unless they are older. */
  renewSmall(image, slice) {
    const key = `${image}:${slice}`;
    const [small, entry] = [this.small.get(key), this.slices.kept.get(key)];
    if (!small || !entry?.labels || entry.stroke < small.stroke) return;
    small.stroke = entry.stroke;
    shrinkLabels(entry.labels, this.images[image], small);
    if (this.singles || image === this.image) this.drawSmall(this.singles ? image : slice);
  }

  drawSmall(place) {
    const [number] = this.stops[place] || [];
    const small = number === undefined ? null : this.small.get(this.stops[place].join(":"));
    if (!small) return;
    const image = this.images[number];
    const canvas = this.strip.children[place].firstElementChild;
    const { rows, columns } = small;
    if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
    const context = canvas.getContext("2d");
    const data = context.createImageData(columns, rows);
    this.smallPainter.colours(image.structures, this.off, this.look, this.model.get("highlight"));
    const greys = this.smallPainter.greys(image.scale, this.window.centre, this.window.width);
    this.smallPainter.paint(small, rows, columns, greys, new Uint32Array(data.data.buffer), false);
    context.putImageData(data, 0, 0);
  }

  /** Draws what is in the strip anew, once window, colours and structures have come to rest. */
  drawStrip() {
    clearTimeout(this.timers.strip);
    this.timers.strip = setTimeout(() => this.stops.forEach((_, place) => this.drawSmall(place)), 120);
  }

  followStrip() {
    const { strip, place } = this;
    for (const node of strip.querySelectorAll("[aria-current]")) node.removeAttribute("aria-current");
    const node = strip.children[place];
    if (!node) return;
    node.setAttribute("aria-current", "true");
    strip.scrollLeft = node.offsetLeft - (strip.clientWidth - node.offsetWidth) / 2;
  }

  byHand(place) {
    this.stop();
    const end = this.stops.length - 1;
    this.go(...this.stops[Math.min(Math.max(place, 0), end)]);
  }

  go(image, slice, tell = true) {
    if (image === this.image && slice === this.slice) return;
    const before = this.place;
    const other = image !== this.image;
    this.clearPolygon();
    this.image = image;
    this.slice = slice;
    this.markDrawable();
    if (other && !this.singles) this.setStops();
    else this.direction = this.place < before ? -1 : 1;
    if (other && this.choice) this.choice.value = image;
    this.update();
    if (!tell) return;
    // At once: a cell of the table that is chosen next must not be overtaken. While the kernel is busy the widget
    // manager keeps only the latest.
    this.model.set({ image_index: image, slice_index: slice });
    this.model.save_changes();
  }

  follow() {
    const [image, slice] = [this.model.get("image_index"), this.model.get("slice_index")];
    if (image === this.image && slice === this.slice) return;
    this.stop();
    this.go(image, slice, false);
  }

  light() {
    this.off.delete(this.model.get("highlight"));
    if (this.shown) this.draw(this.shown);
    this.drawStrip();
  }

  flagged(direction) {
    for (let place = this.place + direction; place >= 0 && place < this.marks.length; place += direction) {
      if (this.marks[place]) return this.byHand(place);
    }
  }

  // --- playing

  toggle() {
    if (this.timers.play) return this.stop();
    this.player.textContent = "❚❚";
    this.player.title = "Pause (space)";
    this.player.setAttribute("aria-label", this.player.title);
    this.title.setAttribute("aria-live", "off");
    const step = () => {
      if (!this.root.isConnected) return this.stop();
      const here = this.shown && this.shown.image === this.image && this.shown.slice === this.slice;
      // A slice that has not come yet is waited for, never left out.
      if (here) this.go(...this.stops[(this.place + 1) % this.stops.length]);
      this.timers.play = setTimeout(step, 1000 / Number(this.speed.value));
    };
    this.timers.play = setTimeout(step, 0);
  }

  stop() {
    if (!this.timers.play) return;
    clearTimeout(this.timers.play);
    this.timers.play = 0;
    this.player.textContent = "▶";
    this.player.title = "Play (space)";
    this.player.setAttribute("aria-label", this.player.title);
    this.title.setAttribute("aria-live", "polite");
  }

  // --- keys and mouse

  key(event) {
    if (event.target.matches("input[type=number]")) return;
    if (this.drawingKey(event) || this.zoomKey(event)) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const inField = target.matches("select, input[type=range]:not(.asv-slider)");
    const pressable = target.matches("button, input[type=checkbox], select");
    const end = this.stops.length - 1;
    const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
    if (event.key in moves && !inField) this.byHand(this.place + moves[event.key]);
    else if (event.key === "Home" && !inField) this.byHand(0);
    else if (event.key === "End" && !inField) this.byHand(end);
    else if (event.key === " " && !pressable) this.toggle();
    else if (event.key === "f") this.flagged(1);
    else if (event.key === "F") this.flagged(-1);
    else if (event.key === "r" || event.key === "h") this.pointers.get(event.key === "r" ? "ruler" : "hand").click();
    else if (event.key === "v") this.setTool("look");
    else if (event.key === "Escape" && this.ruler) this.setRuler(null);
    else if (event.key === "Escape" && this.model.get("highlight")) this.setHighlight(0);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Takes the keys of zoom; tells whether it was one. */
  zoomKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return false;
    const arrows = { ArrowRight: [-1, 0], ArrowLeft: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    if (["+", "="].includes(event.key)) this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.setZoom(1, 0, 0);
    else if (event.shiftKey && event.key in arrows && this.zoom.scale > 1) {
      const [right, down] = arrows[event.key];
      this.setZoom(this.zoom.scale, this.zoom.x + 0.1 * right, this.zoom.y + 0.1 * down);
    } else return false;
    return true;
  }

  /** Begins what the pointer does here: draw, measure, move the picture, change the window; two fingers zoom. */
  press(down) {
    if (down.pointerType === "touch") {
      if (this.drawing.stroke?.pen) return; // the hand that holds the pen
      this.touches.set(down.pointerId, [down.clientX, down.clientY]);
      if (this.touches.size > 1) {
        this.giveUp?.();
        return;
      }
    }
    if (!this.shown) return;
    const { tool } = this.drawing;
    const isFirst = down.button === 0;
    if (down.button === 1 || (isFirst && (down.shiftKey || tool === "hand"))) this.moveFrom(down);
    else if (isFirst && tool === "ruler") this.measureFrom(down);
    else if (this.draws && (isFirst || down.button === 5)) this.strokeFrom(down);
    else if (isFirst) this.drag(down);
  }

  /** Follows one pointer until it is lifted (`end` gets the event), or a second finger comes (`end` gets null). */
  track(down, move, end) {
    const onMove = (event) => event.pointerId === down.pointerId && move(event);
    const onEnd = (event) => {
      if (event && event.pointerId !== down.pointerId) return;
      this.giveUp = null;
      this.canvas.removeEventListener("pointermove", onMove);
      for (const name of ["pointerup", "pointercancel"]) this.canvas.removeEventListener(name, onEnd);
      end(event);
    };
    this.giveUp = () => onEnd(null);
    this.canvas.setPointerCapture(down.pointerId);
    this.canvas.addEventListener("pointermove", onMove);
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, onEnd);
  }

  drag(down) {
    const { centre, width } = this.window;
    const speed = Math.max(width, this.span / 20) / 250;
    let moving = false;
    const move = (event) => {
      const [dx, dy] = [event.clientX - down.clientX, event.clientY - down.clientY];
      moving ||= Math.hypot(dx, dy) > 3;
      if (moving) this.setWindow(centre + dy * speed, Math.max(width + dx * speed, this.span / 2000));
    };
    this.track(down, move, (event) => event?.type === "pointerup" && !moving && this.clickAt(event));
  }

  moveFrom(down) {
    down.preventDefault();
    this.canvas.focus();
    const { width, height } = this.frame.getBoundingClientRect();
    const { scale, x, y } = this.zoom;
    const move = (event) => {
      this.setZoom(scale, x + (event.clientX - down.clientX) / width, y + (event.clientY - down.clientY) / height);
    };
    this.track(down, move, () => {});
  }

  measureFrom(down) {
    this.canvas.focus();
    const { image, slice } = this.shown;
    const from = this.pixelAt(down);
    this.setRuler(null);
    const move = (event) => this.setRuler({ image, slice, from, to: this.pixelAt(event) });
    this.track(down, move, (event) => event || this.setRuler(null));
  }

  setRuler(ruler) {
    this.ruler = ruler;
    this.drawRuler();
  }

  /** Shows the distance that was measured, on its slice alone: in millimetres where they are known. */
  drawRuler() {
    const { ruler, shown } = this;
    const isHere = ruler && shown && ruler.image === shown.image && ruler.slice === shown.slice;
    this.drawLine("polyline", isHere ? [ruler.from, ruler.to] : []);
    this.length.hidden = !isHere;
    if (!isHere) return;
    const { rows, columns, metric } = this.images[shown.image];
    const [down, right] = [0, 1].map((axis) => ruler.to[axis] - ruler.from[axis]);
    const [ofRows, ofBoth, ofColumns] = metric || [1, 0, 1];
    const length = Math.sqrt(ofRows * down * down + 2 * ofBoth * down * right + ofColumns * right * right);
    this.length.textContent = `${length.toFixed(1)} ${metric ? "mm" : "pixels"}`;
    this.length.style.left = `${(100 * (ruler.to[1] + 0.5)) / columns}%`;
    this.length.style.top = `${(100 * (ruler.to[0] + 0.5)) / rows}%`;
  }

  // --- zoom

  /** Shows the picture so many times as large, its corner at a part of the frame; no edge comes into the frame. */
  setZoom(scale, x, y) {
    scale = Math.min(Math.max(scale, 1), MOST_ZOOM);
    const within = (at) => Math.min(Math.max(at, 1 - scale), 0);
    this.zoom = { scale, x: within(x), y: within(y) };
    const percent = (share) => `${100 * share}%`;
    Object.assign(this.sheet.style, { width: percent(scale), height: percent(scale), left: percent(this.zoom.x), top: percent(this.zoom.y) });
    const columns = this.shown ? this.images[this.shown.image].columns : Infinity;
    const pixel = (this.frame.clientWidth * scale) / columns;
    this.canvas.style.imageRendering = scale > 1 && pixel >= SQUARES_FROM ? "pixelated" : "";
    this.whole.disabled = this.farther.disabled = scale === 1;
    this.nearer.disabled = scale === MOST_ZOOM;
    this.times.value = `× ${scale.toFixed(1)}`;
  }

  /** Zooms so that a point of the page stays where it is; without one, the middle. */
  zoomBy(factor, at = null) {
    const place = this.frame.getBoundingClientRect();
    const [right, down] = at ? [(at[0] - place.left) / place.width, (at[1] - place.top) / place.height] : [0.5, 0.5];
    const { scale, x, y } = this.zoom;
    const wanted = Math.min(Math.max(scale * factor, 1), MOST_ZOOM);
    this.setZoom(wanted, right - ((right - x) * wanted) / scale, down - ((down - y) * wanted) / scale);
  }

  /** Two fingers zoom by their distance and move by their middle. */
  pinch(event) {
    const seen = () => {
      const [[x, y], [otherX, otherY]] = [...this.touches.values()];
      return { middle: [(x + otherX) / 2, (y + otherY) / 2], apart: Math.max(Math.hypot(x - otherX, y - otherY), 1) };
    };
    const before = seen();
    this.touches.set(event.pointerId, [event.clientX, event.clientY]);
    const now = seen();
    const { width, height } = this.frame.getBoundingClientRect();
    const [dx, dy] = [now.middle[0] - before.middle[0], now.middle[1] - before.middle[1]];
    this.setZoom(this.zoom.scale, this.zoom.x + dx / width, this.zoom.y + dy / height);
    this.zoomBy(now.apart / before.apart, now.middle);
  }

  toggleWide() {
    if (this.root.matches(":fullscreen")) document.exitFullscreen();
    else if (this.root.classList.contains("asv-wide")) this.setWide(false);
    else {
      this.setWide(true);
      // Where the page around forbids it, the picture gets the full width.
      this.root.requestFullscreen?.().catch(() => {});
    }
  }

  setWide(on) {
    this.root.classList.toggle("asv-wide", on);
    this.wide.setAttribute("aria-pressed", on);
    this.fit();
  }

  // --- the pointer

  hover(event) {
    if (this.touches.size === 2 && this.touches.has(event.pointerId)) return this.pinch(event);
    this.moveRing(event);
    this.pointer = this.shown && this.pixelAt(event).map(Math.round);
    this.readPixel();
  }

  leave() {
    this.ring.hidden = true;
    this.pointer = null;
    this.readPixel();
  }

  twice() {
    if (this.draws) this.closePolygon();
    else if (this.drawing.tool === "look") this.setPreset();
  }

  /** Writes where the pointer is, the grey value there, and what is drawn there. */
  readPixel() {
    const { shown, pointer } = this;
    const image = shown && this.images[shown.image];
    const isInside = pointer && image && pointer.every((n, axis) => n >= 0 && n < [image.rows, image.columns][axis]);
    if (!isInside) {
      this.readout.textContent = "";
      return;
    }
    const [row, column] = pointer;
    const at = row * image.columns + column;
    const drawn = (labels) => image.structures.find((s) => s.label === labels[at])?.name ?? "nothing";
    const parts = [`column ${column + 1}, row ${row + 1}: ${this.valueOf(shown, at, image)}`];
    if (shown.labels) parts.push(drawn(shown.labels));
    if (shown.reference && this.look.reference) parts.push(`${this.model.get("_reference_name")}: ${drawn(shown.reference)}`);
    this.readout.textContent = parts.join(" · ");
  }

  /** Gives a pixel's intensity as text; where it was cut for the page, between what it lies. */
  valueOf(entry, at, { scale: [first, step, most], range: [low, high] }) {
    const number = entry.grey[at];
    const value = first + step * number;
    const text = Number.isInteger(first) && step === 1 ? String(value) : String(Number(value.toPrecision(4)));
    if (number === 0 && entry.gaps) return `${text} or less, or no number`;
    if (number === 0 && low < first - step / 2) return `${text} or less`;
    return number === most && high > value + step / 2 ? `${text} or more` : text;
  }

  /** Tells the kernel which pixel was clicked, of the slice that is shown: rows and columns of its image. */
  clickAt(event) {
    if (!this.shown || !this.model.get("_click_hint")) return;
    const [row, column] = this.pixelAt(event);
    this.model.send({ click: [this.shown.image, this.shown.slice, row, column] });
  }

  /** Ctrl and the wheel (so a touchpad's pinch comes, too) zoom, Shift and the wheel size the brush, the wheel moves on. */
  wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const delta = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      this.zoomBy(Math.exp(-0.01 * Math.min(Math.max(delta, -25), 25)), [event.clientX, event.clientY]);
      return;
    }
    const delta = event.deltaY || event.deltaX; // some systems turn the wheel on its side with Shift
    if (event.shiftKey && this.draws) {
      event.preventDefault();
      this.stepSize(delta < 0 ? 1 : -1);
      return;
    }
    // Only when the picture was clicked: else the page could not be scrolled past it.
    if (this.root.getRootNode().activeElement !== this.canvas) return;
    event.preventDefault();
    const now = performance.now();
    if (now - (this.wheeled || 0) < 40) return;
    this.wheeled = now;
    this.byHand(this.place + (delta < 0 ? 1 : -1));
  }

  // --- what is shown

  setLook(change) {
    Object.assign(this.look, change);
    this.opacity.output.value = `${Math.round(this.look.opacity * 100)} %`;
    if (this.shown) this.draw(this.shown);
    this.drawStrip();
  }

  setPreset(number) {
    if (!this.shown) return;
    const image = this.images[this.shown.image];
    const preset = number ?? image.window;
    const [name, centre, width] = image.windows[preset];
    this.setWindow(centre, width, preset, name);
  }

  setWindow(centre, width, preset = -1, name = "") {
    this.window = { preset, centre, width, name };
    this.showWindow();
    if (this.shown) this.draw(this.shown);
    this.drawStrip();
  }

  showWindow() {
    const text = (value) => (this.span > 20 ? value.toFixed(0) : value.toPrecision(3));
    for (const name of ["centre", "width"]) {
      this[name].input.value = this.window[name];
      this[name].output.value = text(this.window[name]);
    }
    this.presets.value = this.window.preset;
  }

  setHighlight(label) {
    this.model.set("highlight", label);
    this.model.save_changes();
  }

  /** Shows the slice that is wanted if it is here; else keeps the last one, under its own number, and waits. */
  update() {
    this.slider.value = this.place;
    this.followStrip();
    const words = this.singles ? `image ${this.place + 1} of ${this.stops.length}` : this.which(this.slice);
    this.slider.setAttribute("aria-valuetext", this.marks[this.place] ? `${words}, flagged` : words);
    this.slices.look(this.stops, this.place, this.direction);
    const entry = this.slices.get(this.image, this.slice);
    clearTimeout(this.timers.wait);
    if (entry) {
      this.say("");
      const { stroke } = this.drawing;
      if (stroke && stroke.entry !== entry && stroke.entry.image === entry.image && stroke.entry.slice === entry.slice) {
        stroke.entry = entry; // came while it is being drawn on
        stroke.before = entry.labels.slice();
        this.paintStroke(stroke.points);
      }
      this.draw(entry);
      this.waited = false;
      this.askSmallSoon();
      return;
    }
    this.waited = true;
    const began = performance.now();
    const wait = () => {
      const long = performance.now() - began > 15000;
      const advice = long ? " If it was stopped or restarted, run the cell again." : "";
      this.say(`Waiting for the kernel: ${words} …${advice}`);
      this.slices.pump();
      this.timers.wait = setTimeout(wait, 2000);
    };
    this.timers.wait = setTimeout(wait, 250);
  }

  /** Asks for the slices again: areas are shown now, or no more. */
  refresh() {
    this.slices.clear();
    if (this.shown) this.listStructures(this.images[this.shown.image]);
    if (this.shown) this.draw({ ...this.shown, areas: null });
    this.update();
  }

  say(words) {
    if (this.waiting.textContent !== words) this.waiting.textContent = words;
    this.waiting.style.display = words ? "" : "none";
  }

  draw(entry) {
    const began = performance.now();
    const image = this.images[entry.image];
    if (!this.shown || this.shown.image !== entry.image) this.setImage(image);
    const { rows, columns } = image;
    const highlight = this.model.get("highlight");
    this.painter.colours(image.structures, this.off, this.look, highlight);
    const greys = this.painter.greys(image.scale, this.window.centre, this.window.width);
    const out = new Uint32Array(this.data.data.buffer);
    this.painter.paint(entry, rows, columns, greys, out, this.look.reference);
    this.pixels.putImageData(this.data, 0, 0);
    this.shown = entry;
    this.drawMarks(entry);
    this.drawRuler();
    this.readPixel();
    this.caption(entry, image, highlight);
    // For whoever measures: whether it was waited for, when its message came, how long the drawing took.
    const { image: number, slice, came } = entry;
    const detail = { image: number, slice, waited: this.waited, came, ms: performance.now() - began };
    this.root.dispatchEvent(new CustomEvent("autoseg-drawn", { bubbles: true, detail }));
  }

  tell() {
    const click = this.model.get("_click_hint");
    const keys =
      "Keys: ← → slice, space plays, F next flagged. Drag the picture: window. Ctrl and the wheel, or + and −: zoom; " +
      "Shift and drag: move. R: ruler.";
    this.hint.textContent = click ? `${click} ${keys}` : keys;
  }

  /** Draws crosses, rings and boxes over the slice, as sharp as the screen is, however large its pixels are. */
  drawMarks(entry) {
    const { rows, columns } = this.images[entry.image];
    const mine = this.model.get("marks").filter((m) => m.image === entry.image && m.slice === entry.slice);
    const nodes = mine.map((m) => {
      const kind = m.size ? "asv-box" : m.text ? "asv-cross" : "asv-ring";
      const node = make("div", { class: kind }, ...(m.text ? [make("span", {}, m.text)] : []));
      node.style.left = `${(100 * (m.column + 0.5)) / columns}%`;
      node.style.top = `${(100 * (m.row + 0.5)) / rows}%`;
      node.style.color = m.colour;
      if (m.size) {
        node.style.height = `${(100 * m.size[0]) / rows}%`;
        node.style.width = `${(100 * m.size[1]) / columns}%`;
      }
      return node;
    });
    this.over.replaceChildren(...nodes);
  }

  /** Sets up what depends on the image: size, letters, windows, structures. */
  setImage(image) {
    const { rows, columns, aspect } = image;
    Object.assign(this.canvas, { width: columns, height: rows });
    this.data = this.pixels.createImageData(columns, rows);
    this.ratio = columns / (rows * aspect);
    this.outline.setAttribute("viewBox", `-0.5 -0.5 ${columns} ${rows}`);
    // Pictures of one size are likely of one place, and stay as near.
    const isAlike = this.shown && this.images[this.shown.image].rows === rows && this.images[this.shown.image].columns === columns;
    if (!isAlike) this.setZoom(1, 0, 0);
    this.fit();
    this.letters.forEach((node, i) => (node.textContent = image.letters[i]));
    const [, , auto] = image.windows[0];
    const [low, high] = image.range;
    const middle = image.windows[0][1];
    const from = Math.max(low, middle - 4 * auto);
    const to = Math.max(Math.min(high, middle + 4 * auto), from + auto / 10);
    this.span = to - from;
    const step = this.span > 200 ? 1 : this.span / 500;
    Object.assign(this.centre.input, { min: from, max: to, step });
    Object.assign(this.width.input, { min: step, max: Math.max(this.span, auto), step });
    const manual = make("option", { value: -1, disabled: true }, "by hand");
    this.presets.replaceChildren(...image.windows.map(([name], i) => make("option", { value: i }, name)), manual);
    const name = this.window.name;
    // What was set by hand stays while images are alike, as slices of one series are.
    if (this.window.preset !== -1 || !this.singles) {
      const same = image.windows.findIndex((window) => window[0] === name);
      const preset = same < 0 ? image.window : same;
      const [, centre, width] = image.windows[preset];
      this.window = { preset, centre, width, name: image.windows[preset][0] };
    }
    this.showWindow();
    this.drawStrip();
    this.followStrip();
    this.listStructures(image);
    this.listDrawn(image);
  }

  /** Sizes the picture; where it is wide, so that the slider and the buttons stay in view. */
  fit() {
    if (!this.ratio) return;
    let most = 560;
    if (this.root.classList.contains("asv-wide")) {
      const around = this.picture.offsetHeight - this.frame.offsetHeight + (this.choice?.parentElement.offsetHeight ?? 0);
      most = Math.max(200, window.innerHeight - around - (this.root.matches(":fullscreen") ? 30 : 150));
    }
    this.frame.style.aspectRatio = this.ratio;
    this.frame.style.width = `min(100%, ${Math.round(most * this.ratio)}px)`;
    this.setZoom(this.zoom.scale, this.zoom.x, this.zoom.y);
  }

  listStructures(image) {
    this.list.replaceChildren();
    this.lines = new Map();
    if (!image.structures.length) return;
    const table = make("table", { class: "asv-areas" });
    const head = make("tr", {}, make("th", { scope: "col" }, "Structure"));
    head.append(make("th", { scope: "col", class: "asv-number" }, image.unit));
    const withheld = image.unit && this.model.get("withheld");
    const level = image.level && !withheld ? ` with ${image.level} interval` : "";
    const caption = make("caption", {}, image.unit ? `Areas on this slice${level}` : "Structures");
    if (image.light) {
      const light = make("div", { class: "asv-light" });
      const icon = new DOMParser().parseFromString(image.light.icon, "text/html").body.firstElementChild;
      light.append(icon, ` ${image.light.words}`);
      caption.append(light);
    }
    if (withheld) caption.append(make("div", { class: "asv-none" }, withheld));
    table.append(caption, make("thead", {}, head));
    const body = make("tbody");
    for (const s of image.structures) {
      const box = make("input", { type: "checkbox", checked: !this.off.has(s.label), "aria-label": `Show ${s.name}` });
      box.addEventListener("change", () => {
        if (box.checked) this.off.delete(s.label);
        else this.off.add(s.label);
        this.draw(this.shown);
        this.drawStrip();
      });
      const swatch = make("span", { class: "asv-swatch", "aria-hidden": "true" });
      swatch.style.background = `rgb(${s.colour})`;
      const name = make("button", { type: "button", class: "asv-name", "aria-pressed": "false" }, s.name);
      name.title = `Let ${s.name} stand out, or all alike again`;
      name.addEventListener("click", () => {
        this.setHighlight(this.model.get("highlight") === s.label ? 0 : s.label);
      });
      const area = make("td", { class: "asv-number" });
      const row = make("tr", {}, make("th", { scope: "row" }, box, swatch, name), area);
      const flags = make("td", { colspan: 2 });
      const below = make("tr", {}, flags);
      body.append(row, below);
      this.lines.set(s.label, { box, name, area, row, flags, below });
    }
    table.append(body);
    this.list.append(table);
  }

  /** Says which slice it is by the number that stands in tables and files, of a part of a stack too. */
  which(slice, image = this.images[this.image]) {
    const last = image.first + image.slices - 1;
    const of = image.first === 1 ? ` of ${last}` : last > image.first ? ` (${image.first} to ${last})` : "";
    return `slice ${image.first + slice}${of}`;
  }

  /** Writes what belongs to the picture that was just drawn, and to no other. */
  caption(entry, image, highlight) {
    const parts = [this.which(entry.slice, image).replace("slice", "Slice")];
    if (this.singles) parts[0] = `Image ${entry.image + 1} of ${this.images.length}`;
    if (this.singles && image.first > 1) parts.push(this.which(entry.slice, image));
    if (this.images.length > 1) parts.push(image.name);
    parts.push(image.positions ? `${image.positions[entry.slice].toFixed(1)} mm` : "position unknown");
    if (image.levels[entry.slice]) parts.push(`level ${image.levels[entry.slice]}`);
    const words = parts.join(" · ");
    if (this.title.textContent !== words) this.title.textContent = words;
    Object.assign(this.canvas.dataset, { image: entry.image, slice: entry.slice });
    this.canvas.setAttribute("aria-label", `Picture of ${words}. Arrow keys change the slice, space plays.`);
    const withheld = this.model.get("withheld");
    for (const s of image.structures) {
      const line = this.lines.get(s.label);
      const { area, interval, pixels, flags, dice, poor } = entry.areas?.[s.label] || { area: null };
      const none = !s.drawn ? "not drawn" : !image.unit ? "" : withheld ? "hidden" : entry.areas ? "not measured" : "…";
      line.area.textContent = area ?? none;
      if (interval) line.area.append(make("div", { class: "asv-interval" }, `(${interval})`));
      line.area.classList.toggle("asv-none", area === null);
      line.area.title = area === null ? "" : `${pixels} pixel${pixels === 1 ? "" : "s"}`;
      line.flags.replaceChildren(...(dice ? [make("div", { class: poor && "asv-poor" }, dice)] : []), ...(flags ? [`⚠ ${flags}`] : []));
      line.flags.className = flags ? "asv-flags asv-flagged" : "asv-flags";
      line.below.hidden = !flags && !dice;
      line.row.classList.toggle("asv-lit", s.label === highlight);
      line.name.setAttribute("aria-pressed", s.label === highlight);
      line.box.checked = !this.off.has(s.label);
    }
  }
}

export default () => {
  let slices = null;
  return {
    initialize({ model }) {
      slices = new Slices(model);
      return () => slices.close();
    },
    render({ model, el }) {
      const view = new View(model, el, slices);
      return () => view.close();
    },
  };
};
