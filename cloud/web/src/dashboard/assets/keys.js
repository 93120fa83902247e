// Keys of every screen. Single letters work outside of fields only; all of it is also a link or a button.
const PLACES = { o: "/", d: "/devices", g: "/groups", c: "/code", s: "/stream", p: "/plots", a: "/alerts", w: "/webhooks", j: "/jobs" };
const base = document.body.dataset.base ?? "";
let goes = 0;

function isTyping(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

function rows() {
  return [...document.querySelectorAll(".row-link, .stream .json > summary")];
}

function move(step) {
  const all = rows();
  const next = all[Math.max(0, Math.min(all.length - 1, all.indexOf(document.activeElement) + step))];
  next?.focus();
}

function tab(step) {
  const all = [...document.querySelectorAll(".tabs a")];
  const here = all.findIndex((link) => link.hasAttribute("aria-current"));
  all[here + step]?.click();
}

const list = document.getElementById("shortcuts");

function showKeys() {
  if (list && !list.open) list.showModal();
}

// The link to the list is a page without this script.
document.querySelector("[data-keys]")?.addEventListener("click", (event) => {
  if (!list || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  showKeys();
});

const ACTIONS = {
  "?": showKeys,
  "/": () => (document.querySelector(".filter input:not([type='hidden'])") ?? document.getElementById("find"))?.focus(),
  j: () => move(1),
  k: () => move(-1),
  "[": () => tab(-1),
  "]": () => tab(1),
  p: () => document.querySelector("[data-pause]")?.click(),
};

const areOff = document.body.dataset.shortcuts === "off";

document.addEventListener("keydown", (event) => {
  if (areOff || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || list?.open) return;
  if (Date.now() - goes < 1500 && PLACES[event.key]) {
    goes = 0;
    event.preventDefault();
    location.assign(base + PLACES[event.key]);
    return;
  }
  if (event.key === "g") {
    goes = Date.now();
    return;
  }
  const action = ACTIONS[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});
