"""The dashboards, executed: every expression runs against a real Prometheus that scrapes a real page of our metrics."""

import json
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec
import pytest

from gateway.core.money import Nano, Pico
from gateway.core.pricing import Rates
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.proxy.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "dashboards"
NAMES = ("finance.json", "operators.json")
BOARDS = {name: json.loads((FOLDER / name).read_text()) for name in NAMES}

SCRAPES = 8
"""How many scrapes, one a second, find new traffic; the questions come after them."""

ANSWERED = SpendRecord(
    attempt_id="r.1", request_id="r", attempt=1, at_us=1_764_000_000_000_000, route="cheap", policy="cheapest",
    kind="overall", team="core", key_id="k1", provider="openai", model="openai/gpt-6-luna", simulated=False,
    stream=True, cache="miss", state=State.SETTLED, outcome="ok", status=200, finish_reason="stop",
    usage_source=UsageSource.PROVIDER, input_tokens=1_200, cached_input_tokens=300, cache_write_tokens=10,
    output_tokens=400, reasoning_tokens=50, service_tier=None, price_id="p1", expected_nano=Nano(310_000),
    cost_nano=Nano(348_013), baseline_model="openai/gpt-5.5", baseline_price_id="p2", baseline_nano=Nano(19_650_007),
    duration_us=1_700_000, ttft_us=310_000, candidates="[]", drops="[]",
)  # fmt: skip


def but(**changes):
    return msgspec.structs.replace(ANSWERED, **changes)


DEEPSEEK = {"provider": "deepseek", "model": "deepseek/deepseek-flash"}
GOOGLE = {"provider": "google", "model": "google/gemini-4-argon"}
NOTHING_USED = {
    "input_tokens": 0, "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 0, "reasoning_tokens": 0,
    "usage_source": UsageSource.NONE, "cost_nano": Nano(0), "baseline_nano": Nano(0), "ttft_us": None,
}  # fmt: skip

# One second's traffic: (record, final). Odd nano-dollars, so that a lost one would show.
TRAFFIC = (
    (ANSWERED, True),
    (but(**DEEPSEEK, route="auto", team="sales", cache="off", cost_nano=Nano(212_501), ttft_us=95_000), True),
    (but(**DEEPSEEK, state=State.UNCERTAIN, outcome="timeout", baseline_nano=Nano(0), cost_nano=Nano(90_003)), False),
    (but(attempt=2, cost_nano=Nano(348_019), duration_us=4_100_000), True),
    (but(**{**NOTHING_USED, "baseline_nano": Nano(7_500_001)}, cache="hit", outcome="cached", duration_us=300), True),
    (but(**{**NOTHING_USED, "baseline_nano": Nano(7_500_003)}, cache="coalesced", outcome="cached"), True),
    (but(cache="bypass", cost_nano=Nano(348_031)), True),
    (but(cache="revalidation", baseline_nano=Nano(0), cost_nano=Nano(348_037)), True),
    (but(**GOOGLE, **NOTHING_USED, outcome="http_500", status=500, duration_us=80_000), True),
    (but(**GOOGLE, route="best", state=State.UNCERTAIN, outcome="aborted", cost_nano=Nano(25_000_011)), True),
)


class Shop:
    """A gateway's metrics with traffic: each scrape finds one more second of it, until it ends."""

    def __init__(self):
        self.book = []
        self.scrapes = 0
        rates = Rates(Pico(100_000), Pico(10_000), Pico(125_000), Pico(500_000), Pico(500_000))
        models = {(record.provider, record.model) for record, _ in TRAFFIC}
        self.metrics = Metrics(
            "1.0",
            config=lambda: "d34db33f",
            healthy=lambda: [(provider, model, provider != "google") for provider, model in sorted(models)],
            prices=lambda: [(provider, model, rates) for provider, model in sorted(models)],
            ledger_pending=lambda: self.scrapes % 3,
            ledger_failures=lambda: self.scrapes // 2,
            store_errors=lambda: self.scrapes // 3,
            cache_unreadable=lambda: self.scrapes // 3,
            cache_store=lambda: (self.scrapes, 1_000_000 + self.scrapes, 536_870_912),
            learning_pending=lambda: self.scrapes % 2,
            learning_failures=lambda: self.scrapes // 4,
            reloads=lambda: {"applied": self.scrapes, "refused": self.scrapes // 5},
            in_flight=lambda: 4,
        )

    def page(self):
        self.scrapes += 1
        if self.scrapes <= SCRAPES:
            self.serve()
        return self.metrics.render()

    def serve(self):
        for simulated in (False, True):
            for record, final in TRAFFIC:
                done = msgspec.structs.replace(record, simulated=simulated)
                self.metrics.record(done, final=final)
                self.book.append(done)
        for route, seconds in (("cheap", 0.0004), ("auto", 0.0009), ("best", 0.003)):
            self.metrics.overhead(route, seconds)
        self.metrics.rejected("invalid")
        self.metrics.unkept("oversized")
        self.metrics.kept(2_000)
        self.metrics.replayed(4_000)


class Prometheus:
    """Its HTTP API; every question is asked of the same instant."""

    def __init__(self, url):
        self._url = url
        self.at = None

    def get(self, path, **wanted):
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(wanted)}", timeout=10) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success"
        return answer["data"]

    def values(self, expr):
        """{labels: value} at the instant."""
        found = self.get("query", query=expr, time=self.at)
        if found["resultType"] == "scalar":
            return {"": float(found["result"][1])}
        return {frozenset(one["metric"].items()): float(one["value"][1]) for one in found["result"]}

    def value(self, expr):
        (value,) = self.values(expr).values()
        return value

    def over_time(self, expr):
        """All values of all series in the seconds before the instant."""
        found = self.get("query_range", query=expr, start=self.at - 3, end=self.at, step=1)
        return [float(value) for one in found["result"] for _, value in one["values"]]


@contextmanager
def serving(shop):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = shop.page()
            self.send_response(200)
            self.send_header("Content-Type", shop.metrics.content_type)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def scraping(port, folder):
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: gateway, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    own_port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{own_port}"]  # fmt: skip
    log = folder / "prometheus.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{own_port}/-/ready", process), log, "Prometheus to be ready")
            yield Prometheus(f"http://127.0.0.1:{own_port}")
        finally:
            process.terminate()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url, process):
    assert process.poll() is None, "Prometheus ended by itself"
    try:
        with urlopen(url, timeout=1) as reply:
            return reply.status == 200
    except (HTTPError, URLError, OSError):
        return False


def until(done, log, what, *, seconds=30):
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {what}; the log ends:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A Prometheus that has watched traffic for some seconds, and the records that the traffic left."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    folder, shop = tmp_path_factory.mktemp("prometheus"), Shop()
    with serving(shop) as port, scraping(port, folder) as prometheus:
        log = folder / "prometheus.log"
        # The last one is only under way when it is counted; the one before has brought all the traffic home.
        until(lambda: shop.scrapes >= SCRAPES + 2, log, "the traffic to be scraped")
        prometheus.at = time.time()
        yield SimpleNamespace(prometheus=prometheus, book=shop.book)


def panels(board):
    """Every panel that shows something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_named(title, name="finance.json"):
    (found,) = [panel for panel in panels(BOARDS[name]) if panel["title"] == title]
    return found


def filled(text, simulated="false"):
    """A query as Grafana sends it with 'All' chosen everywhere, when scraped once a second."""
    values = {"__rate_interval": "5s", "__range": "60s", "simulated": simulated,
              "provider": ".*", "route": ".*", "team": ".*"}  # fmt: skip
    return re.sub(r"\$(\w+)", lambda variable: values[variable[1]], text)


@pytest.mark.parametrize("simulated", ["false", "true"])
@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_every_panel_finds_data(scene, name, simulated):
    empty = []
    for panel in panels(BOARDS[name]):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            expr = filled(target["expr"], simulated)
            found = scene.prometheus.values(expr).values() if target["instant"] else scene.prometheus.over_time(expr)
            if not any(math.isfinite(value) for value in found):
                empty.append((panel["title"], target["refId"], expr))

    assert empty == []


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_offers_its_values(scene, name):
    offered = {}
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            offered[variable["name"]] = scene.prometheus.get(f"label/{label}/values", **{"match[]": filled(selector)})

    assert offered == {
        "provider": ["deepseek", "google", "openai"],
        "route": ["auto", "best", "cheap"],
        "team": ["core", "sales"],
    }


def test_savings_are_baseline_less_spend(scene):
    spend, baseline, savings = (
        scene.prometheus.value(filled(panel_named(title)["targets"][0]["expr"]))
        for title in ("Spend", "Baseline", "Savings")
    )

    assert savings == pytest.approx(baseline - spend, abs=1e-9)
    assert savings > 0


@pytest.mark.parametrize("label", ["provider", "model", "route", "team"])
def test_savings_are_baseline_less_spend_in_each_row_of_a_table(scene, label):
    exprs = [filled(target["expr"]) for target in panel_named(f"By {label}")["targets"]]
    spend, _, baseline, savings, *_ = (scene.prometheus.values(expr) for expr in exprs)

    assert savings.keys() == spend.keys() == baseline.keys()
    for row, saved in savings.items():
        assert saved == pytest.approx(baseline[row] - spend[row], abs=1e-9)


@pytest.mark.parametrize("simulated", [False, True])
def test_counters_add_up_to_what_the_records_saved(scene, simulated):
    where = f'{{simulated="{str(simulated).lower()}"}}'
    booked = [record for record in scene.book if record.simulated is simulated]

    counted = scene.prometheus.value(
        f"sum(gateway_baseline_usd_total{where}) - sum(gateway_spend_usd_total{where})"
        f" - sum(gateway_uncertain_usd_total{where})"
    )

    assert len(booked) == SCRAPES * len(TRAFFIC)
    assert counted == pytest.approx(sum(record.saved_nano for record in booked) / 1e9, abs=1e-9)


def metrics_of(text):
    return set(re.findall(r"\b(?:gateway|process)_\w+", text))


def exported():
    """The names on a page with traffic; a histogram's also as its parts."""
    shop = Shop()
    page = shop.page().decode()
    return {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_asks_only_for_metrics_that_exist(name):
    asked = metrics_of(" ".join(target["expr"] for panel in panels(BOARDS[name]) for target in panel["targets"]))

    assert {metric.removesuffix("_bucket") for metric in asked} - exported() == set()


def test_every_metric_of_the_gateway_is_on_a_dashboard():
    shown = {metric.removesuffix("_bucket") for metric in metrics_of(json.dumps(BOARDS))}

    assert {name for name in exported() if name.startswith("gateway_")} - shown == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_means_and_in_which_unit(name):
    for panel in panels(BOARDS[name]):
        assert len(panel["description"]) > 20, panel["title"]
        config = panel["fieldConfig"]
        units = [config["defaults"].get("unit")]
        units += [value["value"] for one in config["overrides"] for value in one["properties"] if value["id"] == "unit"]
        assert any(units) or config["defaults"].get("mappings"), panel["title"]
    titles = [panel["title"] for panel in panels(BOARDS[name])]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", NAMES)
def test_no_data_source_is_named_but_the_one_that_the_reader_chooses(name):
    uids = re.findall(r'"uid": "([^"]*)"', (FOLDER / name).read_text())

    assert set(uids) == {"${datasource}", BOARDS[name]["uid"]}


@pytest.mark.parametrize("name", NAMES)
def test_simulated_traffic_is_shown_only_on_request(name):
    board = BOARDS[name]
    (variable,) = [one for one in board["templating"]["list"] if one["name"] == "simulated"]

    assert variable["current"]["value"] == "false"
    for panel in panels(board):
        for target in panel["targets"]:
            for metric, where in re.findall(r"(gateway_\w+)\{(.*?)\}", target["expr"]):
                kept_apart = metric.endswith(("_usd_total", "_requests_total", "_tokens_total"))
                assert 'simulated="$simulated"' in where or not kept_apart, panel["title"]


def build(*arguments):
    return subprocess.run(
        [sys.executable, FOLDER / "build.py", *arguments], capture_output=True, text=True, check=False
    )


def test_the_committed_dashboards_are_current():
    done = build("--check")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_dashboard_is_told(tmp_path):
    for name in NAMES:
        shutil.copy(FOLDER / name, tmp_path)
    edited = tmp_path / "finance.json"
    edited.write_text(edited.read_text().replace("Savings", "Profit"))

    done = build("--check", "--folder", str(tmp_path))

    assert done.returncode == 1
    assert done.stderr == "stale: finance.json; run python dashboards/build.py\n"
    assert build("--folder", str(tmp_path)).returncode == 0
    assert build("--check", "--folder", str(tmp_path)).returncode == 0
