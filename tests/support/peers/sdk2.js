// @deepgram/sdk 1 and 2. Version 1 speaks wss:// only.
const { readFileSync } = require("node:fs");
const { Deepgram } = require("@deepgram/sdk");

const url = new URL(process.env.PEER_URL);
const deepgram = new Deepgram("any", url.host, url.protocol === "wss:");
const live = deepgram.transcription.live({
  model: "general", tier: "nova", punctuate: true, encoding: "linear16", sample_rate: 16000, endpointing: true, numbers: true,
});
live.addListener("open", () => {
  live.send(readFileSync(process.env.PEER_AUDIO));
  live.finish();
});
live.addListener("transcriptReceived", (text) => {
  const message = typeof text === "string" ? JSON.parse(text) : text;
  if (message.channel) console.log(message.channel.alternatives[0].transcript.toLowerCase());
});
live.addListener("error", (error) => console.error(error));
live.addListener("close", () => process.exit(0));
