// <filter-suggest>: completes the last word of a filter with fields and values of the project, and shows the filter of the
// API that a text stands for. Without this script the box has a list of examples. Texts are never used as HTML.
const MOST = 12;
const PAUSE_MS = 250;
const base = document.body.dataset.base ?? "";
let boxes = 0;

// Returns the place at which the last word begins, and false in place of it inside of a word that is quoted.
function lastWord(text) {
  let start = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === "\\" && quoted) at += 1;
    else if (letter === '"') quoted = !quoted;
    else if (!quoted && /\s/.test(letter)) start = at + 1;
  }
  return start;
}

function quoted(value) {
  return /^[\p{L}\p{N}_.-]+$/u.test(value) ? value : `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

class FilterSuggest extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("input");
    this.list = document.createElement("ul");
    this.list.className = "suggest";
    this.list.id = `suggest-${(boxes += 1)}`;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Suggestions");
    this.list.hidden = true;
    this.append(this.list);
    this.input.removeAttribute("list");
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", this.list.id]]) {
      this.input.setAttribute(name, value);
    }
    this.chosen = -1;
    this.input.addEventListener("focus", () => this.load());
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (event) => this.key(event));
    // The box keeps the focus.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row) this.take([...this.list.children].indexOf(row));
    });
    if (this.hasAttribute("data-explain")) {
      this.note = document.createElement("p");
      this.note.className = "filter-note";
      this.note.setAttribute("role", "status");
      this.append(this.note);
      this.explain();
    }
  }

  async ask(query) {
    try {
      const answer = await fetch(`${base}/suggestions?of=${this.dataset.of}${query}`, { signal: AbortSignal.timeout(30_000) });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  async load() {
    this.known ??= this.ask("");
    this.data = await this.known;
    if (this.data === null) this.known = undefined;
    if (document.activeElement === this.input) this.offer();
  }

  changed() {
    this.offer();
    if (!this.note) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.explain(), PAUSE_MS);
  }

  async explain() {
    const text = this.input.value.trim();
    const found = text === "" ? {} : await this.ask(`&filter=${encodeURIComponent(text)}`);
    if (text !== this.input.value.trim() || found === null) return;
    const parts = [];
    if (found.json !== undefined) {
      const code = document.createElement("code");
      code.textContent = found.json;
      parts.push("stands for ", code);
    } else if (found.problem !== undefined) {
      const problem = document.createElement("span");
      problem.className = "field-problem";
      problem.textContent = found.problem;
      parts.push(problem);
    }
    this.note.replaceChildren(...parts);
  }

  // Returns what the last word can become: the text to insert, and a note beside it.
  found() {
    const text = this.input.value;
    const atEnd = this.input.selectionStart === text.length;
    if (!this.data || !atEnd || text.trimStart().startsWith("{")) return [];
    this.start = lastWord(text);
    if (text[this.start] === "-") this.start += 1;
    const word = text.slice(this.start);
    const [, name, sign, value] = /^([^\s"!<>:=]+)(!=|>=|<=|[:=<>])(.*)$/s.exec(word) ?? [];
    if (name !== undefined) {
      const begun = value.replace(/^"/, "").toLowerCase();
      const values = this.data.values[name] ?? [];
      return values
        .filter((known) => known.toLowerCase().startsWith(begun) && quoted(known) !== value)
        .map((known) => ({ text: `${name}${sign}${quoted(known)} `, shown: known, note: name }));
    }
    const begun = word.toLowerCase();
    const fields = this.data.examples.map((example) => ({
      text: /^[^!<>:=]+(!=|>=|<=|[:=<>])/.exec(example)[0],
      note: example,
    }));
    const note = this.dataset.of === "devices" ? "latest value" : "value in messages";
    const paths = this.data.paths.map((path) => ({ text: `${quoted(path)}${this.data.values[path] ? ":" : ">"}`, note }));
    return [...fields, ...paths].filter((item) => item.text.toLowerCase().startsWith(begun));
  }

  offer() {
    this.items = this.found().slice(0, MOST);
    this.chosen = -1;
    this.list.replaceChildren(
      ...this.items.map((item, at) => {
        const row = document.createElement("li");
        row.id = `${this.list.id}-${at}`;
        row.setAttribute("role", "option");
        const word = document.createElement("b");
        word.textContent = item.shown ?? item.text;
        const note = document.createElement("span");
        note.className = "soft";
        note.textContent = item.note;
        row.append(word, note);
        return row;
      }),
    );
    this.show(this.items.length > 0);
  }

  show(open) {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    this.mark();
  }

  close() {
    this.show(false);
  }

  mark() {
    const rows = [...this.list.children];
    for (const [at, row] of rows.entries()) row.setAttribute("aria-selected", String(at === this.chosen));
    const row = this.list.hidden ? undefined : rows[this.chosen];
    if (row) {
      this.input.setAttribute("aria-activedescendant", row.id);
      row.scrollIntoView({ block: "nearest" });
    } else this.input.removeAttribute("aria-activedescendant");
  }

  take(at) {
    const item = this.items[at];
    if (!item) return;
    this.input.value = this.input.value.slice(0, this.start) + item.text;
    this.input.setSelectionRange(this.input.value.length, this.input.value.length);
    this.input.focus();
    this.changed();
  }

  key(event) {
    if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.close();
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (this.list.hidden) {
        this.offer();
        return;
      }
      const count = this.items.length;
      this.chosen = this.chosen < 0 && step < 0 ? count - 1 : (this.chosen + step + count) % count;
      this.mark();
    } else if ((event.key === "Enter" || event.key === "Tab") && !this.list.hidden && this.chosen >= 0) {
      event.preventDefault();
      this.take(this.chosen);
    }
  }
}

customElements.define("filter-suggest", FilterSuggest);
