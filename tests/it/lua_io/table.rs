//! The matrix: each function in each case. `{names}` are those of [`names`].

use std::collections::BTreeMap;
use std::fs;

use super::Case::{Ends, Hangs, Late, None};
use super::Expect::{Denied, Fails, Gives, Misuse};
use super::Row;
use super::peers::{self, on_tcp, on_tls, on_udp, on_unix};
use crate::harness::Home;

const NO_DISK_HANGS: &str =
    "a regular file answers at once; what hangs is a helper thread's, and its caller is dropped";
const WHOLE_DISK: &str = "what is written is in Lua's memory, which `limits.memory` bounds";
const NO_WRITE: &str = "reading waits for no other process; a disk that hangs is a helper thread's";
const FACTS_ONLY: &str = "it gives a few facts, whatever is there";
const OWN_FOLDER: &str = "a script's store lies in its own folder, which is always its own";
const CONNECTED: &str = "whoever has a connection was allowed to make it";
const NO_BODY: &str = "there is no body; hyper bounds the head";
const ONE_DATAGRAM: &str = "UDP itself bounds a datagram, and all of it is taken";

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        function: "dns.resolve",
        cases: [
            Ends(
                "local a = dns.resolve('a.example', 'A', {server='{named}'}); return a.rcode .. a.values[1] .. dns.resolve('b.example', 'MX', {server='{nobody}'}).rcode",
                Gives("NOERROR192.0.2.1NXDOMAIN"),
            ),
            Hangs("return dns.resolve('a.example', 'A', {server='{mute}'})"),
            Ends(
                "return dns.resolve('a.example', 'A', {server='{mute}', timeout=0.1})",
                Fails("within 0.1 s"),
            ),
            Ends(
                "return dns.resolve('a.example', 'A', {server='{by_tcp}'}).values[1] .. tostring(pcall(dns.resolve, ('a'):rep(300)))",
                Gives("192.0.2.1false"),
            ),
            Ends(
                "return dns.resolve('a.example', 'A', {server='{named}'})",
                Denied("allow.net = [\"{named}\"]"),
            ),
            Ends(
                "return dns.resolve('a.example', 'A', {server='{nonsense}'})",
                Fails("makes no sense"),
            ),
        ],
    },
    Row {
        function: "fs.append",
        cases: [
            Ends(
                "fs.append('{folder}/new', 'a'); fs.append('{folder}/new', 'b'); return fs.read('{folder}/new')",
                Gives("ab"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None(WHOLE_DISK),
            Ends("fs.append('{folder}/x', 'x')", Denied("allow.write")),
            Ends(
                "fs.append('{folder}/pipe', 'x')",
                Fails("no regular file"),
            ),
        ],
    },
    Row {
        function: "fs.exists",
        cases: [
            Ends(
                "return tostring(fs.exists('{folder}/some')) .. tostring(fs.exists('{folder}/none'))",
                Gives("truefalse"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None(FACTS_ONLY),
            None("whether a file exists no sandbox hides: docs/security.md"),
            Ends("return fs.exists('{folder}/some/below')", Fails("not a directory")),
        ],
    },
    Row {
        function: "fs.hash",
        cases: [
            Ends(
                "return fs.hash('{folder}/some') .. #fs.hash('{folder}/some', 'blake3')",
                Gives("982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d164"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            Ends("return #fs.hash('{folder}/large')", Gives("64")),
            Ends("return fs.hash('{folder}/some')", Denied("allow.read")),
            Ends("return fs.hash('{folder}/pipe')", Fails("no regular file")),
        ],
    },
    Row {
        function: "fs.list",
        cases: [
            Ends(
                "return table.concat(fs.list('{folder}/in'), ' ')",
                Gives("one two"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None("the names of a folder are bounded by `limits.memory`"),
            Ends("return fs.list('{folder}')", Denied("allow.read")),
            Ends("return fs.list('{folder}/some')", Fails("not a directory")),
        ],
    },
    Row {
        function: "fs.mkdir",
        cases: [
            Ends(
                "fs.mkdir('{folder}/a/b'); return fs.stat('{folder}/a/b').kind",
                Gives("folder"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None("it writes nothing but a name"),
            Ends("fs.mkdir('{folder}/c')", Denied("allow.write")),
            Ends("fs.mkdir('{folder}/some/c')", Fails("not a directory")),
        ],
    },
    Row {
        function: "fs.read",
        cases: [
            Ends("return fs.read('{folder}/some')", Gives("text")),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            Ends("return fs.read('{folder}/large')", Fails("larger than 8388608")),
            Ends("return fs.read('{folder}/some')", Denied("allow.read")),
            Ends("return fs.read('{folder}/none')", Fails("no such file")),
        ],
    },
    Row {
        function: "fs.read_at",
        cases: [
            Ends(
                "local data, next = fs.read_at('{folder}/some', -3, 2); return data .. next",
                Gives("ex3"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            Ends("return #fs.read_at('{folder}/large', 0)", Gives("8388608")),
            Ends("return fs.read_at('{folder}/some', 0)", Denied("allow.read")),
            Ends("return fs.read_at('{folder}/pipe', 0)", Fails("no regular file")),
        ],
    },
    Row {
        function: "fs.remove",
        cases: [
            Ends(
                "fs.write('{folder}/gone', ''); fs.remove('{folder}/gone'); return fs.exists('{folder}/gone')",
                Gives("false"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None("it writes nothing but a name"),
            Ends("fs.remove('{folder}/some')", Denied("allow.write")),
            Ends("fs.remove('{folder}/none')", Fails("no such file")),
        ],
    },
    Row {
        function: "fs.rename",
        cases: [
            Ends(
                "fs.write('{folder}/old', 'x'); fs.rename('{folder}/old', '{folder}/newer'); return fs.read('{folder}/newer')",
                Gives("x"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None("it writes nothing but a name"),
            Ends("fs.rename('{folder}/some', '{folder}/x')", Denied("allow.write")),
            Ends("fs.rename('{folder}/none', '{folder}/x')", Fails("no such file")),
        ],
    },
    Row {
        function: "fs.stat",
        cases: [
            Ends(
                "local s = fs.stat('{folder}/some'); return s.size .. s.kind .. (s.inode > 0 and 'i' or '')",
                Gives("4filei"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None(FACTS_ONLY),
            None("facts of a file no sandbox hides: docs/security.md"),
            Ends("return fs.stat('{folder}/some/below')", Fails("not a directory")),
        ],
    },
    Row {
        function: "fs.tail",
        cases: [
            Ends(
                "return table.concat(fs.tail('{folder}/lines', 2), ',')",
                Gives("two,three"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            Ends("return #fs.tail('{folder}/large', 3)[1]", Gives("8388608")),
            Ends("return fs.tail('{folder}/lines')", Denied("allow.read")),
            Ends("return fs.tail('{folder}/pipe')", Fails("no regular file")),
        ],
    },
    Row {
        function: "fs.write",
        cases: [
            Ends(
                "fs.write('{folder}/w', 'x'); return fs.read('{folder}/w')",
                Gives("x"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None(WHOLE_DISK),
            Ends("fs.write('{folder}/x', 'x')", Denied("allow.write")),
            Ends("fs.write('{folder}/none/x', 'x')", Fails("no such file")),
        ],
    },
    Row {
        function: "http.get",
        cases: [
            Ends(
                "local r = http.get('http://{web}/moved'); return r.status .. r:json().method .. #r.redirects .. tostring(r.timing.wait > 0)",
                Gives("200GET1true"),
            ),
            Hangs("return http.get('http://{silent}/')"),
            Ends(
                "return http.get('http://{silent}/', {timeout=0.1})",
                Fails("within 0.1 s"),
            ),
            Ends(
                "return http.get('http://{endless_web}/', {max_bytes=100000})",
                Fails("more than 100000 bytes"),
            ),
            Ends(
                "return http.get('http://{web}/')",
                Denied("allow.net = [\"{web}\"]"),
            ),
            Ends("return http.get('http://{broken_web}/')", Fails("no proper answer")),
        ],
    },
    Row {
        function: "http.head",
        cases: [
            Ends(
                "local r = http.head('http://{web}/'); return r.status .. #r.body",
                Gives("2000"),
            ),
            Hangs("return http.head('http://{silent}/')"),
            Ends(
                "return http.head('http://{silent}/', {timeout=0.1})",
                Fails("within 0.1 s"),
            ),
            None(NO_BODY),
            Ends("return http.head('http://{web}/')", Denied("allow.net")),
            Ends("return http.head('http://{garbage}/')", Fails("no proper answer")),
        ],
    },
    Row {
        function: "http.post",
        cases: [
            Ends(
                "return http.post('http://{web}/', {json={a=1}}):json().method",
                Gives("POST"),
            ),
            Hangs("return http.post('http://{silent}/', {body=('x'):rep(1e6)})"),
            Ends(
                "return http.post('http://{silent}/', {body='x', timeout=0.1})",
                Fails("within 0.1 s"),
            ),
            Ends(
                "return http.post('http://{endless_web}/', {body='x', max_bytes=10})",
                Fails("more than 10 bytes"),
            ),
            Ends("return http.post('http://{web}/')", Denied("allow.net")),
            Ends("return http.post('http://{closing}/')", Fails("no proper answer")),
        ],
    },
    Row {
        function: "http.request",
        cases: [
            Ends(
                "return http.request('PUT', 'https://{tls_web}/', {ca='{ca}'}):json().method",
                Gives("PUT"),
            ),
            Hangs("return http.request('GET', 'https://{silent}/')"),
            Ends(
                "return http.request('GET', 'https://{silent}/', {timeout=0.1})",
                Fails("within 0.1 s"),
            ),
            Ends(
                "return http.request('GET', 'http://{endless_web}/')",
                Fails("more than 8388608 bytes"),
            ),
            Ends("return http.request('PUT', 'http://{web}/')", Denied("allow.net")),
            Ends(
                "return http.request('GET', 'http://{refused}/')",
                Fails("connection refused"),
            ),
        ],
    },
    Row {
        function: "icmp.ping",
        cases: [
            None("needs a kernel that allows pings: `a_ping_is_answered_or_says_why_not`"),
            None("needs a kernel that allows pings: `a_ping_is_answered_or_says_why_not`"),
            None("needs a kernel that allows pings: `a_ping_is_answered_or_says_why_not`"),
            Ends("return icmp.ping('127.0.0.1', {size=100000})", Misuse("0 to 65000")),
            Ends(
                "return icmp.ping('127.0.0.1')",
                Denied("allow.net = [\"127.0.0.1:*\"]"),
            ),
            None("needs a kernel that allows pings: `a_ping_is_answered_or_says_why_not`"),
        ],
    },
    Row {
        function: "process.run",
        cases: [
            Ends("return process.run('echo hello').stdout", Gives("hello")),
            Hangs("return process.run({'sh', '-c', 'sleep 1000 & sleep 1000'})"),
            Ends(
                "return process.run({'sh', '-c', 'sleep 1000 & sleep 1000'}, {timeout=0.1})",
                Fails("did not end within 0.1 s and was killed"),
            ),
            Ends(
                "return #process.run({'head', '-c', '3000000', '/dev/zero'}).stdout",
                Gives("1048576"),
            ),
            Ends("return process.run('true')", Denied("allow.run = [\"true\"]")),
            Ends("return process.run('no-such-program')", Fails("no such program")),
        ],
    },
    Row {
        function: "store.delete",
        cases: [
            Ends(
                "store.set('d', 1); return tostring(store.delete('d')) .. tostring(store.delete('d'))",
                Gives("truefalse"),
            ),
            Hangs("store.delete('d')"),
            Late("store.delete('d')"),
            Ends("return store.delete(('k'):rep(600))", Misuse("1 to 512 bytes")),
            None(OWN_FOLDER),
            Ends("return store.delete('d')", Fails("damaged")),
        ],
    },
    Row {
        function: "store.get",
        cases: [
            Ends(
                "store.set('g', {a={1}}); return store.get('g').a[1] .. store.get('none', 'x')",
                Gives("1x"),
            ),
            None(NO_WRITE),
            None(NO_WRITE),
            Ends("return store.get(('k'):rep(600))", Misuse("1 to 512 bytes")),
            None(OWN_FOLDER),
            Ends("return store.get('g')", Fails("damaged")),
        ],
    },
    Row {
        function: "store.incr",
        cases: [
            Ends(
                "store.delete('i'); store.incr('i'); return store.incr('i', 2)",
                Gives("3"),
            ),
            Hangs("store.incr('i')"),
            Late("store.incr('i')"),
            Ends(
                "store.set('i', math.maxinteger); return store.incr('i')",
                Misuse("larger than a number can be"),
            ),
            None(OWN_FOLDER),
            Ends("return store.incr('i')", Fails("damaged")),
        ],
    },
    Row {
        function: "store.keys",
        cases: [
            Ends(
                "store.set('k1', 1); store.set('k2', 1); return table.concat(store.keys('k'), ' ')",
                Gives("k1 k2"),
            ),
            None(NO_WRITE),
            None(NO_WRITE),
            None("a store has at most 10,000 keys of 512 bytes"),
            None(OWN_FOLDER),
            Ends("return store.keys()", Fails("damaged")),
        ],
    },
    Row {
        function: "store.set",
        cases: [
            Ends("store.set('s', 'x'); return store.get('s')", Gives("x")),
            Hangs("store.set('s', 1)"),
            Late("store.set('s', 1)"),
            Ends(
                "store.set('s', ('x'):rep(300000))",
                Misuse("at most 262144 are kept"),
            ),
            None(OWN_FOLDER),
            Ends("store.set('s', 1)", Fails("damaged")),
        ],
    },
    Row {
        function: "store.transaction",
        cases: [
            Ends(
                "local r = store.transaction(function(tx) tx.set('t', 1); return tx.incr('t') end)
                 local ok, why = pcall(store.transaction, function(tx) tx.set('t', 9); error('no', 0) end)
                 return r .. why .. store.get('t') .. tostring(pcall(store.transaction, function() moonkeep.sleep(1) end))",
                Gives("2no2false"),
            ),
            Hangs("store.transaction(function() end)"),
            Late("store.transaction(function() end)"),
            Ends(
                "store.transaction(function(tx) tx.set('t', ('x'):rep(300000)) end)",
                Misuse("at most 262144 are kept"),
            ),
            None(OWN_FOLDER),
            Ends("store.transaction(function() end)", Fails("damaged")),
        ],
    },
    Row {
        function: "system.disk",
        cases: [
            Ends("return system.disk('/').total > 0", Gives("true")),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None(FACTS_ONLY),
            None("how full a disk is no sandbox hides"),
            Ends("return system.disk('{folder}/none')", Fails("no such file")),
        ],
    },
    Row {
        function: "system.listeners",
        cases: [
            Ends(
                "for _, l in ipairs(system.listeners()) do if '127.0.0.1:' .. l.port == '{silent}' then return 'there' end end",
                Gives("there"),
            ),
            None(NO_DISK_HANGS),
            None(NO_DISK_HANGS),
            None("the kernel's tables are as long as they are"),
            Ends("return system.listeners()", Denied("allow.read = [\"/proc\"]")),
            None("the kernel's tables do not fail"),
        ],
    },
    Row {
        function: "tcp.connect",
        cases: [
            Ends("local c <close> = tcp.connect('{echo}'); return c.peer", Gives("{echo}")),
            Hangs("return tcp.connect('{blackhole}')"),
            Ends(
                "return tcp.connect('{blackhole}', {timeout=0.1})",
                Fails("no answer within 0.1 s"),
            ),
            None("nothing is carried yet"),
            Ends(
                "return tcp.connect('{echo}')",
                Denied("allow.net = [\"{echo}\"]"),
            ),
            Ends("return tcp.connect('{refused}')", Fails("connection refused")),
        ],
    },
    Row {
        function: "tcp:read",
        cases: [
            Ends(
                "local c <close> = tcp.connect('{echo}'); c:write('a\\nb'); return c:read() .. c:read(5)",
                Gives("ab"),
            ),
            Hangs("return tcp.connect('{silent}'):read()"),
            Ends(
                "return tcp.connect('{silent}', {timeout=0.1}):read()",
                Fails("nothing within 0.1 s"),
            ),
            Ends(
                "local c <close> = tcp.connect('{endless}'); return c:read('a')",
                Fails("more than 8388608 bytes came"),
            ),
            None(CONNECTED),
            Ends(
                "local c <close> = tcp.connect('{closing}'); return tostring(c:read())",
                Gives("nil"),
            ),
        ],
    },
    Row {
        function: "tcp:write",
        cases: [
            Ends(
                "local c <close> = tcp.connect('{echo}'); c:write('x\\n'); return c:read()",
                Gives("x"),
            ),
            Hangs("local c <close> = tcp.connect('{stuck}'); c:write(('x'):rep(3e7))"),
            Ends(
                "local c <close> = tcp.connect('{stuck}', {timeout=0.1}); c:write(('x'):rep(3e7))",
                Fails("nothing within 0.1 s"),
            ),
            None(WHOLE_DISK),
            None(CONNECTED),
            Ends(
                "local c <close> = tcp.connect('{closing}'); for _ = 1, 1000 do c:write(('x'):rep(1e5)) end",
                Fails("cannot write to {closing}"),
            ),
        ],
    },
    Row {
        function: "tls.certificate",
        cases: [
            Ends(
                "local c = tls.certificate('{tls}', {ca='{ca}'}); return c.serial .. tostring(c.verified) .. c.names[1] .. c.version",
                Gives("1234truelocalhostTLSv1.3"),
            ),
            Hangs("return tls.certificate('{silent}')"),
            Ends(
                "return tls.certificate('{silent}', {timeout=0.1})",
                Fails("no answer within 0.1 s"),
            ),
            Ends("return tls.certificate('{endless}')", Fails("is no TLS")),
            Ends("return tls.certificate('{tls}')", Denied("allow.net")),
            Ends("return tls.certificate('{closing}')", Fails("cannot connect to {closing}")),
        ],
    },
    Row {
        function: "tls.connect",
        cases: [
            Ends(
                "local c <close> = tls.connect('{tls}', {ca='{ca}'}); return c.tls.cipher",
                Gives("TLS_"),
            ),
            Hangs("return tls.connect('{silent}')"),
            Ends(
                "return tls.connect('{silent}', {timeout=0.1})",
                Fails("no answer within 0.1 s"),
            ),
            Ends(
                "return tls.connect('{endless}', {starttls='smtp'})",
                Fails("line is too long"),
            ),
            Ends("return tls.connect('{tls}')", Denied("allow.net")),
            Ends(
                "return tls.connect('{expired}', {ca='{ca}'})",
                Fails("cannot be trusted: expired"),
            ),
        ],
    },
    Row {
        function: "tls:read",
        cases: [
            Ends(
                "local c <close> = tls.connect('{tls}', {ca='{ca}'}); c:write('a\\n'); return c:read()",
                Gives("a"),
            ),
            Hangs("return tls.connect('{tls}', {insecure=true}):read()"),
            Ends(
                "return tls.connect('{tls}', {insecure=true, timeout=0.4}):read()",
                Fails("nothing within 0.4 s"),
            ),
            Ends(
                "local c <close> = tls.connect('{tls_endless}', {insecure=true}); return c:read('a')",
                Fails("more than 8388608 bytes came"),
            ),
            None(CONNECTED),
            Ends(
                "local c <close> = tls.connect('{tls_closing}', {insecure=true}); return c:read()",
                Fails("cannot read from {tls_closing}"),
            ),
        ],
    },
    Row {
        function: "tls:write",
        cases: [
            Ends(
                "local c <close> = tls.connect('{mail}', {ca='{ca}', starttls='smtp'}); c:write('x\\n'); return c:read()",
                Gives("x"),
            ),
            Hangs("local c <close> = tls.connect('{tls_stuck}', {insecure=true}); c:write(('x'):rep(3e7))"),
            Ends(
                "local c <close> = tls.connect('{tls_stuck}', {insecure=true, timeout=0.5}); c:write(('x'):rep(3e7))",
                Fails("nothing within 0.5 s"),
            ),
            None(WHOLE_DISK),
            None(CONNECTED),
            Ends(
                "local c <close> = tls.connect('{tls_closing}', {insecure=true}); for _ = 1, 1000 do c:write(('x'):rep(1e5)) end",
                Fails("cannot write to {tls_closing}"),
            ),
        ],
    },
    Row {
        function: "udp.open",
        cases: [
            Ends("local s <close> = udp.open('{udp_echo}'); return s.peer", Gives("{udp_echo}")),
            None("connecting a socket of UDP sends nothing and waits for nobody"),
            None("connecting a socket of UDP sends nothing and waits for nobody"),
            None("nothing is carried yet"),
            Ends("return udp.open('{udp_echo}')", Denied("allow.net = [\"{udp_echo}\"]")),
            Ends("return udp.open('nowhere.invalid:1')", Fails("cannot reach nowhere.invalid:1")),
        ],
    },
    Row {
        function: "udp.request",
        cases: [
            Ends(
                "local r = udp.request('{udp_echo}', 'hello'); return r.data .. r.tries",
                Gives("hello1"),
            ),
            Hangs("return udp.request('{mute}', 'x')"),
            Ends(
                "return udp.request('{mute}', 'x', {timeout=0.1, tries=2})",
                Fails("within 0.1 s, asked 2 times"),
            ),
            Ends(
                "return udp.request('{udp_echo}', ('x'):rep(65508))",
                Misuse("do not fit into a datagram"),
            ),
            Ends("return udp.request('{udp_echo}', 'x')", Denied("allow.net")),
            Ends("return udp.request('{refused}', 'x')", Fails("nobody listens")),
        ],
    },
    Row {
        function: "udp.send",
        cases: [
            Ends("udp.send('{mute}', 'x'); return 'sent'", Gives("sent")),
            None("a datagram is handed to the kernel, which does not wait"),
            None("a datagram is handed to the kernel, which does not wait"),
            Ends(
                "udp.send('{mute}', ('x'):rep(65508))",
                Misuse("do not fit into a datagram"),
            ),
            Ends("udp.send('{mute}', 'x')", Denied("allow.net")),
            Ends("udp.send('nowhere.invalid:1', 'x')", Fails("cannot reach nowhere.invalid:1")),
        ],
    },
    Row {
        function: "udp:receive",
        cases: [
            Ends(
                "local s <close> = udp.open('{udp_echo}'); s:send(('x'):rep(60000)); return #s:receive()",
                Gives("60000"),
            ),
            Hangs("local s <close> = udp.open('{mute}'); return s:receive()"),
            Ends(
                "local s <close> = udp.open('{mute}', {timeout=0.1}); return s:receive()",
                Fails("nothing within 0.1 s"),
            ),
            None(ONE_DATAGRAM),
            None(CONNECTED),
            Ends(
                "local s <close> = udp.open('{refused}'); s:send('x'); return s:receive()",
                Fails("connection refused"),
            ),
        ],
    },
    Row {
        function: "udp:send",
        cases: [
            Ends(
                "local s <close> = udp.open('{udp_echo}'); s:send('x'); return s:receive()",
                Gives("x"),
            ),
            None("a datagram is handed to the kernel, which does not wait"),
            None("a datagram is handed to the kernel, which does not wait"),
            Ends(
                "local s <close> = udp.open('{udp_echo}'); s:send(('x'):rep(65508))",
                Misuse("do not fit into a datagram"),
            ),
            None(CONNECTED),
            Ends(
                "local s <close> = udp.open('{refused}'); for _ = 1, 100 do s:send('x') end",
                Fails("connection refused"),
            ),
        ],
    },
    Row {
        function: "unix.connect",
        cases: [
            Ends("local c <close> = unix.connect('{unix_echo}'); return c.peer", Gives("{unix_echo}")),
            Hangs("return unix.connect('{unix_full}')"),
            Ends(
                "return unix.connect('{unix_full}', {timeout=0.1})",
                Fails("has been full for 0.1 s"),
            ),
            None("nothing is carried yet"),
            Ends(
                "return unix.connect('{unix_echo}')",
                Denied("allow.unix = [\"{unix_echo}\"]"),
            ),
            Ends("return unix.connect('{folder}/none')", Fails("no such socket")),
        ],
    },
    Row {
        function: "unix:read",
        cases: [
            Ends(
                "local c <close> = unix.connect('{unix_echo}'); c:write('a\\n'); return c:read()",
                Gives("a"),
            ),
            Hangs("return unix.connect('{unix_silent}'):read()"),
            Ends(
                "return unix.connect('{unix_silent}', {timeout=0.1}):read()",
                Fails("nothing within 0.1 s"),
            ),
            Ends(
                "local c <close> = unix.connect('{unix_endless}'); return c:read('a')",
                Fails("more than 8388608 bytes came"),
            ),
            None(CONNECTED),
            Ends(
                "local c <close> = unix.connect('{unix_closing}'); return tostring(c:read())",
                Gives("nil"),
            ),
        ],
    },
    Row {
        function: "unix:write",
        cases: [
            Ends(
                "local c <close> = unix.connect('{unix_echo}'); c:write('x\\n'); return c:read()",
                Gives("x"),
            ),
            Hangs("local c <close> = unix.connect('{unix_stuck}'); c:write(('x'):rep(3e7))"),
            Ends(
                "local c <close> = unix.connect('{unix_stuck}', {timeout=0.1}); c:write(('x'):rep(3e7))",
                Fails("nothing within 0.1 s"),
            ),
            None(WHOLE_DISK),
            None(CONNECTED),
            Ends(
                "local c <close> = unix.connect('{unix_closing}'); for _ = 1, 1000 do c:write(('x'):rep(1e5)) end",
                Fails("cannot write to {unix_closing}"),
            ),
        ],
    },
];

/// Starts everybody, and says what they are called.
pub(super) fn names(home: &Home) -> BTreeMap<&'static str, String> {
    let mut names = BTreeMap::from([
        ("web", on_tcp(peers::web)),
        ("endless_web", on_tcp(peers::endless_web)),
        ("broken_web", on_tcp(peers::broken_web)),
        ("echo", on_tcp(peers::echo)),
        ("silent", on_tcp(peers::silent)),
        ("stuck", on_tcp(peers::stuck)),
        ("closing", on_tcp(peers::closing)),
        ("garbage", on_tcp(peers::garbage)),
        ("endless", on_tcp(peers::endless)),
        ("refused", peers::refused()),
        ("blackhole", peers::full_tcp()),
        ("udp_echo", on_udp(|bytes| Some(bytes.to_vec()))),
        ("mute", on_udp(|_| Option::None)),
        ("named", on_udp(peers::named)),
        ("nobody", on_udp(peers::nobody)),
        ("nonsense", on_udp(peers::nonsense)),
        ("by_tcp", peers::named_by_tcp()),
        ("unix_echo", on_unix(home, "echo.sock", peers::echo)),
        ("unix_silent", on_unix(home, "silent.sock", peers::silent)),
        ("unix_stuck", on_unix(home, "stuck.sock", peers::stuck)),
        (
            "unix_closing",
            on_unix(home, "closing.sock", peers::closing),
        ),
        (
            "unix_endless",
            on_unix(home, "endless.sock", peers::endless),
        ),
        ("unix_full", peers::full_unix(home, "full.sock")),
    ]);
    let clear = peers::closing;
    let tls = |manner| on_tls("server.pem", clear, manner);
    names.extend([
        ("tls", tls(peers::echo)),
        ("tls_web", tls(peers::web)),
        ("tls_endless", tls(peers::endless)),
        ("tls_closing", tls(peers::rude)),
        ("tls_stuck", tls(peers::stuck)),
        ("expired", on_tls("expired.pem", clear, peers::echo)),
        ("mail", on_tls("server.pem", peers::mail, peers::echo)),
    ]);
    names.insert("ca", peers::place("ca.pem"));
    let folder = home.user().join("files");
    fs::create_dir_all(folder.join("in")).expect("a folder");
    for (name, text) in [
        ("some", "text"),
        ("lines", "one\ntwo\nthree\n"),
        ("in/one", ""),
        ("in/two", ""),
    ] {
        fs::write(folder.join(name), text).expect("a file");
    }
    fs::write(folder.join("large"), vec![b'x'; 9 * 1024 * 1024]).expect("a file");
    let pipe = folder.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("a pipe");
    names.insert("folder", folder.display().to_string());
    names
}
