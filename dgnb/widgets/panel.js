// The control panel. Python decides; this file draws the traits of `PanelView`, and sends what people do.

const CHUNK = 1 << 20; // bytes of a file in one message: Jupyter servers refuse much larger ones
const TYPING = 300; // ms without a keystroke after which a text is sent
const TWICE = 400; // ms in which a second click on Start is taken for a double click

const TABS = { captions: "Captions", words: "Words", timeline: "Timeline", events: "Events" };
const SETUP = {
  source: { label: "Source", help: "Where the sound comes from." },
  path: { label: "Path or URL", help: "A file of the kernel's machine, or an http(s) address: a recording or a radio station." },
  upload: { label: "File", help: "A recording of this computer. It is sent to the kernel, and is in no saved notebook." },
  endpoint: { label: "Endpoint", help: "Who transcribes: Deepgram, the engine on the kernel's machine, or a server of yours." },
  address: { label: "Address", help: "The ws:// or wss:// address of a Deepgram-compatible server." },
  key: { label: "Key", help: "A Deepgram key. Press Enter. It is kept in the kernel's memory and in no file." },
  duration: { label: "Seconds", help: "Seconds of audio after which it stops by itself. Empty for no limit." },
};

/** A slider with its number beside it; where the default is none, a box switches it on. */
function sliding({ name, label, default: normal, maximum }, control, set) {
  const number = h("span", { class: "dgnb-number", "aria-hidden": "true" }); // the slider itself says it
  const on = normal ? null : h("input", { type: "checkbox", "aria-label": `${label} on` });
  if (on) control.value = "0.5";
  const show = (value) => {
    number.textContent = value ? `${value}${maximum > 1 ? " ms" : ""}` : "off";
    control.setAttribute("aria-valuetext", number.textContent);
    if (on) control.disabled = !(on.checked = Boolean(value));
  };
  on?.addEventListener("change", () => set({ [name]: on.checked ? control.value : "" }));
  control.addEventListener("input", () => show(control.value));
  return { box: h("div", { class: "dgnb-slider" }, ...(on ? [on] : []), control, number), show, off: () => on && !on.checked };
}

function render({ model, el }) {
  const unwatch = themed(el);
  const id = (name) => `dgnb-${view}-${name}`;
  // Each panel loads this file anew, so a counter here would give two panels on a page the same names.
  const view = Math.random().toString(36).slice(2);
  const known = model.get("fields");
  const send = (message, buffers) => {
    try {
      model.send({ ...message, view }, undefined, buffers);
    } catch {
      showError({ name: "The panel has lost its kernel", text: "The kernel was restarted or has ended. Run the cell again." });
    }
  };
  const fields = {};
  const cleanup = [unwatch, ownKeys(el)];
  const on = (name, act) => {
    const drawn = (...told) => {
      const held = focused();
      act(...told);
      keepFocus(held);
    };
    model.on(name, drawn);
    cleanup.push(() => model.off(name, drawn));
  };

  // What has the focus may get hidden or disabled. Then the one before it gets the focus: the page would lose the place.
  const focused = () => el.getRootNode().activeElement;
  function keepFocus(held) {
    const lost = (one) => one.disabled || one.closest("[hidden]");
    const moved = focused() !== held && el.contains(focused());
    if (!el.contains(held) || !lost(held) || moved) return;
    const stops = [...el.querySelectorAll("button, input, select, textarea, summary, [tabindex='0']")];
    const before = stops.slice(0, stops.indexOf(held)).filter((one) => !lost(one) && one.tabIndex >= 0);
    const own = Object.values(fields).find(({ reset }) => reset === held)?.control;
    (own && !lost(own) ? own : before.at(-1) ?? toggle).focus();
  }

  // Fields

  const help = h("p", { class: "dgnb-help" });
  let waiting = null;
  const flush = () => {
    if (!waiting) return;
    const { timer, act } = waiting;
    clearTimeout(timer);
    waiting = null;
    act();
  };
  const set = (changes) => {
    model.set("values", { ...model.get("values"), ...changes });
    model.save_changes();
  };

  function field(spec, control) {
    const { name, label } = spec;
    const told = () => fields[name].spec; // of the form that is shown
    const problem = h("p", { class: "dgnb-problem", role: "alert", id: id(`${name}-problem`) });
    const hint = h("p", { class: "dgnb-hint", id: id(`${name}-hint`) });
    const described = h("span", { class: "dgnb-hidden", id: id(`${name}-help`) }, spec.help);
    control.id = id(name);
    control.setAttribute("aria-describedby", `${problem.id} ${hint.id} ${described.id}`);
    control.title = spec.help;
    const named = h("label", { for: control.id }, label);
    if (spec.kind && label.toLowerCase() !== name) named.append(" ", h("span", { class: "dgnb-wire" }, name));
    const reset = h("button", { type: "button", class: "dgnb-reset", title: `Set ${name} to its default` }, "↺");
    reset.setAttribute("aria-label", `Reset ${name}`);
    reset.hidden = true;
    reset.addEventListener("click", () => {
      control.focus(); // first, because what has the focus stays in sight
      set({ [name]: told().default });
    });
    const box = h("div", { class: `dgnb-field dgnb-kind-${spec.kind ?? "setup"} dgnb-field-${name}` });
    const below = [problem, hint, described];
    const slider = spec.kind === "slider" ? sliding(spec, control, set) : null;
    if (spec.kind === "bool") box.append(h("div", { class: "dgnb-label" }, control, named, reset), ...below);
    else box.append(h("div", { class: "dgnb-label" }, named, reset), h("div", {}, slider?.box ?? control, ...below));
    box.addEventListener("focusin", () => (help.textContent = told().help));
    box.addEventListener("focusout", () => (help.textContent = ""));
    fields[name] = { spec, box, control, problem, hint, reset, described, slider };
    return box;
  }

  function listen(name, control) {
    const read = () => (control.type === "checkbox" ? control.checked : control.value);
    if (control.type === "checkbox" || control.tagName === "SELECT") {
      control.addEventListener("change", () => set({ [name]: read() }));
      return;
    }
    control.addEventListener("input", () => {
      if (waiting && waiting.control !== control) flush();
      clearTimeout(waiting?.timer);
      waiting = { control, timer: setTimeout(flush, TYPING), act: () => set({ [name]: read() }) };
    });
    if (control.type !== "range") control.addEventListener("change", flush); // a key that is held down changes it often
  }

  function select(options) {
    return h("select", {}, ...Object.entries(options).map(([value, text]) => h("option", { value }, text)));
  }

  function option(spec) {
    let control;
    if (spec.kind === "bool") control = h("input", { type: "checkbox" });
    else if (spec.kind === "choice") control = select(Object.fromEntries(spec.choices.map((one) => [one, one || "–"])));
    else if (spec.kind === "slider") {
      control = h("input", { type: "range", min: `${spec.minimum}`, max: `${spec.maximum}`, step: spec.maximum > 1 ? "500" : "0.01" });
    } else if (spec.kind === "lines") {
      control = h("textarea", { rows: "2", placeholder: spec.choices.join(", ") || "one a line", spellcheck: "false" });
    } else {
      control = h("input", { type: "text", placeholder: spec.default || "–", spellcheck: "false", autocomplete: "off" });
      if (spec.choices.length) {
        control.setAttribute("list", id(`${spec.name}-list`));
        control.setAttribute("role", "combobox");
      }
    }
    listen(spec.name, control);
    const box = field(spec, control);
    if (control.hasAttribute("list")) box.append(h("datalist", { id: id(`${spec.name}-list`) }));
    return box;
  }

  function suggest(name, choices) {
    fields[name].box.querySelector("datalist").replaceChildren(...choices.map((value) => h("option", { value })));
  }

  let asked = ""; // the key that it was asked with; without an answer, what is built in stays
  function askModels(origin) {
    if (!origin || origin === asked) return;
    asked = origin;
    setTimeout(() => {
      try {
        model.send({ do: "models" });
      } catch {} // a page without a kernel
    });
  }
  // Model and language know each other: by the service's list, where it was asked, else by their names.
  const served = () => Object.fromEntries(model.get("fields").models);
  const listed = (name) => served()[name] ?? served()[`${name}-general`];
  function knows(name, tag) {
    const general = name.split("-").length < 3 || /-(general|multi)$/.test(name);
    if (tag === "multi") return general && /^(nova-[23]|flux)/.test(name);
    const tags = listed(name) ?? [];
    return !tag || (tags.length ? tags.includes(tag) || tags.includes(tag.split("-")[0]) : /^en\b/i.test(tag) || general);
  }
  function fit({ model: chosen, language }) {
    const names = Object.keys(served());
    const own = fields.model.spec.choices.filter((name) => !names.length || listed(name) || name.startsWith("flux"));
    const models = [...new Set([...own, ...names])];
    suggest("model", models.filter((name) => form === "flux" || knows(name, language)));
    const tags = [...new Set([...fields.language.spec.choices, ...(listed(chosen) ?? [])])];
    suggest("language", tags.filter((tag) => !models.includes(chosen) || knows(chosen, tag)));
  }

  // Source and endpoint

  const text = (placeholder) => h("input", { type: "text", placeholder, spellcheck: "false", autocomplete: "off" });
  const setup = {
    source: select(Object.fromEntries(known.sources.map((kind) => [kind, kind]))),
    path: text("talk.wav or https://example.org/radio.mp3"),
    endpoint: select(known.endpoints),
    address: text("wss://api.eu.deepgram.com"),
    duration: text("no limit"),
  };
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  const giveKey = () => {
    if (key.value) send({ do: "key", key: key.value });
    key.value = "";
  };
  key.addEventListener("change", giveKey);
  key.addEventListener("keydown", (event) => event.key === "Enter" && giveKey()); // not every browser calls it a change
  const file = h("input", { type: "file", accept: "audio/*,video/*" });
  const uploaded = h("span", { class: "dgnb-uploaded" });
  let taken = () => {};
  file.addEventListener("change", async () => {
    const chosen = file.files[0] ?? new File([], "");
    // A part at a time; an empty file, and none, is one empty part.
    for (let offset = 0; offset === 0 || offset < chosen.size; offset += CHUNK) {
      const part = await chosen.slice(offset, offset + CHUNK).arrayBuffer();
      if (chosen.name && file.files[0] !== chosen) return;
      send({ do: "upload", name: chosen.name, offset, size: chosen.size }, [part]);
      await new Promise((resolve) => (taken = resolve)); // the next part goes when the kernel has this one
    }
  });
  const setupRow = h("div", { class: "dgnb-setup" });
  for (const [name, spec] of Object.entries(SETUP)) {
    const control = { ...setup, key, upload: file }[name];
    if (setup[name]) listen(name, control);
    setupRow.append(field({ name, ...spec }, control));
  }
  file.after(uploaded);
  const mic = microphone(send, { own: false });
  let ran = false;
  cleanup.push(() => mic.end());
  setupRow.append(mic.box);

  // Transport

  const toggle = h("button", { type: "button", class: "dgnb-toggle" });
  const pause = h("button", { type: "button", class: "dgnb-pause" });
  const finalize = h("button", { type: "button", class: "dgnb-plain" });
  const at = h("span", { class: "dgnb-at" });
  const progress = h("progress", { max: "1", "aria-label": "Position" });
  const meter = h("div", { class: "dgnb-level", role: "meter", "aria-label": "Level", "aria-valuemin": "0", "aria-valuemax": "100" }, h("i"));
  const status = h("span", { class: "dgnb-status", role: "status" });
  const badge = h("span", { class: "dgnb-badge" });
  const figures = h("span", { class: "dgnb-figures" });
  let clicked = 0;
  toggle.addEventListener("click", () => {
    const again = Date.now() - clicked < TWICE;
    clicked = Date.now();
    if (again) return;
    flush();
    if (model.get("state").running) send({ do: "stop" });
    else if (model.get("values").source !== known.microphone) send({ do: "start" });
    // In the click: the browser asks for permission.
    else mic.open().then((opened) => opened && send({ do: "start" }));
  });
  // A disabled button would lose the focus: it says that it is disabled, and does nothing.
  const press = (button, name) =>
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true") {
        flush();
        send({ do: name });
      }
    });
  press(pause, "pause");
  press(finalize, "finalize");
  const transport = h(
    "div",
    { class: "dgnb-transport" },
    toggle,
    pause,
    h("div", { class: "dgnb-position" }, progress, at),
    meter,
    h("div", { class: "dgnb-says" }, status, figures),
    badge,
  );

  // Error and result

  const error = h("div", { class: "dgnb-error", role: "alert" });
  const copied = h("span", { role: "status", class: "dgnb-copied" });
  const code = h("textarea", { class: "dgnb-code", rows: "9", readonly: "", "aria-label": "The cell that does the same" });
  code.hidden = true;
  const plain = (label, title, act) => h("button", { type: "button", class: "dgnb-plain", title, onclick: act }, label);
  const say = (words) => {
    copied.textContent = words;
    setTimeout(() => (copied.textContent = ""), 4000);
  };
  async function copy(words) {
    try {
      await navigator.clipboard.writeText(words);
      say("Copied");
    } catch {
      code.hidden = false;
      code.value = words;
      code.focus();
      code.select();
      say("Press Ctrl+C to copy");
    }
  }
  const expression = (what, title) => plain(`Copy ${what}`, title, () => copy(what));
  const player = expression("panel.transcript.player()", "Copy the expression for the words with their sound, to use in a cell");
  const result = h("strong");
  const strip = h(
    "div",
    { class: "dgnb-result", role: "group", "aria-label": "Result" },
    result,
    plain("Words table", "Show the words with their times", () => show("words")),
    plain("Captions .srt", "Save the captions as SubRip", () => send({ do: "srt" })),
    plain("CSV", "Save the table of words", () => send({ do: "csv" })),
    expression("panel.transcript.words", "Copy the expression for the table, to use in a cell"),
    player,
  );

  // The runs of one sound, side by side

  const runs = h("div", { class: "dgnb-compared", role: "group", "aria-label": "Comparison" });
  const part = (value) => `${(100 * value).toFixed(1)} %`;
  const columns = { words: String, "differing words": part, confidence: (value) => value.toFixed(2), latency: (value) => `${value.toFixed(2)} s` };
  function drawRuns() {
    const { rows: lines = [] } = model.get("compared");
    runs.hidden = !lines.length;
    if (runs.hidden) return;
    const heads = Object.keys(columns);
    const held = heads.map((_, n) => lines.some((line) => line[n + 1] !== null));
    const longest = Math.max(...lines.map((line) => line.at(-1)));
    const body = lines.map(([name, ...values]) => {
      const heard = values.at(-1);
      const partly = heard < longest - 1 ? ` · heard ${heard.toFixed(1)} of ${longest.toFixed(1)} s` : "";
      const cells = heads.map((head, n) => (values[n] === null ? "–" : columns[head](values[n]))).filter((_, n) => held[n]);
      return h("tr", {}, h("th", { scope: "row" }, name + partly), ...cells.map((cell) => h("td", {}, cell)));
    });
    const shown = ["run", ...heads.filter((_, n) => held[n])];
    runs.replaceChildren(
      h(
        "table",
        {},
        h("caption", {}, "The same sound, heard with other options"),
        h("thead", {}, h("tr", {}, ...shown.map((head) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, ...body),
      ),
      h(
        "div",
        { class: "dgnb-foot" },
        expression("panel.comparison.diff()", "Copy the expression for the texts side by side, to use in a cell"),
        expression("panel.comparison.summary", "Copy the expression for the table, to use in a cell"),
      ),
    );
  }

  // Options

  const { live, flux } = known.forms;
  const only = flux.filter(({ name }) => !live.some((spec) => spec.name === name));
  const rows = [live[0], ...only, ...live.slice(1)].map((spec) => [spec.name, option(spec)]);
  let form = "";
  const search = h("input", { type: "search", placeholder: "type speaker…", "aria-label": "Search the other options" });
  const all = h("button", { type: "button", class: "dgnb-plain", "aria-expanded": "false", "aria-controls": id("others") });
  // Fields in columns, and check boxes in a line of their own.
  const laid = (attributes) => h("div", attributes, h("div", { class: "dgnb-fields" }), h("div", { class: "dgnb-boxes" }));
  const common = laid({});
  const others = laid({ id: id("others") });
  // The model says whose options the form shows. What both have keeps its value.
  function lay(wanted) {
    if (wanted === form) return;
    form = wanted;
    const own = Object.fromEntries(known.forms[form].map((spec) => [spec.name, spec]));
    for (const [name, box] of rows) {
      const one = fields[name];
      one.offered = name in own;
      one.spec = own[name] ?? one.spec;
      one.described.textContent = one.control.title = one.spec.help;
      if (one.spec.kind === "lines") one.control.placeholder = one.spec.choices.join(", ") || "one a line";
      const place = (one.spec.common ? common : others).children[one.spec.kind === "bool" ? 1 : 0];
      if (box.contains(focused())) help.textContent = one.spec.help;
      if (box.parentElement !== place) place.append(box); // what is moved would lose the focus
    }
    for (const [, button] of presets) button.hidden = form === "flux";
  }
  const none = h("p", { class: "dgnb-empty" }, "No option has this in its name or help.");
  let expanded = false;
  function sift() {
    const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const [name, box] of rows) {
      const { spec, offered } = fields[name];
      box.hidden = !offered;
      if (spec.common || !offered) continue;
      const words = `${spec.name} ${spec.label} ${spec.help}`.toLowerCase();
      const matches = wanted.length > 0 && wanted.every((word) => words.includes(word));
      found += matches;
      // What is changed, wrong or being edited stays in sight.
      const changed = box.classList.contains("dgnb-changed") && wanted.length === 0;
      const kept = changed || box.classList.contains("dgnb-wrong") || box.contains(focused());
      box.hidden = !(expanded || matches || kept);
    }
    none.hidden = found > 0 || wanted.length === 0 || expanded;
    all.textContent = expanded ? "Fewer options" : `All ${known.forms[form].length} options`;
    all.setAttribute("aria-expanded", String(expanded));
  }
  search.addEventListener("input", sift);
  all.addEventListener("click", () => {
    expanded = !expanded;
    sift();
  });
  const presets = Object.entries(known.presets).map(([name, values]) => {
    const changed = live.filter((spec) => spec.name in values && values[spec.name] !== spec.default);
    const says = changed.map((spec) => `${spec.name}=${values[spec.name]}`).join(", ");
    return [values, plain(name, `Sets ${says}`, () => set(values))];
  });
  const apply = h("button", { type: "button", class: "dgnb-apply" });
  const effect = h("span", { class: "dgnb-effect" });
  const keep = plain("Keep and compare", "Stop here, keep these words, and hear the same sound with the changed options, to compare", () => {
    flush();
    send({ do: "keep" });
  });
  const changes = h("div", { class: "dgnb-changes" }, apply, keep, plain("Undo", "Show the options that are in use", () => send({ do: "undo" })), effect);
  press(apply, "apply");
  const options = h(
    "div",
    { class: "dgnb-options", role: "group", "aria-label": "Options" },
    h(
      "div",
      { class: "dgnb-heading" },
      h("strong", {}, "Options"),
      h("span", { class: "dgnb-presets", role: "group", "aria-label": "Presets" }, ...presets.map(([, button]) => button)),
      search,
      all,
    ),
    common,
    others,
    none,
    help,
    changes,
  );

  // Tabs

  const view_ = captions("14em");
  const panes = {};
  const tabs = {};
  for (const [name, title] of Object.entries(TABS)) {
    tabs[name] = h("button", { type: "button", role: "tab", id: id(`tab-${name}`), "aria-controls": id(`pane-${name}`) }, title);
    tabs[name].addEventListener("click", () => show(name));
    const content = name === "captions" ? view_.box : h("div", { class: `dgnb-pane dgnb-${name}`, tabindex: "0" });
    panes[name] = h("div", { role: "tabpanel", id: id(`pane-${name}`), "aria-labelledby": id(`tab-${name}`) }, content);
  }
  const list = h("div", { class: "dgnb-tabs", role: "tablist", "aria-label": "What was heard" }, ...Object.values(tabs));
  list.addEventListener("keydown", (event) => {
    const names = Object.keys(TABS);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = names[(names.indexOf(model.get("tab")) + step + names.length) % names.length];
    show(next);
    tabs[next].focus();
    event.preventDefault();
  });
  function show(name) {
    model.set("tab", name);
    model.save_changes();
  }
  function drawTab() {
    const open = model.get("tab");
    for (const name of Object.keys(TABS)) {
      tabs[name].setAttribute("aria-selected", String(name === open));
      tabs[name].tabIndex = name === open ? 0 : -1;
      panes[name].hidden = name !== open;
    }
    drawCaptions(); // a hidden box could not scroll
  }
  const seconds = (value) => value.toFixed(2);
  function drawTable() {
    const { tab, rows: lines = [], of = 0, end = 0 } = model.get("table");
    if (!tab) return;
    const pane = panes[tab].firstElementChild;
    const below = pane.scrollTop + pane.clientHeight > pane.scrollHeight - 12;
    if (!lines.length) pane.replaceChildren(h("p", { class: "dgnb-empty" }, "Nothing yet."));
    else if (tab === "timeline") pane.replaceChildren(timeline(lines, end, pane.clientWidth));
    else pane.replaceChildren(table(tab, lines, of));
    if (below && tab !== "timeline") pane.scrollTop = pane.scrollHeight;
  }
  function table(tab, lines, of) {
    const speakers = tab === "words" && lines.some(([, , , , speaker]) => speaker !== null);
    const heads = tab === "events" ? ["time", "type", "text"] : ["word", "start", "end", "confidence", ...(speakers ? ["speaker"] : [])];
    const body = lines.map((line) => {
      if (tab === "events") return h("tr", {}, ...line.map((cell) => h("td", {}, cell)));
      const [word, start, stop, confidence, speaker] = line;
      const bar = h("span", { class: "dgnb-bar" });
      bar.style.setProperty("--part", confidence ?? 0);
      const cells = [word, seconds(start), seconds(stop)].map((cell) => h("td", {}, cell));
      cells.push(h("td", {}, bar, confidence === null ? "–" : confidence.toFixed(2)));
      if (speakers) cells.push(h("td", {}, speaker === null ? "–" : String(speaker)));
      return h("tr", {}, ...cells);
    });
    const shown = tab === "words" && of > lines.length ? `The last ${lines.length} of ${of} words` : "";
    return h(
      "table",
      {},
      h("caption", {}, shown),
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...body),
    );
  }
  const placed = new Map(); // the row of each word, so that it stays where it is while the time moves on
  function timeline(lines, end, width) {
    const begin = end - 30;
    const place = (time) => `${Math.max(0, ((time - begin) / 30) * 100)}%`;
    const track = h("div", { class: "dgnb-track", role: "img", "aria-label": `Words of the last 30 seconds: ${lines.map(([word]) => word).join(" ")}` });
    for (let second = Math.ceil(begin / 5) * 5; second < end - 1; second += 5) {
      const tick = h("span", { class: "dgnb-tick" }, `${second} s`);
      tick.style.left = place(second);
      track.append(tick);
    }
    const free = Array(6).fill(0); // the time from which a row is free
    if (placed.size > 1000) placed.clear();
    lines.forEach(([word, start, stop, confidence, speaker]) => {
      const name = `${start} ${word}`;
      const room = free.findIndex((time) => time <= start);
      const row = placed.get(name) ?? (room < 0 ? free.indexOf(Math.min(...free)) : room);
      placed.set(name, row);
      free[row] = start + ((8 * word.length + 8) / (width || 1)) * 30;
      const block = h("span", { class: "dgnb-word", title: `${word} ${seconds(start)}–${seconds(stop)} s` }, word);
      block.style.left = place(start);
      block.style.setProperty("--row", row);
      block.style.setProperty("--speaker", speaker ?? 0);
      block.style.setProperty("--wide", `${Math.max(0.4, ((stop - start) / 30) * 100)}cqw`);
      if (confidence !== null && confidence < 0.6) block.classList.add("dgnb-doubtful");
      track.append(block);
    });
    return track;
  }

  const foot = h(
    "div",
    { class: "dgnb-foot" },
    finalize,
    plain("Copy as code", "Copy the cell that does the same", () => {
      flush();
      send({ do: "code" });
    }),
    copied,
  );

  // From the traits to the page

  function drawValues() {
    const values = model.get("values");
    lay(/^flux/i.test(values.model.trim()) ? "flux" : "live");
    for (const [name, { spec, control, box, reset, slider }] of Object.entries(fields)) {
      if (!(name in values)) continue;
      if (control.type === "checkbox") control.checked = Boolean(values[name]);
      else if (slider && !values[name]) slider.show(""); // where it stood, it stands when it is switched on again
      else if (control.value !== values[name] && !(waiting && control === document.activeElement)) control.value = values[name];
      slider?.show(values[name]);
      if (!spec.kind) continue;
      const changed = values[name] !== spec.default;
      box.classList.toggle("dgnb-changed", changed);
      reset.hidden = !changed;
    }
    fields.path.box.hidden = values.source !== known.typed;
    mic.box.hidden = values.source !== known.microphone;
    fields.upload.box.hidden = values.source !== known.upload;
    fields.address.box.hidden = values.endpoint !== "custom";
    fields.key.box.hidden = values.endpoint === "offline";
    for (const [wanted, button] of presets) {
      button.setAttribute("aria-pressed", String(Object.entries(wanted).every(([name, value]) => values[name] === value)));
    }
    fit(values);
    sift();
  }
  function drawProblems() {
    const problems = model.get("problems");
    const hints = model.get("hints");
    for (const [name, { box, control, problem, hint }] of Object.entries(fields)) {
      text_(problem, problems[name] ?? "");
      text_(hint, hints[name] ?? "");
      box.classList.toggle("dgnb-wrong", name in problems);
      control.setAttribute("aria-invalid", String(name in problems));
    }
    sift();
  }
  function text_(node, words) {
    if (node.textContent !== words) node.textContent = words;
  }
  function drawState() {
    const state = model.get("state");
    text_(toggle, state.running ? "■ Stop" : "▶ Start");
    toggle.classList.toggle("dgnb-running", Boolean(state.running));
    toggle.title = state.running ? "End the audio and keep the last words" : "Start to transcribe";
    text_(pause, state.paused ? "▶ Resume" : "❚❚ Pause");
    pause.setAttribute("aria-disabled", String(!state.can_pause));
    finalize.setAttribute("aria-disabled", String(!state.open));
    const turns = state.running ? state.turns : form === "flux";
    text_(finalize, turns ? "End the turn" : "Finalize");
    finalize.title = turns ? "End the turn now, with the words heard so far" : "Ask for finals of what was said so far";
    text_(at, state.at ?? "0:00");
    progress.hidden = state.part === null || state.part === undefined;
    if (!progress.hidden) progress.value = state.part;
    meter.setAttribute("aria-valuenow", String(state.level ?? 0));
    meter.setAttribute("aria-valuetext", state.loudness || "resting");
    meter.title = state.loudness ? `Level ${state.loudness}` : "Level";
    meter.firstElementChild.style.width = `${state.level ?? 0}%`;
    text_(status, state.says ?? "");
    text_(figures, state.figures ?? "");
    const values = model.get("values");
    text_(badge, [known.endpoints[values.endpoint], state.badge].filter(Boolean).join(" · "));
    badge.dataset.kind = values.endpoint;
    key.placeholder = state.key || "type it here";
    askModels(state.key);
    for (const [name, { control, spec, slider }] of Object.entries(fields)) {
      control.disabled = (!spec.kind && Boolean(state.running)) || known.fixed.includes(name) || Boolean(slider?.off());
    }
    if (ran && !state.running) mic.release(); // also where the start failed before the source was opened
    ran = state.running;
    strip.hidden = !state.result;
    player.hidden = !state.sound;
    text_(result, state.result ?? "");
    const count = (state.changes ?? []).length;
    changes.hidden = count === 0;
    apply.hidden = !state.open;
    keep.hidden = !state.sound;
    text_(apply, `Apply ${count} ${count === 1 ? "change" : "changes"}`);
    text_(effect, `${(state.changes ?? []).join(", ")}: ${state.effect}`);
  }
  const drawError = () => {
    if (model.get("error").name && !model.get("state").running) mic.release();
    showError(model.get("error"));
  };
  function showError({ name, text: words, report }) {
    const held = focused();
    error.hidden = true;
    keepFocus(held);
    error.replaceChildren();
    if (!words) return;
    error.hidden = false;
    error.append(h("strong", {}, name), h("p", {}, words));
    if (report) error.append(h("details", {}, h("summary", {}, "Report"), h("pre", {}, report)));
  }

  on("change:values", drawValues);
  on("change:values", drawState);
  on("change:values", () => (code.hidden = true));
  on("change:problems", drawProblems);
  on("change:hints", drawProblems);
  on("change:state", drawState);
  on("change:error", drawError);
  on("change:tab", drawTab);
  on("change:table", drawTable);
  on("change:compared", drawRuns);
  on("change:fields", () => fit(model.get("values")));
  const drawCaptions = () => view_.update(model.get("captions"));
  on("change:captions", drawCaptions);
  on("msg:custom", (message, buffers) => {
    // A panel may be on the page twice. Whoever asked gets the answer.
    if (message.view && message.view !== view) return;
    if (message.do === "microphone") mic.receive(message);
    else if (message.do === "focus") {
      if (!model.get("state").running) mic.release(); // it was a start that failed
      // An error may come long after the click: nobody is taken away from another cell.
      if (el.contains(document.activeElement) || document.activeElement === document.body) fields[message.field]?.control.focus();
    } else if (message.do === "uploaded") {
      uploaded.textContent = message.text;
      taken();
    } else if (message.do === "code") {
      code.hidden = false;
      code.value = message.text;
      copy(message.text);
    } else if (message.do === "save") {
      const url = URL.createObjectURL(new Blob([buffers[0]]));
      h("a", { href: url, download: message.name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    }
  });

  el.append(
    h(
      "section",
      { class: "dgnb-panel", "aria-label": "dgnb control panel" },
      transport,
      error,
      strip,
      runs,
      setupRow,
      list,
      ...Object.values(panes),
      options,
      foot,
      code,
    ),
  );
  drawValues();
  drawProblems();
  drawState();
  drawError();
  drawTab();
  drawTable();
  drawRuns();
  drawCaptions();
  return () => cleanup.forEach((act) => act());
}

export default { render };
