// Reloads the page while its sweep is watched, unless that would disturb its reader.
let touched = -Infinity;
{
  const QUIET = 60, KEPT = "isoklx watch";
  const every = Math.round(watched.every);
  let paused = false;

  const bar = make("div", undefined, "watched"), button = make("button", "Pause");
  bar.append(make("p", `${watched.says} This page reloads every ${every} s.`), button);
  button.type = "button";
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    bar.firstChild.textContent = paused ? `${watched.says} Paused: this page does not reload.`
      : `${watched.says} This page reloads every ${every} s.`;
  });
  const style = make("style", `
    .watched { display: flex; flex-wrap: wrap; align-items: center; gap: .35rem 1rem; margin: 0 0 1rem; padding: .45rem .8rem; border: 1px solid var(--line); border-left: 5px solid var(--alive); border-radius: 4px; background: var(--soft); font-size: .9rem; }
    .watched p { margin: 0; }
    @media print { .watched { display: none; } }`);
  document.head.append(style);
  document.querySelector("header").prepend(bar);

  for (const kind of ["keydown", "pointerdown", "wheel", "touchmove", "input"])
    addEventListener(kind, () => { touched = performance.now(); }, { capture: true, passive: true });

  const busy = () => paused || performance.now() - touched < 1000 * QUIET || !getSelection().isCollapsed;

  const top = (node) => node.getBoundingClientRect().top;

  // Save the state that is not in the URL. Some browsers store nothing for local files.
  const keep = () => {
    const sorted = [...document.querySelectorAll("th[aria-sort]:not([aria-sort=none])")].map((head) =>
      [head.closest("details").id, head.cellIndex, head.getAttribute("aria-sort")]);
    const open = [...document.querySelectorAll("details")].map((each) => [each.id, each.open]);
    const log = document.getElementById("log")?.checked;
    // Relative to a section, since undrawn figures above it differ in height.
    const from = [...document.querySelectorAll("section[id]")].filter((each) => top(each) < innerHeight / 2).pop();
    const place = from && scrollY ? [from.id, top(from)] : null;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ sorted, open, log, place }));
      history.scrollRestoration = "manual";
    } catch { /* no storage */ }
    // Replace the fragment, so that the page does not jump to a section again.
    if (data.rollouts) history.replaceState(null, "", `#read=${reader.at.cell},${reader.at.alpha},${reader.at.prompt}`);
  };

  const again = () => {
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(KEPT));
      sessionStorage.removeItem(KEPT);
    } catch { /* no storage */ }
    if (!kept) return;
    for (const [id, open] of kept.open) if ($(id)) $(id).open = open;
    for (const [id, column, order] of kept.sorted) {
      const head = document.querySelector(`#${CSS.escape(id)} th:nth-child(${column + 1})`);
      for (let i = 0; head && i < 2 && head.getAttribute("aria-sort") !== order; i++) head.firstElementChild.click();
    }
    const log = $("log");
    if (log && log.checked !== kept.log) log.click();
    if (!kept.place) return;
    const from = $(kept.place[0]);
    if (from) scrollBy({ top: top(from) - kept.place[1], behavior: "instant" });
  };

  again();
  const due = () => {
    if (busy()) return setTimeout(due, 1000);
    keep();
    location.reload();
  };
  setTimeout(due, 1000 * every);
}
