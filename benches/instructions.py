#!/usr/bin/env python3
"""Counts the instructions of what Kiln does most, and compares them with what is recorded.

They do not depend on how busy a machine is, so that a check of them can fail for one reason only: more is done.
`python3 benches/instructions.py` compares, `--renew` records. It counts the development build, which tests have made
already, under valgrind's callgrind; what is recorded is in instructions.json.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import graphs

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "instructions.json")
NODES = 300
STEPS = 2_000
ROOM = 0.10  # processors and C libraries differ a little

# What is counted, by the function that does it; from the same dry run.
PARTS = {
    "parse": r"kiln::pipeline::read::read$",
    "check": r"kiln::pipeline::check::check$",
    "graph": r"kiln::graph::Graph::build$",
    "observe": r"kiln::engine::local::observe::observe$",
    "plan": r"kiln::plan::Plan::make$",
}


def call(command, folder, **more):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def count(command, folder):
    """All instructions of a program, and those of each of its functions with all that they call."""
    out = os.path.join(folder, "callgrind.out")
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    # The environment is part of what a program does at its start.
    environment = {"PATH": os.environ["PATH"], "HOME": folder, "TZ": "UTC", "USER": "bench"}
    call(valgrind + command, folder, env=environment)
    told = call(["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--tree=none", out], folder).stdout
    total = int(re.search(r"^ *([\d,]+).*PROGRAM TOTALS", told, re.M).group(1).replace(",", ""))
    functions = {}
    for line in told.splitlines():
        found = re.match(r" *([\d,]+) (?:\([^)]*\))? *\S*?:(.*?)(?:'2)?(?: \[.*)?$", line)
        if found:
            name, number = found.group(2).strip(), int(found.group(1).replace(",", ""))
            functions[name] = max(functions.get(name, 0), number)
    return total, functions


def part(functions, pattern):
    fitting = [number for name, number in functions.items() if re.search(pattern, name)]
    if not fitting:
        sys.exit(f"no function fits {pattern}: it has another name now")
    return max(fitting)


def measure(kiln, steps):
    with tempfile.TemporaryDirectory(prefix="kiln-instructions-") as folder:
        graph = graphs.layered(NODES)
        graphs.write_sources(graph, folder)
        graphs.for_kiln(graph, folder, 2, "stages")
        for path, value in graph.expected().items():
            graphs.write(folder, path, f"{value}\n")
        call([kiln, "adopt"], folder)
        # What was just written is looked at once more, and then remembered.
        for _ in range(2):
            call([kiln, "run"], folder)
        _, functions = count([kiln, "plan"], folder)
        counts = {name: part(functions, pattern) for name, pattern in PARTS.items()}
        # The first run finds nothing to do, the next one knows it.
        count([kiln, "run"], folder)
        counts["nothing to do"], _ = count([kiln, "run"], folder)
        # Written anew with what it held, for under valgrind no step can be run.
        _, source = graph.leaf()
        graphs.write(folder, source, f"{graph.sources[source]}\n")
        counts["one file new"], _ = count([kiln, "run"], folder)
        counts["scheduler"], _ = count([steps, str(STEPS)], folder)
    return counts


def scheduler():
    """The benchmark of the loop, as the development build makes it."""
    command = ["cargo", "bench", "--quiet", "--locked", "--profile", "dev", "--bench", "steps", "--no-run"]
    told = call(command + ["--message-format", "json"], os.path.dirname(HERE)).stdout
    for line in told.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "steps":
            return message["executable"]
    sys.exit("cargo made no benchmark `steps`")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="record what is counted")
    parser.add_argument("--kiln", help="the program [default: the development build, made first]")
    given = parser.parse_args()
    for needed in ["valgrind", "callgrind_annotate"]:
        if shutil.which(needed) is None:
            sys.exit(f"{needed} is not installed: apt-get install valgrind")
    if given.kiln is None:
        call(["cargo", "build", "--quiet", "--locked"], os.path.dirname(HERE))
        given.kiln = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(os.path.dirname(HERE), "target")), "debug/kiln")
    counts = measure(os.path.abspath(given.kiln), scheduler())
    if given.renew:
        with open(RECORD, "w") as file:
            json.dump({"nodes": NODES, "steps": STEPS, "instructions": counts}, file, indent=1)
            file.write("\n")
        return
    with open(RECORD) as file:
        recorded = json.load(file)["instructions"]
    more = []
    for name, now in counts.items():
        then = recorded.get(name, 0)
        change = now / then - 1 if then else 1.0
        print(f"{name:14} {now:>14,}  {change:+7.1%} of what is recorded")
        if change > ROOM:
            more.append(name)
        elif change < -ROOM:
            print(f"{'':14} it is much less: record that, so that it stays so: python3 benches/instructions.py --renew")
    if more:
        print(f"{', '.join(more)}: over {ROOM:.0%} more instructions than recorded. Find out why, and do less;")
        sys.exit("or, where it is worth that, record it: python3 benches/instructions.py --renew")


if __name__ == "__main__":
    main()
