// <live-feed>: adds new messages on top of the list that the server rendered. Text from devices is never used as HTML.
// `data-show` is the lane of the page; messages of the other lane are counted. A message that is read pauses the list.
import { json } from "./json.js";

const MOST_ROWS = 200;

class LiveFeed extends HTMLElement {
  connectedCallback() {
    this.list = this.querySelector("ol");
    this.skippedLine = this.querySelector("[data-skipped]");
    this.countsLine = this.querySelector("[data-counts]");
    this.pauseButton = this.querySelector("[data-pause]");
    this.shown = 0;
    this.skippedCount = 0;
    this.waiting = [];
    this.dropped = 0;
    this.paused = false;
    this.pausedByReading = false;
    this.lane = this.dataset.show;
    this.hiddenCount = Number(this.dataset.hidden ?? 0);
    this.list.addEventListener("toggle", () => this.reading(), true);
    this.onEntry = (event) => this.add(event.detail);
    this.undecidedCount = 0;
    this.onSkipped = ({ detail }) => (detail.undecided ? this.countUndecided(detail.count) : this.countSkipped(detail.count));
    document.addEventListener("iottly:entry", this.onEntry);
    document.addEventListener("iottly:skipped", this.onSkipped);
    if (this.pauseButton) {
      this.pauseButton.hidden = false;
      this.pauseButton.addEventListener("click", () => this.togglePause());
    }
  }

  disconnectedCallback() {
    document.removeEventListener("iottly:entry", this.onEntry);
    document.removeEventListener("iottly:skipped", this.onSkipped);
  }

  // Entries of a frame are drawn together, so that hundreds per second do not cost a layout each.
  add(entry) {
    if (this.lane && (entry.type === "iottlyagent") !== (this.lane === "platform")) {
      this.hiddenCount += 1;
      this.showCounts();
      return;
    }
    this.waiting.push(entry);
    if (this.waiting.length > MOST_ROWS) {
      this.waiting.shift();
      this.dropped += 1;
    }
    if (this.paused) this.showCounts();
    else if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    this.querySelector(".empty")?.remove();
    for (const old of this.list.querySelectorAll("[data-new]")) old.removeAttribute("data-new");
    const entries = this.waiting.splice(0);
    this.shown += entries.length;
    if (this.dropped) {
      this.countSkipped(this.dropped);
      this.dropped = 0;
    }
    this.list.prepend(...entries.map((entry) => this.row(entry)).reverse());
    while (this.list.childElementCount > MOST_ROWS) this.list.lastElementChild.remove();
    this.showCounts();
  }

  // The list pauses while a message is open, unless it is paused already.
  reading() {
    const isOpen = this.list.querySelector("details.json[open]") !== null;
    if (isOpen === this.pausedByReading || (isOpen && this.paused)) return;
    this.togglePause();
    this.pausedByReading = isOpen;
  }

  togglePause() {
    this.pausedByReading = false;
    this.paused = !this.paused;
    this.pauseButton.setAttribute("aria-pressed", String(this.paused));
    this.pauseButton.childNodes[1].textContent = this.paused ? "Resume " : "Pause ";
    if (!this.paused) this.draw();
    else this.showCounts();
  }

  // While the list is paused, its number of waiting messages is announced at most once a second.
  showCounts() {
    if (!this.countsLine || this.countsTimer) return;
    this.countsTimer = setTimeout(() => {
      this.countsTimer = 0;
      const state = this.paused
        ? `paused; ${this.waiting.length + this.dropped} wait`
        : `${this.shown} since you opened the page`;
      this.countsLine.textContent = state + this.hiddenWords();
    }, 1000);
  }

  hiddenWords() {
    if (!this.hiddenCount) return "";
    const other = this.lane === "platform" ? "user" : "platform";
    return `; ${this.hiddenCount} ${other} message${this.hiddenCount === 1 ? "" : "s"} hidden`;
  }

  row(entry) {
    const row = document.createElement("li");
    if (entry.type === "iottlyagent") row.dataset.kind = "agent";
    row.dataset.new = "";
    const time = document.createElement("time");
    time.dateTime = entry.iso;
    time.textContent = entry.clock;
    row.append(time);
    if (this.list.dataset.with === "device") row.append(this.deviceLink(entry));
    const body = document.createElement("div");
    body.className = "body";
    if (entry.type === "iottlyagent") body.append(tag("agent"));
    if (entry.channel !== null) body.append(tag(entry.channel));
    body.append(json(entry.payload, entry.size));
    row.append(body);
    return row;
  }

  deviceLink(entry) {
    const link = document.createElement("a");
    link.href = `${document.body.dataset.base}/devices/${encodeURIComponent(entry.device)}`;
    link.className = "break";
    link.textContent = entry.name ?? entry.device;
    return link;
  }

  countSkipped(count) {
    this.skippedCount = count === null || this.skippedCount === null ? null : this.skippedCount + count;
    this.showSkipped();
  }

  // Messages for which the filter needs too many steps: they may match or not.
  countUndecided(count) {
    this.undecidedCount += count;
    this.showSkipped();
  }

  showSkipped() {
    if (!this.skippedLine) return;
    const lines = [];
    if (this.skippedCount === null) lines.push("The connection was interrupted, and messages of that time may be missing here.");
    else if (this.skippedCount) lines.push(`${this.skippedCount} messages were skipped because they came too fast.`);
    if (this.undecidedCount) lines.push(`${this.undecidedCount} messages were left out because the filter takes too long for them.`);
    this.skippedLine.textContent = `${lines.join(" ")} The history has them all.`;
  }
}

function tag(text) {
  const element = document.createElement("span");
  element.className = "tag break";
  element.textContent = text;
  return element;
}

customElements.define("live-feed", LiveFeed);
