"""A `powerinfer serve` of our own, for tests and measurements in Python. Needs nothing installed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

# The demo model tells stories; as a conversation it gets them in this form.
TEMPLATE = (
    "{% for m in messages %}{{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}One day,{% endif %}"
)
MODEL = "stories"


class Server:
    """A running server: `url`, its process, and what it says of itself."""

    def __init__(self, process, url, key=None):
        self.process = process
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def get(self, path):
        """The body of an answer of 200, as text."""
        request = urllib.request.Request(self.url + path, headers=self.headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def json(self, path):
        return json.loads(self.get(path))

    def metric(self, name):
        """The value of a metric without labels."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        if found is None:
            raise AssertionError(f"/metrics has no {name}")
        return float(found.group(1))

    def is_idle(self):
        stats = self.json("/stats")
        return stats["running"] == 0 and stats["waiting"] == 0

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, timeout):
        """The exit status, once it has ended by itself."""
        return self.process.wait(timeout=timeout)


@contextlib.contextmanager
def serve(program, *arguments, key=None, stderr=None):
    """Starts `program serve` on a free port, ready; ends it, and fails if it does not end with 0."""
    with tempfile.TemporaryDirectory() as folder:
        template = os.path.join(folder, "template.jinja")
        with open(template, "w", encoding="utf-8") as file:
            file.write(TEMPLATE)
        command = [program, "serve", "--port", "0", "--quiet", "--model-name", MODEL]
        command += ["--chat-template", template, *arguments]
        if key:
            command += ["--api-key", key]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server ended with {process.wait()} before it had an address")
            server = Server(process, json.loads(line)["url"], key)
            wait_for("the model", lambda: is_ready(server), seconds=120)
            yield server
            if process.poll() is None:
                server.terminate()
                status = server.ended(timeout=60)
                assert status == 0, f"the server ended with {status}"
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


def is_ready(server):
    if server.process.poll() is not None:
        raise RuntimeError(f"the server ended with {server.process.returncode} as it loaded")
    with contextlib.suppress(OSError):
        return server.json("/ready") == {"status": "ok"}
    return False


def wait_for(what, is_there, seconds):
    """Waits until `is_there()`; an error if that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
