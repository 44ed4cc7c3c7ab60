"""The status page in a real browser: what it draws, on which screens, and what it never does."""

import re
import signal
import socket
import threading
import time

import pytest
from selenium.webdriver.common.keys import Keys

from support import tools
from support.browser import Browser

HOSTILE = "/<img src=x onerror=window.owned=1>\"'&amp;"

SETTINGS = """
[evidence]
enabled = true
[[route]]
path = "/dead"
upstream = "http://127.0.0.1:1"
retries = 0
[[route]]
path = "/"
respond = { body = "hello" }
[[check]]
name = "database"
tcp = "127.0.0.1:1"
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def server(nessen, tmp_path):
    file = tmp_path / "nessen.toml"
    file.write_text(SETTINGS)
    return nessen("--config", file, ADMIN_PORT=free_port(), NESSEN_ADMIN_HOST="127.0.0.1", LOG_ACCESS="off")


@pytest.fixture
def browser():
    tools.need("chromium")
    tools.need("chromedriver")
    opened = []

    def start(**how):
        opened.append(Browser(**how))
        return opened[-1]

    yield start
    for one in opened:
        one.quit()


@pytest.fixture
def load(server):
    """Some requests of each kind, again and again, until the test is over."""
    over = threading.Event()

    def ask():
        while not over.is_set():
            for path in ("/", "/", "/", "/dead"):
                server.get(path)
            server.get("/", method="BREW")
            time.sleep(0.02)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join(10)


def page(server):
    return f"http://{server.admin_address}/"


def live(browser, server):
    browser.open(page(server))
    browser.until("the stream", lambda it: it.text("#live") == "Live")
    return browser


def points(browser, chart):
    """How many points the longest line of a chart has."""
    paths = browser.run(f"return [...document.querySelectorAll('#plot-{chart} path.stroke')].map((it) => it.getAttribute('d'))")
    return max((len(re.findall(r"[ML]", path)) for path in paths), default=0)


def send(server, raw):
    """Sends bytes as they are, as no library would."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw.encode())
        return connection.recv(4096)


def test_charts_are_drawn_and_move_with_the_load(server, browser, load):
    window = live(browser(), server)
    for chart in ("rate", "latency", "connections", "refused", "memory", "cpu"):
        window.until(f"a line in {chart}", lambda it, chart=chart: points(it, chart) >= 3)
    window.until("requests", lambda it: it.text("#rate") not in ("", "0", "–"))
    drawn = window.run("return document.querySelector('#plot-rate path').getAttribute('d')")
    window.until("a new line", lambda it: it.run("return document.querySelector('#plot-rate path').getAttribute('d')") != drawn)
    total = window.text("#rate-more")
    window.until("a new total", lambda it: it.text("#rate-more") != total)
    legend = window.run("return document.querySelector('#plot-refused').parentNode.querySelector('.legend').textContent")
    assert "unsupported_method" in legend and "upstream_unreachable" in legend, legend
    # What a screen reader is told of it.
    assert re.match(r"The last 5 minutes, until [\d:]+\. Now: 2xx [\d.]+,", window.text("#rate-d")), window.text("#rate-d")
    assert window.text("#checks").startswith("databasefails")
    assert "http://127.0.0.1:1" in window.text("#upstreams")
    assert window.text("#phase") == "Running, not ready"
    assert window.complaints() == []


def test_everything_can_be_done_by_keyboard(server, browser, load):
    window = live(browser(), server)
    body, reached = window.one("body"), set()
    for _ in range(60):
        body.send_keys(Keys.TAB) if not reached else window.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(window.run("return document.activeElement.id || document.activeElement.textContent.slice(0, 20)"))
    assert {"5 minutes", "2 hours", "filter", "only", "As a table"} <= reached, reached
    hours = window.all("#range button")[1]
    hours.send_keys(Keys.ENTER)
    assert [it.get_attribute("aria-pressed") for it in window.all("#range button")] == ["false", "true"]
    summary = window.one(".chart summary")
    summary.send_keys(Keys.ENTER)
    window.one("#range button").send_keys(Keys.ENTER)
    window.until("rows", lambda it: len(it.all(".chart details[open] tbody tr")) >= 1)
    window.one("#filter").send_keys("admin.port")
    shown = window.run("return [...document.querySelector('#settings').rows].filter((row) => !row.hidden).length")
    assert shown == 1
    assert window.complaints() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_sticks_out_of_a_phone_and_nothing_is_in_the_way_of_anyone(server, browser, load, dark):
    send(server, f"GET {'/' + 'a' * 9000} HTTP/1.1\r\nHost: a\r\n\r\n")
    window = live(browser(width=360, height=740, dark=dark), server)
    window.until("a line", lambda it: points(it, "rate") >= 3)
    window.until("evidence", lambda it: it.all("#evidence button"))
    for summary in window.all(".chart summary"):
        window.run("arguments[0].click()", summary)
    assert window.overflows() == []
    light = window.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part > 128)")
    assert light is not dark
    assert window.axe() == []
    window.width(1280)
    window.until("the other width", lambda it: it.run("return innerWidth") == 1280)
    assert window.overflows() == [] and window.axe() == []
    # And with something open in front of it.
    window.run("document.querySelector('#evidence button').click()")
    window.until("the details", lambda it: it.one("dialog").get_attribute("open") is not None)
    assert window.axe() == []
    assert window.complaints() == []


def test_without_scripts_the_tables_are_there(server, browser):
    server.get("/")
    server.get("/", method="BREW")
    window = browser(scripts=False).open(page(server))
    # Read by the driver's own scripts, which the setting does not stop.
    source = window.driver.page_source
    assert window.one("#past").is_displayed() and not window.one("#charts").is_displayed()
    assert window.text("#live") == ""
    for shown in ("Requests/s", "http://127.0.0.1:1", "unsupported_method", "admin.<wbr>port", "database"):
        assert shown in source, shown
    assert window.one("#settings").is_displayed() and len(window.all("#settings tr")) > 80
    assert "BREW /" in window.text("#evidence")


def test_what_strangers_sent_is_text(server, browser):
    send(server, f"BREW {HOSTILE.replace(' ', '/')} HTTP/1.1\r\nHost: a\r\nX-A: <script>window.owned=1</script>\r\n\r\n")
    send(server, "GET / HTTP/1.1\r\nHost: a\r\nBad Field: <script>window.owned=1</script>\r\n\r\n")
    window = live(browser(), server)
    window.until("both", lambda it: len(it.all("#evidence button")) == 2)
    assert "<img/src=x/onerror" in window.text("#evidence")
    for button in range(2):
        window.run("document.querySelectorAll('#evidence button')[arguments[0]].click()", button)
        window.until("details", lambda it: it.text("dialog dl"))
        assert "<script>window.owned=1</script>" in window.text("dialog pre")
        window.run("const dialog = document.querySelector('dialog'); dialog.close(); dialog.replaceChildren()")
    assert window.all("#evidence img, dialog img, dialog script") == []
    assert window.run("return window.owned") is None
    assert window.complaints() == []


def test_evidence_is_taken_out_by_who_means_it(server, browser):
    server.get("/", method="BREW")
    window = live(browser(), server)
    window.until("one", lambda it: len(it.all("#evidence button")) == 1)
    window.run("arguments[0].click()", window.one("#purge"))
    assert "1 entries" in window.text("dialog p")
    # The way back is the one that a hasty Enter takes.
    window.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert window.one("dialog").get_attribute("open") is None
    window.run("arguments[0].click()", window.one("#purge"))
    window.run("arguments[0].click()", window.one("dialog button.bad"))
    window.until("none", lambda it: "Nothing has been kept" in it.text("#evidence"))
    assert '"count":0' in server.get("/evidence", admin=True)[2].replace(" ", "")
    assert window.complaints() == []


def test_a_drain_is_told_and_a_stop_is_no_fault(nessen, browser):
    server = nessen(ADMIN_PORT=free_port(), NESSEN_ADMIN_HOST="127.0.0.1", SHUTDOWN_DRAIN_DELAY="3s")
    window = live(browser(), server)
    assert window.one("#phase").get_attribute("role") == "status"
    server.signal(signal.SIGTERM)
    window.until("the drain", lambda it: it.text("#phase") == "Draining")
    window.until("the end", lambda it: it.text("#phase") == "Stopping")
    assert server.wait(30) == 0
    window.until("the news", lambda it: "waiting for the next start" in it.text("#live"))
