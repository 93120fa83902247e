// Selects all rows of a page by the box in the table's head, and marks the selected rows.
for (const all of document.querySelectorAll("[data-select-all]")) {
  const table = all.closest("table");
  const boxes = () => [...table.querySelectorAll('tbody input[type="checkbox"]')];
  const mark = () => {
    for (const box of boxes()) box.closest("tr").setAttribute("aria-selected", String(box.checked));
    all.checked = boxes().every((box) => box.checked);
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    mark();
  });
  table.addEventListener("change", mark);
  document.addEventListener("keydown", (event) => {
    const row = document.activeElement?.closest("tr");
    if (document.body.dataset.shortcuts === "off" || event.key !== "x" || event.ctrlKey || event.metaKey || !row || !table.contains(row)) return;
    const box = row.querySelector('input[type="checkbox"]');
    if (!box || document.activeElement === box) return;
    box.checked = !box.checked;
    mark();
  });
}
