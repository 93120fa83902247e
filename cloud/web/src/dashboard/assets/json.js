// JSON of messages behind a line: indented and coloured when a person opens it, and copied. Nothing is done for lines that
// stay closed. Text from devices is never used as HTML.

// Length of a line, in characters; the rest is behind it.
const LINE = 240;
// Maximum number of coloured tokens; what follows has no colours.
const MOST_TOKENS = 4000;
const MOST_INDENT = 32;
const TOKENS = /("(?:[^"\\]|\\.)*"?)(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)/g;
const texts = new WeakMap();

// Returns the closed line of a message; `size` is its length in bytes if `text` is only its beginning.
export function json(text, size) {
  const details = document.createElement("details");
  details.className = "json";
  const summary = document.createElement("summary");
  const code = document.createElement("code");
  code.textContent = text.length > LINE ? `${text.slice(0, LINE)}…` : text;
  summary.append(code);
  details.append(summary);
  texts.set(details, { text, size });
  return details;
}

function indented(text) {
  let lines = "";
  let depth = 0;
  const line = () => `\n${" ".repeat(Math.min(2 * depth, MOST_INDENT))}`;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|[{[]\s*[}\]]|[^\s]/g)) {
    if (token === "{" || token === "[") {
      depth += 1;
      lines += token + line();
    } else if (token === "}" || token === "]") {
      depth = Math.max(0, depth - 1);
      lines += line() + token;
    } else if (token === ",") lines += token + line();
    else if (token === ":") lines += ": ";
    else if (/^[{[]/.test(token)) lines += token.replace(/\s/g, "");
    else lines += token;
  }
  return lines;
}

function piece(name, text) {
  if (!name) return document.createTextNode(text);
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function coloured(text) {
  const pieces = [];
  let at = 0;
  for (const found of text.matchAll(TOKENS)) {
    if (pieces.length >= 2 * MOST_TOKENS) break;
    if (found.index > at) pieces.push(piece("", text.slice(at, found.index)));
    const name = found[1] ? (found[2] === undefined ? "t" : "k") : found[3] ? "n" : "w";
    const length = found[1] ? found[1].length : found[0].length;
    pieces.push(piece(name, text.slice(found.index, found.index + length)));
    at = found.index + length;
  }
  if (at < text.length) pieces.push(piece("", text.slice(at)));
  return pieces;
}

function copyButton(text) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.size = "s";
  button.dataset.kind = "plain";
  button.dataset.copy = "";
  button.textContent = "Copy JSON";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy JSON"; }, 1500);
  });
  return button;
}

function open(details) {
  if (details.dataset.read !== undefined) return;
  details.dataset.read = "";
  const known = texts.get(details);
  let pre = details.querySelector("pre");
  const text = known ? indented(known.text) : pre.textContent;
  if (!pre) {
    pre = document.createElement("pre");
    details.append(pre);
  }
  pre.replaceChildren(...coloured(text), ...(known?.size ? ["…"] : []));
  if (known?.size) {
    const note = document.createElement("p");
    note.className = "soft small";
    note.dataset.cut = "";
    note.textContent = `The beginning of ${known.size} bytes. The history of the API has all.`;
    details.append(note);
  }
  // A text that was cut is not copied as if it were whole.
  if (navigator.clipboard && !details.querySelector("[data-cut]")) details.append(copyButton(text));
}

// The event does not bubble.
document.addEventListener("toggle", ({ target }) => {
  if (target instanceof Element && target.matches("details.json") && target.open) open(target);
}, true);
