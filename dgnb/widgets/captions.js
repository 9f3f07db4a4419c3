// Parts that the captions and the panel share: making elements, the theme, and the captions themselves.

const KEPT = 400; // lines on a page that stays open

/** Make an element. Text from outside is only ever set as text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Tell the style sheet whether the text is light here: each host says in its own way that its theme is dark. */
function themed(el) {
  el.classList.add("dgnb");
  const look = () => {
    const [red, green, blue] = getComputedStyle(el).color.match(/[\d.]+/g).map(Number);
    el.classList.toggle("dgnb-dark", 0.3 * red + 0.6 * green + 0.1 * blue > 128);
  };
  const watcher = new MutationObserver(() => setTimeout(look, 50));
  for (const node of [document.documentElement, document.body]) {
    watcher.observe(node, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light"] });
  }
  requestAnimationFrame(look);
  return () => watcher.disconnect();
}

/** A box of captions that appends, and follows the newest line unless the person scrolls up. */
function captions(height) {
  const finals = h("div", { role: "log", "aria-live": "polite", "aria-label": "Captions" });
  const interim = h("p", { class: "dgnb-interim", dir: "auto" });
  const empty = h("p", { class: "dgnb-empty" }, "The words appear here.");
  const box = h("div", { class: "dgnb-captions", tabindex: "0" }, empty, finals, interim);
  box.style.height = height;
  const shown = new Map();
  let run = null;
  let following = true;
  box.addEventListener("scroll", () => {
    following = box.scrollTop + box.clientHeight > box.scrollHeight - 12;
  });

  const line = ({ key, at, speaker, text }) => {
    const known = shown.get(key);
    if (!known) {
      const said = h("span", {}, text);
      finals.append(h("p", { dir: "auto" }, h("span", { class: "dgnb-at" }, [at, speaker].filter(Boolean).join(" ")), " ", said));
      shown.set(key, { said, text });
    } else if (text !== known.text) {
      // What is added is a node of its own, so that screen readers read it, and nothing twice.
      if (text.startsWith(known.text)) known.said.append(h("span", {}, text.slice(known.text.length)));
      else known.said.textContent = text;
      known.text = text;
    }
  };

  const update = (state) => {
    if (state.run !== run) {
      run = state.run;
      shown.clear();
      finals.replaceChildren();
      following = true;
    }
    const lines = state.lines ?? [];
    // The oldest line may have lost its beginning, and with it its key, while the page has it whole.
    const known = lines.findIndex(({ key }) => shown.has(key));
    lines.slice(Math.max(0, known)).forEach(line);
    while (finals.childElementCount > KEPT) finals.firstElementChild.remove();
    interim.textContent = state.interim ?? "";
    empty.hidden = Boolean(lines.length || state.interim);
    if (following) box.scrollTop = box.scrollHeight;
  };
  return { box, update };
}

/** Draw `LiveCaptions`. */
function follow(model, el) {
  const unwatch = themed(el);
  const view = captions(model.get("height"));
  const draw = () => view.update(model.get("captions"));
  el.append(view.box);
  model.on("change:captions", draw);
  draw();
  return () => {
    unwatch();
    model.off("change:captions", draw);
  };
}
