// <plot-view>: reads values under the pointer or the arrow keys, and draws again what the server sends. Names of devices are
// never used as HTML.
const SVG = "http://www.w3.org/2000/svg";
const RENEW_MS = 10000;

class PlotView extends HTMLElement {
  connectedCallback() {
    this.frames = [...this.querySelectorAll(".plot-frame")];
    this.status = this.querySelector("[data-readout]");
    this.at = null;
    for (const frame of this.frames) {
      frame.addEventListener("pointermove", (event) => this.point(frame, event));
      frame.addEventListener("pointerleave", () => this.hide());
      frame.addEventListener("keydown", (event) => this.key(event));
      frame.addEventListener("blur", () => this.hide());
    }
    this.load();
    if ("live" in this.dataset) this.timer = setInterval(() => this.renew(), RENEW_MS);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  // A page that nobody looks at asks for nothing; one with a value being read is not changed under the pointer.
  renew() {
    if (document.visibilityState === "visible" && this.at === null) this.load(true);
  }

  async load(again = false) {
    if (this.loading) return;
    this.loading = true;
    try {
      const response = await fetch(this.dataset.src, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(30_000) });
      if (!response.ok) throw new Error(String(response.status));
      this.plot = await response.json();
      this.times = [...new Set(this.plot.lines.flatMap((line) => line.points.map(([at]) => at)))].sort((a, b) => a - b);
      // Without a line yet there is no picture; the server makes the first.
      if (again && this.frames.length === 0 && this.plot.lines.length > 0) location.reload();
      else if (again) this.draw();
    } catch {
      this.say("The plot is not renewed: the cloud does not answer. It is as of loading.");
    } finally {
      this.loading = false;
    }
  }

  draw() {
    for (const drawing of this.plot.drawings) {
      const frame = this.frames.find((frame) => frame.dataset.for === drawing.shape);
      frame?.replaceChildren(...drawing.elements.map(({ tag, attributes, text }) => element(tag, Object.fromEntries(attributes), text)));
    }
    this.rows();
  }

  // Rows belong to lines by their keys: devices come and go.
  rows() {
    const body = this.querySelector("tbody");
    if (!body?.rows.length) return;
    const known = new Map([...body.rows].map((row) => [row.dataset.line, row]));
    const rows = this.plot.lines.map((line) => {
      const row = known.get(line.key) ?? body.rows[0].cloneNode(true);
      row.dataset.line = line.key;
      row.querySelector("path").setAttribute("class", `line line-${line.colour}`);
      row.querySelector("b").textContent = line.name;
      for (const [n, cell] of [...row.querySelectorAll("td.num")].entries()) cell.textContent = line.cells[n];
      const few = row.querySelector("[data-few]");
      if (few) few.textContent = `${line.cells[4]} values, ${line.cells[5]} missing`;
      return row;
    });
    body.replaceChildren(...rows);
  }

  drawing(frame) {
    return this.plot?.drawings.find((drawing) => drawing.shape === frame.dataset.for);
  }

  point(frame, event) {
    const drawing = this.drawing(frame);
    if (!drawing || this.times.length === 0) return;
    const box = frame.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * drawing.width;
    const [left, right] = drawing.area;
    const [from, to] = drawing.times;
    this.show(nearest(this.times, from + ((x - left) / (right - left)) * (to - from)));
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.hide();
    if (!step || !this.times?.length) return;
    event.preventDefault();
    const here = this.at === null ? (step > 0 ? -1 : this.times.length) : this.times.indexOf(this.at);
    this.show(this.times[Math.max(0, Math.min(this.times.length - 1, here + step))]);
  }

  show(at) {
    this.at = at;
    // Lines have points at times of their own: of each the nearest one, unless it is far.
    const far = this.reach();
    const values = this.plot.lines
      .filter((line) => line.points.length > 0)
      .map((line) => {
        const time = nearest(line.points.map(([time]) => time), at);
        return { ...line, time, value: line.points.find((point) => point[0] === time)[1] };
      })
      .filter((line) => Math.abs(line.time - at) <= far);
    for (const frame of this.frames) this.mark(frame, at, values);
    const shown = values.slice(0, 6).map((line) => `${line.name} ${short(line.value)}`);
    this.say(`${new Date(at).toISOString().replace(".000Z", "Z")}: ${shown.join(", ")}`);
  }

  // Returns the distance beyond which a point is not the one that is pointed at: a fiftieth of the picture.
  reach() {
    const [from, to] = this.plot.drawings[0]?.times ?? [0, 0];
    return (to - from) / 50;
  }

  mark(frame, at, values) {
    const drawing = this.drawing(frame);
    frame.querySelector("[data-cursor]")?.remove();
    const [left, right, top, bottom] = drawing.area;
    const [from, to] = drawing.times;
    const [low, high] = drawing.values;
    const x = left + ((at - from) / (to - from)) * (right - left);
    const group = element("g", { "data-cursor": "" });
    group.append(element("path", { class: "cursor", d: `M${x} ${top}V${bottom}` }));
    for (const line of values) {
      const y = bottom - ((line.value - low) / (high - low)) * (bottom - top);
      const own = left + ((line.time - from) / (to - from)) * (right - left);
      group.append(element("circle", { class: `dot dot-${line.colour}`, cx: own, cy: y, r: 5 }));
    }
    frame.append(group);
  }

  hide() {
    this.at = null;
    for (const cursor of this.querySelectorAll("[data-cursor]")) cursor.remove();
  }

  say(text) {
    if (this.status) this.status.textContent = text;
  }
}

function element(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

function nearest(times, at) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - times[low - 1] < times[low] - at ? times[low - 1] : times[low];
}

function short(value) {
  return Number.isInteger(value) ? String(value) : value.toPrecision(5).replace(/\.?0+$/, "");
}

customElements.define("plot-view", PlotView);
