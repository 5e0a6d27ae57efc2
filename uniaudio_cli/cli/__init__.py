"""The command line: doors only. Each command parses, calls one function, writes."""
