//! Detects whether a request comes from a page of the gateway, by the headers that browsers set.

use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, HeaderName};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns true if a page of `origin` sent the form: by Origin, or by Referer if the browser sends no
/// Origin, and by Sec-Fetch-Site if the browser sends that.
pub(super) fn is_own_form(headers: &HeaderMap, origin: &str) -> bool {
    let site = single(headers, &SEC_FETCH_SITE);
    let from = match single(headers, &ORIGIN) {
        Given::Once(given) => given == origin,
        Given::Never => match single(headers, &REFERER) {
            Given::Once(referer) => referer
                .strip_prefix(origin)
                .is_some_and(|rest| rest.starts_with('/')),
            Given::Never | Given::Oddly => false,
        },
        Given::Oddly => false,
    };
    from && matches!(site, Given::Never | Given::Once("same-origin"))
}

/// Returns true if the browser itself started the navigation. A page of the gateway does not count,
/// because its links and redirects lead where a client wants. A browser that sends no such header does
/// not count either.
pub(super) fn is_started_by_browser(headers: &HeaderMap) -> bool {
    matches!(single(headers, &SEC_FETCH_SITE), Given::Once("none"))
}

enum Given<'a> {
    Never,
    Once(&'a str),
    Oddly,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Given<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Given::Never,
        (Some(value), None) => value.to_str().map_or(Given::Oddly, Given::Once),
        (Some(_), Some(_)) => Given::Oddly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn t6_form_of_other_site_is_detected() {
        let own = ("origin", "https://g.example");
        for (given, is_own) in [
            (&[own][..], true),
            (&[own, ("sec-fetch-site", "same-origin")], true),
            (&[("referer", "https://g.example/consent?request=1")], true),
            (&[], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[own, ("sec-fetch-site", "same-site")], false),
            (&[own, ("sec-fetch-site", "cross-site")], false),
            (&[own, ("sec-fetch-site", "none")], false),
            (&[own, own], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://g.example")], false),
            (&[("origin", "https://g.example.evil.example")], false),
            (
                &[
                    ("origin", "https://evil.example"),
                    ("referer", "https://g.example/"),
                ],
                false,
            ),
            (&[("referer", "https://g.example.evil.example/")], false),
            (&[("referer", "https://g.example")], false),
        ] {
            assert_eq!(
                is_own_form(&headers(given), "https://g.example"),
                is_own,
                "{given:?}"
            );
        }
    }

    #[test]
    fn t10_request_of_any_site_is_not_started_by_browser() {
        for (site, silent) in [
            ("none", true),
            ("same-origin", false),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            assert_eq!(
                is_started_by_browser(&headers(&[("sec-fetch-site", site)])),
                silent
            );
        }
        assert!(!is_started_by_browser(&headers(&[])));
    }
}
