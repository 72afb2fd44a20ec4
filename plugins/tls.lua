-- Whether a server's TLS certificate will hold: days left, name, chain of trust; and how fast TLS stands.
local address = param("address", nil, '"host" or "host:port"; port 443 unless given, or that of starttls')
local warn = param("warn", "21:", "days left: a range outside of which we warn")
local crit = param("crit", "7:", "days left: a range outside of which it is critical")
local name = param("name", "", "name that the certificate must be for, and that is asked for; empty: the host of the address")
local verify = param("verify", true, "whether name and chain must be trusted; false: only the days count")
local ca = param("ca", "", "file with certificates (PEM) that are trusted as well, for example those of an authority of your own")
local starttls = param("starttls", "", "protocol that begins in the clear: smtp, imap, pop3, ftp or postgres; empty: none")
local issuer = param("issuer", "", "text that the issuer must contain; empty: any")
local sha256 = param("sha256", "", "fingerprint that the certificate must have, in hexadecimal; empty: any")
local version = param("version", "", "oldest version of the protocol that is good: TLSv1.2 or TLSv1.3; empty: any")
local slow = param("slow", "2", "seconds until TLS stands above which we warn, or a range")

local PORTS = { [""] = 443, smtp = 25, imap = 143, pop3 = 110, ftp = 21, postgres = 5432 }
if not PORTS[starttls] then
  error(('parameter `starttls` takes smtp, imap, pop3, ftp or postgres, but was given %q'):format(starttls), 0)
end
if version ~= "" and version ~= "TLSv1.2" and version ~= "TLSv1.3" then
  error(('parameter `version` takes TLSv1.2 or TLSv1.3, but was given %q'):format(version), 0)
end
if not address:find(":%d+$") then
  address = ("%s:%d"):format(address, PORTS[starttls])
end

local function given(text)
  return text ~= "" and text or nil
end

local function day(moment)
  return time.iso(moment):sub(1, 10)
end

local function judge_trust(c, certificate)
  c:expect(certificate.verified or not verify, ("%s is not trusted: %s"):format(address, certificate.why or "no reason is known"))
  if issuer ~= "" then
    c:expect(certificate.issuer:find(issuer, 1, true),
      ("the issuer is %q, which does not contain %q"):format(certificate.issuer, issuer))
  end
  local wanted = sha256:gsub("[:%s]", ""):lower()
  c:expect(wanted == "" or certificate.sha256 == wanted,
    ("the fingerprint is %s, not %s"):format(certificate.sha256, wanted))
  c:expect(version == "" or certificate.version >= version,
    ("it speaks %s, but should speak %s at least"):format(certificate.version, version))
end

-- A chain holds no longer than the first of its certificates that expires.
local function judge_chain(c, certificate)
  for at = 2, #certificate.chain do
    local above = certificate.chain[at]
    if above.days_left < certificate.days_left and not above.self_signed then
      c:measure("issuer_days_left", above.days_left, "d", { warn = given(warn), crit = given(crit) })
      return
    end
  end
end

check("tls " .. address, { every = "1h", timeout = "15s", tags = { "net", "tls" } }, function(c)
  local certificate = tls.certificate(address, {
    timeout = c:remaining(),
    server_name = given(name),
    starttls = given(starttls),
    ca = given(ca),
  })
  local left = certificate.days_left
  c:measure("days_left", math.floor(left * 100) / 100, "d", { warn = given(warn), crit = given(crit) })
  c:measure("time", certificate.seconds, "s", { warn = given(slow), min = 0 })
  judge_trust(c, certificate)
  judge_chain(c, certificate)
  local who = certificate.subject:match("CN=([^,]+)") or certificate.names[1] or certificate.subject
  local ends = left < 0 and ("has expired on %s"):format(day(certificate.not_after))
    or ("is good until %s, %.0f days"):format(day(certificate.not_after), math.floor(left))
  return ("the certificate of %s %s, %s"):format(who, ends, certificate.version)
end)
