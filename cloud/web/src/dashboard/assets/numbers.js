// Keeps the numbers of the overview up to date from the event stream.
document.addEventListener("iottly:counts", ({ detail }) => {
  for (const element of document.querySelectorAll("[data-live]")) {
    const value = detail[element.dataset.live];
    if (value !== undefined && element.textContent !== String(value)) element.textContent = value;
    const figure = element.closest("[data-warns]");
    if (figure && element.dataset.live === figure.dataset.warns) {
      if (value > 0) figure.dataset.tone = "warn";
      else delete figure.dataset.tone;
    }
  }
});
