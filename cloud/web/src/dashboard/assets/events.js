// The page's event stream, forwarded as DOM events: `iottly:NAME` for each name below.
const NAMES = ["entry", "presence", "skipped", "job"];
const source = document.body.dataset.events;

function show(state, text) {
  for (const link of document.querySelectorAll("[data-link]")) {
    if (link.dataset.state === state) continue;
    link.dataset.state = state;
    link.textContent = text;
  }
}

if (source) {
  show("wait", "connecting");
  const stream = new EventSource(source);
  stream.addEventListener("open", () => show("live", "live"));
  stream.addEventListener("error", () => {
    const until = new Date().toISOString().slice(11, 19);
    if (stream.readyState === EventSource.CLOSED) show("off", `not live since ${until}: reload the page`);
    else show("wait", `reconnecting, as of ${until}`);
  });
  for (const name of NAMES) {
    stream.addEventListener(name, (event) => {
      document.dispatchEvent(new CustomEvent(`iottly:${name}`, { detail: JSON.parse(event.data) }));
    });
  }
}
