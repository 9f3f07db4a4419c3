"""Run all that takes no recordings of one's own."""

from benchmarks import comparing, exports, messages, panel, recording, speech, tables

messages.main()
print()
tables.main()
print()
exports.main()
print()
comparing.main()
print()
panel.main()
print()
recording.main()
print()
speech.main([])
