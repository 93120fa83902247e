// Keeps ages such as "3 min" true: each `time[data-ago]` is counted from its date, by the server's clock.
const EVERY_MS = 30_000;
const ahead = Number(document.body.dataset.now || Date.now()) - Date.now();

// Returns the time since a date as the server writes it.
export function ago(date) {
  const seconds = Math.floor(Math.max(0, Date.now() + ahead - date.getTime()) / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

// Returns an element with the time since a date, which stays true.
export function age(date) {
  const time = document.createElement("time");
  time.dateTime = date.toISOString();
  time.dataset.ago = "";
  time.textContent = ago(date);
  return time;
}

export function renew() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

setInterval(renew, EVERY_MS);
