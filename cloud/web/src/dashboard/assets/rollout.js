// <rollout-progress>: follows a rollout until it ends. The cloud answers as soon as something has changed; then counts, bar,
// cells and the table of devices that did not go as planned are brought up to date. A device that runs the new release is
// named with its digest, and what it sends follows.
const WAIT_S = 20;
const RETRY_MS = 3000;
const RELOAD_MS = 5000;
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
const COMPLETE = { deployed: "deployed", rolled_back: "rolled back" };
const ORDER = ["rolled_back", "failed", "cancelled", "committed", "trial", "updating", "deferred", "waiting"];

class RolloutProgress extends HTMLElement {
  connectedCallback() {
    this.places = new Map();
    this.log = this.querySelector("[data-live-log]");
    for (const cell of this.querySelectorAll("a.cell[data-device]")) {
      if (cell.dataset.state === "committed") this.places.set(cell.dataset.device, "committed");
    }
    this.onEntry = (event) => this.entry(event.detail);
    document.addEventListener("iottly:entry", this.onEntry);
    if (this.hasAttribute("data-active")) this.follow();
  }

  disconnectedCallback() {
    this.gone = true;
    document.removeEventListener("iottly:entry", this.onEntry);
  }

  async follow() {
    let seen = "";
    while (!this.gone) {
      try {
        const query = seen ? `?seen=${seen}&wait=${WAIT_S}s` : "";
        const answer = await fetch(`${this.dataset.api}${query}`);
        if (answer.status === 401 || answer.status === 403 || answer.status === 404) return;
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
    const word = COMPLETE[status];
    if (!word) {
      setTimeout(() => location.reload(), 300);
      return true;
    }
    const tag = document.querySelector("[data-rollout-status] .tag");
    if (tag) {
      tag.dataset.tone = "good";
      text(tag, word);
    }
    for (const station of this.querySelectorAll(".route > li")) station.dataset.state = "done";
    for (const part of document.querySelectorAll('.actions form[action$="/pause"], .actions form[action$="/resume"], .actions a[href$="/cancel"]')) part.remove();
    return true;
  }

  async show({ counts }) {
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const element of this.querySelectorAll("[data-place]")) text(element, counts[element.dataset.place]);
    for (const element of this.querySelectorAll("[data-total]")) text(element, total);
    text(this.querySelector("[data-said]"), sentence(counts, total));
    this.bands(counts, total);
    if (this.dataset.cells === "many") {
      if (this.shownOnce) setTimeout(() => location.reload(), RELOAD_MS);
      this.shownOnce = true;
      return;
    }
    const answer = await fetch(`${this.dataset.api}/devices`);
    if (answer.ok) for (const device of (await answer.json()).devices) this.device(device);
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
    if (cell) this.row(entry.iso, entry.device, cell.dataset.name, entry.payload, entry.type === "iottlyagent" ? "agent" : "");
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
    this.log.prepend(row);
    while (this.log.childElementCount > MOST_ROWS) this.log.lastElementChild.remove();
  }
}

function sentence(counts, total) {
  const parts = ORDER.filter((place) => counts[place]).map((place) => `${counts[place]} ${place === "trial" ? "in trial" : place.replace("_", " ")}`);
  return parts.length ? `${parts.join(", ")}, of ${total} ${total === 1 ? "device" : "devices"}` : "No device is in this rollout.";
}

function text(element, value) {
  if (element && element.textContent !== String(value)) element.textContent = value;
}

customElements.define("rollout-progress", RolloutProgress);
