"""As much of a Kubernetes API as `helm install` and `helm test` ask: it keeps what it is given, and judges nothing.

Whether the objects are valid is for the tests that look at them. A pod of a test is run by `run_pod`.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CORE = {
    "v1": {"ConfigMap": "configmaps", "Pod": "pods", "Secret": "secrets", "Service": "services",
           "ServiceAccount": "serviceaccounts"},
    "apps/v1": {"Deployment": "deployments"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "networking.k8s.io/v1": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}  # fmt: skip
CUSTOM = {
    "external-secrets.io/v1": {"ExternalSecret": "externalsecrets"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute": "httproutes"},
    "monitoring.coreos.com/v1": {"PrometheusRule": "prometheusrules", "ServiceMonitor": "servicemonitors"},
}


class KubeApi:
    """Listens on a port of its own until `close`; `custom` says whether the kinds of operators are there."""

    def __init__(self, version="v1.34.0", custom=True):
        self.version, self.kinds = version, {**CORE, **(CUSTOM if custom else {})}
        self.objects, self.patches, self.run_pod = {}, {}, None
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"api": self}))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def kubeconfig(self):
        named = {"name": "here"}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "here", "user": "here"}}],
        }  # fmt: skip

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def discovery(self, path):
        """The answer about versions and kinds, or None."""
        if path == "version":
            return {"major": "1", "minor": self.version.split(".")[1], "gitVersion": self.version}
        if path == "api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "apis":
            groups = [(name, *name.split("/")) for name in self.kinds if "/" in name]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": group, "versions": [{"groupVersion": name, "version": version}],
                 "preferredVersion": {"groupVersion": name, "version": version}}
                for name, group, version in groups]}  # fmt: skip
        if path == "openapi/v3":
            return {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}}
        if path == "openapi/v3/api/v1":
            # All that is asked of it: whether the server checks the fields itself. So it says.
            kind = {"group": "", "version": "v1", "kind": "Pod"}
            asked = [{"name": "fieldValidation", "in": "query"}]
            patch = {"x-kubernetes-group-version-kind": kind, "parameters": asked}
            return {"openapi": "3.0.0", "paths": {"/api/v1/namespaces/{namespace}/pods/{name}": {"patch": patch}}}
        kinds = self.kinds.get(path.removeprefix("apis/").removeprefix("api/"))
        return kinds and {
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path.split("/", 1)[1],
            "resources": [{"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": True,
                           "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]}
                          for kind, name in kinds.items()]}  # fmt: skip

    def keep(self, path, thing):
        thing["metadata"].update(uid=path, resourceVersion="1", namespace=path.split("/namespaces/")[1].split("/")[0])
        if thing["kind"] == "Pod" and self.run_pod:
            thing["status"] = {"phase": "Succeeded" if self.run_pod(thing) else "Failed"}
        self.objects[path] = thing
        return thing


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, reason):
        self.answer(status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
                             "message": f"{reason}: {self.path}", "code": status})  # fmt: skip

    def watch(self):
        """Nothing ever changes, so nothing is told until the end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.api.closing.wait(30)
        self.close_connection = True

    def do_GET(self):
        url = urlsplit(self.path)
        path, query = url.path.strip("/"), parse_qs(url.query)
        found = self.api.discovery(path) or self.api.objects.get(path)
        if found:
            return self.answer(200, found)
        if query.get("sendInitialEvents"):
            return self.refuse(422, "Invalid")  # the client then lists
        if query.get("watch"):
            return self.watch()
        if any(path.endswith("/" + name) for kinds in self.api.kinds.values() for name in kinds.values()):
            items = [thing for key, thing in self.api.objects.items() if key.rpartition("/")[0] == path]
            return self.answer(200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
                                     "items": items})  # fmt: skip
        return self.refuse(404, "NotFound")

    def write(self, create):
        thing = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urlsplit(self.path).path.strip("/")
        return self.answer(201, self.api.keep(f"{path}/{thing['metadata']['name']}" if create else path, thing))

    def do_POST(self):
        return self.write(create=True)

    def do_PUT(self):
        return self.write(create=False)

    def do_PATCH(self):
        """Kept, not applied: what is looked at is what was sent."""
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        thing = self.api.objects[urlsplit(self.path).path.strip("/")]
        self.api.patches[thing["kind"], thing["metadata"]["name"]] = patch
        return self.answer(200, thing)

    def do_DELETE(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.api.objects.pop(urlsplit(self.path).path.strip("/"), None) is None:
            return self.refuse(404, "NotFound")
        return self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})
