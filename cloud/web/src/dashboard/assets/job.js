// Brings jobs on the page up to date from the event stream. The page of a job that has ended is loaded again, for the devices
// that failed and the file. The list gets a row for a job that starts later; a list without rows is loaded again.
const TONES = { queued: "busy", running: "busy", finished: "good", failed: "bad", cancelled: "idle" };
const OPEN = ["queued", "running"];

function show(place, job) {
  const bar = place.querySelector("progress");
  if (bar) bar.value = job.done;
  for (const live of place.querySelectorAll("[data-live]")) {
    const text = String(job[live.dataset.live]);
    if (live.textContent !== text) live.textContent = text;
    if (live.dataset.tone) live.dataset.tone = job.state === "finished" && job.failed > 0 ? "warn" : TONES[job.state];
  }
}

function add(list, job) {
  if (list.dataset.later === "open" && job.ended) return;
  const model = list.querySelector("tr[data-job]");
  if (!model) {
    location.reload();
    return;
  }
  const row = model.cloneNode(true);
  row.dataset.job = job.id;
  const link = row.querySelector("a.row-link");
  link.href = link.getAttribute("href").replace(/[^/]*$/, job.id);
  const time = row.querySelector("time");
  time.dateTime = new Date(job.created.$date).toISOString();
  time.textContent = "now";
  show(row, job);
  model.parentElement.prepend(row);
  count("All", 1);
  count(job.ended ? "ended" : "open", 1);
}

function count(name, change) {
  for (const place of document.querySelectorAll(`[data-count="${name}"]`)) place.textContent = Number(place.textContent) + change;
}

document.addEventListener("iottly:job", ({ detail }) => {
  const places = document.querySelectorAll(`[data-job="${CSS.escape(detail.id)}"]`);
  for (const place of places) {
    const state = place.querySelector("tr > td [data-live=state]")?.textContent;
    if (detail.ended && OPEN.includes(state)) {
      count("open", -1);
      count("ended", 1);
    }
    show(place, detail);
    if (detail.ended && "open" in place.dataset) location.reload();
  }
  const list = document.querySelector("[data-later]");
  if (list && places.length === 0) add(list, detail);
});
