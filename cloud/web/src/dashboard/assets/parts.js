// <live-part>: a part of the page that is read again when what it shows has changed. Its attribute `data-on` names what it
// shows, as the server's `changed` events do. The whole page is asked for once, whatever the number of its parts.
import { renew } from "./ages.js";

// Shortest time between two reads of a part, unless its attribute `data-least` gives another in seconds, and the time after
// which parts are read without a change: another process of the cloud may have made it.
const LEAST_MS = 1000;
const AT_LATEST_MS = 60_000;
// Maximum time of a read: on a connection that was cut without a word it would never end, and no part would be read again.
const TIMEOUT_MS = 30_000;
const due = new Set();
const read = new Map();
let reading = false;
let timer = 0;

function next(id) {
  const least = Number(document.getElementById(id)?.dataset.least ?? 1) * LEAST_MS;
  return (read.get(id) ?? 0) + least;
}

function want(parts) {
  for (const part of parts) due.add(part.id);
  clearTimeout(timer);
  if (!due.size || reading) return;
  const first = Math.min(...[...due].map(next));
  timer = setTimeout(start, Math.max(0, first - Date.now()));
}

function start() {
  // A hidden page reads when it is looked at.
  if (document.hidden) return;
  const now = Date.now();
  const wanted = [...due].filter((id) => next(id) <= now);
  for (const id of wanted) {
    due.delete(id);
    read.set(id, now);
  }
  if (!wanted.length) {
    want([]);
    return;
  }
  reading = true;
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.timeout = TIMEOUT_MS;
  request.addEventListener("load", () => {
    if (request.status === 200 && request.response) for (const id of wanted) show(id, request.response);
  });
  request.addEventListener("loadend", () => {
    reading = false;
    want([]);
  });
  request.send();
}

function show(id, page) {
  const part = document.getElementById(id);
  const fresh = page.getElementById(id);
  if (!part || !fresh || part.isEqualNode(fresh)) return;
  // What a person is filling in stays; it is read again later.
  if (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) {
    setTimeout(() => want([part]), 5 * LEAST_MS);
    return;
  }
  const focus = [...part.querySelectorAll("a, button, summary")].indexOf(document.activeElement);
  const open = [...part.querySelectorAll("details")].map((details) => details.open);
  part.replaceChildren(...fresh.childNodes);
  [...part.querySelectorAll("details")].forEach((details, index) => {
    if (open[index] !== undefined) details.open = open[index];
  });
  if (focus >= 0) part.querySelectorAll("a, button, summary")[focus]?.focus({ preventScroll: true });
  renew();
}

function parts() {
  return [...document.querySelectorAll("live-part[id]")];
}

function changed(names) {
  want(parts().filter((part) => part.dataset.on.split(" ").some((name) => names.includes(name))));
}

document.addEventListener("iottly:changed", ({ detail }) => changed(detail.parts));
// Parts that show what messages say.
document.addEventListener("iottly:entry", () => changed(["entry"]));
document.addEventListener("iottly:skipped", () => changed(["entry"]));
document.addEventListener("iottly:back", () => want(parts()));
document.addEventListener("visibilitychange", () => want([]));
setInterval(() => want(parts()), AT_LATEST_MS);
