// Colours of code, line by line. `lex(kind, line, state)` returns the pieces of a line, each a class and a text, and the
// state in which the next line begins.
const WORDS = new Set((
  "async await break case catch class const continue default delete do else export extends false finally for function get if " +
  "import in instanceof let new null of return set static super switch this throw true try typeof undefined var void while yield"
).split(" "));
const SCRIPT = /(\/\/.*)|(\/\*)|(`)|("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)|(\b\d[\w.]*)|([A-Za-z_$][\w$]*)/g;
const TOML = /(#.*)|("(?:[^"\\]|\\.)*"?|'[^']*'?)|(^\s*\[.*\])|(\b\d[\w.:-]*|\b(?:true|false)\b)|([A-Za-z_][\w-]*(?=\s*=))/g;

export function lex(kind, line, state) {
  return kind === "toml" ? toml(line) : script(line, state);
}

function script(line, state) {
  const pieces = [];
  let at = 0;
  const inside = (end, name) => {
    const found = end.exec(line.slice(at));
    const to = found ? at + found.index + found[0].length : line.length;
    pieces.push([name, line.slice(at, to)]);
    at = to;
    return found === null;
  };
  if (state === "comment" && inside(/\*\//, "c")) return [pieces, "comment"];
  if (state === "text" && inside(/(?<!\\)`/, "t")) return [pieces, "text"];
  SCRIPT.lastIndex = at;
  for (let found = SCRIPT.exec(line); found; found = SCRIPT.exec(line)) {
    if (found.index > at) pieces.push(["", line.slice(at, found.index)]);
    at = found.index;
    if (found[2] || found[3]) {
      const name = found[2] ? "c" : "t";
      pieces.push([name, found[0]]);
      at += found[0].length;
      if (inside(found[2] ? /\*\// : /(?<!\\)`/, name)) return [pieces, found[2] ? "comment" : "text"];
      SCRIPT.lastIndex = at;
      continue;
    }
    pieces.push([classOf(found, line), found[0]]);
    at += found[0].length;
  }
  if (at < line.length) pieces.push(["", line.slice(at)]);
  return [pieces, ""];
}

function classOf(found, line) {
  if (found[1]) return "c";
  if (found[4]) return "t";
  if (found[5]) return "n";
  if (WORDS.has(found[6])) return "w";
  return line[found.index + found[0].length] === "(" ? "f" : "";
}

function toml(line) {
  const pieces = [];
  let at = 0;
  TOML.lastIndex = 0;
  for (let found = TOML.exec(line); found; found = TOML.exec(line)) {
    if (found.index > at) pieces.push(["", line.slice(at, found.index)]);
    const name = found[1] ? "c" : found[2] ? "t" : found[3] ? "w" : found[4] ? "n" : "f";
    pieces.push([name, found[0]]);
    at = found.index + found[0].length;
  }
  if (at < line.length) pieces.push(["", line.slice(at)]);
  return [pieces, ""];
}

const PAIRS = { "(": ")", "[": "]", "{": "}" };
const CLOSERS = Object.fromEntries(Object.entries(PAIRS).map(([open, close]) => [close, open]));
// Largest distance to which a bracket is searched, in characters.
const MOST = 20000;

// Returns the offsets of the bracket beside the cursor and of its partner; null without a pair.
export function brackets(text, cursor) {
  for (const at of [cursor - 1, cursor]) {
    const own = text[at];
    const step = PAIRS[own] ? 1 : CLOSERS[own] ? -1 : 0;
    if (!step) continue;
    const other = PAIRS[own] ?? CLOSERS[own];
    let depth = 0;
    for (let to = at; to >= 0 && to < text.length && Math.abs(to - at) < MOST; to += step) {
      if (text[to] === own) depth += 1;
      else if (text[to] === other) depth -= 1;
      if (depth === 0) return [at, to];
    }
  }
  return null;
}
