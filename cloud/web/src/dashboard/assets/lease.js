// <lease-feed>: messages, log lines and reports of the devices of a developer lease, newest first, as they are stored.
import { Watched, show } from "./watch.js";

const MOST_ROWS = 200;

class LeaseFeed extends HTMLElement {
  connectedCallback() {
    this.list = this.querySelector("ol");
    this.skipped = 0;
    this.stream = new Watched(
      () => this.dataset.src,
      ["message", "log", "report", "lagged"],
      (name, event) => (name === "message" ? this.message(event) : this[name](JSON.parse(event.data))),
      show,
    );
  }

  disconnectedCallback() {
    this.stream.close();
  }

  message(event) {
    // The payload is shown as the device wrote it: a number that the browser cannot hold would change.
    const found = /"payload":(.*)\}$/s.exec(event.data);
    const { at, type, channel, firmware } = JSON.parse(event.data);
    const parts = [];
    if (type === "iottlyagent") parts.push(tag("agent"));
    if (channel) parts.push(tag(channel));
    const code = document.createElement("code");
    code.textContent = found ? found[1] : "";
    this.add(at, [...parts, code], firmware);
  }

  log({ at, level, text, firmware }) {
    const body = document.createElement("span");
    body.textContent = text;
    const row = this.add(at, [tag(level, level === "error" ? "bad" : level === "warn" ? "warn" : undefined), body], firmware);
    row.dataset.level = level;
  }

  report({ at, state, detail, device }) {
    const body = document.createElement("span");
    body.textContent = detail ? `${state}: ${detail}` : state;
    this.add(at, [tag("report", state === "running" ? "good" : state === "ended" ? undefined : "bad"), body]);
    const line = this.querySelector("[data-report]");
    if (line) line.textContent = body.textContent;
    this.dataset.device = device;
  }

  lagged({ count }) {
    this.skipped += count;
    const body = document.createElement("span");
    body.textContent = `${this.skipped} entries were skipped because they came too fast; the history has the messages.`;
    this.add(Date.now(), [body]).dataset.kind = "gap";
  }

  add(at, parts, firmware) {
    this.querySelector("[data-empty]")?.remove();
    const row = document.createElement("li");
    row.dataset.new = "";
    const time = document.createElement("time");
    const iso = new Date(at).toISOString();
    time.dateTime = iso;
    time.textContent = iso.slice(11, 23);
    if (firmware) {
      const mark = document.createElement("span");
      mark.className = "mono soft";
      mark.textContent = firmware.slice(0, 8);
      parts.unshift(mark);
    }
    const body = document.createElement("div");
    body.className = "body";
    body.append(...parts);
    row.append(time, body);
    this.list.prepend(row);
    while (this.list.childElementCount > MOST_ROWS) this.list.lastElementChild.remove();
    return row;
  }
}

function tag(text, tone) {
  const element = document.createElement("span");
  element.className = "tag";
  if (tone) element.dataset.tone = tone;
  element.textContent = text;
  return element;
}

customElements.define("lease-feed", LeaseFeed);
