"""A headless Chromium, as a person's browser: what it draws, what it complains about, how it looks."""

import importlib.resources
import json

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from support import tools

# Told by the document itself, before anything of the page runs.
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Browser:
    """One window of `width` pixels; dark or light as the system would say, with scripts or without."""

    def __init__(self, width=1280, height=900, dark=False, scripts=True):
        options = Options()
        options.binary_location = tools.need("chromium")
        # Its own sandbox wants namespaces that a container does not give; what it loads is ours.
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        self.scripts = scripts
        self.driver = webdriver.Chrome(options=options, service=Service(tools.need("chromedriver")))
        self.driver.set_page_load_timeout(60)
        self.width(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    def width(self, width, height=900):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, url):
        self.driver.get(url)
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """As it stands in the document, seen or not."""
        return self.one(selector).get_attribute("textContent")

    def until(self, what, holds, timeout=30):
        """Waits until `holds` is true of this browser, and returns what it says."""
        return WebDriverWait(self, timeout, poll_frequency=0.1).until(holds, f"not within {timeout} s: {what}")

    def complaints(self):
        """Errors of the console since the last call, and all that the policy has stopped."""
        errors = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return errors + self.run("return window.violations")

    def overflows(self):
        """What sticks out of the window to the right, outside of what scrolls by itself."""
        return self.run(
            """
            const width = document.documentElement.clientWidth;
            const out = document.documentElement.scrollWidth > width ? [`the page: ${document.documentElement.scrollWidth}`] : [];
            for (const element of document.querySelectorAll('body *')) {
              if (element.closest('.scroll') !== null || element.closest('.unseen, .skip')) continue;
              const box = element.getBoundingClientRect();
              if (box.width && box.right > width + 1) out.push(`${element.tagName} ${element.id} ${box.right}`);
            }
            return out;
            """
        )

    def axe(self):
        """What axe-core finds against WCAG 2.1 A and AA and its best practices, in a line each."""
        source = (importlib.resources.files("axe_core_python") / "axe.min.js").read_text()
        self.run(source)
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then((found) => done(JSON.stringify(found.violations)));"
        )
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
            for one in json.loads(found)
            for node in one["nodes"]
        ]

    def quit(self):
        self.driver.quit()
