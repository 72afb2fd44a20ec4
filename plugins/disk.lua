-- How full file systems are, in space and in inodes. Counts as df does: of what an ordinary user can use.
-- Without paths one check covers every real file system of this machine; with paths each has a check of its own.
local paths = param("paths", {}, "folders; each stands for the file system that it lies on; empty: every file system that "
  .. "is real, local and writable")
local leave_out = param("leave_out", {}, "mount points that are not looked at if paths is empty")
local network = param("network", false, "look at network file systems as well if paths is empty")
local warn = param("warn", "92", "used percent above which we warn, or a range")
local crit = param("crit", "97", "used percent above which it is critical, or a range")
local free_warn = param("free_warn", "", 'least free space: below it we warn: bytes or "10GB", "512MiB"; empty: any')
local free_crit = param("free_crit", "", 'least free space: below it it is critical: bytes or "1GB"; empty: any')
local inodes_warn = param("inodes_warn", "92", "used percent of inodes above which we warn, or a range; empty: any")
local inodes_crit = param("inodes_crit", "97", "used percent of inodes above which it is critical, or a range; empty: any")

local function given(text)
  return text ~= "" and text or nil
end

local UNITS = { [""] = 1, B = 1, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40,
  KIB = 2 ^ 10, MIB = 2 ^ 20, GIB = 2 ^ 30, TIB = 2 ^ 40 }

-- "10GB" as the range "10000000000:".
local function at_least(name, text)
  if text == "" then
    return nil
  end
  local number, unit = text:match("^%s*([%d.]+)%s*(%a*)%s*$")
  local factor = UNITS[(unit or "?"):upper()]
  if not tonumber(number) or not factor then
    error(('parameter `%s` takes bytes or a size like "10GB", but was given %q'):format(name, text), 0)
  end
  return ("%.0f:"):format(tonumber(number) * factor)
end
local least = { warn = at_least("free_warn", free_warn), crit = at_least("free_crit", free_crit) }

-- What is no disk, is full by its nature, or lies on another machine.
local PSEUDO, REMOTE = {}, {}
for word in ([[autofs bdev binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devfs devpts devtmpfs efivarfs erofs fusectl
  hugetlbfs iso9660 mqueue nsfs pipefs proc pstore ramfs rootfs rpc_pipefs securityfs selinuxfs squashfs sysfs tmpfs
  tracefs udf fuse.lxcfs fuse.portal fuse.gvfsd-fuse fuse.snapfuse]]):gmatch("%S+") do
  PSEUDO[word] = true
end
for word in ("9p afs ceph cifs fuse.glusterfs fuse.rclone fuse.sshfs glusterfs lustre ncpfs nfs nfs4 smb3 smbfs virtiofs"):gmatch("%S+") do
  REMOTE[word] = true
end

-- Every real file system once, by the shortest folder that it is mounted on.
local function mounted()
  local left_out, place_of, devices = {}, {}, {}
  for _, path in ipairs(leave_out) do
    left_out[path] = true
  end
  for line in fs.read("/proc/self/mountinfo"):gmatch("[^\n]+") do
    local device, place, flags, kind = line:match("^%d+ %d+ (%S+) %S+ (%S+) (%S+) .-%- (%S+)")
    if device then
      place = place:gsub("\\(%d%d%d)", function(octal)
        return string.char(tonumber(octal, 8))
      end)
      local writable = not ("," .. flags .. ","):find(",ro,", 1, true)
      local meant = writable and not PSEUDO[kind] and (network or not REMOTE[kind]) and not left_out[place]
      local stat = meant and fs.stat(place)
      if stat and stat.kind == "folder" then
        if not place_of[device] then
          devices[#devices + 1] = device
        end
        if not place_of[device] or #place < #place_of[device] then
          place_of[device] = place
        end
      end
    end
  end
  local places = {}
  for _, device in ipairs(devices) do
    places[#places + 1] = place_of[device]
  end
  table.sort(places)
  return places
end

-- Measures one file system; `suffix` tells its measures from those of others.
local function look(c, path, suffix)
  local disk = system.disk(path)
  if disk.total == 0 then
    return path .. " has no size of its own"
  end
  c:measure("used" .. suffix, disk.used_percent, "%", { warn = given(warn), crit = given(crit), min = 0, max = 100 })
  c:measure("free" .. suffix, disk.available, "B", { warn = least.warn, crit = least.crit, min = 0, max = disk.total })
  if disk.inodes > 0 then
    local used = 100 * (1 - disk.inodes_free / disk.inodes)
    c:measure("inodes" .. suffix, used, "%", { warn = given(inodes_warn), crit = given(inodes_crit), min = 0, max = 100 })
  end
  return ("%s is %.1f %% full, %.1f GB free"):format(path, disk.used_percent, disk.available / 1e9)
end

if #paths == 0 then
  check("disk", { every = "1m", tags = { "machine" } }, function(c)
    local places = mounted()
    if #places == 0 then
      c:unknown("there is no file system to look at; name some with paths")
      return
    end
    local told = {}
    for _, place in ipairs(places) do
      local suffix = #places == 1 and "" or " " .. place
      -- One that cannot be looked at says so, and hides no other.
      local looked, text = pcall(look, c, place, suffix)
      if looked then
        told[#told + 1] = text
      else
        c:critical(tostring(type(text) == "table" and text.message or text))
      end
    end
    return table.concat(told, "; ")
  end)
end

for _, path in ipairs(paths) do
  local name = #paths == 1 and "disk" or "disk " .. path
  check(name, { every = "1m", tags = { "machine" } }, function(c)
    return look(c, path, "")
  end)
end
