#!/usr/bin/env python3
"""Kiln and its peers at the same work, in turn: `python3 benches/compare.py`. Python's standard library only.

Every graph is built in a fresh folder for each tool, every output is checked after each run, and the tools take turns
(A B A B), so that what else the machine does meets all of them. Prints for each work the best time of each tool, the
processor time, and the ratios to ninja; writes results.json and ratios.svg.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import graphs
import plot

# What the issue of each work is, and what Kiln is to reach as a ratio to ninja; none where there is no such goal.
GOALS = {
    "nothing layered 1000": 1.0,
    "nothing layered 10000": 0.6,
    "nothing layered 100000": 0.5,
    "dry layered 10000": 1.0,
    "scratch layered 1000": 1.25,
    "scratch layered 10000": 1.25,
    "leaf layered 10000": 1.0,
}


class Tool:
    def __init__(self, name, program, build, dry, prepare):
        self.name, self.program, self.build, self.dry, self.prepare = name, program, build, dry, prepare

    def there(self):
        return shutil.which(self.program) is not None


def tools(options):
    kiln = os.path.abspath(options.kiln)
    jobs = f"-j{options.jobs}"
    ninja = lambda graph, folder: graphs.for_ninja(graph, folder)
    all_tools = [
        Tool(
            "kiln",
            kiln,
            [kiln, "run", jobs],
            [kiln, "plan", jobs],
            lambda graph, folder: graphs.for_kiln(graph, folder, options.jobs, options.schedule),
        ),
        Tool("ninja", "ninja", ["ninja", jobs], ["ninja", "-n", jobs], ninja),
        Tool("samu", "samu", ["samu", jobs], ["samu", "-n", jobs], ninja),
        Tool("n2", "n2", ["n2", jobs], ["n2", "-n", jobs], ninja),
        Tool("make", "make", ["make", "-s", jobs], ["make", "-n", jobs], graphs.for_make),
    ]
    wanted = options.tools.split(",") if options.tools else [tool.name for tool in all_tools]
    return [tool for tool in all_tools if tool.name in wanted and tool.there()]


def run(command, folder):
    """Seconds, processor seconds of it and all that it started, and the most memory of one process in MiB."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} in {folder} ended with {process.returncode}\n{told.decode(errors='replace')}")
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


class Bench:
    def __init__(self, options):
        self.options = options
        self.tools = tools(options)
        self.top = tempfile.mkdtemp(prefix="kiln-bench-", dir=options.folder)
        self.results = {}
        self.made = 0

    def fresh(self, graph, tool):
        """A folder that nothing was ever deleted from."""
        self.made += 1
        folder = os.path.join(self.top, f"{self.made}_{tool.name}")
        graphs.write_sources(graph, folder)
        tool.prepare(graph, folder)
        return folder

    def take(self, work, tool, figures):
        self.results.setdefault(work, {}).setdefault(tool.name, []).append(figures)

    def check(self, graph, folder, tool):
        wrong = graph.wrong(folder)
        if wrong:
            sys.exit(f"{tool.name}: {len(wrong)} outputs are wrong in {folder}, such as {wrong[0]}")

    def scratch(self, shape, size):
        """From nothing; and then nothing to do, and one changed leaf."""
        graph = graphs.SHAPES[shape](size)
        work = f"{shape} {size}"
        folders = {}
        for round_number in range(self.options.cold):
            for tool in self.tools:
                folder = self.fresh(graph, tool)
                if round_number == 0 and shape != "large":
                    self.take(f"dry {work}", tool, run(tool.dry, folder))
                self.take(f"scratch {work}", tool, run(tool.build, folder))
                self.check(graph, folder, tool)
                folders[tool.name] = folder
        self.show(f"scratch {work}")
        self.settle(folders)
        for _ in range(self.options.rounds):
            for tool in self.tools:
                self.take(f"nothing {work}", tool, run(tool.build, folders[tool.name]))
        self.show(f"nothing {work}")
        for tool in self.tools:
            self.check(graph, folders[tool.name], tool)
        self.leaf(graph, work, folders)
        self.dry(graph, work)

    def settle(self, folders):
        """What was just written proves nothing yet: once it is looked at for long, and once what was seen is remembered."""
        for tool in self.tools:
            for _ in range(3):
                run(tool.build, folders[tool.name])

    def leaf(self, graph, work, folders):
        found = graph.leaf()
        if found is None:
            return
        _, source = found
        for i in range(self.options.rounds):
            graph.sources[source] = (graph.sources[source] + 1 + i) % graphs.MODULUS
            for tool in self.tools:
                graphs.write(folders[tool.name], source, f"{graph.sources[source]}\n")
                self.take(f"leaf {work}", tool, run(tool.build, folders[tool.name]))
                self.check(graph, folders[tool.name], tool)
        self.show(f"leaf {work}")

    def dry(self, graph, work):
        if f"dry {work}" not in self.results:
            return
        folders = {tool.name: self.fresh(graph, tool) for tool in self.tools}
        for _ in range(self.options.rounds):
            for tool in self.tools:
                self.take(f"dry {work}", tool, run(tool.dry, folders[tool.name]))
        self.show(f"dry {work}")

    def unbalanced(self):
        """200 sleeps, eight at once: how much longer than the lower bound, once durations are known."""
        graph = graphs.unbalanced()
        bound = graphs.lower_bound(graph, 8)
        for tool in self.tools:
            folder = self.fresh(graph, tool)
            build = [word for word in tool.build if not word.startswith("-j")] + ["-j8"]
            if tool.name == "kiln":
                build += ["--schedule", "eager"]
            run(build, folder)
            if tool.name == "kiln":
                again = build + ["--mode", "forced"]
            else:
                again = build
                for node in graph.nodes:
                    os.remove(os.path.join(folder, node.out))
            took, used, memory = run(again, folder)
            self.check(graph, folder, tool)
            self.take("unbalanced", tool, (took, used, memory))
            print(f"unbalanced  {tool.name:6} {took:7.2f} s  {took / bound:5.3f} times the lower bound of {bound:.2f} s")

    def start(self):
        """What it takes to say something small."""
        graph = graphs.layered(20)
        small = [(tool, self.fresh(graph, tool)) for tool in self.tools]
        for _ in range(self.options.rounds * 3):
            for tool, folder in small:
                self.take("version", tool, run([tool.program, "--version"], folder))
                self.take("dry layered 20", tool, run(tool.dry, folder))
        self.show("version")
        self.show("dry layered 20")

    def show(self, work):
        figures = {name: best(rounds) for name, rounds in self.results[work].items()}
        base = figures.get("ninja")
        for name, (took, used, memory) in figures.items():
            ratios = f"{took / base[0]:6.2f} {used / base[1]:6.2f}" if base else ""
            goal = f"  goal {GOALS[work]}" if name == "kiln" and work in GOALS else ""
            print(f"{work:24} {name:6} {took * 1e3:9.1f} ms  cpu {used * 1e3:9.1f} ms  {memory:5.0f} MiB  {ratios}{goal}")
        sys.stdout.flush()


def best(rounds):
    """The least of each: what else the machine did only ever adds to it."""
    return tuple(min(figures[i] for figures in rounds) for i in range(2)) + (max(figures[2] for figures in rounds),)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} x {model}, load {os.getloadavg()[0]:.1f}"


def rounds(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", default="target/release/kiln", help="the program [default: target/release/kiln]")
    parser.add_argument("--shapes", default="layered", help="of " + ", ".join(graphs.SHAPES) + " [default: layered]")
    parser.add_argument("--sizes", default="1000,10000", help="numbers of nodes [default: 1000,10000; 100000 takes long]")
    parser.add_argument("--tools", default="", help="of kiln, ninja, samu, n2, make [default: all that are there]")
    parser.add_argument("--rounds", type=rounds, default=7, help="rounds of what is quick [default: 7]")
    parser.add_argument("--cold", type=rounds, default=3, help="rounds from scratch [default: 3]")
    parser.add_argument("--jobs", type=int, default=2, help="how many steps at once [default: 2]")
    parser.add_argument("--schedule", default="eager", help="Kiln's schedule [default: eager, as that of all others]")
    parser.add_argument("--folder", default=None, help="where to work [default: the system's temporary folder]")
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)), help="where results go")
    parser.add_argument("--keep", action="store_true", help="leave the folders")
    return parser.parse_args()


def main():
    given = options()
    bench = Bench(given)
    print(machine())
    bench.start()
    for shape in given.shapes.split(","):
        if shape == "unbalanced":
            bench.unbalanced()
            continue
        for size in given.sizes.split(","):
            bench.scratch(shape, int(size))
    os.makedirs(given.out, exist_ok=True)
    results = {work: {name: best(rounds) for name, rounds in tools.items()} for work, tools in bench.results.items()}
    with open(os.path.join(given.out, "results.json"), "w") as file:
        json.dump({"machine": machine(), "works": results}, file, indent=1)
        file.write("\n")
    with open(os.path.join(given.out, "ratios.svg"), "w") as file:
        file.write(plot.ratios(results, GOALS, machine()))
    if not given.keep:
        shutil.rmtree(bench.top)


if __name__ == "__main__":
    main()
