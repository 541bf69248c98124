"use strict";
// Draws the figures, sorts the tables and shows the rollouts. No statistics are computed here.
const $ = (id) => document.getElementById(id);
const darkness = matchMedia("(prefers-color-scheme: dark)");
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
let data;

// Show invisible and bidirectional control characters as escapes.
const visible = (text) => String(text).replace(HIDDEN, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const short = (value) => value === null || Number.isNaN(value) ? "unknown" : String(Number(value.toPrecision(3)));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (pair) => darkness.matches ? pair[1] : pair[0];

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function start() {
  data = JSON.parse($("data").textContent);
  keys();
  tables();
  if (data.rollouts) reader.start();
  requestAnimationFrame(() => setTimeout(load, 0));
}

async function load() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await inflate($("library").textContent));
  document.head.append(script);
  $("library").textContent = "";
  Bokeh.set_log_level("warn");
  figures.start();
}

// ---- figures

const figures = {
  waiting: [],
  drawn: new Map(),

  start() {
    this.waiting = [...document.querySelectorAll("[data-figure]")];
    const seen = new IntersectionObserver((entries) => {
      for (const each of entries) if (each.isIntersecting) this.draw(each.target);
    }, { rootMargin: "200px" });
    this.waiting.forEach((node) => seen.observe(node));
    if (data.rollouts) reader.draw();
    const rest = () => {
      const node = this.waiting.find((each) => !this.drawn.has(each));
      if (!node) { document.documentElement.dataset.drawn = "all"; return; }
      this.draw(node);
      setTimeout(rest, 30);
    };
    setTimeout(rest, 400);
    darkness.addEventListener("change", () => {
      this.again();
      if (data.rollouts) reader.draw();
    });
    $("log")?.addEventListener("change", () => this.again((node) => node.dataset.figure === "figure1 0"));
    for (const button of document.querySelectorAll(".jump"))
      button.addEventListener("click", () => reader.jump(Number(button.dataset.alpha)));
  },

  // Apply the logarithmic KL axis if it is checked.
  scaled(spec) {
    if (!$("log")?.checked || !spec.log) return spec;
    const [lo, hi] = spec.log;
    const raised = (list) => list && list.map((value) => value === null ? null : Math.max(value, lo));
    const kept = spec.series.map((each) => Array.isArray(each.x) ? { ...each, y: raised(each.y), lo: raised(each.lo), hi: raised(each.hi) } : each);
    return { ...spec, series: kept, y: { ...spec.y, log: true, lo, hi } };
  },

  again(which = () => true) {
    const nodes = [...this.drawn.keys()].filter(which);
    nodes.forEach((node) => { this.drawn.delete(node); node.replaceChildren(); this.draw(node); });
  },

  draw(node) {
    if (this.drawn.has(node)) return;
    const [name, row] = node.dataset.figure.split(" ");
    const spec = data.figures[name][Number(node.dataset.column)][Number(row)];
    const scaled = this.scaled(spec);
    const plot = figure(scaled, spec.low ? 140 : name === "figure1" ? 190 : name === "survival" ? 220 : 260, node.clientWidth < 500);
    scaled.series.forEach((each) => series(plot, each));
    this.drawn.set(node, scaled.y.log ? "log" : "linear");
    show(plot, node).then(() => { node.firstElementChild.inert = true; });  // skip the figure in the tab order
  },
};

const views = new Map();

const show = (plot, node) => Bokeh.Plotting.show(plot, node).then((view) => { views.set(node, view); });

// Plots resize too late for printing; images of them resize at once.
function putOnPaper() {
  for (const [node, view] of views) {
    node.querySelector(".paper")?.remove();
    if (!node.childElementCount) continue;
    const { canvas } = view.export("png", true);
    canvas.removeAttribute("style");
    canvas.className = "paper";
    node.append(canvas);
  }
}

// Skip the figure in the tab order: the lists above it select the same rollouts.
function skipInTabOrder(node) {
  for (const each of node.querySelectorAll("*")) {
    if (each.tabIndex >= 0) each.tabIndex = -1;
    if (each.shadowRoot) skipInTabOrder(each.shadowRoot);
  }
}

// Keep the end of a long name, which differs between seeds and windows.
function shortened(name, narrow) {
  const text = visible(name).replace(/\$/g, "\uff04"), most = narrow ? 18 : 44;
  return text.length > most ? "\u2026" + text.slice(1 - most) : text;
}

function figure(spec, height, narrow = false) {
  const ink = css("--ink"), quiet = css("--quiet"), paper = css("--paper"), line = css("--line");
  const options = {
    title: spec.title || undefined, height, sizing_mode: "stretch_width", toolbar_location: null, tools: [],
    background_fill_color: paper, border_fill_color: paper, outline_line_color: line,
    x_axis_type: spec.x.log ? "log" : "linear", y_axis_type: spec.y.rows ? "auto" : spec.y.log ? "log" : "linear",
    min_border_left: 58, min_border_right: 8, min_border_bottom: 8,
  };
  const rows = spec.y.rows;
  const fixed = (axis) => typeof axis.lo === "number" && typeof axis.hi === "number";
  const span = (axis) => fixed(axis) ? new Bokeh.Range1d({ start: axis.lo, end: axis.hi }) : new Bokeh.DataRange1d({
    start: typeof axis.lo === "number" ? axis.lo : undefined, end: typeof axis.hi === "number" ? axis.hi : undefined,
    range_padding: axis.log ? 0.15 : 0.06,
  });
  options.x_range = span(spec.x);
  options.y_range = rows ? new Bokeh.FactorRange({ factors: rows.map((name, i) => shortened(name, narrow) + "\u200b".repeat(i)).reverse() }) : span(spec.y);
  if (rows) options.height = Math.max(height, 70 + 17 * rows.length);
  const plot = Bokeh.Plotting.figure(options);
  if (plot.title && plot.title.text !== undefined) Object.assign(plot.title, { text_color: ink, text_font_size: "12.5px" });
  for (const [axis, label] of [[plot.xaxis, spec.x.label], [plot.yaxis, spec.y.label]]) {
    axis.axis_label = label || "";
    axis.axis_label_text_color = quiet; axis.axis_label_text_font_style = "normal"; axis.axis_label_text_font_size = "12px";
    axis.major_label_text_color = quiet; axis.major_label_text_font_size = "11px";
    axis.axis_line_color = line; axis.major_tick_line_color = line; axis.minor_tick_line_color = null;
  }
  if (spec.x.ticks) {
    const ticker = new Bokeh.FixedTicker({ ticks: spec.x.ticks.map(([at]) => at), minor_ticks: spec.x.minor });
    plot.xaxis.ticker = ticker;
    plot.xgrid.ticker = ticker;
    plot.xaxis.major_label_overrides = new Map(spec.x.ticks);
    plot.xaxis.minor_tick_line_color = line;
  }
  plot.grid.grid_line_color = line;
  plot.grid.grid_line_alpha = 0.6;
  return plot;
}

const numbers = (list) => list.map((value) => value === null ? NaN : value);

function series(plot, each) {
  const c = each.colour && colour(each.colour), dash = each.dash || "solid";
  const s = Object.fromEntries(["x", "y", "lo", "hi"].filter((k) => Array.isArray(each[k])).map((k) => [k, numbers(each[k])]));
  if (each.kind === "line") return plot.line(s.x, s.y, { line_color: c, line_width: each.width || 2, line_dash: dash });
  if (each.kind === "band") return plot.varea(s.x, s.lo, s.hi, { fill_color: c, fill_alpha: 0.15 });
  if (each.kind === "points") return plot.scatter(s.x, s.y, { marker: each.marker, size: each.marker === "diamond" ? 11 : 8, fill_color: c, line_color: css("--paper") });
  if (each.kind === "whisker") return plot.segment(s.x, s.lo, s.x, s.hi, { line_color: c, line_width: 1.6 });
  if (each.kind === "across") return plot.segment(s.lo, s.y, s.hi, s.y, { line_color: c, line_width: 1.8 });
  if (each.kind === "span") return plot.add_layout(new Bokeh.BoxAnnotation({ left: each.lo, right: each.hi, fill_color: css("--quiet"), fill_alpha: 0.14, line_color: null }));
  return plot.add_layout(new Bokeh.Span({ location: each.y, dimension: "width", line_color: css("--ink"), line_dash: "dashed", line_width: 1.2 }));
}

function keys() {
  const shapes = {
    circle: '<circle cx="17" cy="6" r="4"/>', square: '<rect x="13" y="2" width="8" height="8"/>',
    diamond: '<path d="M17 1l5 5-5 5-5-5z"/>', triangle: '<path d="M17 1l5 9h-10z"/>', inverted_triangle: '<path d="M17 11l5-9h-10z"/>',
    hex: '<path d="M12 6l2.5-4.4h5L22 6l-2.5 4.4h-5z"/>', star: '<path d="M17 0l1.6 4H23l-3.5 2.7L21 11l-4-2.6L13 11l1.5-4.3L11 4h4.4z"/>',
  };
  const dashes = { dashed: "6 3", dotted: "2 3", dotdash: "2 3 6 3", dashdot: "6 3 2 3" };
  for (const svg of document.querySelectorAll(".legend svg"))
    svg.innerHTML = `<line x1="0" y1="6" x2="34" y2="6" stroke="currentColor" stroke-width="2.4" stroke-dasharray="${dashes[svg.dataset.dash] || ""}"/><g fill="currentColor">${shapes[svg.dataset.marker] || ""}</g>`;
}

// ---- tables

function tables() {
  for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button));
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
  for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => save(button.dataset.save));
  for (const link of document.querySelectorAll('a[href^="#t-"]'))
    link.addEventListener("click", () => { $(link.hash.slice(1)).open = true; });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  addEventListener("beforeprint", putOnPaper);
  addEventListener("afterprint", () => document.querySelectorAll(".paper").forEach((each) => each.remove()));
}

function sort(button) {
  const head = button.parentNode, row = head.parentNode, body = row.closest("table").tBodies[0];
  const column = [...row.children].indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of row.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (tr) => {
    const cell = tr.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // missing values last in both orders
    const sign = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
    return down ? -sign : sign;
  };
  body.append(...[...body.rows].sort(order));
}

async function copy(button) {
  const text = data.csv[button.dataset.copy], says = button.parentNode.querySelector("[role=status]");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  says.textContent = "Copied.";
}

function save(name) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([data.csv[name]], { type: "text/csv" }));
  link.download = `${name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- reading

const reader = {
  at: { cell: 0, alpha: 0, prompt: 0 },
  rows: [],
  packs: new Map(),

  start() {
    const { cells, alphas, prompts } = data.rollouts;
    const methods = [...new Set(cells.method)];
    fill($("c-method"), methods.map((name, i) => [i, name]));
    fill($("c-prompt"), prompts.map((prompt, i) => [i, prompt]));
    this.methods = methods;
    $("c-method").addEventListener("change", () => { this.listCells(); this.go(); });
    $("c-cell").addEventListener("change", () => { this.listAlphas(); this.go(); });
    for (const id of ["c-alpha", "c-prompt"]) $(id).addEventListener("change", () => this.go());
    $("c-before").addEventListener("click", () => this.step(-1));
    $("c-after").addEventListener("click", () => this.step(1));
    $("token").addEventListener("input", () => this.point(Number($("token").value)));
    $("said").addEventListener("click", (event) => {
      const token = event.target.closest(".t");
      if (token) this.point(Number(token.dataset.i));
    });
    const wanted = /^#read=(\d+),(\d+),(\d+)$/.exec(location.hash);
    const [cell, alpha, prompt] = wanted ? wanted.slice(1).map(Number) : [this.first(), null, 0];
    $("c-method").value = methods.indexOf(cells.method[cell] ?? methods[0]);
    this.listCells();
    if (cells.run_id[cell] !== undefined) $("c-cell").value = cell;
    this.listAlphas();
    const start = alpha ?? nearest(alphas, 1);
    if ([...$("c-alpha").options].some((each) => Number(each.value) === start)) $("c-alpha").value = start;
    if (prompt < prompts.length) $("c-prompt").value = prompt;
    this.go(false);
  },

  first() { return Number(Object.keys(data.rollouts.places)[0].split(" ")[0]); },

  listCells() {
    const { cells, places } = data.rollouts, method = this.methods[Number($("c-method").value)];
    const there = new Set(Object.keys(places).map((key) => Number(key.split(" ")[0])));
    const own = cells.run_id.map((name, i) => [i, name]).filter(([i]) => cells.method[i] === method && there.has(i));
    fill($("c-cell"), own);
    this.listAlphas();
  },

  listAlphas() {
    const { alphas, places } = data.rollouts, cell = $("c-cell").value, before = $("c-alpha").value;
    const there = alphas.map((alpha, i) => [i, alpha]).filter(([i]) => places[`${cell} ${i}`]);
    fill($("c-alpha"), there);
    if (there.some(([i]) => String(i) === before)) $("c-alpha").value = before;
  },

  step(by) {
    const choice = $("c-prompt"), n = choice.options.length;
    choice.selectedIndex = (choice.selectedIndex + by + n) % n;
    this.go();
  },

  jump(alpha) {
    const i = nearest(data.rollouts.alphas, alpha);
    if ([...$("c-alpha").options].some((each) => Number(each.value) === i)) $("c-alpha").value = i;
    this.go();
    $("read").scrollIntoView();
    $("c-alpha").focus({ preventScroll: true });
  },

  async pack(cell, alpha) {
    const key = `${cell} ${alpha}`;
    if (!this.packs.has(key)) {
      const [from, length] = data.rollouts.places[key];
      this.text ??= $("packs").textContent;
      if (this.packs.size > 40) this.packs.clear();
      this.packs.set(key, inflate(this.text.slice(from, from + length)).then(unpack));
    }
    return this.packs.get(key);
  },

  async go(remember = true) {
    if (!$("c-cell").value) return;
    const at = { cell: Number($("c-cell").value), alpha: Number($("c-alpha").value), prompt: Number($("c-prompt").value) };
    const same = this.rows.length && at.cell === this.at.cell && at.alpha === this.at.alpha;
    this.at = at;
    const rows = await this.pack(at.cell, at.alpha);
    if (this.at !== at) return;  // another rollout was chosen meanwhile
    this.rows = rows;
    if (remember) history.replaceState(null, "", `#read=${at.cell},${at.alpha},${at.prompt}`);
    this.show(rows[at.prompt]);
    if (same) this.highlight(); else this.draw();
    $("read").dataset.shown = `${at.cell} ${at.alpha} ${at.prompt}`;
  },

  show(row) {
    const { cells, alphas, forks } = data.rollouts, { cell, alpha } = this.at;
    const said = $("said"), kl = row.kl.map(nats), target = cells.target_kl[cell] || 1;
    $("fate").textContent = this.fate(row, cell, alpha);
    $("asked-box").hidden = !row.prompt;
    $("asked").textContent = visible(row.prompt || "");
    $("ramp-end").textContent = `${short(6 * target)} nats or more`;
    const squares = !row.text && row.n > 0;
    const whole = row.text && !row.divided;
    said.classList.toggle("squares", squares);
    const parts = document.createDocumentFragment(), at = new Map(forks.map((fork, i) => [fork, i]));
    this.marks = [];
    const mark = (fork) => {
      const i = at.get(fork), pmass = i === undefined ? null : row.pmass[i];
      if (pmass === null || pmass === undefined) return;
      const dead = row.died && fork === row.end;
      const node = make("span", `${dead ? "died, pmass " : ""}${pmass}`, dead ? "fork dead" : "fork");
      node.title = `pmass at token ${fork}`;
      this.marks[i] = node;
      parts.append(node, "\u200b");
    };
    if (whole) parts.append(visible(row.text));
    else {
      const points = row.text ? Array.from(row.text) : [];
      let from = 0;
      for (let i = 0; i < row.n; i++) {
        mark(i);
        const node = make("span", undefined, "t");
        if (!squares) {
          const text = points.slice(from, from += row.chars[i]).join("");
          node.textContent = visible(text).replace(/\n/g, "\u21b5\n");
        }
        node.dataset.i = i;
        node.style.setProperty("--k", shade(kl[i], target));
        parts.append(node);
      }
      mark(row.n);
    }
    if (!row.n) parts.append(row.length ? "KL was not recorded." : "No tokens were generated.");
    said.replaceChildren(parts);
    said.scrollTop = 0;
    this.margin(row);
    const token = $("token");
    token.max = Math.max(row.n - 1, 0);
    token.value = 0;
    token.closest(".token").hidden = whole || !row.n;
    $("token-says").textContent = whole ? "" : "Choose a token, or click one.";
    this.kl = kl;
  },

  fate(row, cell, alpha) {
    const { cells, alphas, threshold } = data.rollouts;
    const dose = `alpha ${short(alphas[alpha])}, coefficient ${short(alphas[alpha] * cells.c_star[cell])}`;
    const length = row.length === null ? "" : ` ${row.length} of ${cells.window[cell]} tokens.`;
    const died = row.died ? ` Died: first below pmass ${threshold} at token ${row.end}${row.recovered ? ", and recovered later" : ""}.`
      : row.end >= 0 ? ` Alive at its last fork, token ${row.end}.` : " No forks.";
    const again = row.repetition === null ? "" : ` Worst share of repeated 3-grams: ${Math.round(100 * row.repetition)}%.`;
    const whole = row.text && !row.divided ? " Tokens were not recorded, so the text is not shaded." : "";
    return `${visible(cells.run_id[cell])} at ${dose}.${length}${died}${again}${whole}`;
  },

  margin(row) {
    const list = $("forks");
    list.replaceChildren();
    data.rollouts.forks.forEach((fork, i) => {
      const pmass = row.pmass[i];
      if (pmass === null || pmass === undefined) return;
      const item = make("li"), dead = row.died && fork === row.end;
      const button = make("button", `token ${fork}: ${pmass}${dead ? ", died" : ""}`);
      button.type = "button";
      button.style.setProperty("--p", `${100 * pmass}%`);
      button.addEventListener("click", () => this.marks[i] && this.marks[i].scrollIntoView({ block: "nearest" }));
      if (dead) item.className = "dead";
      item.append(button);
      list.append(item);
    });
    list.parentNode.hidden = !list.children.length;
  },

  point(i) {
    const said = $("said");
    said.querySelector(".t.on")?.classList.remove("on");
    const node = said.querySelector(`.t[data-i="${i}"]`);
    if (!node) return;
    node.classList.add("on");
    node.scrollIntoView({ block: "nearest" });
    $("token").value = i;
    const text = node.textContent ? `\u201c${node.textContent.replace(/\n/g, "").slice(0, 60)}\u201d, ` : "";
    const kl = this.kl[i];
    $("token-says").textContent = `${i}: ${text}KL ${Number.isNaN(kl) ? "unknown" : kl <= data.rollouts.least ? "under 0.0001" : "about " + Number(kl.toPrecision(2))}`;
  },

  draw() {
    if (!window.Bokeh || !this.rows.length) return;
    const { cells } = data.rollouts, { cell } = this.at, target = cells.target_kl[cell] || 1;
    const window_ = cells.window[cell];
    const lines = this.rows.map((row) => {
      const n = row.line.length;
      return { x: row.line.map((_, k) => n > 1 ? Math.round(k * (row.n - 1) / (n - 1)) : 0), y: row.line };
    });
    this.lines = lines;
    const high = Math.max(1.3 * target, ...lines.flatMap((line) => line.y).filter((y) => !Number.isNaN(y)));
    const content = { xs: lines.map((l) => l.x), ys: lines.map((l) => l.y), c: this.rows.map((row) => css(row.died ? "--dead" : "--alive")), d: this.rows.map((row) => row.died ? "dashed" : "solid") };
    if (this.plot && this.theme === darkness.matches) {
      this.source.selected.indices = [];
      this.source.data = content;
      this.rule.location = target;
      this.plot.y_range.end = 1.05 * high;
      this.plot.x_range.end = window_;
      this.highlight();
      return;
    }
    this.theme = darkness.matches;
    const plot = figure({ title: "", x: { label: "token", lo: 0, hi: window_ }, y: { label: "KL, nats", lo: 0, hi: 1.05 * high } }, 280);
    this.source = new Bokeh.ColumnDataSource({ data: content });
    const glyph = plot.multi_line({ field: "xs" }, { field: "ys" }, { source: this.source, line_color: { field: "c" }, line_dash: { field: "d" }, line_width: 1.6, line_alpha: 0.75 });
    glyph.nonselection_glyph = null;
    glyph.selection_glyph = null;
    this.chosen = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
    plot.line({ field: "x" }, { field: "y" }, { source: this.chosen, line_color: css("--ink"), line_width: 3.2 });
    this.rule = new Bokeh.Span({ location: target, dimension: "width", line_color: css("--ink"), line_dash: "dashed" });
    plot.add_layout(this.rule);
    plot.add_tools(new Bokeh.TapTool({ renderers: [glyph] }));
    this.source.selected.properties.indices.change.connect(() => {
      const [i] = this.source.selected.indices;
      if (i === undefined) return;
      $("c-prompt").selectedIndex = i;
      this.go();
    });
    this.plot = plot;
    $("lines").replaceChildren();
    show(plot, $("lines")).then(() => skipInTabOrder($("lines")));
    this.highlight();
  },

  highlight() {
    if (!this.chosen) return;
    const line = this.lines[this.at.prompt];
    this.chosen.data = line ? { ...line } : { x: [], y: [] };
  },
};

const nats = (level) => level === 0 ? NaN : data.rollouts.least * data.rollouts.ratio ** (level - 1);
const shade = (kl, target) => Number.isNaN(kl) ? 0 : Math.min(0.62, 0.62 * Math.sqrt(kl / (6 * target))).toFixed(3);
const nearest = (list, value) => list.reduce((best, each, i) => Math.abs(each - value) < Math.abs(list[best] - value) ? i : best, 0);

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => {
    const option = make("option", visible(text));
    option.value = value;
    return option;
  }));
}

function unpack(buffer) {
  const view = new DataView(buffer), head = view.getUint32(0, true);
  const rows = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, head)));
  let at = 4 + head;
  const pairs = (bytes) => Array.from({ length: bytes.length / 2 }, (_, i) => bytes[2 * i] + 256 * bytes[2 * i + 1]);
  const take = (n) => Array.from(new Uint8Array(buffer, (at += n) - n, n));
  for (const row of rows) {
    row.kl = take(row.n);
    row.line = pairs(take(2 * row.columns)).map((each) => each === 65535 ? NaN : each / 1000);
    if (row.divided) {
      row.chars = pairs(take(2 * row.n));
    }
  }
  return rows;
}
