"""Graphs for the benchmarks, and their form for each tool. Python's standard library only.

The same shape, size and seed always give the same graph, so that every tool does the same work. A node's command is
one `/bin/sh -c` that folds the first lines of its inputs and its own number into one number: a step that was skipped
wrongly, or ran on old inputs, shows in the output.
"""

import json
import os
import random
from dataclasses import dataclass, field

MODULUS = 1000003


@dataclass
class Node:
    number: int
    out: str
    inputs: list = field(default_factory=list)
    needs: list = field(default_factory=list)
    sleep: float = 0.0
    more: list = field(default_factory=list)
    """Further outputs, with the same content."""
    pad: int = 0
    """So many bytes follow the number in each output."""

    @property
    def outs(self):
        return [self.out] + self.more


@dataclass
class Graph:
    shape: str
    nodes: list
    sources: dict

    def expected(self):
        """What each output has to hold."""
        values = {path: value for path, value in self.sources.items()}
        for node in self.nodes:
            x = 0
            for path in node.inputs:
                x = (x * 31 + values[path] + node.number) % MODULUS
            values.update((out, x) for out in node.outs)
        return {out: values[out] for node in self.nodes for out in node.outs}

    def leaf(self):
        """A node that no other needs, and a source that only it reads; none where there is no such pair."""
        needed = {need for node in self.nodes for need in node.needs}
        readers = {}
        for node in self.nodes:
            for path in node.inputs:
                readers.setdefault(path, []).append(node.number)
        for node in reversed(self.nodes):
            own = [path for path in node.inputs if path in self.sources and readers[path] == [node.number]]
            if node.number not in needed and own:
                return node, own[0]
        return None

    def wrong(self, folder):
        """The outputs that do not hold what they have to."""
        if self.shape == "unbalanced":
            return [n.out for n in self.nodes if not os.path.exists(os.path.join(folder, n.out))]
        wrong = []
        for path, value in self.expected().items():
            try:
                with open(os.path.join(folder, path)) as file:
                    if file.readline().strip() != str(value):
                        wrong.append(path)
            except OSError:
                wrong.append(path)
        return wrong


def layered(nodes, seed=1, width=100, fan_in=3):
    """Layers of `width` nodes; each reads some of the layer before."""
    rng = random.Random(seed)
    width = max(1, min(width, nodes))
    sources = {f"src/s{i}.txt": rng.randrange(MODULUS) for i in range(width)}
    names = list(sources)
    graph = Graph("layered", [], sources)
    for i in range(nodes):
        layer, place = divmod(i, width)
        node = Node(i, f"out/{layer}/n{i}.txt")
        if layer == 0:
            node.inputs = [names[place]]
        else:
            first = (layer - 1) * width
            node.needs = rng.sample(range(first, first + width), min(fan_in, width))
            node.inputs = [graph.nodes[need].out for need in node.needs]
        if place == 0:
            path = f"src/layer{layer}.txt"
            sources[path] = rng.randrange(MODULUS)
            node.inputs = node.inputs + [path]
        graph.nodes.append(node)
    return graph


def chain(nodes, seed=1):
    """Each node reads the one before."""
    return layered(nodes, seed, width=1, fan_in=1)


def star(nodes, seed=1):
    """All nodes read one source; the last one reads all of them, as far as a command line goes."""
    rng = random.Random(seed)
    graph = Graph("star", [], {"src/s0.txt": rng.randrange(MODULUS)})
    for i in range(nodes - 1):
        graph.nodes.append(Node(i, f"out/{i % 100}/n{i}.txt", ["src/s0.txt"]))
    needs = list(range(min(nodes - 1, 2000)))
    inputs = [graph.nodes[need].out for need in needs]
    graph.nodes.append(Node(nodes - 1, f"out/n{nodes - 1}.txt", inputs, needs))
    return graph


def fan(nodes, seed=1):
    """All nodes read one source, and nothing reads them."""
    graph = star(nodes + 1, seed)
    graph.shape = "fan"
    graph.nodes.pop()
    return graph


def outputs(nodes, seed=1, each=20):
    """Layers as ever, of recipes that make many files each."""
    graph = layered(max(1, nodes // each), seed, width=20)
    graph.shape = "outputs"
    for node in graph.nodes:
        node.more = [f"{node.out[:-4]}_{i}.txt" for i in range(1, each)]
    return graph


def large(nodes, seed=1, size=4 << 20):
    """Layers as ever, of files of some size."""
    graph = layered(nodes, seed, width=20)
    graph.shape = "large"
    for node in graph.nodes:
        node.pad = size
    return graph


def unbalanced(nodes=200, seed=1, total=60.0):
    """Heavy-tailed sleeps with few dependencies, in no order."""
    rng = random.Random(seed)
    raw = [rng.paretovariate(1.3) for _ in range(nodes)]
    scale = total / sum(raw)
    graph = Graph("unbalanced", [], {"src/s0.txt": 1})
    for i in range(nodes):
        node = Node(i, f"out/n{i}.txt", ["src/s0.txt"], sleep=round(max(0.02, raw[i] * scale), 3))
        if i and rng.random() < 0.7:
            node.needs = sorted(rng.sample(range(i), min(i, rng.choice([1, 1, 2]))))
            node.inputs = [graph.nodes[need].out for need in node.needs]
        graph.nodes.append(node)
    return graph


SHAPES = {
    "layered": layered,
    "chain": chain,
    "star": star,
    "fan": fan,
    "outputs": outputs,
    "large": large,
    "unbalanced": unbalanced,
}


def lower_bound(graph, jobs):
    """No schedule with so many jobs at once can be shorter, in seconds."""
    longest = []
    for node in graph.nodes:
        longest.append(node.sleep + max((longest[need] for need in node.needs), default=0.0))
    return max(max(longest), sum(node.sleep for node in graph.nodes) / jobs)


def write(folder, path, text):
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def write_sources(graph, folder):
    for path, value in graph.sources.items():
        write(folder, path, f"{value}\n")


def command(graph, node, number, inputs, outs, dollar):
    """What makes the outputs of a node; `dollar` is how the tool writes one."""
    if graph.shape == "unbalanced":
        return f"sleep {node.sleep}; : >{outs[0]}"
    text = (
        f"x=0; for f in {inputs}; do read -r v <{dollar}f; x={dollar}(((x*31+v+{number})%{MODULUS})); done; "
        f"echo {dollar}x >{outs[0]}"
    )
    if node.pad:
        text += f"; head -c {node.pad} /dev/zero >>{outs[0]}"
    return text + "".join(f"; cp {outs[0]} {out}" for out in outs[1:])


def for_kiln(graph, folder, jobs, schedule):
    name = {path: "s_" + path[4:-4] for path in graph.sources}
    for node in graph.nodes:
        name.update((out, f"n{node.number}" + (f"_{i}" if i else "")) for i, out in enumerate(node.outs))
    text = [
        f'[pipeline]\nformat = 1\nname = "bench"\n\n[settings]\nmax_parallel = {jobs}\nschedule = "{schedule}"\n',
        '[defaults]\nshell = ["/bin/sh", "-c"]\n',
    ]
    text += [f'[dataset.{name[path]}]\npath = "{path}"\n' for path in graph.sources]
    for node in graph.nodes:
        inputs = " ".join("{{ inputs.%s }}" % name[path] for path in node.inputs)
        names = json.dumps([name[path] for path in node.inputs])
        if node.more:
            outs = ["{{ outputs.%s }}" % name[out] for out in node.outs]
            text += [f'[dataset.{name[out]}]\npath = "{out}"\n' for out in node.outs]
            makes = json.dumps([name[out] for out in node.outs])
            head = f"[recipe.r{node.number}]\noutputs = {makes}\n"
        else:
            outs = ["{{ output }}"]
            head = f'[dataset.n{node.number}]\npath = "{node.out}"\n'
        run = json.dumps(command(graph, node, node.number, inputs, outs, "$"))
        text.append(f"{head}inputs = {names}\nrun = {run}\n")
    write(folder, "pipeline.toml", "\n".join(text))


def for_ninja(graph, folder):
    """For all that read `build.ninja`. Nodes of one output share a rule, as a user would write it."""
    plain = all(not node.more for node in graph.nodes)
    text = []
    if plain:
        node = graph.nodes[0]
        run = "sleep $s; : >$out" if graph.shape == "unbalanced" else command(graph, node, "$id", "$in", ["$out"], "$$")
        text.append(f"rule node\n  command = {run}")
    for node in graph.nodes:
        rule = "node" if plain else f"node{node.number}"
        if not plain:
            run = command(graph, node, node.number, "$in", node.outs, "$$")
            text.append(f"rule {rule}\n  command = {run}")
        more = f"\n  id = {node.number}\n  s = {node.sleep}" if plain else ""
        text.append(f"build {' '.join(node.outs)}: {rule} {' '.join(node.inputs)}{more}")
    write(folder, "build.ninja", "\n".join(text) + "\n")


def for_make(graph, folder):
    text = [".SUFFIXES:", "MAKEFLAGS += -r --no-print-directory", "SHELL = /bin/sh", ""]
    text.append("all: " + " ".join(node.out for node in graph.nodes))
    for node in graph.nodes:
        run = command(graph, node, node.number, "$^", ["$@"] if not node.more else node.outs, "$$")
        made = "&:" if node.more else ":"
        text.append(f"{' '.join(node.outs)}{made} {' '.join(node.inputs)}\n\t@{run}")
    write(folder, "Makefile", "\n".join(text) + "\n")
    for path in sorted({os.path.dirname(node.out) for node in graph.nodes}):
        os.makedirs(os.path.join(folder, path), exist_ok=True)
