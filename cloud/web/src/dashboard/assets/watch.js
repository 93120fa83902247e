// Event streams that do not lie about being live. The server sends something every 5 s; a connection that was cut on its way
// never ends by itself, so silence ends it, and the next one is made until it succeeds.
const SILENCE_MS = 12_000;
// Pause before the next attempt after a connection has ended.
const PAUSE_MS = 3_000;
// Time for which the page of a hidden tab stays connected. A browser has six connections to a cloud without TLS, for all tabs
// together, so streams that are not looked at would keep other pages from loading.
const HIDDEN_MS = 60_000;

export function clock() {
  return new Date().toISOString().slice(11, 19);
}

// Watches an event stream. `address(again)` returns its URL, `names` are the events that go to `on(name, event)`, and
// `state(word, text)` gets `wait`, `live` or `off` with words for people.
export class Watched {
  constructor(address, names, on, state) {
    Object.assign(this, { address, names, on, state, hidden: 0, rests: false });
    this.connect(false);
    // A page that is left may be kept for the way back: it gives its connection up until then.
    addEventListener("pagehide", () => this.rest());
    addEventListener("pageshow", () => this.wake());
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.hidden);
      if (document.hidden) this.hidden = setTimeout(() => this.rest(), HIDDEN_MS);
      else this.wake();
    });
  }

  rest() {
    if (this.ended) return;
    this.rests = true;
    this.stop();
    this.state("wait", `not followed since ${clock()}`);
  }

  wake() {
    if (!this.rests) return;
    this.rests = false;
    this.reconnect();
  }

  alive() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reconnect(), SILENCE_MS);
  }

  reconnect() {
    this.stream.close();
    this.state("wait", `reconnecting, as of ${clock()}`);
    this.connect(true);
  }

  connect(again) {
    const stream = new EventSource(this.address(again));
    this.stream = stream;
    this.alive();
    stream.addEventListener("open", () => {
      this.alive();
      this.state("live", "live");
    });
    stream.addEventListener("error", () => {
      const refused = stream.readyState === EventSource.CLOSED;
      stream.close();
      this.state(refused ? "off" : "wait", refused ? `not live since ${clock()}: reload the page` : `reconnecting, as of ${clock()}`);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.reconnect(), refused ? SILENCE_MS : PAUSE_MS);
    });
    stream.addEventListener("beat", () => this.alive());
    for (const name of this.names) {
      stream.addEventListener(name, (event) => {
        this.alive();
        this.on(name, event);
      });
    }
  }

  stop() {
    clearTimeout(this.timer);
    this.stream.close();
  }

  close() {
    this.ended = true;
    this.rests = false;
    this.stop();
  }
}

// Shows the state of the page's live connection.
export function show(state, text) {
  for (const link of document.querySelectorAll("[data-link]")) {
    if (link.dataset.state === state) continue;
    link.dataset.state = state;
    link.textContent = text;
  }
}
