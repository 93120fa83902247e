// Body of a function that the test runs in each page: returns its defects, its weight in bytes and the time of its first paint.
const defects = [];
const width = document.documentElement.clientWidth;

function name(element) {
  const classes = [...element.classList].map((one) => `.${one}`).join("");
  return `${element.localName}${element.id ? `#${element.id}` : ""}${classes} ${JSON.stringify(element.textContent.trim().slice(0, 40))}`;
}

// Returns true if an ancestor shows a part of an element only: it scrolls, or cuts off what is too wide.
function isHeld(element) {
  for (let outer = element.parentElement; outer && outer !== document.body; outer = outer.parentElement) {
    const { overflowX, position } = getComputedStyle(outer);
    if (overflowX !== "visible" && outer.getBoundingClientRect().right <= width + 1) return true;
    if (position === "fixed") return true;
  }
  return false;
}

if (window.hostile !== undefined) defects.push("a text of a stranger ran as a script");
if (document.querySelector("[data-hostile]")) defects.push("a text of a stranger became an element");
if (document.documentElement.scrollWidth > width + 1) {
  defects.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${width}`);
}
for (const element of document.body.querySelectorAll("*")) {
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.height === 0 || !element.checkVisibility()) continue;
  if (box.right > width + 1 && !isHeld(element)) defects.push(`wider than the page: ${name(element)}`);
}
for (const control of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
  const labelled = control.labels?.length || control.ariaLabel || control.getAttribute("aria-labelledby");
  if (!labelled) defects.push(`without a label: ${control.outerHTML.slice(0, 120)}`);
}
for (const button of document.querySelectorAll("button, summary, a[href]")) {
  if (!button.checkVisibility()) continue;
  if (!button.innerText.trim() && !button.ariaLabel) defects.push(`without a name: ${button.outerHTML.slice(0, 120)}`);
}
// A text that turns the direction of writing around must not turn what stands behind it.
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const { data, parentElement } = texts.currentNode;
  if (!/[\u202a-\u202e\u2066-\u2069]/.test(data) || ["option", "textarea"].includes(parentElement.localName)) continue;
  const { unicodeBidi } = getComputedStyle(parentElement);
  if (!["isolate", "isolate-override", "plaintext"].includes(unicodeBidi)) defects.push(`turns its surroundings: ${name(parentElement)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) defects.push(`the id ${id} is there twice`);

const [page] = performance.getEntriesByType("navigation");
const files = performance.getEntriesByType("resource").filter(({ name }) => /\.(css|js)$/.test(name));
const paint = performance.getEntriesByName("first-contentful-paint")[0];
return {
  defects: [...new Set(defects)].slice(0, 12),
  html: page.encodedBodySize,
  files: files.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
  paint: paint ? paint.startTime : null,
};
