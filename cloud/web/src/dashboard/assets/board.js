// <board-view>: the drawn board and its parts, kept up to date, and the hands that press and set them. One request is under
// way at a time, so that a press and its release arrive in order; of a dragged slider only the newest value is sent.
import { Watched } from "./watch.js";

const HOLD_MS = 10000;
const AGAIN_MS = 4000;

class BoardView extends HTMLElement {
  connectedCallback() {
    this.queue = [];
    this.wanted = new Map();
    this.held = new Set();
    this.line = this.querySelector("[data-standing]");
    this.problem = this.querySelector("[data-problem]");
    this.stream = new Watched(
      () => `${this.dataset.api}/events`,
      ["board"],
      (_, event) => this.show(JSON.parse(event.data)),
      // That it is live is known with the first state of the board.
      (word, text) => {
        if (word === "off") this.stand("hidden", text);
        if (word === "wait") this.stand("away", `${text}: the cloud cannot be reached`);
      },
    );
    for (const button of this.querySelectorAll("[data-hold]")) this.hold(button, button.dataset.hold);
    for (const shape of this.querySelectorAll("svg [data-press]")) this.point(shape, shape.dataset.press);
    for (const form of this.querySelectorAll("form[data-sensor]")) this.sensor(form);
    this.release = () => [...this.held].forEach((label) => this.up(label));
    window.addEventListener("blur", this.release);
    window.addEventListener("pagehide", this.release);
  }

  disconnectedCallback() {
    this.stream.close();
    window.removeEventListener("blur", this.release);
    window.removeEventListener("pagehide", this.release);
  }

  // A button that is held: by mouse, finger, space bar or return.
  hold(button, label) {
    button.textContent = "Press and hold";
    button.addEventListener("click", (event) => event.preventDefault());
    this.point(button, label);
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) this.down(label);
    });
    button.addEventListener("keyup", (event) => {
      if (event.key === " " || event.key === "Enter") this.up(label);
    });
    button.addEventListener("blur", () => this.up(label));
  }

  point(element, label) {
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      this.down(label);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      element.addEventListener(end, () => this.up(label));
    }
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  down(label) {
    if (this.held.has(label)) return;
    this.held.add(label);
    this.press(label);
  }

  // The device releases a button by itself, so a held one is pressed again in time.
  press(label) {
    this.send({ kind: "press", button: label, hold_ms: HOLD_MS });
    clearTimeout(this.again);
    this.again = setTimeout(() => {
      if (this.held.has(label)) this.press(label);
    }, AGAIN_MS);
  }

  up(label) {
    if (!this.held.delete(label)) return;
    this.send({ kind: "release", button: label });
  }

  sensor(form) {
    const { sensor: name } = form.dataset;
    const slider = form.querySelector("input[type=range]");
    const number = form.querySelector("input[type=number]");
    const set = (input, other) => {
      if (!input.reportValidity() || input.value === "") return;
      other.value = input.value;
      this.wanted.set(name, Number(input.value));
      this.work();
    };
    slider.closest("[hidden]")?.removeAttribute("hidden");
    slider.addEventListener("input", () => set(slider, number));
    number.addEventListener("change", () => set(number, slider));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      set(number, slider);
    });
  }

  send(input) {
    this.queue.push(input);
    this.work();
  }

  async work() {
    if (this.busy) return;
    this.busy = true;
    while (this.queue.length || this.wanted.size) {
      const values = [...this.wanted].map(([name, value]) => ({ kind: "sensor", name, value }));
      this.wanted.clear();
      await this.post([...this.queue.splice(0, 8), ...values]);
    }
    this.busy = false;
  }

  async post(inputs) {
    try {
      const answer = await fetch(`${this.dataset.api}/inputs`, {
        method: "POST",
        keepalive: true,
        signal: AbortSignal.timeout(30_000),
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ inputs }),
      });
      const body = await answer.json();
      this.say(answer.ok ? "" : body.error ?? `refused (${answer.status})`);
      if (answer.ok) this.show(body);
    } catch {
      this.say("Not sent: the cloud cannot be reached.");
    }
  }

  say(text) {
    if (this.problem.textContent !== text) this.problem.textContent = text;
  }

  stand(state, text) {
    this.line.dataset.state = state === "live" ? "live" : state === "hidden" ? "off" : "wait";
    if (this.line.textContent !== text) this.line.textContent = text;
    this.toggleAttribute("data-stale", state !== "live");
  }

  show({ state, reason, at, board }) {
    const since = at ? `, as of ${new Date(at.$date).toISOString().slice(11, 19)}` : "";
    if (state === "live") this.stand(state, "live");
    else if (state === "hidden") this.stand(state, reason);
    else if (state === "unknown") this.stand(state, "not known yet: the device has not connected since the cloud started");
    else this.stand(state, `reconnecting: ${state === "away" ? "the device is not connected" : "the device is silent"}${since}`);
    // A board that was not there when the page was made is drawn by the server.
    if (board && this.dataset.drawn === undefined) location.reload();
    if (!board) return;
    for (const pin of board.pins) this.part(pin.label, pin.high, WORDS[pin.fitting]?.[Number(pin.high)]);
    for (const { label, duty } of board.pwm) this.part(label, duty > 0, `${Math.round(duty * 100)} %`);
    for (const sensor of board.sensors) this.measured(sensor);
  }

  part(label, on, word) {
    for (const mark of this.querySelectorAll(`[data-part="${CSS.escape(label)}"]`)) {
      mark.dataset.on = String(on);
      const text = mark.querySelector("[data-word]");
      if (text && word && text.textContent !== word) text.textContent = word;
    }
  }

  measured({ name, value, unit }) {
    const shown = `${round(value)} ${unit}`;
    for (const text of this.querySelectorAll(`[data-value="${CSS.escape(name)}"]`)) {
      if (text.textContent !== shown) text.textContent = shown;
    }
    if (this.wanted.has(name)) return;
    const form = this.querySelector(`form[data-sensor="${CSS.escape(name)}"]`);
    for (const input of form?.querySelectorAll("input") ?? []) {
      // What a person is typing or dragging stays.
      if (document.activeElement !== input) input.value = String(round(value));
    }
  }
}

const WORDS = { led: ["dark", "lit"], load: ["off", "on"], button: ["low", "high"], nothing: ["low", "high"] };

function round(value) {
  return Math.round(value * 100) / 100;
}

customElements.define("board-view", BoardView);
