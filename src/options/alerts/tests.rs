use super::*;
use crate::options::Config;

fn hooks(text: &str) -> Vec<Hook> {
    Config::parse(text).expect(text).alerts()
}

fn hook(section: &str) -> Hook {
    let mut hooks = hooks(&format!("[alert.x]\n{section}\n"));
    assert_eq!(hooks.len(), 1, "{section}");
    hooks.remove(0)
}

#[test]
fn each_way_is_read_with_its_defaults() {
    let page = hook("exec = [\"page\", \"--team\"]");
    assert_eq!(
        page,
        Hook {
            name: "x".to_owned(),
            action: Action::Exec {
                argv: vec!["page".to_owned(), "--team".to_owned()]
            },
            timeout: Duration::from_secs(10),
            tags: Vec::new(),
            states: Vec::new(),
        }
    );
    assert_eq!(
        hook("webhook = \"https://a/{{check}}\"").action,
        Action::Webhook {
            url: "https://a/{{check}}".to_owned(),
            method: "POST".to_owned(),
            headers: Vec::new(),
            body: None
        }
    );
    let manager = hook(
        "alertmanager = \"http://127.0.0.1:9093\"\nheaders.Authorization = \"Bearer env:T\"\ntimeout = 3\ntags = [\"web\"]\nstates = [\"critical\", \"unknown\"]",
    );
    assert_eq!(
        manager.action,
        Action::Alertmanager {
            url: "http://127.0.0.1:9093".to_owned(),
            headers: vec![("Authorization".to_owned(), "Bearer env:T".to_owned())],
        }
    );
    assert_eq!(manager.timeout, Duration::from_secs(3));
    assert_eq!(manager.states, ["critical", "unknown"]);
}

#[test]
fn what_is_switched_off_is_read_and_not_told() {
    let text = "[alert.a]\nenabled = false\nexec = [\"x\"]\n[alert.b]\nexec = [\"y\"]\n";
    let names: Vec<String> = hooks(text).into_iter().map(|hook| hook.name).collect();
    assert_eq!(names, ["b"]);
    assert!(Config::parse("[alert.a]\nenabled = false\nexec = 1\n").is_err());
}

#[test]
fn errors_say_what_where_and_what_instead() {
    for (section, expected) in [
        (
            "webhok = \"http://a\"",
            "line 2: unknown key \"webhok\"; did you mean \"webhook\"?",
        ),
        (
            "tags = [\"a\"]",
            "line 1: [alert.x] does nothing; add exec = [\"PROGRAM\"], webhook = \"https://...\" or alertmanager = \"http://...\"",
        ),
        (
            "exec = [\"a\"]\nwebhook = \"http://a\"",
            "line 1: [alert.x] has more than one of exec, webhook and alertmanager; make a section of each",
        ),
        (
            "exec = [\"a\"]\nbody = \"b\"",
            "line 1: [alert.x] has `body`, which says something of a request: it belongs beside a webhook",
        ),
        (
            "exec = []",
            "line 2: exec: the first word names the program, and must not be empty; write for example: exec = [\"/usr/local/bin/page\", \"--team\", \"web\"]",
        ),
        (
            "webhook = \"example.org\"",
            "line 2: webhook: expected an address such as \"https://example.org/hook\", with http:// or https:// and a host; write for example: webhook = \"https://ntfy.example.org/ops\"",
        ),
        (
            "webhook = \"http://a/{{chck}}\"",
            "line 2: webhook: unknown placeholder \"chck\"; did you mean \"check\"?; write for example: webhook = \"https://ntfy.example.org/ops\"",
        ),
        (
            "webhook = \"http://a\"\nstates = [\"ok\"]",
            "line 3: states: expected \"warning\", \"critical\" or \"unknown\", found \"ok\"; write for example: states = [\"critical\"]",
        ),
        (
            "webhook = \"http://a\"\ntimeout = \"1h\"",
            "line 3: timeout: must be between 100ms and 5m, found \"1h\"; write for example: timeout = \"30s\"",
        ),
        (
            "webhook = \"http://a\"\nbody = '{\"text\": {{message}}}'",
            "line 1: [alert.x] has a body that is no JSON once it is filled in (expected value at line 1 column 10); put quotes around placeholders, or say headers = { \"Content-Type\" = \"text/plain\" }",
        ),
        (
            "webhook = \"http://a\"\nmethod = \"GET\"\nbody = 'x'",
            "line 1: [alert.x] has a body, but a GET request carries none; use method = \"POST\"",
        ),
    ] {
        let text = format!("[alert.x]\n{section}\n");
        let error = Config::parse(&text).expect_err(section).to_string();
        assert_eq!(error, expected);
    }
    for section in [
        "webhook = \"http://a\"\nheaders = { \"a b\" = \"c\" }",
        "webhook = \"http://a\"\nheaders = { Host = \"c\" }",
        "webhook = \"http://a\"\nheaders = { A = \"b\\r\\nC: d\" }",
        "webhook = \"http://a\"\nheaders = { A = \"Bearer env:2\" }",
        "webhook = \"http://a\\n\"",
        "webhook = \"env:\"",
        "webhook = \"https://\"",
        "exec = [\"a\\u0000\"]",
        "exec = \"a b\"",
    ] {
        let text = format!("[alert.x]\n{section}\n");
        assert!(Config::parse(&text).is_err(), "{text}");
    }
    assert_eq!(
        Config::parse("alert = 5")
            .expect_err("no table")
            .to_string(),
        "line 1: \"alert\" must be a section; write [alert.NAME] and its keys below it"
    );
}

#[test]
fn a_secret_in_a_faulty_address_is_not_repeated() {
    let text = "[alert.x]\nwebhook = \"htps://user:s3cret@a/?token=s3cret\"\n";
    let error = Config::parse(text).expect_err("no address").to_string();
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn a_body_is_json_by_its_type_or_its_first_sign() {
    let typed = |kind: &str| vec![("content-TYPE".to_owned(), kind.to_owned())];
    assert!(is_json(" {\"a\":1}", &[]));
    assert!(is_json("[1]", &[]));
    assert!(!is_json("{{message}}", &typed("text/plain")));
    assert!(is_json("\"x\"", &typed("application/vnd.a+JSON")));
    assert!(!is_json("text", &[]));
    assert!(!is_json("{{message}}", &[]));
}

#[test]
fn every_example_and_every_default_of_the_table_is_accepted() {
    for key in KEYS {
        let way = match key.name {
            "exec" | "webhook" | "alertmanager" => "",
            _other => "webhook = \"http://a\"",
        };
        let mut lines = vec![key.example.to_owned()];
        if !key.default.is_empty() {
            lines.push(format!("{} = {}", key.name, key.default));
        }
        for line in lines {
            let text = format!("[alert.x]\n{way}\n{line}\n");
            assert!(Config::parse(&text).is_ok(), "{text}");
        }
    }
}
