"""Run all that takes no recordings of one's own."""

from benchmarks import messages, panel, speech, tables

messages.main()
print()
tables.main()
print()
panel.main()
print()
speech.main([])
