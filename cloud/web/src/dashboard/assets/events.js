// The page's event stream, forwarded as DOM events: `iottly:NAME` for each name below, and `iottly:back` after a cut.
import { Watched, show } from "./watch.js";

const NAMES = ["entry", "presence", "skipped", "job", "changed", "counts"];
const source = document.body.dataset.events;
let last = "";
let cut = false;

function address(again) {
  const address = new URL(source, location.href);
  // Without a message yet there is no place to go on from: the server says that some may be missing.
  if (again) address.searchParams.set("after", last || address.searchParams.get("after") || "unknown");
  return address;
}

function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(`iottly:${name}`, { detail }));
}

function state(word, text) {
  show(word, text);
  if (word === "live" && cut) tell("back", {});
  cut = word !== "live" && (cut || word === "wait");
}

if (source) {
  show("wait", "connecting");
  new Watched(
    address,
    NAMES,
    (name, event) => {
      if (event.lastEventId) last = event.lastEventId;
      tell(name, JSON.parse(event.data));
    },
    state,
  );
}
