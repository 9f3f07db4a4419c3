"""Run all that takes no recordings of one's own."""

from benchmarks import exports, messages, panel, speech, tables

messages.main()
print()
tables.main()
print()
exports.main()
print()
panel.main()
print()
speech.main([])
