// <device-arrival>: ticks off the steps of a new device as they happen, and counts the seconds to its first message.
class DeviceArrival extends HTMLElement {
  connectedCallback() {
    // Seconds count from when the page was asked for first, also after it was loaded again.
    const ahead = Number(document.body.dataset.now) - Date.now();
    this.began = Number(this.dataset.since) || Date.now() + ahead;
    this.now = () => Date.now() + ahead;
    this.seconds = this.querySelector("[data-seconds]");
    if (this.step("message").dataset.state === "done") return;
    this.timer = setInterval(() => this.count(this.now()), 1000);
    document.addEventListener("iottly:presence", (event) => {
      if (event.detail.device === this.dataset.device && event.detail.online) this.done("online", "The board is online");
    });
    document.addEventListener("iottly:entry", (event) => {
      if (event.detail.device !== this.dataset.device || event.detail.type === "iottlyagent") return;
      this.done("online", "The board is online");
      if (this.done("message", "First message")) this.count(event.detail.at);
      clearInterval(this.timer);
    });
  }

  step(name) {
    return this.querySelector(`[data-step="${name}"]`);
  }

  count(at) {
    const text = `${Math.max(0, Math.round((at - this.began) / 1000))} s`;
    if (this.seconds.textContent !== text) this.seconds.textContent = text;
  }

  done(step, text) {
    const item = this.step(step);
    if (item.dataset.state === "done") return false;
    item.dataset.state = "done";
    item.firstElementChild.textContent = text;
    const next = this.querySelector("li:not([data-state])");
    if (next) next.dataset.state = "now";
    return true;
  }
}

customElements.define("device-arrival", DeviceArrival);
