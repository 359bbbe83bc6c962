"""What training costs here and in the field's other libraries, measured side by side on one machine.

python -m benchmarks            everything, into benchmarks/results, then docs/speed.md from it
python -m benchmarks --quick    the same at toy shapes into a temporary folder: shows that it runs, measures nothing
python -m benchmarks.step       one measurement; each takes --help

A training step is timed as each library's own trainer does it. Every number on the page comes from a JSON file in results/.
"""
