// Updates the presence of the devices on the page from the event stream.
document.addEventListener("iottly:presence", ({ detail }) => {
  const state = detail.state ?? (detail.online ? "online" : "offline");
  for (const mark of document.querySelectorAll(`[data-presence="${CSS.escape(detail.device)}"]`)) {
    if (detail.proof) mark.title = `last proof: ${detail.proof.packet}, ${new Date(detail.proof.at.$date).toISOString()}`;
    if (mark.dataset.state === state) continue;
    mark.dataset.state = state;
    mark.querySelector(".word").textContent = state;
    mark.querySelector(".since")?.remove();
    if (detail.planned) {
      const until = document.createElement("span");
      until.className = "since";
      until.textContent = `planned until ${new Date(detail.planned.until.$date).toISOString().slice(0, 10)}`;
      mark.append(until);
    }
  }
});
