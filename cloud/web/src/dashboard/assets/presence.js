// Updates the presence marks and the number of online devices from the event stream.
document.addEventListener("iottly:presence", ({ detail }) => {
  const state = detail.online ? "online" : "offline";
  for (const mark of document.querySelectorAll(`[data-presence="${CSS.escape(detail.device)}"]`)) {
    if (mark.dataset.state === state) continue;
    mark.dataset.state = state;
    mark.querySelector(".word").textContent = state;
    mark.querySelector(".muted")?.remove();
  }
  const count = document.getElementById("online-count");
  if (count) count.textContent = document.querySelectorAll('.devices [data-state="online"]').length;
});
