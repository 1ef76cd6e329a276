"""The benchmarks behind `make bench`: this engine beside its peers, in one run, on the same data. README.md says how to read them."""
