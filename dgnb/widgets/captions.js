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

/** Keep JupyterLab from taking letters, arrows and Space for its commands. Escape and what has a modifier are its own. */
function ownKeys(el) {
  const decide = ({ target, ctrlKey, metaKey, altKey, key }) => {
    const ours = !(ctrlKey || metaKey || altKey || key === "Escape");
    if (el.contains(target)) target.toggleAttribute("data-lm-suppress-shortcuts", ours);
  };
  window.addEventListener("keydown", decide, true);
  return () => window.removeEventListener("keydown", decide, true);
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

  const line = ({ utterance, at, speaker, words }) => {
    let known = shown.get(utterance);
    if (!known) {
      known = { said: h("span"), last: -1 };
      finals.append(h("p", { dir: "auto" }, h("span", { class: "dgnb-at" }, [at, speaker].filter(Boolean).join(" ")), " ", known.said));
      shown.set(utterance, known);
    }
    // A word of which the punctuation came late. What is new is a node of its own: screen readers read it, and nothing twice.
    const ending = words.find(([position]) => position === known.last);
    if (ending && known.text !== ending[1]) known.word.textContent = known.text = ending[1];
    for (const [position, text] of words) {
      if (position <= known.last) continue;
      known.word = h("span", {}, known.last < 0 ? text.trimStart() : text);
      known.said.append(known.word);
      known.last = position;
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
    lines.forEach(line);
    while (shown.size > KEPT) {
      finals.firstElementChild.remove();
      shown.delete(shown.keys().next().value);
    }
    interim.textContent = state.interim ?? "";
    empty.hidden = Boolean(lines.length || state.interim);
    if (following) box.scrollTop = box.scrollHeight;
  };
  return { box, update };
}

/** Draw `LiveCaptions`. */
function follow(model, el) {
  const cleanup = [themed(el), ownKeys(el)];
  const view = captions(model.get("height"));
  const draw = () => view.update(model.get("captions"));
  el.append(view.box);
  model.on("change:captions", draw);
  draw();
  return () => {
    cleanup.forEach((act) => act());
    model.off("change:captions", draw);
  };
}
