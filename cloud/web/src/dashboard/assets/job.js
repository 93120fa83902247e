// Brings jobs on the page up to date from the event stream. The page of a job that has ended is loaded again, for the devices
// that failed and the file.
const TONES = { queued: "busy", running: "busy", finished: "good", failed: "bad", cancelled: "idle" };

document.addEventListener("iottly:job", ({ detail }) => {
  for (const place of document.querySelectorAll(`[data-job="${CSS.escape(detail.id)}"]`)) {
    const bar = place.querySelector("progress");
    if (bar) bar.value = detail.done;
    for (const live of place.querySelectorAll("[data-live]")) {
      const text = String(detail[live.dataset.live]);
      if (live.textContent !== text) live.textContent = text;
      if (live.dataset.tone) live.dataset.tone = detail.state === "finished" && detail.failed > 0 ? "warn" : TONES[detail.state];
    }
    if (detail.ended && "open" in place.dataset) location.reload();
  }
});
