#!/usr/bin/env python3
"""The same builds on the same server: Kiln, and threads of Dataiku's own client, as users have it today.

    python3 benches/dss.py KILN PYTHON [JOBS…]
    BENCH_SECONDS=540-600 python3 benches/dss.py KILN PYTHON 64

PYTHON is one that has `dataiku-api-client` (tests/run makes target/dataiku/*/bin/python). The server is below: it knows jobs
that take a while and nothing else, and counts what it is asked. Prints a table for benches/README.md.
"""

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

SHORTEST, LONGEST = map(float, os.environ.get("BENCH_SECONDS", "20-40").split("-"))  # how long jobs take


def length(number):
    """How long a job takes: spread evenly, the same in each run."""
    return SHORTEST + (LONGEST - SHORTEST) * (number * 61 % 97) / 96


# The server.


class Jobs:
    def __init__(self):
        self.jobs, self.requests, self.seen, self.began = {}, 0, {}, None

    def start(self, body):
        self.began = self.began or time.monotonic()
        output = body["outputs"][0]["id"]
        job = f"Build_{output}_NP_{len(self.jobs):06}"
        now = time.monotonic()
        self.jobs[job] = (output, body["type"], now, now + length(int(output[1:])))
        return {"id": job}

    def state(self, job):
        return "DONE" if time.monotonic() >= self.jobs[job][3] else "RUNNING"

    def definition(self, job):
        output, kind, began, _ = self.jobs[job]
        return {"id": job, "type": kind, "projectKey": "P", "initiator": "API (bench)", "initiationTimestamp": int(began * 1e3),
                "outputs": [{"type": "DATASET", "targetDataset": output, "targetDatasetProjectKey": "P", "targetPartition": "NP"}]}

    def line(self, job):
        state = self.state(job)
        return {"def": self.definition(job), "state": state, "stableState": state == "DONE", "startTime": 1, "endTime": 0}

    def status(self, job):
        state = self.state(job)
        if state == "DONE":
            self.seen.setdefault(job, time.monotonic())
        activity = {"state": state, "targets": [{"type": "DATASET", "id": self.jobs[job][0]}]}
        return {"baseStatus": {"def": self.definition(job), "state": state, "activities": {f"make_{job}": activity}},
                "globalState": {"total": 1}}

    def late(self):
        """How much later than a job's end someone was told of it, on average and at worst; and how long all took."""
        late = [self.seen[job] - end for job, (*_, end) in self.jobs.items()]
        return {"jobs": len(late), "mean": sum(late) / len(late), "worst": max(late), "requests": self.requests,
                "took": max(self.seen.values()) - self.began, "ideal": max(end for *_, end in self.jobs.values()) - self.began}

    def answer(self, method, path, body):
        path = re.sub(r"^/(public/api|dip/publicapi)", "", path.split("?")[0]).strip("/")
        if path == "count":
            return self.late()
        self.requests += 1
        if path == "auth/info":
            return {"authIdentifier": "bench"}
        rest = path.split("/")[3:]
        if method == "POST" and not rest:
            return self.start(json.loads(body))
        if not rest:
            return [self.line(job) for job in self.jobs]
        if rest == ["running"]:
            return [{"jobId": job, "projectKey": "P", "state": "RUNNING"} for job in self.jobs if self.state(job) == "RUNNING"]
        return self.status(rest[0])


async def serve():
    jobs = Jobs()

    async def connection(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, path, _ = head.decode().split("\r\n")[0].split(" ")
                text = json.dumps(jobs.answer(method, path, body)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# What is compared.


def threads(url, jobs):
    """As users do it: a thread for each job, each of which waits by itself."""
    from concurrent.futures import ThreadPoolExecutor

    import dataikuapi

    project = dataikuapi.DSSClient(url, "key").get_project("P")

    def build(number):
        output = {"type": "DATASET", "id": f"s{number}", "projectKey": "P"}
        project.start_job_and_wait({"type": "RECURSIVE_BUILD", "outputs": [output]})

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(build, range(jobs)))


def kiln(program, url, jobs, folder):
    engine = f'[engine.prod]\nkind = "dss"\nurl = "{url}"\napi_key = {{ env = "KEY" }}\nmax_parallel = {jobs}\n'
    with open(f"{folder}/pipeline.toml", "w") as file:
        file.write(f'[pipeline]\nformat = 1\nname = "p"\nproject = "P"\n{engine}')
        file.writelines(f"[dataset.s{number}]\ninputs = []\n" for number in range(jobs))
    return [os.path.abspath(program), "run", "--engine", "prod"]


def measure(jobs, command):
    """Runs something against a server of its own: what the server counted, and what the program needed."""
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        with tempfile.TemporaryDirectory() as folder:
            program = subprocess.Popen(command(url, jobs, folder), cwd=folder, stdout=subprocess.DEVNULL, env={**os.environ, "KEY": "key"})
            _, status, used = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
        assert program.returncode == 0, program.returncode
        import urllib.request

        counted = json.load(urllib.request.urlopen(f"{url}/count"))
        server.terminate()
    assert counted["jobs"] == jobs, counted
    return counted, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main(program, python, *sizes):
    ways = [("`dataikuapi`, threads", lambda url, jobs, _: [python, os.path.abspath(__file__), "threads", url, str(jobs)]),
            ("Kiln", lambda url, jobs, folder: kiln(program, url, jobs, folder))]
    print("| jobs at once | | time to the end (the longest job) | an end is seen later by, mean / worst | requests | CPU | memory |")
    print("|---|---|---|---|---|---|---|")
    for jobs in map(int, sizes or (8, 64, 512)):
        for name, way in ways:
            n, cpu, memory = measure(jobs, way)
            print(f"| {jobs} | {name} | {n['took']:.1f} s ({n['ideal']:.1f} s) | {n['mean']:.2f} s / {n['worst']:.2f} s | "
                  f"{n['requests']:,} | {cpu:.1f} s | {memory:.0f} MB |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    elif sys.argv[1] == "threads":
        threads(sys.argv[2], int(sys.argv[3]))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        main(*sys.argv[1:])
