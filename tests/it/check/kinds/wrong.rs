//! A wrong parameter is unknown, and its name is said.

use super::expect;
use crate::check::serve;

#[test]
fn a_wrong_parameter_is_unknown_and_named() {
    let web = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    let url = format!("plugin = \"http\"\nurl = \"http://{web}/\"\n");
    let http = |more: &str| format!("{url}{more}");
    let tcp = format!("plugin = \"tcp\"\naddress = \"{web}\"\n");
    expect(&[
        (
            &http("status = \"30\""),
            "unknown",
            "`status` takes statuses",
        ),
        (
            &http("json = [\"== 3\"]"),
            "unknown",
            "`json` takes conditions",
        ),
        (&http("json = [\"a =~ (\"]"), "unknown", "`json`"),
        (&http("matches = \"(\""), "unknown", "`matches`"),
        (
            &http("health = \"maybe\""),
            "unknown",
            "`health` takes yes, no or auto",
        ),
        (
            &http("follow = \"yes\""),
            "unknown",
            "`follow` takes true or false",
        ),
        (&http("warn = \"20:10\""), "unknown", "`warn` of `time`"),
        (&http("urll = \"x\""), "unknown", "did you mean `url`?"),
        ("plugin = \"http\"", "unknown", "lacks url"),
        (&format!("{tcp}matches = \"(\""), "unknown", "`matches`"),
        (
            &format!("{tcp}crit = \"soon\""),
            "unknown",
            "`crit` of `time`",
        ),
        (
            "plugin = \"udp\"\naddress = \"127.0.0.1:1\"\nsend = \"x\"\nmatches = \"[\"",
            "unknown",
            "`matches`",
        ),
        (
            "plugin = \"unix\"\npath = \"/x\"\nmatches = \"[\"",
            "unknown",
            "`matches`",
        ),
        (
            "plugin = \"dns\"\nname = \"x\"\nrecord = \"ANY\"",
            "unknown",
            "`record` takes A, AAAA",
        ),
        (
            "plugin = \"ntp\"\nserver = \"x\"\nsamples = 0",
            "unknown",
            "`samples` takes 1 to 10",
        ),
        (
            "plugin = \"icmp\"\nhost = \"x\"\ncount = 1000",
            "unknown",
            "`count` takes 1 to 100",
        ),
        (
            "plugin = \"tls\"\naddress = \"x\"\nstarttls = \"irc\"",
            "unknown",
            "`starttls` takes smtp",
        ),
        (
            "plugin = \"tls\"\naddress = \"x\"\nversion = \"2\"",
            "unknown",
            "`version` takes TLSv1.2",
        ),
        (
            "plugin = \"smtp\"\naddress = \"x\"\nrecipient = \"a@b\"",
            "unknown",
            "`recipient` needs the parameter `from`",
        ),
        (
            "plugin = \"ssh\"\naddress = 5\nwarn = []",
            "unknown",
            "`warn` takes a text",
        ),
        (
            "plugin = \"redis\"\naddress = \"x\"\ninfo = [\"role is master\"]",
            "unknown",
            "`info` takes conditions",
        ),
        (
            "plugin = \"postgres\"\naddress = \"x\"\nquery = \"select 1\"",
            "unknown",
            "`query` needs the parameter `user`",
        ),
        (
            "plugin = \"port\"\nport = \"http\"",
            "unknown",
            "`port` takes a number",
        ),
        (
            "plugin = \"port\"\nport = 80\nprotocol = \"sctp\"",
            "unknown",
            "`protocol` takes tcp or udp",
        ),
        (
            "plugin = \"disk\"\npaths = \"/\"\nfree_crit = \"lots\"",
            "unknown",
            "`free_crit` takes bytes",
        ),
        (
            "plugin = \"disk\"\npaths = \"/\"\nwarn = 100\ncrit = 100\ninodes_crit = \"x\"",
            "unknown",
            "`crit` of `inodes`",
        ),
        (
            "plugin = \"load\"\nover = 7",
            "unknown",
            "`over` takes 1, 5 or 15",
        ),
        (
            "plugin = \"memory\"\nwarn = \"x\"",
            "unknown",
            "`warn` of `available`",
        ),
        (
            "plugin = \"swap\"\nrequired = 1",
            "unknown",
            "`required` takes true or false",
        ),
        (
            "plugin = \"file\"\npath = \"/\"\nage = \"soon\"",
            "unknown",
            "`age` takes a time",
        ),
        (
            "plugin = \"file\"\npath = \"/\"\nmode = \"rwx\"",
            "unknown",
            "`mode` takes permissions",
        ),
        (
            "plugin = \"file\"\npath = \"/\"\nowner = \"no-such-user\"",
            "unknown",
            "`owner`",
        ),
        (
            "plugin = \"process\"\nmatches = \"(\"",
            "unknown",
            "`matches`",
        ),
        (
            "plugin = \"process\"\ntimeout = \"5s\"",
            "unknown",
            "lacks name",
        ),
        (
            "plugin = \"process\"\nname = \"x\"\ncount = \"few\"",
            "unknown",
            "`crit` of `processes`",
        ),
        (
            "plugin = \"process\"\nuser = \"no-such-user\"",
            "unknown",
            "`user`",
        ),
        (
            "plugin = \"command\"\ncommand = \"true\"\nexit = 300",
            "unknown",
            "`exit` takes exit codes",
        ),
        (
            "plugin = \"command\"\ncommand = \"\"",
            "unknown",
            "`command` is empty",
        ),
        (
            "plugin = \"nagios\"\ncommand = \"\"",
            "unknown",
            "`command` is empty",
        ),
        (
            "plugin = \"log\"\npath = \"/x\"\nmatches = \"(\"",
            "unknown",
            "`matches`",
        ),
        (
            "plugin = \"log\"\npath = \"/x\"\nmatches = \"x\"\nbegin = \"now\"",
            "unknown",
            "`begin` takes end or start",
        ),
        (
            "plugin = \"log\"\npath = \"/x\"\nmatches = \"x\"\nhold = \"long\"",
            "unknown",
            "`hold` takes a time",
        ),
        ("plugin = \"systemd\"", "unknown", "lacks units"),
        ("plugin = \"script\"", "unknown", "lacks script"),
    ]);
}
