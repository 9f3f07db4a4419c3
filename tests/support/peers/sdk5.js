// @deepgram/sdk 5.
const { readFileSync } = require("node:fs");
const { DeepgramClient } = require("@deepgram/sdk");

const url = process.env.PEER_URL;
const http = url.replace("ws", "http");
const client = new DeepgramClient({ apiKey: "any", environment: { base: http, production: url, agent: url, agentRest: http } });

(async () => {
  const live = await client.listen.v1.connect({
    Authorization: "Token any", model: "nova-3", encoding: "linear16", sample_rate: 16000, interim_results: "true",
  });
  live.on("message", (message) => {
    if (message.type === "Results" && message.is_final) console.log(message.channel.alternatives[0].transcript.toLowerCase());
    if (message.type === "Metadata") process.exit(0);
  });
  live.on("error", (error) => console.error(error));
  live.connect();
  await live.waitForOpen();
  live.sendMedia(readFileSync(process.env.PEER_AUDIO));
  live.sendKeepAlive({ type: "KeepAlive" });
  live.sendCloseStream({ type: "CloseStream" });
})();
