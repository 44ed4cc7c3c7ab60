// Stand-ins for the modules of k6 that loadtest/k6.js imports: enough to run its functions under Node,
// one request after the other, against a real server. No scheduler: what `options` plans is not run.
import { execFileSync } from "node:child_process";

export const seen = { requests: [], checks: [] };
const state = { scenario: "setup", iteration: 0 };

export const enter = (scenario, iteration) => Object.assign(state, { scenario, iteration });

// k6's calls block; Node's do not. So a child makes each, and this waits for the child.
const CHILD = `
  const http = require("node:http");
  const { url, method, body, headers } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  const begun = performance.now();
  const say = (answer) => process.stdout.write(JSON.stringify({ ...answer, took: performance.now() - begun }));
  const request = http.request(url, { method, headers, agent: false }, (response) => {
    const parts = [];
    response.on("data", (part) => parts.push(part));
    response.on("end", () => say({ status: response.statusCode, headers: response.rawHeaders, body: Buffer.concat(parts).toString() }));
  });
  let answered = false;
  request.on("response", () => (answered = true));
  request.on("error", (error) => answered || say({ status: 0, headers: [], body: null, error: String(error) }));
  request.end(body);
`;

// k6 spells the names of fields as Go does: X-Request-Id.
const canonical = (name) => name.toLowerCase().replace(/(^|-)[a-z]/g, (part) => part.toUpperCase());

function send(method, url, body, params = {}) {
  const headers = { ...params.headers };
  if (typeof body === "string") headers["Content-Length"] = Buffer.byteLength(body);
  const told = execFileSync(process.execPath, ["-e", CHILD], {
    input: JSON.stringify({ url, method, body, headers }),
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  const answer = JSON.parse(told);
  const fields = {};
  for (let at = 0; at < answer.headers.length; at += 2) fields[canonical(answer.headers[at])] = answer.headers[at + 1];
  const expected = params.responseCallback || ((status) => status >= 200 && status < 400);
  seen.requests.push({
    scenario: state.scenario,
    name: params.tags?.name,
    status: answer.status,
    failed: !expected(answer.status),
    duration: answer.took,
  });
  return { status: answer.status, headers: fields, body: answer.body, error: answer.error || "" };
}

export const http = {
  get: (url, params) => send("GET", url, undefined, params),
  post: (url, body, params) => send("POST", url, body, params),
  expectedStatuses: (...allowed) => (status) => allowed.includes(status),
};

export const execution = {
  get scenario() {
    return { name: state.scenario, iterationInTest: state.iteration };
  },
};

export function check(value, checks) {
  const results = Object.entries(checks).map(([name, holds]) => {
    const ok = Boolean(holds(value));
    seen.checks.push({ scenario: state.scenario, name, ok });
    return ok;
  });
  return results.every(Boolean);
}

export function fail(reason) {
  throw new Error(reason);
}

export function sleep(seconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
}
