"""Run all that takes no recordings of one's own."""

from benchmarks import messages, speech, tables

messages.main()
print()
tables.main()
print()
speech.main([])
