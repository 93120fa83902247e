// Updates the presence of the devices on the page from the event stream.
document.addEventListener("iottly:presence", ({ detail }) => {
  const state = detail.state ?? (detail.online ? "online" : "offline");
  for (const mark of document.querySelectorAll(`[data-presence="${CSS.escape(detail.device)}"]`)) {
    if (mark.dataset.state === state) continue;
    mark.dataset.state = state;
    mark.querySelector(".word").textContent = state;
    mark.querySelector(".since")?.remove();
  }
});
