// <live-feed>: adds new messages on top of the list that the server rendered. Text from devices is never used as HTML.
const MOST_ROWS = 200;

class LiveFeed extends HTMLElement {
  connectedCallback() {
    this.list = this.querySelector("ol");
    this.skipped = this.querySelector(".skipped");
    this.skippedCount = 0;
    this.waiting = [];
    this.onEntry = (event) => this.add(event.detail);
    this.onSkipped = (event) => this.countSkipped(event.detail.count);
    document.addEventListener("iottly:entry", this.onEntry);
    document.addEventListener("iottly:skipped", this.onSkipped);
  }

  disconnectedCallback() {
    document.removeEventListener("iottly:entry", this.onEntry);
    document.removeEventListener("iottly:skipped", this.onSkipped);
  }

  // Entries of a frame are drawn together, so that hundreds per second do not cost a layout each.
  add(entry) {
    this.waiting.push(entry);
    if (this.waiting.length > MOST_ROWS) this.waiting.shift();
    if (this.waiting.length === 1 || !this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    this.querySelector(".empty")?.remove();
    const rows = this.waiting.splice(0).map((entry) => this.row(entry)).reverse();
    this.list.prepend(...rows);
    while (this.list.childElementCount > MOST_ROWS) this.list.lastElementChild.remove();
  }

  row(entry) {
    const row = document.createElement("li");
    row.dataset.kind = entry.type;
    row.className = "new";
    const time = document.createElement("time");
    time.dateTime = entry.iso;
    time.textContent = entry.clock;
    row.append(time, span("kind", entry.type));
    if (this.dataset.withDevice) row.append(this.deviceLink(entry.device));
    if (entry.channel !== null) row.append(span("channel", entry.channel));
    const code = document.createElement("code");
    code.textContent = entry.payload;
    row.append(code);
    return row;
  }

  deviceLink(device) {
    const name = document.querySelector(`[data-device="${CSS.escape(device)}"] h2`)?.textContent ?? device;
    const link = document.createElement("a");
    link.href = `/devices/${encodeURIComponent(device)}`;
    link.textContent = name;
    return link;
  }

  countSkipped(count) {
    this.skippedCount = count === null || this.skippedCount === null ? null : this.skippedCount + count;
    this.skipped.hidden = false;
    this.skipped.textContent =
      this.skippedCount === null
        ? "Some messages are not shown here. The history has them all."
        : `${this.skippedCount} messages were skipped because they came too fast. The history has them all.`;
  }
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

customElements.define("live-feed", LiveFeed);
