//! Which variables of the daemon's environment reach a worker. Pure: it says which, and reads none.

/// Whether a script or plugin sees this variable. `allow`: its `allow.env`.
#[must_use]
pub fn passes(name: &str, allow: &[String]) -> bool {
    PASSED.contains(&name)
        || name.starts_with(PASSED_PREFIX)
        || allow.iter().any(|allowed| allowed == name)
}

/// Variables that every worker gets, if the daemon has them. Nothing else passes by itself: tokens of whoever started
/// the daemon stay out, and no `LD_PRELOAD` or `LUA_INIT` steers a script.
const PASSED: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];
/// Variables with this beginning pass too.
const PASSED_PREFIX: &str = "LC_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_is_not_passed_unless_it_is_allowed() {
        let allow = ["TOKEN".to_owned()];
        for name in ["PATH", "LC_ALL", "TOKEN"] {
            assert!(passes(name, &allow), "{name}");
        }
        for name in ["LD_PRELOAD", "LUA_PATH", "TOKENS", "path"] {
            assert!(!passes(name, &allow), "{name}");
        }
    }
}
