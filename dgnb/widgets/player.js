// A transcript that plays: words under a sound bar. It is drawn in a page of its own, and as a widget.
// A kernel may send words, names and sound, and is told what people select and how they name speakers.

const STEP = 5; // s that an arrow key goes
const PART = 60; // words of a paragraph; the browser lays out only those in sight
const DOUBTFUL = 0.5; // confidence
const ROUNDING = 0.001; // s by which a browser may tell a time too early

const clock = (seconds) => {
  const all = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number % 60).padStart(2, "0");
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(all)}` : `${minutes}:${two(all)}`;
};

/** How many items at the beginning of a list make `test` true; after those, none does. */
function count(items, test) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (test(items[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The sound: embedded, at an address, or in pieces from the kernel. Times are those of the transcript. */
function sound({ ask, moved, say }) {
  const audio = h("audio", { preload: "auto" });
  let piece = null; // the stretch that `audio` has; `asked` if the kernel sent it
  let wanted = null; // where to go when the next piece comes
  let until = Infinity;

  const time = () => wanted?.at ?? (piece ? piece.start + audio.currentTime : 0);
  const first = () => (piece && !piece.asked ? piece.start : 0);
  const end = () => (piece && !piece.asked && Number.isFinite(audio.duration) ? piece.start + audio.duration : 0);
  const playing = () => (wanted ? wanted.play : !audio.paused);
  const start = () =>
    audio.play().catch(({ name }) => {
      if (name === "NotAllowedError") say("Press Play or Space: before a click, the browser plays no sound.");
      moved();
    });

  function load(src, stretch) {
    URL.revokeObjectURL(audio.src);
    piece = stretch;
    audio.src = src;
  }
  const open = (bytes, mime, stretch) => load(URL.createObjectURL(new Blob([bytes], { type: mime })), stretch);

  function go(at, { play = playing(), stop = Infinity } = {}) {
    at = Math.max(first(), end() ? Math.min(at, end()) : at);
    until = stop;
    if (piece && at >= piece.start && at < piece.end) {
      wanted = null;
      audio.currentTime = at - piece.start;
      if (play) start();
    } else if (ask(at)) {
      audio.pause();
      wanted = { at, play };
      say("Loading the sound …");
    } else say("The sound is in the kernel that made this player. Run its cell again.");
    moved();
  }

  function take({ start: from, end: to, mime }, bytes) {
    if (!wanted) return;
    const { at, play } = wanted;
    say("");
    open(bytes, mime, { start: from, end: to, asked: to - from });
    go(at, { play, stop: until });
  }
  function toggle() {
    if (wanted) wanted.play = !wanted.play;
    else if (!audio.paused) audio.pause();
    else go(end() && time() >= end() - ROUNDING ? 0 : time(), { play: true, stop: until });
    moved();
  }

  function refuse(text) {
    wanted = null;
    say(text);
    moved();
  }

  audio.addEventListener("loadedmetadata", () => {
    if (piece.asked) piece.end = piece.start + audio.duration;
  });
  audio.addEventListener("ended", () => {
    // A piece that is shorter than what was asked for ends where the sound does.
    if (piece.asked && audio.duration > piece.asked - 1) go(piece.end, { play: true, stop: until });
  });
  audio.addEventListener("error", () => refuse("The browser can't play the sound. Check audio_url, or run the cell again."));
  audio.addEventListener("playing", function frame() {
    if (!audio.paused && time() >= until) {
      until = Infinity;
      audio.pause();
    }
    moved();
    if (!audio.paused) requestAnimationFrame(frame);
  });
  for (const name of ["play", "pause", "seeked", "loadedmetadata"]) audio.addEventListener(name, moved);
  return { audio, time, first, end, playing, load, open, go, take, toggle, refuse };
}

/** The text: which word is spoken, where a phrase stands, what is selected. */
function text() {
  const empty = h("p", { class: "dgnb-empty" }, "There are no words here.");
  const list = h("div");
  const interim = h("p", { class: "dgnb-interim", dir: "auto" });
  const box = h("div", { class: "dgnb-text", tabindex: "0", role: "group", "aria-label": "Transcript" }, empty, list, interim);
  const words = []; // in the order of the page
  const known = new Map(); // by position in the table `words`
  const tracks = new Map(); // the words of each channel, by their start
  const turns = new Map(); // by utterance
  let names = {};
  let lit = [];
  let index = null; // the text that is searched, and where each word begins in it

  function paragraph(turn, at) {
    const who = h("span", { class: "dgnb-name", "data-speaker": String(turn.speaker ?? "") });
    const when = h("span", { class: "dgnb-at" }, turn.who ? "" : clock(at));
    turn.who ??= who;
    turn.said = h("p", { dir: "auto" });
    turn.room = PART;
    const part = h("div", { class: "dgnb-turn" }, h("div", { class: "dgnb-who" }, who, when), turn.said);
    if (turn.last) turn.last.after(part);
    else list.append(part);
    turn.last = part;
  }

  function put(turn, [position, start, end, said, confidence]) {
    let word = known.get(position);
    if (!word) {
      if (!turn.room) paragraph(turn, start);
      turn.room -= 1;
      word = { position, el: h("span", { class: "dgnb-said" }) };
      word.el.word = word;
      turn.said.append(said.startsWith(" ") ? " " : "", word.el);
      known.set(position, word);
      words.push(word);
      if (!tracks.has(turn.channel)) tracks.set(turn.channel, []);
      tracks.get(turn.channel).push(word);
    }
    Object.assign(word, { start, end, spaced: said.startsWith(" ") });
    word.el.textContent = said.trimStart();
    word.el.title = confidence === null ? clock(start) : `${clock(start)} · confidence ${confidence.toFixed(2)}`;
    word.el.classList.toggle("dgnb-doubtful", confidence !== null && confidence < DOUBTFUL);
  }

  function update({ turns: told, names: called, interim: unsure }) {
    for (const [utterance, speaker, channel, said] of told) {
      if (!turns.has(utterance)) turns.set(utterance, { speaker, channel, room: 0 });
      said.forEach((one) => put(turns.get(utterance), one));
    }
    for (const track of tracks.values()) track.sort((one, other) => one.start - other.start);
    const follows = (one, other) => one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING;
    if (tracks.size > 1 && told.length) words.sort((one, other) => (follows(one.el, other.el) ? -1 : 1));
    names = called;
    interim.textContent = unsure;
    empty.hidden = words.length > 0 || Boolean(unsure);
    index = null;
    // Speakers stand where they change.
    let [before, anyone] = [null, false];
    for (const { who, speaker, channel } of turns.values()) {
      const alone = tracks.size > 1 ? `channel ${channel}` : "";
      const name = speaker === null ? alone : names[speaker] ?? `speaker ${speaker}`;
      who.textContent = name === before ? "" : name;
      before = name;
      anyone ||= Boolean(name);
    }
    list.classList.toggle("dgnb-nobody", !anyone);
  }

  /** Light what is spoken at a time, one word a channel. Returns a word that was not lit before. */
  function light(at) {
    const now = [];
    for (const track of tracks.values()) {
      const word = track[count(track, ({ start }) => start <= at + ROUNDING) - 1];
      if (word && at < word.end) now.push(word);
    }
    const fresh = now.find((word) => !lit.includes(word));
    for (const word of lit) if (!now.includes(word)) word.el.removeAttribute("aria-current");
    for (const word of now) if (!lit.includes(word)) word.el.setAttribute("aria-current", "true");
    lit = now;
    return fresh;
  }

  /** Bring a word into sight, and move nothing but this box. */
  function show({ el }, always) {
    const frame = box.getBoundingClientRect();
    const place = el.getBoundingClientRect();
    if (!always && place.top >= frame.top && place.bottom <= frame.bottom - place.height) return;
    // Twice: what came into sight was laid out, and may have moved the word.
    for (const _ of [1, 2]) box.scrollTop += el.getBoundingClientRect().top - frame.top - frame.height / 3;
  }

  const bare = (said) => said.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{M}\p{N}\s]/gu, "").trim().replace(/\s+/g, " ");

  /** The places of a phrase, as lists of words. Capitals and punctuation do not count. */
  function find(phrase) {
    const [sought, found] = [bare(phrase), []];
    if (!sought) return found;
    if (!index) {
      index = { said: "", begins: [] };
      for (const { el, spaced } of words) {
        if (spaced) index.said += " ";
        index.begins.push(index.said.length);
        index.said += bare(el.textContent);
      }
    }
    for (let at = index.said.indexOf(sought); at >= 0; at = index.said.indexOf(sought, at + sought.length)) {
      const [first, last] = [at, at + sought.length - 1].map((letter) => count(index.begins, (begin) => begin <= letter));
      found.push(words.slice(first - 1, last));
    }
    return found;
  }

  /** The words that a range of the page touches. */
  function within(range) {
    const first = count(words, ({ el }) => range.comparePoint(el, el.childNodes.length) < 0);
    return words.slice(first, count(words, ({ el }) => range.comparePoint(el, 0) <= 0));
  }

  return {
    ...{ box, update, light, show, find, within },
    size: () => words.length,
    end: () => Math.max(0, ...[...tracks.values()].map((track) => track.at(-1).end)),
    near: (at) => Math.max(0, count(words, ({ start }) => start <= at + ROUNDING) - 1),
    at: (place) => words[Math.min(Math.max(0, place), words.length - 1)],
    speakers: () => [...new Set([...turns.values()].map(({ speaker }) => speaker))].filter((one) => one !== null).sort((a, b) => a - b),
    name: (speaker) => names[speaker] ?? "",
  };
}

/** Draw a player. `send` tells the kernel something; it returns false where there is none. */
function player(el, opened, send, keys = el) {
  const cleanup = [themed(el), ownKeys(el)];
  const listen = (target, name, act) => {
    target.addEventListener(name, act);
    cleanup.push(() => target.removeEventListener(name, act));
  };
  const root = el.getRootNode();
  const selection = () => root.getSelection?.() ?? document.getSelection();
  const button = (name, said, onclick) => h("button", { type: "button", title: name, "aria-label": name, onclick }, said);
  const status = h("span", { class: "dgnb-says", role: "status" });
  const say = (said) => (status.textContent = said);
  const words = text();
  const heard = sound({ ask: (at) => send({ do: "sound", at }), moved: draw, say });

  // The bar

  const play = button("Play (Space)", "▶ Play", heard.toggle);
  play.className = "dgnb-toggle";
  const when = h("span", { class: "dgnb-position" });
  const slider = h("input", { type: "range", step: "any", "aria-label": "Position", class: "dgnb-slider", oninput: () => heard.go(Number(slider.value)) });
  const speeds = [0.5, 0.75, 1, 1.25, 1.5, 2].map((rate) => h("option", { value: String(rate), selected: rate === 1 }, `${rate} ×`));
  const hasten = () => (heard.audio.playbackRate = heard.audio.defaultPlaybackRate = Number(speed.value));
  const speed = h("select", { "aria-label": "Speed", class: "dgnb-speed", onchange: hasten }, ...speeds);
  const follow = button("Scroll to the word that is spoken", "Follow", () => {
    following(follow.ariaPressed !== "true");
    if (follow.ariaPressed === "true") reveal(heard.time(), false);
  });
  const following = (on) => (follow.ariaPressed = String(on));
  const reveal = (at, always) => words.size() && words.show(words.at(words.near(at)), always);
  following(true);

  function draw() {
    const [at, end, playing] = [heard.time(), Math.max(heard.end(), words.end()), heard.playing()];
    const told = `${clock(at)} / ${clock(end)}`;
    play.textContent = playing ? "❚❚ Pause" : "▶ Play";
    play.title = play.ariaLabel = playing ? "Pause (Space)" : "Play (Space)";
    if (when.textContent !== told) when.textContent = slider.ariaValueText = told;
    [slider.min, slider.max, slider.value] = [heard.first(), end, at];
    const fresh = words.light(at);
    if (fresh && follow.ariaPressed === "true") words.show(fresh, false);
  }
  const from = ({ start }, how) => {
    following(true);
    heard.go(start, how);
  };
  words.box.addEventListener("click", ({ target }) => {
    if (target.dataset.speaker && !speakers.hidden) rename(target.dataset.speaker);
    else if (target.word && selection().isCollapsed) from(target.word, { play: true });
  });
  for (const name of ["wheel", "touchmove"]) words.box.addEventListener(name, () => following(false), { passive: true });

  // Find

  const sought = h("input", { type: "search", placeholder: "Find", "aria-label": "Find in the transcript", oninput: look });
  const places = h("span", { class: "dgnb-figures", role: "status" });
  let [found, current] = [[], 0];
  const mark = (list, name, on) => list?.forEach(({ el: one }) => one.classList.toggle(name, on));
  function look() {
    mark(found.flat(), "dgnb-found", false);
    mark(found[current], "dgnb-here", false);
    found = words.find(sought.value);
    mark(found.flat(), "dgnb-found", true);
    places.textContent = sought.value.trim() && !found.length ? "not found" : "";
    to(Math.max(0, found.findIndex(([first]) => first.start >= heard.time())));
  }
  function to(number) {
    if (!found.length) return;
    mark(found[current], "dgnb-here", false);
    current = (number + found.length) % found.length;
    mark(found[current], "dgnb-here", true);
    places.textContent = `${current + 1} of ${found.length}`;
    if (heard.playing()) following(false); // looking around does not interrupt
    else heard.go(found[current][0].start);
    words.show(found[current][0], true);
  }
  sought.addEventListener("keydown", ({ key, shiftKey }) => {
    if (key === "Enter") to(current + (shiftKey ? -1 : 1));
    if (key === "Escape") words.box.focus();
  });

  // Selected words

  const chosen = h("span", { class: "dgnb-chosen", hidden: true });
  const help = h("span", { class: "dgnb-help" }, "Click a word to hear it. Keys: Space plays, ← and → go 5 s, comma and full stop one word, Shift with ← or → selects.");
  let selected = [];
  let [anchor, reached] = [0, 0];
  async function copy(said) {
    try {
      await navigator.clipboard.writeText(said);
    } catch {
      const field = h("input", { value: said, readonly: "" });
      el.append(field);
      field.select();
      document.execCommand("copy"); // a page that is a file has no clipboard
      field.remove();
    }
    say(`Copied ${said}`);
  }
  const copied = (said) => h("button", { type: "button", class: "dgnb-code", title: "Copy", onclick: () => copy(said) }, said);
  function selectionChanged() {
    const now = selection();
    const range = now.rangeCount && !now.isCollapsed && now.getRangeAt(0);
    if (range ? !range.intersectsNode(words.box) : chosen.contains(root.activeElement)) return;
    const before = selected;
    selected = range ? words.within(range) : [];
    if (selected.length === before.length && selected[0] === before[0]) return;
    // Several words at one place, by a correction, are one row label.
    const positions = [...new Set(selected.map(({ position }) => Math.floor(position)))].sort((a, b) => a - b);
    send({ do: "selected", positions });
    chosen.hidden = !selected.length;
    help.hidden = !chosen.hidden;
    if (chosen.hidden) return;
    const [first, last] = [positions[0], positions.at(-1)];
    const rows = last - first + 1 === positions.length ? `${first}:${last}` : `[${positions.join(", ")}]`;
    const [start, stop] = [Math.min(...selected.map((word) => word.start)), Math.max(...selected.map((word) => word.end))];
    const hear = button("Hear the selection", "▶", () => heard.go(start, { play: true, stop }));
    chosen.replaceChildren(hear, copied(`df.loc[${rows}]`), copied(`#t=${start},${stop}`));
  }
  listen(document, "selectionchange", selectionChanged);
  function extend(by) {
    if (!words.size()) return;
    if (selected.length) reached = Math.min(Math.max(0, reached + by), words.size() - 1);
    else anchor = reached = words.near(heard.time());
    const [first, last] = [anchor, reached].sort((a, b) => a - b).map(words.at);
    selection().setBaseAndExtent(first.el, 0, last.el, last.el.childNodes.length);
    selectionChanged(); // the browser tells it later, and the next key may come before
    words.show(words.at(reached), false);
  }

  // Names

  const names = h("div", { class: "dgnb-names" });
  const speakers = h("details", { hidden: true }, h("summary", {}, "Speakers"), names);
  const field = (speaker) => names.querySelector(`[data-for="${speaker}"]`);
  function name(speaker) {
    const told = ({ target }) => send({ do: "rename", speaker, name: target.value.trim() });
    const typed = h("input", { "data-for": String(speaker), placeholder: "name", onchange: told });
    if (!field(speaker)) names.append(h("label", {}, `speaker ${speaker}`, typed));
    if (root.activeElement !== field(speaker)) field(speaker).value = words.name(speaker);
  }
  function rename(speaker) {
    speakers.open = true;
    field(speaker).select();
  }

  // Keys. What is typed into a field belongs to the field.

  listen(keys, "keydown", (event) => {
    const { target, key } = event;
    const by = { ArrowLeft: -1, ArrowRight: 1, ",": -1, ".": 1 }[key];
    if (event.ctrlKey || event.metaKey || event.altKey || (key !== " " && !by)) return;
    if (target.matches?.("input:not([type='range']), select, textarea, [contenteditable]")) return;
    if (key === " " && target.matches?.("button, summary")) return;
    event.preventDefault();
    if (key === " ") heard.toggle();
    else if (event.shiftKey) extend(by);
    else if (key.length > 1) heard.go(heard.time() + by * STEP);
    else if (words.size()) from(words.at(words.near(heard.time()) + by));
  });

  const before = button("Previous place", "‹", () => to(current - 1));
  const after = button("Next place", "›", () => to(current + 1));
  el.classList.add("dgnb-player");
  el.append(
    heard.audio,
    h("div", { class: "dgnb-transport" }, play, slider, when, speed, follow),
    h("div", { class: "dgnb-search", role: "search" }, sought, before, after, places, status),
    speakers,
    words.box,
    h("div", { class: "dgnb-foot" }, help, chosen),
  );

  let place = opened.at;
  /** Go to a place, such as that of a link `#t=12.3,15`. */
  function begin([start, end], playing) {
    following(true);
    heard.go(start, { play: playing, stop: end ?? Infinity });
    reveal(start, true);
  }
  function take(message, buffers) {
    if (message.do === "sound") heard.take(message, buffers[0]);
    if (message.do === "refused") heard.refuse(message.text);
    if (message.do !== "words") return;
    words.update(message);
    if (message.linked) el.classList.add("dgnb-linked");
    speakers.hidden = !el.classList.contains("dgnb-linked") || !words.speakers().length;
    words.speakers().forEach(name);
    draw();
    if (place && words.size()) [place] = [null, begin(place, true)];
  }
  if (opened.sound?.base64) {
    const { base64, mime, start } = opened.sound;
    heard.open(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)), mime, { start, end: Infinity });
  } else if (opened.sound) heard.load(opened.sound.url, { start: 0, end: Infinity });
  if (opened.turns) requestAnimationFrame(() => take({ do: "words", ...opened }));
  const greet = () => send({ do: "hello", have: words.size() });
  return { take, begin, greet, close: () => cleanup.forEach((act) => act()) };
}

/** Draw the page that stands alone, or in a frame of a notebook. */
function page() {
  const opened = JSON.parse(document.getElementById("dgnb-data").textContent);
  let linked = false;
  const tell = (message) => window.parent.postMessage({ ...message, dgnb: opened.frame }, "*");
  const send = (message) => (linked || message.do === "hello") && Boolean(opened.frame) && !tell(message);
  const drawn = player(document.getElementById("dgnb-player"), opened, send, document);
  let around = window;
  try {
    if (opened.frame && window.parent.document) around = window.parent;
  } catch {} // a page of another site, which tells nothing of itself
  if (around !== window) wear(around);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.body.classList.toggle("dgnb-other"));

  const link = () => {
    const [, start, , end] = /[#&]t=([\d.]+)(,([\d.]+))?/.exec(around.location.hash) ?? [];
    if (start) drawn.begin([Number(start), end ? Number(end) : null], false);
  };
  around.addEventListener("hashchange", link);
  requestAnimationFrame(link);
  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || data?.dgnb !== opened.frame) return;
    if (data.do === "here") return drawn.greet();
    linked = true;
    drawn.take(data, data.buffers);
  });
  drawn.greet();
}

/** Take the colours of the page around a frame. */
function wear({ document: { documentElement, body } }) {
  const dress = () => {
    let behind = window.frameElement;
    document.documentElement.style.color = getComputedStyle(behind).color;
    while (behind && /^(transparent|rgba\(.*, 0\))$/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    document.documentElement.style.background = behind ? getComputedStyle(behind).backgroundColor : "";
  };
  const watcher = new MutationObserver(() => setTimeout(dress, 50));
  for (const node of [documentElement, body]) watcher.observe(node, { attributes: true });
  dress();
}

/** Pass messages between the kernel and the frames that show its player. No widget need be drawn for that. */
function initialize({ model }) {
  const { frame } = model.get("opened");
  const pages = new Set();
  const up = ({ source, data }) => {
    if (data?.dgnb !== frame) return;
    pages.add(source);
    model.send(data);
  };
  const down = (message, buffers) => pages.forEach((one) => one.postMessage({ ...message, buffers, dgnb: frame }, "*"));
  const newest = () => down({ do: "words", ...model.get("newest") });
  window.addEventListener("message", up);
  model.on("msg:custom", down);
  model.on("change:newest", newest);
  for (const { contentWindow } of document.querySelectorAll("iframe")) contentWindow?.postMessage({ do: "here", dgnb: frame }, "*");
  return () => window.removeEventListener("message", up);
}

/** Draw the widget, as within another one. */
function render({ model, el }) {
  el.style.height = model.get("opened").height;
  const drawn = player(el, model.get("opened"), (message) => !model.send(message));
  const newest = () => drawn.take({ do: "words", ...model.get("newest") });
  model.on("msg:custom", drawn.take);
  model.on("change:newest", newest);
  drawn.greet();
  return () => {
    model.off("msg:custom", drawn.take);
    model.off("change:newest", newest);
    drawn.close();
  };
}

export default { initialize, render };
