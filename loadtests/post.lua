-- One POST over and over. BODY is a file, HEAD the length of its JSON where raw tensors follow it.
-- On stdout afterwards: one line of JSON; times in µs.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
local head = os.getenv("HEAD")
if head and head ~= "" then
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.headers["Inference-Header-Content-Length"] = head
else
  wrk.headers["Content-Type"] = "application/json"
end
local token = os.getenv("TOKEN")
if token and token ~= "" then
  wrk.headers["Authorization"] = "Bearer " .. token
end

local fresh = os.getenv("FRESH")
if fresh and fresh ~= "" then
  local number = 0
  function request()
    number = number + 1
    wrk.headers["X-Request-Number"] = string.format("%012d", number)
    return wrk.format()
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
