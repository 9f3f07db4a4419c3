// @deepgram/sdk 3 and 4.
const { readFileSync } = require("node:fs");
const { createClient, LiveTranscriptionEvents } = require("@deepgram/sdk");

const deepgram = createClient("any", { global: { websocket: { options: { url: process.env.PEER_URL } } } });
const live = deepgram.listen.live({
  model: "nova-2", smart_format: true, encoding: "linear16", sample_rate: 16000, channels: 1,
  interim_results: true, utterance_end_ms: 1000, vad_events: true, endpointing: 300,
});
live.on(LiveTranscriptionEvents.Open, () => {
  live.send(readFileSync(process.env.PEER_AUDIO));
  live.keepAlive();
  live.requestClose();
});
live.on(LiveTranscriptionEvents.Transcript, (message) => {
  if (message.is_final) console.log(message.channel.alternatives[0].transcript.toLowerCase());
});
live.on(LiveTranscriptionEvents.Error, (error) => console.error(error));
live.on(LiveTranscriptionEvents.Close, () => process.exit(0));
