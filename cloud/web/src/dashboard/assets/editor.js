// <code-editor>: line numbers, colours, bracket pairs, search, Tab, the line of an error, and a draft that the cloud keeps
// while the author types. The text area stays the form's own field; everything else is painted around it.
import { brackets, lex } from "./paint.js";

const KEEP_MS = 1200;
// Longest time for which a draft waits while the author types on.
const LATEST_MS = 5000;
const CHECK_MS = 900;
const INDENT = "  ";

class CodeEditor extends HTMLElement {
  connectedCallback() {
    this.editor = this.querySelector(".editor");
    this.area = this.querySelector("textarea");
    this.paint = this.querySelector(".paint");
    this.gutter = this.querySelector(".gutter");
    this.problems = this.querySelector(".problems");
    this.finder = this.querySelector("[data-finder]");
    this.form = this.area.form;
    this.lines = [];
    this.first = this.area.value;
    this.kept = this.area.value;
    this.errors = [...this.querySelectorAll('.gutter [data-mark="error"]')].map((line) => Number(line.textContent));
    this.area.addEventListener("input", () => this.changed());
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.form.addEventListener("submit", () => {
      this.sent = true;
    });
    window.addEventListener("pagehide", () => this.leave());
    document.addEventListener("selectionchange", () => this.match());
    document.addEventListener("keydown", (event) => this.anywhere(event));
    this.problems.addEventListener("click", (event) => this.goTo(event));
    this.prepareFinder();
    this.draw();
    this.editor.dataset.painted = "";
    const line = /^#L(\d+)$/.exec(location.hash);
    if (line) this.show(Number(line[1]), 1);
  }

  changed() {
    this.errors = [];
    this.draw();
    clearTimeout(this.keepTimer);
    clearTimeout(this.checkTimer);
    if (this.hasAttribute("data-readonly")) return;
    this.say("typing");
    this.typing ??= Date.now();
    this.keepTimer = setTimeout(() => this.keep(), Math.max(0, Math.min(KEEP_MS, this.typing + LATEST_MS - Date.now())));
    this.checkTimer = setTimeout(() => this.check(), CHECK_MS);
  }

  // Paints the lines that are different from before, and those whose colours they change.
  draw() {
    const lines = this.area.value.split("\n");
    let state = "";
    const before = this.lines;
    this.lines = lines.map((text, index) => {
      const old = before[index];
      if (old && old.text === text && old.begins === state) {
        state = old.ends;
        return old;
      }
      const [pieces, ends] = lex(this.dataset.kind, text, state);
      const line = { text, begins: state, ends, element: painted(pieces) };
      state = ends;
      if (old) old.element.replaceWith(line.element);
      else this.paint.append(line.element);
      return line;
    });
    for (const old of before.slice(lines.length)) old.element.remove();
    this.area.rows = lines.length;
    this.drawGutter(lines.length);
    this.match();
    const size = document.querySelector("[data-extent]");
    if (size) size.textContent = `${lines.length} lines, ${new TextEncoder().encode(this.area.value).length} bytes`;
  }

  drawGutter(count) {
    while (this.gutter.childElementCount > count) this.gutter.lastElementChild.remove();
    for (let line = this.gutter.childElementCount + 1; line <= count; line += 1) {
      const item = document.createElement("li");
      item.textContent = line;
      this.gutter.append(item);
    }
    for (const marked of this.querySelectorAll('[data-mark="error"]')) marked.removeAttribute("data-mark");
    for (const line of this.errors) {
      this.gutter.children[line - 1]?.setAttribute("data-mark", "error");
      this.lines[line - 1]?.element.setAttribute("data-mark", "error");
    }
  }

  // Marks the bracket beside the cursor and its partner.
  match() {
    for (const element of this.marked ?? []) element.replaceWith(element.textContent);
    for (const line of this.touched ?? []) line.element.normalize();
    this.marked = [];
    this.touched = [];
    if (document.activeElement !== this.area || this.area.selectionStart !== this.area.selectionEnd) return;
    const pair = brackets(this.area.value, this.area.selectionStart);
    if (!pair) return;
    for (const offset of pair) this.markAt(offset);
  }

  markAt(offset) {
    const text = this.area.value.slice(0, offset);
    const row = text.split("\n").length - 1;
    const line = this.lines[row];
    let column = offset - (text.lastIndexOf("\n") + 1);
    const walker = document.createTreeWalker(line.element, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (column < node.length) {
        const tail = node.splitText(column);
        tail.splitText(1);
        const mark = document.createElement("span");
        mark.className = "mark";
        mark.textContent = tail.textContent;
        tail.replaceWith(mark);
        this.marked.push(mark);
        this.touched.push(line);
        return;
      }
      column -= node.length;
    }
  }

  key(event) {
    if (event.key === "Escape") {
      this.leaves = true;
      return;
    }
    const leaves = this.leaves;
    this.leaves = false;
    if (event.key === "Tab" && !leaves && !this.hasAttribute("data-readonly")) {
      event.preventDefault();
      this.indent(event.shiftKey);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && !event.isComposing) {
      const start = this.area.value.slice(0, this.area.selectionStart);
      const space = /^[ \t]*/.exec(start.slice(start.lastIndexOf("\n") + 1))[0];
      if (!space) return;
      event.preventDefault();
      this.insert(`\n${space}`);
    }
  }

  // Keeps the browser's own list of undone steps, which setting the value would lose.
  insert(text) {
    if (!document.execCommand("insertText", false, text)) {
      this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
      this.changed();
    }
  }

  indent(outwards) {
    const { value, selectionStart: start, selectionEnd: end } = this.area;
    if (start === end && !outwards) {
      this.insert(INDENT);
      return;
    }
    const from = value.lastIndexOf("\n", start - 1) + 1;
    const lines = value.slice(from, end).split("\n");
    const moved = lines.map((line) => (outwards ? line.replace(/^ {1,2}|^\t/, "") : INDENT + line)).join("\n");
    this.area.setSelectionRange(from, end);
    this.insert(moved);
    this.area.setSelectionRange(from, from + moved.length);
  }

  anywhere(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "s") {
      event.preventDefault();
      this.press("save");
    } else if (control && event.key === "Enter") {
      event.preventDefault();
      this.press("run");
    } else if (control && event.key === "f" && this.contains(document.activeElement)) {
      event.preventDefault();
      this.finder.hidden = false;
      this.finder.querySelector("input").select();
    } else if (event.key === "F8") {
      event.preventDefault();
      this.nextProblem();
    }
  }

  press(name) {
    const button = this.form.querySelector(`[data-key="${name}"]`);
    if (button && !button.disabled) this.form.requestSubmit(button);
  }

  prepareFinder() {
    const input = this.finder.querySelector("input");
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.find(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape") {
        this.finder.hidden = true;
        this.area.focus();
      }
    });
    for (const button of this.finder.querySelectorAll("[data-find]")) {
      button.addEventListener("click", () => this.find(Number(button.dataset.find)));
    }
  }

  find(step) {
    const wanted = this.finder.querySelector("input").value.toLowerCase();
    const said = this.finder.querySelector("[data-found]");
    if (!wanted) return;
    const text = this.area.value.toLowerCase();
    const places = [];
    for (let at = text.indexOf(wanted); at >= 0 && places.length < 10000; at = text.indexOf(wanted, at + wanted.length)) places.push(at);
    if (!places.length) {
      said.textContent = "not found";
      return;
    }
    const here = step > 0 ? this.area.selectionEnd : this.area.selectionStart;
    const next = step > 0 ? places.findIndex((at) => at >= here) : places.findLastIndex((at) => at < here);
    const index = next < 0 ? (step > 0 ? 0 : places.length - 1) : next;
    said.textContent = `${index + 1} of ${places.length}`;
    this.select(places[index], places[index] + wanted.length);
  }

  select(from, to) {
    this.area.focus();
    this.area.setSelectionRange(from, to);
    const row = this.area.value.slice(0, from).split("\n").length - 1;
    this.lines[row]?.element.scrollIntoView({ block: "nearest" });
  }

  show(line, column) {
    const before = this.lines.slice(0, line - 1).reduce((sum, one) => sum + one.text.length + 1, 0);
    const at = before + Math.min(Math.max(column - 1, 0), this.lines[line - 1]?.text.length ?? 0);
    this.select(at, at);
  }

  goTo(event) {
    const link = event.target.closest("[data-line]");
    if (!link || new URL(link.href).pathname !== location.pathname) return;
    event.preventDefault();
    this.show(Number(link.dataset.line), Number(link.dataset.column ?? 1));
  }

  nextProblem() {
    const links = [...this.problems.querySelectorAll("a")];
    if (!links.length) return;
    this.problem = ((this.problem ?? -1) + 1) % links.length;
    links[this.problem].click();
  }

  say(text) {
    const line = document.querySelector("[data-saved]");
    if (line) line.textContent = text;
  }

  async send(method, path, body, keepalive = false) {
    return fetch(`${this.dataset.api}${path}`, {
      method,
      keepalive,
      // A request on a connection that was cut without a word would never end, and none is sent beside it.
      signal: AbortSignal.timeout(60_000),
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  // Keeps what was typed as a draft, one request at a time; the next change asks again if this fails.
  async keep() {
    clearTimeout(this.keepTimer);
    this.waits = this.keeping;
    if (this.keeping) return;
    this.typing = undefined;
    const text = this.area.value;
    if (text === this.kept) return;
    this.keeping = true;
    const base = this.form.elements.base.value;
    const file = encodeURIComponent(this.dataset.file);
    try {
      const answer = await this.send("PUT", `/drafts/${file}`, { base, text });
      const body = await answer.json();
      if (!answer.ok) this.say(`not kept: ${body.error}`);
      else {
        this.kept = text;
        const at = new Date().toISOString().slice(11, 19);
        this.say(body.draft.stale ? `draft kept ${at}; someone else has saved meanwhile` : `draft kept ${at}, not saved`);
        this.awaitSaving();
      }
    } catch {
      this.say("not kept: the cloud cannot be reached; trying again");
      this.keepTimer = setTimeout(() => this.keep(), 5 * KEEP_MS);
    } finally {
      this.keeping = false;
      if (this.waits) this.keep();
    }
  }

  // What was typed last is kept when the page is left; what is saved with the form needs no draft. Browsers refuse a text
  // beyond 64 KiB here.
  leave() {
    if (this.sent || this.area.value === this.kept || this.hasAttribute("data-readonly")) return;
    const base = this.form.elements.base.value;
    const file = encodeURIComponent(this.dataset.file);
    this.send("PUT", `/drafts/${file}`, { base, text: this.area.value }, true).catch(() => {});
  }

  // A draft is no revision, so that what was typed is never left out of a flash unseen.
  awaitSaving() {
    for (const link of this.form.querySelectorAll('a[href*="/flash"]')) {
      const button = document.createElement("button");
      button.type = "button";
      button.disabled = true;
      button.textContent = "Flash…";
      button.setAttribute("aria-describedby", "why-not");
      link.replaceWith(button);
    }
    const why = document.getElementById("why-not");
    if (why) why.textContent = "Flash waits until this is saved as a revision.";
  }

  async check() {
    const text = this.area.value;
    try {
      const answer = await this.send("POST", "/check", { file: this.dataset.file, code: text });
      if (!answer.ok || text !== this.area.value) return;
      this.showProblems((await answer.json()).problems);
    } catch {
      // The next change asks again.
    }
  }

  showProblems(problems) {
    this.problem = -1;
    this.errors = problems.filter((one) => one.file === this.dataset.file && one.line).map((one) => one.line);
    this.drawGutter(this.lines.length);
    this.problems.replaceChildren(...problems.map((one) => this.row(one)));
  }

  row(problem) {
    const item = document.createElement("li");
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.dataset.tone = "bad";
    tag.textContent = "error";
    const body = document.createElement("div");
    if (problem.file) {
      const link = document.createElement("a");
      link.className = "where break";
      const own = problem.file === this.dataset.file;
      link.href = own ? location.pathname : `${location.pathname.slice(0, location.pathname.lastIndexOf("/") + 1)}${encodeURIComponent(problem.file)}`;
      if (problem.line) link.dataset.line = problem.line;
      if (problem.column) link.dataset.column = problem.column;
      link.textContent = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
      body.append(link, " ");
    }
    body.append(problem.message);
    item.append(tag, body);
    return item;
  }
}

function painted(pieces) {
  const line = document.createElement("span");
  for (const [name, text] of pieces) {
    if (!name) {
      line.append(text);
      continue;
    }
    const span = document.createElement("span");
    span.className = name;
    span.textContent = text;
    line.append(span);
  }
  return line;
}

customElements.define("code-editor", CodeEditor);
