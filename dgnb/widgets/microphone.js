// The browser's microphone: from a click to numbered chunks of 100 ms. Python says when a session wants them.

const KEPT_CHUNKS = 600; // a minute of sound that the kernel has not taken yet
const UNDERWAY = 100; // chunks on their way to the kernel: a queue between here and there may be short
const WATCHED = 100; // chunks in which at least one comes without delay: if all are late, sound was lost before them
const ASK = 2000; // ms without an answer after which the oldest chunk is sent again
const SILENT = -60; // dB below full scale at which the meter is empty

const SWITCHES = { echoCancellation: "Echo cancellation", noiseSuppression: "Noise suppression", autoGainControl: "Automatic gain" };

// It runs in the thread of the sound. One input a channel; an input that is not connected is silence.
const WORKLET = `registerProcessor("dgnb-microphone", class extends AudioWorkletProcessor {
  constructor({ numberOfInputs }) {
    super();
    this.channels = numberOfInputs;
    this.size = Math.round(sampleRate / 10);
    this.chunk = new Int16Array(this.size * this.channels);
    this.filled = 0;
    this.port.onmessage = () => this.cut(true);
  }
  cut(ends) {
    this.port.postMessage({ samples: this.chunk.slice(0, this.filled * this.channels), ends });
    this.filled = 0;
  }
  process(inputs) {
    for (let frame = 0; frame < 128; frame++) {
      for (let channel = 0; channel < this.channels; channel++) {
        const sample = Math.round(32768 * (inputs[channel][0]?.[frame] ?? 0));
        this.chunk[this.filled * this.channels + channel] = Math.max(-32768, Math.min(32767, sample));
      }
      this.filled += 1;
      if (this.filled === this.size) this.cut(false);
    }
    return true;
  }
});`;

/** Why the browser gives no sound, and what to do. */
function refusal(error) {
  const own = "Or use the microphone of the kernel's machine: dgnb.Microphone(device=True).";
  const framed = window.top !== window || document.featurePolicy?.allowsFeature("microphone") === false;
  if (location.protocol === "vscode-webview:" || /vscode/.test(location.origin)) {
    return `VS Code gives its notebooks no microphone. Open the notebook in a browser. ${own}`;
  }
  if (!navigator.mediaDevices) return "A browser gives no microphone to a page without encryption. Open it over https, or as localhost.";
  if (error.told) return error.told;
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      if (/system/i.test(error.message)) {
        return "The operating system does not let this browser use the microphone. Allow it in the system's privacy settings, and start the browser anew.";
      }
      if (framed) return "This page stands in a frame that may not use the microphone. Open it in a tab of its own.";
      return "The microphone was not allowed. Click the icon beside the page's address, allow the microphone, and try again.";
    case "NotFoundError":
      return `The browser finds no microphone. Plug one in, and try again. ${own}`;
    case "NotReadableError":
    case "AbortError":
      return "The microphone can't be opened. Another program may use it: end that one, or choose another device.";
    case "OverconstrainedError":
      return "This device is gone. Choose another one, and try again.";
    default:
      return `The browser could not open the microphone (${error.name}: ${error.message}). Try another device or another browser.`;
  }
}

/** The chunks of one recording, on their way to the kernel. `send` gets a message and its buffer. */
function delivery(take, form, send) {
  let kept = []; // not acknowledged; the first `underway` of them were sent
  let underway = 0;
  let number = 0;
  let had = -1; // the newest chunk that the kernel has
  let asked = Date.now();
  let expected = performance.now(); // when the next chunk is due
  let late = []; // ms by which the newest chunks came late
  let usual = null; // the least of them, at the last look
  // A browser on a busy machine loses sound without a word. What it lost is as many numbers that no chunk has.
  const torn = () => {
    expected += 100;
    if (late.push(performance.now() - expected) < WATCHED) return 0;
    const least = Math.min(...late);
    late = [];
    const chunks = usual === null ? 0 : Math.floor((least - usual) / 100);
    if (usual === null || least - usual < 20) usual = least; // the clock of a sound card is a little fast or slow
    if (chunks < 1) return 0;
    expected += 100 * chunks;
    return chunks;
  };
  const give = (index, again) => {
    const { samples, ...chunk } = kept[index];
    send({ take, ...form, ...chunk, after: index ? kept[index - 1].number : had, again }, [samples.buffer]);
  };
  const go = () => {
    while (underway < Math.min(UNDERWAY, kept.length)) {
      give(underway, false);
      underway += 1;
    }
  };
  const ask = setInterval(() => {
    if (!kept.length || Date.now() - asked < ASK) return;
    asked = Date.now();
    give(0, true);
  }, 500);
  return {
    take,
    waiting: () => kept.length / 10,
    add(samples, ends) {
      if (!kept.length) asked = Date.now();
      number += torn();
      kept.push({ samples, ends, number, at: Date.now() });
      number += 1;
      if (kept.length > KEPT_CHUNKS) kept.splice(underway, 1); // the oldest that was not sent
      go();
    },
    answered({ had: newest, again }) {
      asked = Date.now();
      had = Math.max(had, newest);
      while (kept.length && kept[0].number <= had) {
        kept.shift();
        underway = Math.max(0, underway - 1);
      }
      if (again) underway = 0; // what was under way is lost
      go();
    },
    end: () => clearInterval(ask),
  };
}

/**
 * The microphone's controls, in `box`, and what they do. `send` takes a message for the kernel. `own`: it has a button
 * and a meter; else the caller opens it, and a button goes on after a reload.
 */
function microphone(send, { tab = false, own = true } = {}) {
  const view = Math.random().toString(36).slice(2);
  const say = (message, buffers) => {
    try {
      send({ do: "microphone", ...message }, buffers);
    } catch {
      drop();
      release();
      problem.textContent = "The microphone has lost its kernel. Run the cell again.";
    }
  };
  let sound = null; // what is open: context, node, tracks
  let parcel = null; // the recording that the kernel gets
  let takes = 0;
  let wanted = false;
  let elsewhere = false;
  let opening = false;

  const button = h("button", { type: "button", class: "dgnb-record" });
  const devices = h("select", { "aria-label": "Microphone" }, h("option", { value: "" }, "Default microphone"));
  const level = h("i");
  const meter = h("div", { class: "dgnb-level", role: "meter", "aria-label": "Level", "aria-valuemin": "0", "aria-valuemax": "100" }, level);
  const status = h("p", { class: "dgnb-mic-status", role: "status" });
  const problem = h("p", { class: "dgnb-problem", role: "alert" });
  const boxes = Object.entries(SWITCHES).map(([name, label]) => {
    const input = h("input", { type: "checkbox", name, onchange: () => sound && reconnect() });
    return [name, input, h("label", {}, input, ` ${label}`)];
  });
  const box = h(
    "div",
    { class: "dgnb-mic", role: "group", "aria-label": "Microphone" },
    button,
    devices,
    ...(own ? [meter] : []),
    ...boxes.map(([, , label]) => label),
    status,
    problem,
  );
  devices.addEventListener("change", () => sound && reconnect());

  function draw() {
    const waiting = parcel?.waiting() ?? 0;
    const on = waiting > 2 ? `Recording. The kernel is busy: ${waiting.toFixed(0)} s wait for it.` : "Recording.";
    const recording = parcel && !parcel.ended;
    button.hidden = !own && (sound || !wanted); // the panel has its own
    button.textContent = recording ? "■ Stop" : sound ? "Turn off" : wanted ? "▶ Start" : "Turn on";
    button.classList.toggle("dgnb-running", Boolean(sound));
    button.disabled = opening;
    const off = wanted ? "A session waits for the microphone: click Start, and allow it." : "Off. Nothing is recorded.";
    const text = recording ? on : sound ? "On. Nothing is sent until a session starts." : off;
    const said = opening ? "The browser may ask you: allow the microphone." : elsewhere ? "Another view of this microphone records." : text;
    if (status.textContent !== said) status.textContent = said;
  }

  /** Open the microphone, in a click: otherwise some browsers keep the context suspended. Says whether it is open. */
  async function open() {
    if (sound || opening) return Boolean(sound);
    opening = true;
    elsewhere = false;
    problem.textContent = "";
    draw();
    let context = null;
    const tracks = [];
    try {
      if (!navigator.mediaDevices) throw new Error("insecure");
      // At its own rate, as Firefox refuses any other; with long buffers, as a busy machine would tear holes into short ones.
      context = new AudioContext({ latencyHint: "playback" });
      const resumed = context.resume();
      const shared = tab ? await tabSound() : null; // first, as it needs the click
      if (shared) tracks.push(...shared.getTracks());
      const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
      await context.audioWorklet.addModule(url).finally(() => URL.revokeObjectURL(url));
      const node = new AudioWorkletNode(context, "dgnb-microphone", {
        numberOfInputs: tab ? 2 : 1,
        channelCount: 1,
        channelCountMode: "explicit",
      });
      sound = { context, node, tracks, source: null };
      await connect();
      if (shared) {
        context.createMediaStreamSource(new MediaStream(shared.getAudioTracks())).connect(node, 0, 1);
        shared.getAudioTracks()[0].onended = () => lost("the tab is shared no more");
      }
      await Promise.race([resumed, new Promise((resolve) => setTimeout(resolve, 1000))]);
      if (context.state !== "running") throw { told: "The browser starts no sound without a click. Click the button again." };
      node.port.onmessage = ({ data }) => heard(data);
      node.connect(context.destination); // it gives silence; without it some browsers do not run it
      context.onstatechange = () => sound?.context === context && note(`the browser's sound is ${context.state}`);
      navigator.mediaDevices.addEventListener("devicechange", list);
    } catch (error) {
      sound = null;
      tracks.forEach((track) => track.stop());
      context?.close();
      tell(refusal(error));
    }
    opening = false;
    begin();
    draw();
    return Boolean(sound);
  }

  /** The microphone as it is chosen now. Processing is asked for, and shown as the browser does it. */
  async function connect() {
    const { context, node, tracks } = sound;
    const asked = Object.fromEntries(boxes.map(([name, input]) => [name, input.checked]));
    const device = devices.value ? { deviceId: { exact: devices.value } } : {};
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...device, ...asked } });
    const [track] = stream.getAudioTracks();
    if (!sound) return track.stop(); // released meanwhile
    tracks.push(track);
    sound.source = context.createMediaStreamSource(stream);
    sound.source.connect(node, 0, 0);
    sound.track = track;
    track.onended = () => lost("the microphone was lost. Was it unplugged, or its permission taken back?");
    track.onmute = () => note("the microphone is muted by the browser or the system");
    track.onunmute = () => note("the microphone is not muted any more");
    const settings = track.getSettings();
    for (const [name, input] of boxes) {
      input.checked = settings[name] === true || typeof settings[name] === "string";
      input.disabled = settings[name] === undefined;
    }
    await list();
  }

  async function reconnect() {
    sound.source.disconnect();
    sound.track.onended = null;
    sound.track.stop(); // two tracks of one device would share the settings of the first
    try {
      await connect();
    } catch (error) {
      lost(refusal(error));
    }
  }

  /** The devices, which have names once the microphone is allowed. */
  async function list() {
    const found = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
    const chosen = sound?.track.getSettings().deviceId ?? devices.value;
    devices.replaceChildren(...found.map(({ deviceId, label }) => h("option", { value: deviceId }, label || "Microphone")));
    devices.value = chosen;
  }

  async function tabSound() {
    if (!navigator.mediaDevices.getDisplayMedia) throw { told: "This browser can't share the sound of a tab. Use Chrome or Edge on a desktop." };
    const quiet = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, suppressLocalAudioPlayback: false };
    // A picture has to be asked for, and the smallest one costs the least.
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 1, width: 160 }, audio: quiet, systemAudio: "include" });
    if (stream.getAudioTracks().length) return stream;
    stream.getTracks().forEach((track) => track.stop());
    throw { told: "No sound was shared. Choose a tab, and switch on “Also share tab audio”. Windows and Firefox share no sound." };
  }

  function heard({ samples, ends }) {
    let peak = 1;
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    const loudness = 20 * Math.log10(peak / 32768);
    const part = Math.round(100 * Math.max(0, 1 - loudness / SILENT));
    level.style.width = `${part}%`;
    meter.setAttribute("aria-valuenow", String(part));
    if (parcel && !parcel.ended) parcel.add(samples, ends);
    if (ends) {
      if (parcel) parcel.ended = true;
      release();
    }
    draw();
  }

  function begin() {
    if (!wanted || !sound || parcel) return;
    takes += 1;
    const form = { rate: sound.context.sampleRate, channels: tab ? 2 : 1 };
    parcel = delivery(`${view}-${takes}`, form, say);
  }

  /** The person has ended it: the source ends with the last chunk. */
  const stop = () => sound.node.port.postMessage("stop");

  function release() {
    if (sound) {
      const { context, node, tracks } = sound;
      sound = null;
      navigator.mediaDevices.removeEventListener("devicechange", list);
      node.port.onmessage = null;
      tracks.forEach((track) => {
        track.onended = null;
        track.stop();
      });
      context.close();
      level.style.width = "0";
    }
    if (parcel && !parcel.ended) drop();
    draw();
  }

  function drop() {
    parcel?.end();
    parcel = null;
  }

  function note(text, lost = false) {
    if (parcel) say({ note: text, lost });
  }

  function tell(text) {
    problem.textContent = text;
    say({ note: text, lost: false });
  }

  function lost(text) {
    if (!sound) return;
    note(text, true);
    release();
    problem.textContent = `${text} Recording has stopped: click Start to go on.`;
  }

  /** What the kernel says. */
  function receive(message) {
    if ("had" in message) {
      if (parcel?.take === message.take) parcel.answered(message);
    } else {
      if (wanted && !message.wanted) {
        drop();
        release();
      }
      wanted = message.wanted;
    }
    elsewhere = Boolean(wanted && message.take && message.take.split("-")[0] !== view);
    if (elsewhere && parcel) {
      drop();
      release();
    }
    begin();
    draw();
  }

  const closed = () => lost("the page was closed or reloaded");
  window.addEventListener("pagehide", closed);
  button.addEventListener("click", () => (!sound ? open() : parcel ? stop() : release()));
  say({ hello: true });
  draw();
  return {
    box,
    open,
    release,
    receive,
    end() {
      window.removeEventListener("pagehide", closed);
      lost("the microphone was taken off the page.");
    },
  };
}

/** Draw `Microphone`. */
function showMicrophone({ model, el }) {
  const cleanup = [themed(el), ownKeys(el)];
  const mic = microphone((message, buffers) => model.send(message, undefined, buffers), { tab: model.get("tab") });
  const receive = (message) => mic.receive(message);
  el.append(mic.box);
  model.on("msg:custom", receive);
  return () => {
    mic.end();
    model.off("msg:custom", receive);
    cleanup.forEach((act) => act());
  };
}
