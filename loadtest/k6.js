// A mixed load for k6, and a scenario that holds the refusals to what is documented.
//
//   k6 run -e BASE_URL=http://127.0.0.1:3000 -e VUS=20 -e DURATION=30s loadtest/k6.js
//
// From the environment (`-e NAME=value`); the paths are those of the welcome app:
//   BASE_URL    http://127.0.0.1:3000
//   SCENARIOS   mix,limits  either alone, too
//   VUS         20          virtual users at full load
//   DURATION    30s         of the full load
//   RAMP        5s          to get there, and again to come down
//   RATE        not set     iterations/s: an open loop, which does not wait for a slow server
//   PAUSE       0           seconds that a user waits between two requests
//   GET_PATH    /favicon.svg    small, six of ten requests
//   PAGE_PATH   /               a page, three of ten
//   POST_PATH   /echo           answers with the body, one of ten
//   POST_BYTES  1024
//   REFUSALS    413,414,404     what `limits` asks for; leave out 404 where an app answers every path
//   MAX_BODY_SIZE, MAX_URL_LENGTH   1048576, 8192: the server's own, in bytes
import { check, fail, sleep } from "k6";
import exec from "k6/execution";
import http from "k6/http";

const BASE = (__ENV.BASE_URL || "http://127.0.0.1:3000").replace(/\/$/, "");
const VUS = Number(__ENV.VUS || 20);
const DURATION = __ENV.DURATION || "30s";
const RAMP = __ENV.RAMP || "5s";
const RATE = Number(__ENV.RATE || 0);
const PAUSE = Number(__ENV.PAUSE || 0);
const GET_PATH = __ENV.GET_PATH || "/favicon.svg";
const PAGE_PATH = __ENV.PAGE_PATH || "/";
const POST_PATH = __ENV.POST_PATH || "/echo";
const POST_BODY = "n".repeat(Number(__ENV.POST_BYTES || 1024));
const SCENARIOS = (__ENV.SCENARIOS || "mix,limits").split(",");
const REFUSALS = (__ENV.REFUSALS || "413,414,404").split(",");
const MAX_BODY_SIZE = Number(__ENV.MAX_BODY_SIZE || 1048576);
const MAX_URL_LENGTH = Number(__ENV.MAX_URL_LENGTH || 8192);

/** @param {number} full */
function stages(full) {
  return [
    { duration: RAMP, target: full },
    { duration: DURATION, target: full },
    { duration: RAMP, target: 0 },
  ];
}

/** @type {Record<string, import("k6/options").Scenario>} */
const known = {
  mix: RATE
    ? {
        executor: "ramping-arrival-rate",
        exec: "mix",
        startRate: 0,
        timeUnit: "1s",
        preAllocatedVUs: VUS,
        maxVUs: VUS * 10,
        stages: stages(RATE),
      }
    : { executor: "ramping-vus", exec: "mix", startVUs: 0, stages: stages(VUS), gracefulRampDown: "10s" },
  // Few, and beside the load: they show that a refusal is right while the server is busy.
  limits: { executor: "per-vu-iterations", exec: "limits", vus: 1, iterations: 10, maxDuration: "60s" },
};

/** @type {Record<string, import("k6/options").Scenario>} */
const scenarios = {};
/** @type {Record<string, string[]>} */
const thresholds = { http_req_failed: ["rate<0.01"], checks: ["rate>0.99"] };
for (const name of SCENARIOS) {
  if (!known[name]) {
    throw new Error(`SCENARIOS: ${name} is neither mix nor limits`);
  }
  scenarios[name] = known[name];
}
// The 100 ms are those of the alert NessenLatencyHigh.
if (scenarios.mix) thresholds["http_req_duration{scenario:mix}"] = ["p(95)<100"];
if (scenarios.limits) thresholds["checks{scenario:limits}"] = ["rate==1"];

/** @type {import("k6/options").Options} */
export const options = {
  scenarios,
  thresholds,
  summaryTrendStats: ["avg", "min", "med", "max", "p(90)", "p(95)", "p(99)"],
};

export function setup() {
  const answer = http.get(`${BASE}/ready`);
  if (answer.status !== 200) {
    fail(`${BASE}/ready: ${answer.error || `status ${answer.status}`}`);
  }
}

export function mix() {
  const turn = exec.scenario.iterationInTest % 10;
  if (turn === 9) {
    const answer = http.post(BASE + POST_PATH, POST_BODY, {
      headers: { "Content-Type": "text/plain" },
      tags: { name: "POST" },
    });
    check(answer, {
      "POST: 200": (r) => r.status === 200,
      "POST: the body comes back": (r) => POST_PATH !== "/echo" || r.body === POST_BODY,
    });
  } else {
    const [name, path] = turn % 3 === 2 ? ["page", PAGE_PATH] : ["small", GET_PATH];
    const answer = http.get(BASE + path, { tags: { name } });
    check(answer, {
      "GET: 200": (r) => r.status === 200,
      "GET: has a request id": (r) => Boolean(r.headers["X-Request-Id"]),
    });
  }
  if (PAUSE > 0) sleep(PAUSE);
}

/**
 * @param {import("k6/http").Response} answer
 * @param {number} status
 * @param {string} code
 */
function refused(answer, status, code) {
  check(answer, {
    [`${status}: status`]: (r) => r.status === status,
    [`${status}: problem+json`]: (r) => r.headers["Content-Type"] === "application/problem+json",
    [`${status}: code ${code}`]: (r) => typeof r.body === "string" && r.body.includes(`"code":"${code}"`),
  });
}

export function limits() {
  // A refusal that is asked for is no failure: it does not count in http_req_failed.
  /** @param {number} status */
  const params = (status) => ({
    responseCallback: http.expectedStatuses(status),
    tags: { name: `refusal ${status}` },
  });
  if (REFUSALS.includes("413")) {
    refused(http.post(BASE + POST_PATH, "n".repeat(MAX_BODY_SIZE + 1), params(413)), 413, "BODY_TOO_LARGE");
  }
  if (REFUSALS.includes("414")) {
    refused(http.get(`${BASE}/${"n".repeat(MAX_URL_LENGTH)}`, params(414)), 414, "URL_TOO_LONG");
  }
  if (REFUSALS.includes("404")) {
    refused(http.get(`${BASE}/nothing-is-served-here`, params(404)), 404, "NOT_FOUND");
  }
}
