
const SAYS = { "≠": "another word", "−": "missing here", "+": "put in" };

/** Draw the texts of a comparison side by side. */
function compared() {
  const { names, rows, sound: embedded, frame } = JSON.parse(document.getElementById("dgnb-data").textContent);
  const el = document.getElementById("dgnb-player");
  if (frame) {
    try {
      if (window.parent.document) wear(window.parent);
    } catch {} // a page of another site, which tells nothing of itself
  }
  themed(el);
  const status = h("span", { class: "dgnb-says", role: "status" });
  const heard = sound({ ask: () => false, moved: () => {}, say: (said) => (status.textContent = said) });
  if (embedded) {
    const { base64, mime, start } = embedded;
    heard.open(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)), mime, { start, end: Infinity });
  }

  const marked = [];
  function word([said, start, end, mark]) {
    const known = { class: mark ? "dgnb-said dgnb-differs" : "dgnb-said", "data-mark": mark };
    const shown = h("span", known, mark ? h("span", { class: "dgnb-mark", "aria-hidden": "true" }, mark) : "", said.trim());
    if (mark) {
      shown.tabIndex = 0;
      shown.setAttribute("role", "button");
      shown.setAttribute("aria-label", `${said.trim()}, ${SAYS[mark]}`);
      marked.push(shown);
    }
    shown.title = [start === null ? "" : clock(start), SAYS[mark] ?? ""].filter(Boolean).join(" · ");
    shown.stretch = start === null ? null : [start, end ?? start + 1];
    return [said.startsWith(" ") || !said ? " " : "", shown];
  }
  const cells = (row) => row.map((cell, n) => h("p", { dir: "auto", "data-name": names[n] }, ...cell.flatMap(word)));
  const table = h("div", { class: "dgnb-text dgnb-diff", tabindex: "0", role: "group", "aria-label": "Texts side by side" });
  table.style.setProperty("--dgnb-texts", names.length);
  table.append(h("div", { class: "dgnb-row dgnb-heads" }, ...names.map((name) => h("b", {}, name))));
  for (const row of rows) table.append(h("div", { class: "dgnb-row" }, ...cells(row)));

  function play({ target }) {
    const stretch = target.closest(".dgnb-said")?.stretch;
    if (stretch && embedded) heard.go(stretch[0], { play: true, stop: stretch[1] });
  }
  table.addEventListener("click", play);
  table.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    play(event);
  });

  let at = -1;
  function go(by) {
    if (!marked.length) return;
    at = (at + by + marked.length) % marked.length;
    marked[at].scrollIntoView({ block: "center" });
    marked[at].focus({ preventScroll: true });
    places.textContent = `${at + 1} of ${marked.length}`;
  }
  const button = (name, said, by) => h("button", { type: "button", title: name, "aria-label": name, onclick: () => go(by) }, said);
  const places = h("span", { class: "dgnb-figures", role: "status" }, marked.length ? "" : "no differences");
  const key = "≠ another word · − missing · + put in" + (embedded ? " · click a word to hear it" : "");
  el.classList.add("dgnb-player");
  el.append(
    heard.audio,
    h("div", { class: "dgnb-search" }, button("Previous difference", "‹", -1), button("Next difference", "›", 1), places, h("span", { class: "dgnb-help" }, key), status),
    table,
  );
}
