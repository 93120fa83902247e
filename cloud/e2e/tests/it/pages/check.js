// Body of a function that the test runs in each page: returns its defects, its weight in bytes and the time of its first paint.
const defects = [];
const width = document.documentElement.clientWidth;

function name(element) {
  const classes = [...element.classList].map((one) => `.${one}`).join("");
  return `${element.localName}${element.id ? `#${element.id}` : ""}${classes} ${JSON.stringify(element.textContent.trim().slice(0, 40))}`;
}

// Returns how an element that is too wide for its surroundings is shown: "held" where people can scroll to the rest, "cut"
// where they cannot, "wide" where it widens the page.
function fate(element) {
  const right = element.getBoundingClientRect().right;
  for (let outer = element; outer && outer !== document.body; outer = outer.parentElement) {
    const { overflowX, textOverflow, clipPath } = getComputedStyle(outer);
    const box = outer.getBoundingClientRect();
    if (clipPath !== "none" || textOverflow === "ellipsis") return "held";
    if (outer === element || box.right >= right - 1) continue;
    if (overflowX === "auto" || overflowX === "scroll") return "held";
    if (overflowX === "hidden" || overflowX === "clip") return "cut";
  }
  return right > width + 1 ? "wide" : "held";
}

function hasText(element) {
  return [...element.childNodes].some(({ nodeType, data }) => nodeType === Node.TEXT_NODE && data.trim());
}

if (window.hostile !== undefined) defects.push("a text of a stranger ran as a script");
if (document.querySelector("[data-hostile]")) defects.push("a text of a stranger became an element");
if (document.documentElement.scrollWidth > width + 1) {
  defects.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${width}`);
}
for (const element of document.body.querySelectorAll("*")) {
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.height === 0 || !element.checkVisibility()) continue;
  const shown = box.right > width + 1 || hasText(element) ? fate(element) : "held";
  if (shown === "wide") defects.push(`wider than the page: ${name(element)}`);
  if (shown === "cut") defects.push(`cut off: ${name(element)}`);
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
