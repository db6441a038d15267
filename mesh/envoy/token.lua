-- What the filter before leaves open: one spelling, RFC 9068's type, no demands that we
-- don't know, and a life of ten minutes at most, as mesh/identity checks it once more.
local ROLES = { customer = true, kitchen = true, courier = true, operator = true }

local function spelled_once(text)
  local signature = text:match("^[%w_-]+%.[%w_-]+%.([%w_-]+)$")
  -- 64 bytes are 86 letters, of whose last one four bits are not used.
  return #text <= 4096 and signature and #signature == 86 and signature:match("[AQgw]$")
end

local function is_access_token(header, payload)
  local typ = header.typ
  if type(typ) ~= "string" or typ:lower() ~= "at+jwt" or header.crit ~= nil then return false end
  if type(header.kid) ~= "string" or header.kid == "" then return false end
  local sub, iat, exp = payload.sub, payload.iat, payload.exp
  if type(sub) ~= "string" or sub:sub(1, 4) ~= "usr_" or not ROLES[payload.role] then return false end
  if type(iat) ~= "number" or iat > os.time() + 5 then return false end
  return exp >= iat and exp - iat <= 600
end

function envoy_on_request(request)
  local found = request:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  if not found or not found.payload then return end
  local text = (request:headers():get("authorization") or ""):gsub("^%a+ ", "")
  if not spelled_once(text) or not is_access_token(found.header, found.payload) then
    request:respond({ [":status"] = "401", ["www-authenticate"] = "Bearer" }, "")
  end
end
