// The page's event stream, forwarded as DOM events: `iottly:entry`, `iottly:presence`, `iottly:skipped`.
const source = document.body.dataset.events;
const link = document.getElementById("link");

function show(state, text) {
  if (!link) return;
  link.dataset.state = state;
  link.textContent = text;
}

if (source) {
  show("wait", "connecting");
  const stream = new EventSource(source);
  stream.addEventListener("open", () => show("live", "live"));
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) show("off", "not live: reload the page");
    else show("wait", "reconnecting");
  });
  for (const name of ["entry", "presence", "skipped"]) {
    stream.addEventListener(name, (event) => {
      document.dispatchEvent(new CustomEvent(`iottly:${name}`, { detail: JSON.parse(event.data) }));
    });
  }
}
