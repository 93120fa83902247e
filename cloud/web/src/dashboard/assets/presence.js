// Updates the presence of the devices on the page from the event stream: the state, since when, and its last proof.
import { age } from "./ages.js";

function since({ since, planned }) {
  if (planned) {
    const until = document.createElement("time");
    until.dateTime = new Date(planned.until.$date).toISOString();
    until.textContent = until.dateTime.slice(0, 10);
    return ["planned until ", until];
  }
  return since ? [age(new Date(since.$date))] : [];
}

// Returns what a list of children says, to leave unchanged ones alone.
function said(nodes) {
  return nodes.map((node) => node.dateTime ?? node.textContent ?? node).join("");
}

function put(element, nodes) {
  if (said([...element.childNodes]) !== said(nodes)) element.replaceChildren(...nodes);
}

document.addEventListener("iottly:presence", ({ detail }) => {
  const state = detail.state ?? (detail.online ? "online" : "offline");
  const device = CSS.escape(detail.device);
  for (const mark of document.querySelectorAll(`[data-presence="${device}"]`)) {
    if (detail.proof) mark.title = `last proof: ${detail.proof.packet}, ${new Date(detail.proof.at.$date).toISOString()}`;
    if (mark.dataset.state !== state) {
      mark.dataset.state = state;
      mark.querySelector(".word").textContent = state;
    }
    let text = mark.querySelector(".since");
    const nodes = since(detail);
    if (!nodes.length) {
      text?.remove();
      continue;
    }
    if (!text) {
      text = document.createElement("span");
      text.className = "since";
      mark.append(text);
    }
    put(text, nodes);
  }
  if (!detail.proof) return;
  for (const proof of document.querySelectorAll(`[data-proof="${device}"]`)) {
    put(proof, [`${detail.proof.packet} `, age(new Date(detail.proof.at.$date)), " ago"]);
  }
});
