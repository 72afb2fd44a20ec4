//! "Did you mean": the known name that was probably meant by one that is not known. Pure.

/// The known name nearest to `given`, if any is near: a few slips away, or one that was not typed to its
/// end.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .filter(|name| *name != given)
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(slips, name)| is_near(given, name, *slips))
        .min()
        .map(|(_, name)| name)
}

/// One slip, and one more for each four letters; but what has nothing in common is no slip.
fn is_near(given: &str, name: &str, slips: usize) -> bool {
    let longer = given.len().max(name.len());
    let is_begun = given.len() >= 2 && name.starts_with(given);
    (slips <= 1 + longer / 4 && slips < longer) || is_begun
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_meant_and_what_is_far_is_not() {
        const KNOWN: [&str; 6] = ["web", "gateway", "warn", "queue", "is_known", "b"];
        for (given, meant) in [
            ("wbe", Some("web")),
            ("we", Some("web")),
            ("gatewya", Some("gateway")),
            ("gate", Some("gateway")),
            ("webserver", None),
            ("qeue", Some("queue")),
            ("is_konwn", Some("is_known")),
            ("a", None),
            ("disk", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, KNOWN), meant, "{given}");
        }
    }

    #[test]
    fn a_known_name_is_not_its_own_neighbour() {
        assert_eq!(nearest("web", ["web", "wep"]), Some("wep"));
        assert_eq!(nearest("web", ["web"]), None);
    }
}
