-- A head above 16 KiB is refused in words; Envoy's own limit would only end the stream.
local HEAD_BYTES_MAX = 16384
-- What a header costs besides name and value: a colon, a space, the line's end.
local HEADER_OVERHEAD_BYTES = 4

function envoy_on_request(request)
  local size = 0
  for name, value in pairs(request:headers()) do
    size = size + #name + #value + HEADER_OVERHEAD_BYTES
  end
  if size > HEAD_BYTES_MAX then
    request:respond({ [":status"] = "431" }, "")
  end
end
