// The page's event stream, forwarded as DOM events: `iottly:NAME` for each name below.
const NAMES = ["entry", "presence", "skipped", "job"];
// The server sends something every 5 s. A connection that was cut on its way never ends by itself, so silence ends it.
const SILENCE_MS = 12_000;
const source = document.body.dataset.events;
// Pause before the next attempt after a connection has ended.
const PAUSE_MS = 3_000;
let stream;
let last = "";
let timer = 0;

function show(state, text) {
  for (const link of document.querySelectorAll("[data-link]")) {
    if (link.dataset.state === state) continue;
    link.dataset.state = state;
    link.textContent = text;
  }
}

function now() {
  return new Date().toISOString().slice(11, 19);
}

function alive() {
  clearTimeout(timer);
  timer = setTimeout(reconnect, SILENCE_MS);
}

function reconnect() {
  stream.close();
  show("wait", `reconnecting, as of ${now()}`);
  connect(true);
}

function connect(again) {
  const address = new URL(source, location.href);
  // Without a message yet there is no place to go on from: the server says that some may be missing.
  if (again) address.searchParams.set("after", last || address.searchParams.get("after") || "unknown");
  stream = new EventSource(address);
  alive();
  stream.addEventListener("open", () => {
    alive();
    show("live", "live");
  });
  stream.addEventListener("error", () => {
    const refused = stream.readyState === EventSource.CLOSED;
    stream.close();
    show(refused ? "off" : "wait", refused ? `not live since ${now()}: reload the page` : `reconnecting, as of ${now()}`);
    clearTimeout(timer);
    timer = setTimeout(reconnect, refused ? SILENCE_MS : PAUSE_MS);
  });
  stream.addEventListener("beat", alive);
  for (const name of NAMES) {
    stream.addEventListener(name, (event) => {
      alive();
      if (event.lastEventId) last = event.lastEventId;
      document.dispatchEvent(new CustomEvent(`iottly:${name}`, { detail: JSON.parse(event.data) }));
    });
  }
}

if (source) {
  show("wait", "connecting");
  connect(false);
}
