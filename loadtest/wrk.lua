-- A mix for wrk: GETs of the URL's own path and POSTs, one request at a time on each connection
-- (no pipelining), and at the end the answers that were not good, by status.
--
--   wrk -t2 -c32 -d10s --latency -s loadtest/wrk.lua http://127.0.0.1:3000/ -- gets=9 posts=1 post=/echo bytes=1024
--
-- gets, posts: so many of each, by turns. post: path of the POSTs. bytes: length of their bodies.
-- close=1: every request asks for its connection to be closed.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local set = { gets = "9", posts = "1", post = "/echo", bytes = "1024", close = "0" }
  for _, argument in ipairs(arguments) do
    local name, value = argument:match("^(%w+)=(.*)$")
    if not name or not set[name] then
      error("wrk.lua: not understood: " .. argument)
    end
    set[name] = value
  end
  local closing = set.close == "1" and "close" or nil
  -- Formatted once: what is sent in the loop is a ready string.
  local get = wrk.format("GET", nil, { ["Host"] = wrk.headers["Host"], ["Connection"] = closing })
  local post = wrk.format("POST", set.post, {
    ["Host"] = wrk.headers["Host"],
    ["Connection"] = closing,
    ["Content-Type"] = "application/octet-stream",
  }, string.rep("n", tonumber(set.bytes)))
  requests = {}
  for _ = 1, tonumber(set.gets) do table.insert(requests, get) end
  for _ = 1, tonumber(set.posts) do table.insert(requests, post) end
  if #requests == 0 then
    error("wrk.lua: neither gets nor posts")
  end
  at = 0
  bad = {}
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status)
  if status > 399 then
    local name = tostring(status)
    bad[name] = (bad[name] or 0) + 1
  end
end

function done()
  local sum, names = {}, {}
  for _, thread in ipairs(threads) do
    for name, count in pairs(thread:get("bad") or {}) do
      if not sum[name] then table.insert(names, name) end
      sum[name] = (sum[name] or 0) + count
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    print(string.format("status %s: %d", name, sum[name]))
  end
end
