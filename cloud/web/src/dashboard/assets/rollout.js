// <rollout-progress>: follows a rollout until it ends. The cloud answers as soon as something has changed; then counts, bar,
// cells and the table of devices that did not go as planned are brought up to date, the cells of many devices and the table
// at most every few seconds. A device that runs the new release is named with its digest, and what it sends follows.
const WAIT_S = 20;
const TIMEOUT_MS = 40000;
const RETRY_MS = 3000;
const PARTS_MS = 5000;
const ENDED = {
  401: "You are logged out: this page does not follow the rollout any more. Load it again to log in.",
  403: "You may not see this rollout any more: this page does not follow it.",
  404: "This rollout is not kept any more: this page does not follow it.",
};
const MOST_ROWS = 40;
const BANDS = {
  "s-committed": ["committed"],
  "s-busy": ["updating", "trial"],
  "s-deferred": ["deferred"],
  "s-bad": ["failed", "rolled_back"],
  "s-wait": ["waiting", "cancelled"],
};
const CELLS = {
  committed: "committed", updating: "busy", trial: "trial", deferred: "deferred",
  failed: "bad", rolled_back: "bad", waiting: "wait", cancelled: "wait",
};
const COMPLETE = { deployed: ["deployed", "good"], rolled_back: ["rolled back", "warn"] };
// Places from the one that decides least on the look of a cell of several devices.
const SEVERITY = ["committed", "cancelled", "waiting", "trial", "updating", "deferred", "failed", "rolled_back"];
const ORDER = ["rolled_back", "failed", "cancelled", "committed", "trial", "updating", "deferred", "waiting"];

class RolloutProgress extends HTMLElement {
  connectedCallback() {
    this.places = new Map();
    this.held = [];
    this.log = this.querySelector("[data-live-log]");
    this.pauseButton = this.querySelector("[data-pause]");
    this.onPause = () => this.pause();
    // The page of many devices has no log of its own.
    if (this.pauseButton) {
      this.pauseButton.hidden = false;
      this.pauseButton.addEventListener("click", this.onPause);
    }
    for (const cell of this.querySelectorAll("a.cell[data-device]")) {
      if (cell.dataset.state === "committed") this.places.set(cell.dataset.device, "committed");
    }
    this.onEntry = (event) => this.entry(event.detail);
    document.addEventListener("iottly:entry", this.onEntry);
    if (this.hasAttribute("data-active")) this.follow();
  }

  disconnectedCallback() {
    this.gone = true;
    clearTimeout(this.timer);
    this.pauseButton?.removeEventListener("click", this.onPause);
    document.removeEventListener("iottly:entry", this.onEntry);
  }

  // A paused log keeps its rows where they are; what arrives is counted and shown when it continues.
  pause() {
    this.paused = !this.paused;
    this.pauseButton.setAttribute("aria-pressed", String(this.paused));
    text(this.querySelector("[data-pause-word]"), this.paused ? "Continue" : "Pause");
    if (!this.paused) for (const row of this.held.splice(0)) this.put(row);
    this.sayHeld();
  }

  sayHeld() {
    const held = this.held.length >= MOST_ROWS ? `${MOST_ROWS} or more` : this.held.length;
    text(this.querySelector("[data-log-said]"), this.paused ? `paused, ${held} new` : "from the moment this page was opened");
  }

  get(path) {
    return fetch(`${this.dataset.api}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  }

  async follow() {
    let seen = "";
    while (!this.gone) {
      try {
        const query = seen ? `?seen=${seen}&wait=${WAIT_S}s` : "";
        const answer = await this.get(query);
        if (ENDED[answer.status]) {
          this.end(ENDED[answer.status]);
          return;
        }
        if (!answer.ok) throw new Error(answer.statusText);
        const body = await answer.json();
        if (body.mark !== seen) await this.show(body);
        seen = body.mark;
        if (this.isOver(body.rollout.status)) return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  // A rollout that is complete stays on the page, so that what its devices send goes on. The buttons, reasons and evidence
  // of one that has halted or was steered are the server's to render.
  isOver(status) {
    if (status === this.dataset.status) return false;
    this.dataset.status = status;
    if (!COMPLETE[status]) {
      setTimeout(() => location.reload(), 300);
      return true;
    }
    const [word, tone] = COMPLETE[status];
    const tag = document.querySelector("[data-rollout-status] .tag");
    if (tag) {
      tag.dataset.tone = tone;
      text(tag, word);
    }
    for (const station of this.querySelectorAll(".route > li")) station.dataset.state = "done";
    for (const part of document.querySelectorAll('.actions a[href$="/pause"], .actions a[href$="/resume"], .actions a[href$="/cancel"]')) part.remove();
    return true;
  }

  end(words) {
    text(this.querySelector("[data-ended-text]"), words);
    this.querySelector("[data-ended]").hidden = false;
  }

  async show({ counts, exceptions }) {
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const element of this.querySelectorAll("[data-place]")) text(element, counts[element.dataset.place]);
    for (const element of this.querySelectorAll("[data-total]")) text(element, total);
    text(this.querySelector("[data-said]"), sentence(counts, total));
    this.bands(counts, total);
    this.stations(counts.committed);
    this.exceptionCount = exceptions;
    if (this.dataset.cells === "many") {
      this.soon();
      return;
    }
    const answer = await this.get("/devices");
    if (!answer.ok) throw new Error(answer.statusText);
    const devices = (await answer.json()).devices;
    for (const device of devices) this.device(device);
    this.exceptions(devices.filter(isException).slice(0, Number(this.dataset.rows)));
  }

  // Counts the healthy devices of each wave; a wave is done when all of its devices are.
  stations(done) {
    let before = 0;
    for (const span of this.querySelectorAll("[data-healthy]")) {
      const end = Number(span.dataset.healthy);
      text(span, `${Math.min(done, end)} of ${end} healthy`);
      const station = span.closest("li");
      if (done >= end) station.dataset.state = "done";
      else if (done >= before && station.dataset.state !== "bad") station.dataset.state = "now";
      before = end;
    }
  }

  // Brings cells of several devices and the table up to date, not more often than every few seconds.
  soon() {
    if (this.timer) return;
    const rest = Math.max(0, (this.drawn ?? -PARTS_MS) + PARTS_MS - performance.now());
    this.timer = setTimeout(async () => {
      try {
        await this.several();
      } catch {
        this.missed = true;
      }
      this.drawn = performance.now();
      this.timer = undefined;
      if (this.missed && !this.gone) this.soon();
      this.missed = false;
    }, rest);
  }

  async several() {
    const [whole, listed] = await Promise.all([
      this.get(`?parts=${this.dataset.parts}`),
      this.get(`/devices?exceptions=true&limit=${this.dataset.rows}`),
    ]);
    if (!whole.ok || !listed.ok) throw new Error("no answer");
    const { parts, exceptions } = await whole.json();
    const list = this.querySelector("ol.fleet");
    while (list.childElementCount > parts.length) list.lastElementChild.remove();
    while (list.childElementCount < parts.length) {
      const item = document.createElement("li");
      const cell = document.createElement("span");
      cell.className = "cell";
      cell.append(element("span", "sr"));
      item.append(cell);
      list.append(item);
    }
    parts.forEach((counts, index) => {
      const cell = list.children[index].querySelector(".cell");
      const worst = SEVERITY.findLast((place) => counts[place] > 0) ?? "waiting";
      const words = sentence(counts, Object.values(counts).reduce((sum, count) => sum + count, 0));
      cell.dataset.state = CELLS[worst];
      cell.title = words;
      text(cell.querySelector(".sr"), words);
    });
    this.exceptionCount = exceptions;
    this.exceptions((await listed.json()).devices);
  }

  // Rows are made anew only if one of them has changed, so that a reader keeps the place.
  exceptions(devices) {
    const card = this.querySelector("[data-exceptions]");
    card.hidden = !this.exceptionCount;
    text(this.querySelector("[data-exception-count]"), of(this.exceptionCount));
    const now = JSON.stringify(devices.map(({ device, place, reason, detail, fault, changed }) => [device, place, reason, detail, fault, changed]));
    if (now === this.listed) return;
    this.listed = now;
    this.querySelector("[data-exception-rows]").replaceChildren(...devices.map(exceptionRow));
  }

  bands(counts, total) {
    let from = 0;
    const bar = this.querySelector(".bands");
    bar.setAttribute("viewBox", `0 0 ${Math.max(total, 1)} 1`);
    bar.setAttribute("aria-label", sentence(counts, total));
    for (const [band, places] of Object.entries(BANDS)) {
      const width = places.reduce((sum, place) => sum + counts[place], 0);
      const rect = bar.querySelector(`[data-band="${band}"]`);
      rect.setAttribute("x", from);
      rect.setAttribute("width", width);
      from += width;
    }
  }

  device({ device, name, place, reason }) {
    const cell = this.querySelector(`a.cell[data-device="${CSS.escape(device)}"]`);
    if (!cell) return;
    const words = `${name}: ${place.replace("_", " ")}${reason ? `, ${reason}` : ""}`;
    if (cell.title !== words) {
      cell.dataset.state = CELLS[place];
      cell.title = words;
      text(cell.querySelector(".sr"), words);
    }
    const before = this.places.get(device);
    this.places.set(device, place);
    if (before === place) return;
    if (place === "committed") {
      const digest = this.dataset.digest ? `, digest ${this.dataset.digest.slice(0, 8)}` : "";
      this.row(new Date().toISOString(), device, name, `runs ${this.dataset.revision}${digest}, healthy`, "agent");
    } else if (place === "rolled_back" || place === "failed") {
      this.row(new Date().toISOString(), device, name, `${place.replace("_", " ")}${reason ? `: ${reason}` : ""}`, "agent");
    }
  }

  // Messages of the devices that run the new release.
  entry(entry) {
    if (this.places.get(entry.device) !== "committed") return;
    const cell = this.querySelector(`a.cell[data-device="${CSS.escape(entry.device)}"]`);
    if (cell) this.row(entry.iso, entry.device, cell.dataset.name, entry.size ? `${entry.payload} … (${entry.size} bytes)` : entry.payload, entry.type === "iottlyagent" ? "agent" : "");
  }

  row(iso, device, name, body, kind) {
    const row = document.createElement("li");
    row.dataset.new = "";
    if (kind) row.dataset.kind = kind;
    const time = document.createElement("time");
    time.dateTime = iso;
    time.textContent = iso.slice(11, 23);
    const link = document.createElement("a");
    link.className = "break";
    link.href = `${document.body.dataset.base}/devices/${encodeURIComponent(device)}`;
    link.textContent = name;
    const box = document.createElement("div");
    box.className = "body";
    const code = document.createElement(kind === "agent" ? "span" : "code");
    code.textContent = body;
    box.append(code);
    row.append(time, link, box);
    if (!this.paused) {
      this.put(row);
      return;
    }
    this.held.push(row);
    if (this.held.length > MOST_ROWS) this.held.shift();
    this.sayHeld();
  }

  put(row) {
    this.log.prepend(row);
    while (this.log.childElementCount > MOST_ROWS) this.log.lastElementChild.remove();
  }
}

function sentence(counts, total) {
  const parts = ORDER.filter((place) => counts[place]).map((place) => `${counts[place]} ${place === "trial" ? "in trial" : place.replace("_", " ")}`);
  return parts.length ? `${parts.join(", ")}, of ${of(total)}` : "No device is in this rollout.";
}

function of(count) {
  return `${count} ${count === 1 ? "device" : "devices"}`;
}

function isException({ place, reason }) {
  return Boolean(reason) || ["failed", "rolled_back", "deferred"].includes(place);
}

function element(name, classes, ...content) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...content);
  return made;
}

function exceptionRow({ device, name, place, reason, detail, fault, changed }) {
  const link = document.createElement("a");
  link.href = `${document.body.dataset.base}/devices/${encodeURIComponent(device)}`;
  link.append(element("b", "break", name));
  const why = element("td", "");
  if (reason) {
    const tag = element("span", "tag", reason);
    tag.dataset.tone = place === "failed" || place === "rolled_back" ? "bad" : "warn";
    tag.dataset.reason = "";
    why.append(tag);
  }
  const what = element("td", "p2 break", detail ?? "");
  if (fault) what.append(element("span", "sub mono break", fault));
  const when = element("td", "num soft p2", changed ? new Date(changed.$date ?? changed).toISOString().slice(11, 23) : "");
  return element("tr", "", element("td", "", link), element("td", "", place === "trial" ? "in trial" : place.replace("_", " ")), why, what, when);
}

function text(element, value) {
  if (element && element.textContent !== String(value)) element.textContent = value;
}

customElements.define("rollout-progress", RolloutProgress);
