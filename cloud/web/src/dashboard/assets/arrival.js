// <device-arrival>: ticks off the steps of a new device as they happen, and counts the seconds to its first message.
class DeviceArrival extends HTMLElement {
  connectedCallback() {
    this.began = Date.now();
    this.seconds = this.querySelector("[data-seconds]");
    this.timer = setInterval(() => this.count(), 1000);
    document.addEventListener("iottly:presence", (event) => {
      if (event.detail.device === this.dataset.device && event.detail.online) this.done("online", "The board is online");
    });
    document.addEventListener("iottly:entry", (event) => {
      if (event.detail.device !== this.dataset.device || event.detail.type === "iottlyagent") return;
      this.done("online", "The board is online");
      this.done("message", "First message");
      this.count();
      clearInterval(this.timer);
    });
  }

  count() {
    this.seconds.textContent = `${Math.round((Date.now() - this.began) / 1000)} s`;
  }

  done(step, text) {
    const item = this.querySelector(`[data-step="${step}"]`);
    if (item.dataset.state === "done") return;
    item.dataset.state = "done";
    item.firstElementChild.textContent = text;
    const next = this.querySelector("li:not([data-state])");
    if (next) next.dataset.state = "now";
  }
}

customElements.define("device-arrival", DeviceArrival);
