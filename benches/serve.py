"""How fast the job server answers against a long history. Python's standard library only.

usage: benches/serve.py KILN [JOBS]          JOBS: so many are in the history; 100,000 unless said otherwise
"""

import http.client
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

KILN = os.path.abspath(sys.argv[1])
JOBS = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
PIPELINE = """
[pipeline]
format = 1
name = "orders"
[dataset.orders]
path = "build/orders.csv"
run = "echo 1 >{{ output }}"
[dataset.slow]
path = "build/slow.csv"
run = "sleep 60; echo 1 >{{ output }}"
"""
ROWS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
INSERT INTO runs (job, pipeline, file, engine, mode, targets, state, asked, started, ended, took_ms, planned, by, pid, host)
SELECT printf('build_orders_%07d', i), 'orders', 'pipeline.toml', 'local', 'smart', '["orders"]', 'DONE', at, at, at, 1, 1,
       'API (ci)', 0, '' FROM (SELECT i, strftime('%Y-%m-%dT%H:%M:%fZ', 1700000000 + i, 'unixepoch') AS at FROM n)
"""
BASE = "/public/api/projects/ORDERS/jobs/"


class Client:
    def __init__(self, port, key):
        self.port, self.key = port, key

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, {"Authorization": "Bearer " + self.key})
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, (response.status, text)
        return text

    def start(self, output):
        body = json.dumps({"outputs": [{"id": output}]})
        return json.loads(self.ask("POST", BASE, body))["id"]

    def state(self, job):
        return json.loads(self.ask("GET", BASE + job + "/"))["baseStatus"]["state"]


def times(what, n=50):
    took = []
    for _ in range(n):
        begun = time.perf_counter()
        what()
        took.append((time.perf_counter() - begun) * 1000)
    took.sort()
    return "%.1f ms in the middle, %.1f ms at worst" % (took[n // 2], took[-1])


def statuses(client, job, seconds=5, threads=8):
    """So many status calls are answered in a second while the job runs."""
    answered, end = [0] * threads, time.perf_counter() + seconds

    def ask(i):
        while time.perf_counter() < end:
            client.ask("GET", BASE + job + "/")
            answered[i] += 1

    all = [threading.Thread(target=ask, args=(i,)) for i in range(threads)]
    [thread.start() for thread in all]
    [thread.join() for thread in all]
    return sum(answered) / seconds


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with open("pipeline.toml", "w") as file:
            file.write(PIPELINE)
        subprocess.run([KILN, "run", "orders"], check=True, stdout=subprocess.DEVNULL)
        with sqlite3.connect(".kiln/kiln.db") as store:
            store.execute(ROWS, (JOBS,))
        server = subprocess.Popen([KILN, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            with open(".kiln/api-key") as file:
                client = Client(port, file.read().strip())

            own = []

            def trivial():
                begun = time.perf_counter()
                job = client.start("orders")
                while client.state(job) not in ("DONE", "FAILED"):
                    pass
                took = (time.perf_counter() - begun) * 1000
                status = json.loads(client.ask("GET", BASE + job + "/"))
                own.append(took - status["runtimeSummary"]["activities"][0]["runningTime"])

            print("GET jobs/?limit=50:", times(lambda: client.ask("GET", BASE + "?limit=50")))
            print("GET /:", times(lambda: client.ask("GET", "/")))
            for query in ("initiator=API+(ci)", "initiator=nobody", "state=FAILED", "state=ABORTED", "since=2023-11-15&until=2023-11-16"):
                print("GET /?%s:" % query, times(lambda: client.ask("GET", "/?" + query)))
            begun = time.perf_counter()
            size = len(client.ask("GET", BASE))
            print("GET jobs/: %.1f s for %d MB" % (time.perf_counter() - begun, size >> 20))
            print("a trivial job:", times(trivial, 30))
            own.sort()
            print("of that, without its step: %.1f ms in the middle, %.1f ms at worst" % (own[len(own) // 2], own[-1]))
            slow = client.start("slow")
            while client.state(slow) != "RUNNING":
                pass
            print("status calls: %d a second" % statuses(client, slow))
            with open("/proc/%d/status" % server.pid) as file:
                print([line.strip() for line in file if line.startswith(("VmHWM", "VmRSS"))])
        finally:
            server.terminate()
            server.wait()


main()
