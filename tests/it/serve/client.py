"""What scripts that were written for DSS do, with DSS's own client, against `kiln serve`.

usage: client.py URL KEY SCENARIO        in the folder of the pipeline
"""
import os
import sys
import threading

import dataikuapi
from dataikuapi.dss.job import DSSJobWaiter
from dataikuapi.utils import DataikuException

URL, KEY = sys.argv[1], sys.argv[2]
TERMINAL = ("DONE", "FAILED", "ABORTED")
client = dataikuapi.DSSClient(URL, KEY)
project = client.get_project("ORDERS")


def up(name):
    """Waits until the recipe is up that says so through this pipe."""
    with open(name + ".up") as pipe:
        return pipe.read()


def go(name):
    """Lets the recipe go on that waits at this pipe."""
    with open(name + ".go", "w") as pipe:
        pipe.write("go\n")


def until(true):
    """Asks until it is so: a recipe may be up before the history says it."""
    while not true():
        pass


def read(path):
    with open(path) as file:
        return file.read()


def activities(job):
    """The activities of a job with their states."""
    return {k: v["state"] for k, v in job.get_status()["baseStatus"]["activities"].items()}


def raises(what, *parts):
    """Runs `what`, and wants it to raise what DSS's client raises, with these words."""
    try:
        what()
    except DataikuException as error:
        for part in parts:
            assert part in str(error), (part, str(error))
        return str(error)
    raise AssertionError("nothing was raised")


def wait(job):
    """As the developer guide waits."""
    state = ""
    while state not in TERMINAL:
        state = job.get_status()["baseStatus"]["state"]
    return state


def jobs():
    """Every call about jobs."""
    assert project.list_jobs() == []
    definition = {
        "type": "RECURSIVE_BUILD",
        "outputs": [{"id": "orders", "type": "DATASET", "partition": "NP"}],
    }
    job = project.start_job(definition)
    assert job.id.startswith("build_orders_20") and job.id[-4] == "."
    assert wait(job) == "DONE"
    assert read("build/orders.csv") == "1,2\n"
    status = job.get_status()
    base = status["baseStatus"]
    assert base["def"]["id"] == status["def"]["id"] == job.id
    assert base["def"]["initiator"] == "API (local)" and base["def"]["triggeredFrom"] == "API"
    assert base["def"]["outputs"][0]["targetDataset"] == "orders"
    assert 0 < base["def"]["initiationTimestamp"] <= base["jobStartTime"] <= base["jobEndTime"]
    assert list(base["activities"]) == ["compute_orders_NP"]
    activity = base["activities"]["compute_orders_NP"]
    assert activity["recipeName"] == "compute_orders" and activity["state"] == "DONE"
    assert activity["sources"] == [{"type": "DATASET", "id": "raw"}]
    assert activity["targets"] == [{"type": "DATASET", "id": "orders"}]
    assert status["globalState"]["total"] == status["globalState"]["done"] == 1
    assert status["logTail"]["lines"] == ["made orders"]
    assert "made orders\n" in job.get_log() and "DONE" in job.get_log()
    assert job.get_log("compute_orders_NP") == "made orders\n"
    raises(lambda: job.get_log("nothing_NP"), "NotFoundException", "activity `nothing_NP`")

    listed = project.list_jobs()
    assert [item["def"]["id"] for item in listed] == [job.id]
    assert listed[0]["state"] == "DONE" and listed[0]["stableState"] is True
    assert listed[0]["startTime"] > 0 and listed[0]["endTime"] >= listed[0]["startTime"]
    again = project.get_job(listed[0]["def"]["id"])
    assert again.get_status()["baseStatus"]["state"] == "DONE"
    assert "DONE already" in again.abort()["msg"]
    assert again.get_status()["baseStatus"]["state"] == "DONE"

    # Nothing is out of date: a job that ends well, with no activity.
    idle = project.start_job(definition)
    assert DSSJobWaiter(idle).wait() == "DONE"
    assert idle.get_status()["globalState"]["total"] == 0
    assert [item["def"]["id"] for item in project.list_jobs()] == [idle.id, job.id]
    # A client may leave out all but the outputs.
    assert wait(project.start_job({"outputs": [{"id": "orders"}]})) == "DONE"


def running():
    """Lists of what runs, in all versions that have them."""
    job = project.start_job({"outputs": [{"id": "gated"}]})
    assert up("gated") == "up\n"
    until(lambda: activities(job) == {"compute_gated_NP": "RUNNING"})
    assert [item["def"]["id"] for item in project.list_jobs() if not item["stableState"]] == [job.id]
    if hasattr(project, "list_running_jobs"):
        for items in (project.list_running_jobs(), client.list_running_jobs(), client.list_running_jobs(all_users=False)):
            assert [(item.project_key, item.job_id, item["state"]) for item in items] == [("ORDERS", job.id, "RUNNING")]
            assert items[0].start_time is not None and items[0].end_time is None
            assert items[0].to_job().get_status()["baseStatus"]["state"] == "RUNNING"
    go("gated")
    assert wait(job) == "DONE"
    assert read("build/gated.txt") == "go\n"
    if hasattr(project, "list_running_jobs"):
        assert project.list_running_jobs() == [] and client.list_running_jobs() == []


def kinds():
    """Every kind of job and of output."""
    orders = project.get_dataset("orders")
    job = orders.build()
    assert activities(job) == {"compute_orders_NP": "DONE"}
    assert activities(orders.build(job_type="RECURSIVE_BUILD")) == {}
    assert activities(orders.build(job_type="NON_RECURSIVE_FORCED_BUILD")) == {"compute_orders_NP": "DONE"}
    report = project.get_dataset("report")
    missing = "RECURSIVE_MISSING_ONLY_BUILD"
    assert activities(report.build(job_type=missing)) == {"split_NP": "DONE", "compute_report_NP": "DONE"}
    os.remove("build/report.txt")
    assert activities(report.build(job_type=missing)) == {"compute_report_NP": "DONE"}
    assert activities(report.build(job_type="RECURSIVE_FORCED_BUILD")) == {
        "compute_orders_NP": "DONE", "split_NP": "DONE", "compute_report_NP": "DONE",
    }
    # A changed source: from the first item that is out of date down to the target.
    with open("raw.csv", "w") as file:
        file.write("3,4\n")
    assert list(activities(report.build(job_type="RECURSIVE_BUILD"))) == ["compute_orders_NP", "split_NP", "compute_report_NP"]
    assert read("build/report.txt") == "3,4\n"

    builder = project.new_job("RECURSIVE_BUILD")
    builder.with_output("O2ue6CX3", object_type="MANAGED_FOLDER").with_output("report")
    job = builder.start_and_wait()
    assert job.get_status()["baseStatus"]["state"] == "DONE"
    assert read("build/charts/a.csv") == "3,4\n"
    echo = job.get_status()["baseStatus"]["def"]["outputs"]
    assert {"O2ue6CX3", "report"} == {output["id"] for output in echo}
    assert [o["targetManagedFolder"] for o in echo if o["type"] == "MANAGED_FOLDER"] == ["O2ue6CX3"]
    # All that one recipe makes is made at once; named by both it is made once.
    job = project.new_job("NON_RECURSIVE_FORCED_BUILD").with_output("train").with_output("test").start_and_wait()
    assert activities(job) == {"split_NP": "DONE"}
    # A source is not built: the job has nothing to do.
    assert activities(project.new_job("RECURSIVE_BUILD").with_output("raw").start_and_wait()) == {}
    # A builder with all that it can say.
    builder = project.new_job("RECURSIVE_BUILD").with_type("NON_RECURSIVE_FORCED_BUILD").with_refresh_metastore(True)
    if hasattr(builder, "with_auto_update_schema_before_each_recipe_run"):
        builder.with_auto_update_schema_before_each_recipe_run(True)
    assert builder.with_output("orders", partition="NP").start_and_wait().get_status()["globalState"]["done"] == 1
    raises(project.new_job("RECURSIVE_BUILD").with_output("churn", object_type="SAVED_MODEL").start, "cannot build it")
    raises(project.new_job("RECURSIVE_BUILD").with_output("O2ue6CX3").start, "dataset `O2ue6CX3` does not exist", "MANAGED_FOLDER")
    raises(project.new_job("SOME_BUILD").with_output("orders").start, "type `SOME_BUILD`", "RECURSIVE_BUILD")
    raises(project.new_job("RECURSIVE_BUILD").start, "outputs: name at least one output")
    raises(lambda: orders.build(partitions=["2026-11-01"]), "`orders` is not partitioned")


def recipes():
    """Recipes that are run."""
    job = project.get_recipe("compute_orders").run()
    assert activities(job) == {"compute_orders_NP": "DONE"}
    job = project.get_recipe("split").run(job_type="RECURSIVE_BUILD")
    assert activities(job) == {"split_NP": "DONE"}
    job = project.get_recipe("compute_charts").run(wait=False)
    assert wait(job) == "DONE"
    job = project.get_recipe("compute_bad").run(no_fail=True)
    assert job.get_status()["baseStatus"]["state"] == "FAILED"
    names = [item["name"] for item in project.list_recipes()]
    assert {"compute_orders", "split", "compute_bad", "publish"} <= set(names)
    settings = project.get_recipe("split").get_settings()
    assert settings.type == "shell" and settings.get_flat_input_refs() == ["orders"]
    assert settings.get_flat_output_refs() == ["train", "test"]
    assert "cp" in settings.get_payload()


def graph():
    """The flow in every direction."""
    flow = project.get_flow()
    graph = flow.get_graph()
    names = lambda nodes: [node["ref"] for node in nodes]
    assert names(graph.get_source_computables()) == ["raw"]
    assert [dataset.dataset_name for dataset in graph.get_source_datasets()] == ["raw"]
    assert set(names(graph.get_source_recipes())) == {"compute_gated", "compute_held"}
    assert set(names(graph.get_successor_recipes("orders"))) == {"compute_charts", "split", "compute_bad", "compute_churn"}
    assert names(graph.get_successor_recipes(project.get_dataset("raw"))) == ["compute_orders"]
    assert names(graph.get_successor_computables("split")) == ["train", "test"]
    outputs = graph.get_successor_computables(project.get_recipe("compute_charts"), as_type="object")
    assert [output.id for output in outputs] == ["O2ue6CX3"]
    assert graph.get_successor_computables("publish") == []
    order = [node["ref"] for node in graph.get_items_in_traversal_order()]
    assert len(order) == len(set(order)) == len(graph.nodes)
    for key, node in graph.nodes.items():
        for before in node["predecessors"]:
            assert key in graph.nodes[before]["successors"], (key, before)
        for behind in node["successors"]:
            assert key in graph.nodes[behind]["predecessors"], (key, behind)
    chain = ["raw", "compute_orders", "orders", "split", "train", "compute_report", "report"]
    places = [order.index(name) for name in chain]
    assert places == sorted(places)
    kinds = {type(item).__name__ for item in graph.get_items_in_traversal_order(as_type="object")}
    assert kinds == {"DSSDataset", "DSSManagedFolder", "DSSSavedModel", "DSSRecipe"}
    assert [zone.id for zone in flow.list_zones()] == ["default"]


def abort():
    """All that runs or waits is aborted, as the developer guide does it."""
    job = project.start_job({"outputs": [{"id": "gated"}]})
    up("gated")
    behind = project.start_job({"type": "NON_RECURSIVE_FORCED_BUILD", "outputs": [{"id": "gated"}]})
    status = behind.get_status()
    assert status["baseStatus"]["state"] == "NOT_STARTED"
    assert status["baseStatus"]["jobStartTime"] == 0
    assert job.id in status["waitingFor"]["message"] and "build/gated.txt" in status["waitingFor"]["message"]
    assert status["waitingFor"]["jobId"] == job.id
    assert job.id in behind.get_log()
    # What it does not need does not wait.
    assert wait(project.start_job({"outputs": [{"id": "orders"}]})) == "DONE"
    aborted = 0
    for item in project.list_jobs():
        if item["stableState"] is False:
            assert "msg" in project.get_job(item["def"]["id"]).abort()
            aborted += 1
    assert aborted == 2
    for each in (job, behind):
        raises(lambda: DSSJobWaiter(each).wait(), "Job run did not finish. Status: ABORTED")
    items = {item["def"]["id"]: item for item in project.list_jobs()}
    assert items[behind.id]["startTime"] == 0 and items[behind.id]["endTime"] == 0
    assert items[behind.id]["stableState"] is True
    assert items[job.id]["endTime"] > 0
    assert activities(job) == {"compute_gated_NP": "ABORTED"}
    assert not os.path.exists("build/gated.txt")


def failures():
    """What goes wrong raises as it does on DSS."""
    bad = project.get_dataset("bad")
    raises(bad.build, "Job run did not finish. Status: FAILED")
    job = project.new_job("RECURSIVE_BUILD").with_output("bad").start_and_wait(no_fail=True)
    status = job.get_status()
    assert status["baseStatus"]["state"] == "FAILED"
    failure = status["baseStatus"]["activities"]["compute_bad_NP"]["firstFailure"]
    assert failure["message"] == "bad: exit 3" and "oh no" in failure["detailedMessage"]
    assert status["error"] == failure
    assert status["globalState"]["failed"] == 1
    assert "oh no" in "\n".join(status["logTail"]["lines"])
    assert "oh no\n" == job.get_log("compute_bad_NP")
    near = raises(project.get_dataset("order").build, "NotFoundException", "dataset `order` does not exist")
    assert "did you mean `orders`?" in near
    raises(client.get_project("NOWHERE").list_jobs, "project `NOWHERE` does not exist")
    raises(project.get_job("nothing").get_status, "job `nothing` does not exist")
    raises(project.get_job("nothing").abort, "job `nothing` does not exist")
    raises(project.list_scenarios, "NotFoundException", "/projects/ORDERS/scenarios is not part of this API")
    raises(lambda: project.set_variables({"standard": {}, "local": {}}), "MethodNotAllowedException")
    stranger = dataikuapi.DSSClient(URL, "some other key")
    raises(stranger.list_project_keys, "UnauthorizedException", "is not known")
    raises(lambda: dataikuapi.DSSClient(URL, "").list_project_keys(), "UnauthorizedException")


def things():
    """Projects, datasets, folders, models, and who asks."""
    assert client.list_project_keys() == ["ORDERS"]
    assert client.list_projects()[0]["name"] == "orders"
    assert project.get_summary()["projectKey"] == "ORDERS"
    assert project.get_variables() == {"standard": {"country": "FR"}, "local": {}}
    names = [item["name"] for item in project.list_datasets()]
    assert names[:2] == ["raw", "orders"] and "O2ue6CX3" not in names
    orders = project.get_dataset("orders")
    assert orders.exists() and not project.get_dataset("nothing").exists()
    assert orders.get_definition()["managed"] is True
    settings = orders.get_settings()
    assert getattr(settings, "is_feature_group", False) is False
    assert settings.type == "Filesystem" and settings.get_raw()["partitioning"]["dimensions"] == []
    assert orders.list_partitions() == ["NP"]
    assert orders.get_schema()["columns"] == []
    info = orders.get_info()
    assert info.get_raw()["buildable"] is True and "lastBuild" not in info.get_raw()
    job = orders.build()
    info = orders.get_info()
    assert info.get_raw()["lastBuild"]["jobId"] == job.id and info.get_raw()["lastBuild"]["buildSuccess"] is True
    if hasattr(info, "last_build_end_time"):
        assert info.last_build_start_time <= info.last_build_end_time and info.is_last_build_successful
    raises(project.get_dataset("bad").build, "FAILED")
    assert project.get_dataset("bad").get_info().get_raw()["lastBuild"]["buildSuccess"] is False
    assert project.get_dataset("raw").get_info().get_raw()["buildable"] is False

    assert os.path.exists("build/orders.csv")
    orders.clear()
    assert not os.path.exists("build/orders.csv")
    raises(project.get_dataset("raw").clear, "is a source")
    assert os.path.exists("raw.csv")
    # What was cleared is built again.
    assert activities(orders.build(job_type="RECURSIVE_BUILD")) == {"compute_orders_NP": "DONE"}

    folders = project.list_managed_folders()
    assert [(folder["id"], folder["name"]) for folder in folders] == [("O2ue6CX3", "charts")]
    folder = project.get_managed_folder("O2ue6CX3")
    assert folder.list_contents()["items"] == []
    project.get_recipe("compute_charts").run()
    items = folder.list_contents()["items"]
    assert [(item["path"], item["size"]) for item in items] == [("/a.csv", 4), ("/sub/b c.csv", 4)]
    for item in items:
        with folder.get_file(item["path"]) as response:
            assert response.content == b"1,2\n"
    for path in ("/../../raw.csv", "/nothing", "/sub", "%2e%2e/orders.csv"):
        raises(lambda: folder.get_file(path), "NotFound")
    assert [(model["id"], model["name"]) for model in project.list_saved_models()] == [("kJ8dF2", "churn")]
    assert client.get_auth_info()["authIdentifier"] == "API (local)"
    if hasattr(client, "get_instance_info"):
        assert client.get_instance_info().raw["nodeType"] == "DESIGN"
    assert client.list_futures() == []


def samples():
    """What the documentation of DSS does with jobs, in its way of saying it."""
    import datetime
    import time

    # Building a dataset from a definition, and waiting for it.
    definition = {
        "type": "NON_RECURSIVE_FORCED_BUILD",
        "outputs": [{"id": "orders", "partition": "NP"}],
    }
    job = project.start_job(definition)
    state = ""
    while state != "DONE" and state != "FAILED" and state != "ABORTED":
        time.sleep(0.05)
        state = job.get_status()["baseStatus"]["state"]
    assert state == "DONE"
    # The same with a builder, in the old way and in the new one.
    builder = project.new_job("NON_RECURSIVE_FORCED_BUILD")
    builder.with_output("orders", partition="NP")
    assert wait(builder.start()) == "DONE"
    builder = project.new_job_definition_builder("RECURSIVE_BUILD")
    builder.with_output("report")
    assert DSSJobWaiter(project.start_job(builder.get_definition())).wait() == "DONE"
    forced = {"type": "RECURSIVE_FORCED_BUILD", "outputs": [{"id": "report", "type": "DATASET"}]}
    assert project.start_job_and_wait(forced) == "DONE"
    assert project.get_job(project.list_jobs()[0]["def"]["id"]).get_status()["globalState"]["done"] == 3
    # Without a type, and with each word that a definition may have.
    whole = {
        "type": None,
        "outputs": [{"type": None, "id": "orders", "projectKey": None, "partition": None}],
        "refreshHiveMetastore": True,
        "autoUpdateSchemaBeforeEachRecipeRun": True,
        "somethingNew": {"a": [1]},
    }
    job = project.start_job(whole)
    assert wait(job) == "DONE" and activities(job) == {"compute_orders_NP": "DONE"}

    # Which jobs have failed since some day.
    raises(project.get_dataset("bad").build, "FAILED")
    day = datetime.datetime.now() - datetime.timedelta(days=1)
    since = int(day.strftime("%s")) * 1000
    jobs = project.list_jobs()
    failed_jobs = [job for job in jobs if job["state"] == "FAILED" and job["def"]["initiationTimestamp"] >= since]
    assert len(failed_jobs) == 1 and failed_jobs[0]["def"]["name"].startswith("Build bad")
    late = [job for job in jobs if job["def"]["initiationTimestamp"] >= since + 2 * 24 * 3600 * 1000]
    assert late == []
    for job in jobs:
        made = job["def"]
        assert made["projectKey"] == "ORDERS" and made["initiator"] == "API (local)" and made["triggeredFrom"] == "API"
        for flag in ("mailNotification", "refreshHiveMetastore", "refreshIntermediateMirrors", "refreshTargetMirrors"):
            assert made[flag] in (True, False)
        for output in made["outputs"]:
            assert output["type"] == "DATASET" and output["targetDatasetProjectKey"] == "ORDERS"
            assert output["targetDataset"] and output["targetPartition"] == "NP"
        assert job["warningsCount"] == 0 and job["stableState"] is True
    # The log of the job that failed, found by the id in the list.
    assert "oh no" in project.get_job(failed_jobs[0]["def"]["id"]).get_log()
    assert "oh no\n" == project.get_job(failed_jobs[0]["def"]["id"]).get_log(activity="compute_bad_NP")

    # Whatever runs is aborted.
    project.start_job({"outputs": [{"id": "gated"}]})
    up("gated")
    aborted_jobs = []
    for job in project.list_jobs():
        if not job["stableState"]:
            job_id = job["def"]["id"]
            aborted_jobs.append(job_id)
            project.get_job(job_id).abort()
    assert len(aborted_jobs) == 1 and wait(project.get_job(aborted_jobs[0])) == "ABORTED"

    # All that has no successor is built: the ends of the flow.
    graph = project.get_flow().get_graph()
    ends = [node for node in graph.nodes.values() if node["type"] == "COMPUTABLE_DATASET" and not node["successors"]]
    assert {node["ref"] for node in ends} == {"test", "bad", "gated", "held"}
    for node in ends:
        if node["ref"] == "test":
            assert wait(project.get_dataset(node["ref"]).build(wait=False)) == "DONE"
    # The same for whatever it is, by the keys of the flow alone. What is built only by its type is told.
    for key, node in graph.data["nodes"].items():
        if not node["successors"] and key in ("test", "publish"):
            assert wait(project.start_job({"type": "RECURSIVE_BUILD", "outputs": [{"id": key}]})) == "DONE", key
    # What no recipe has to do with.
    alone = [key for key, node in graph.nodes.items() if not node["predecessors"] and not node["successors"]]
    assert alone == []
    # Where things lie in the flow.
    flow = project.get_flow()
    for zone in flow.list_zones():
        assert (zone.id, zone.name, list(zone.items)) == ("default", "Default", [])
    assert flow.get_default_zone().id == project.get_dataset("orders").get_zone().id == "default"
    assert set(flow.get_default_zone().get_graph().nodes) == set(graph.nodes)
    raises(lambda: flow.get_zone("21344ZsQZ"), "NotFoundException", "zone `21344ZsQZ` does not exist")
    assert [str(source.name) for source in graph.get_source_computables(as_type="object")] == ["raw"]
    # Lists whose elements tell what they are, and lead to what they stand for.
    assert [(item.name, item.type, item.tags) for item in project.list_datasets()][0] == ("raw", "Filesystem", [])
    assert project.list_datasets()[0].connection and project.list_datasets()[0].to_dataset().exists()
    for item in project.list_recipes():
        assert item.type == "shell" and item.tags == []
        if item.name == "split":
            status = item.to_recipe().get_status()
            assert status.get_selected_engine_details()["type"] == "LOCAL"
            assert status.get_status_severity() == "SUCCESS" and status.get_status_messages() == []
            assert item.to_recipe().get_settings().has_input("orders")
    # Everything with some tags is cleared: nothing has them.
    assert [item["name"] for item in project.list_datasets() if set(item["tags"]) & {"DEPRECATED"}] == []
    settings = project.get_dataset("orders").get_settings()
    assert settings.tags == [] and settings.get_raw().get("schema").get("columns") == []
    assert settings.short_description == "" and settings.description == ""
    raises(lambda: settings.save(), "MethodNotAllowedException")
    # A recipe is run by itself; a folder is built by its id.
    assert project.get_recipe("compute_charts").run().get_status()["baseStatus"]["state"] == "DONE"
    assert project.get_managed_folder("O2ue6CX3").list_contents()["items"] != []


def crowd():
    """Fifty clients at once."""
    ended, wrong = [], []

    def one(n):
        try:
            mine = dataikuapi.DSSClient(URL, KEY).get_project("ORDERS")
            output = ("orders", "train", "test", "report")[n % 4]
            job = mine.new_job("RECURSIVE_BUILD").with_output(output).start_and_wait()
            ended.append((job.id, job.get_status()["baseStatus"]["state"]))
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(50)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == [], wrong
    assert len({job for job, _ in ended}) == 50 and {state for _, state in ended} == {"DONE"}
    # Each thing was made once.
    built = {}
    for item in project.list_jobs():
        for activity in project.get_job(item["def"]["id"]).get_status()["baseStatus"]["activities"]:
            built[activity] = built.get(activity, 0) + 1
    assert built == {"compute_orders_NP": 1, "split_NP": 1, "compute_report_NP": 1}, built


globals()[sys.argv[3]]()
print("ok")
