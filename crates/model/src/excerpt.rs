//! Excerpts of error responses of other programs, for Postern's own messages.
//!
//! Owns: the part of a body that is the message, its length, and that it contains no secrets.
//! Does not own: where the excerpt is shown.

use serde_json::Value;

/// How much of a body is parsed, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How much of the message is processed, in characters.
const MAX_LINE: usize = 4096;

/// How much of the message is shown, in characters.
const MAX_SHOWN: usize = 200;

/// How many consecutive characters of a secret may be shown, and the minimum length of a secret.
const MAX_COMMON: usize = 7;
const MIN_SECRET: usize = 4;

/// The members of JSON errors that contain a message for users, in the order of preference (RFC 6749,
/// RFC 9457, JSON-RPC, and other common ones).
const MESSAGE_MEMBERS: [&str; 8] = [
    "error_description",
    "message",
    "detail",
    "error",
    "title",
    "reason",
    "msg",
    "errors",
];

/// Returns the message in an error's body, as one line of at most 200 characters without control
/// characters. For JSON, that is the member for users, and for a page its title or text. Parts that the
/// message has in common with one of the `secrets` are replaced. Returns `None` if there is no message.
#[must_use]
pub fn excerpt(body: &[u8], secrets: &[&str]) -> Option<String> {
    let body = &body[..body.len().min(MAX_BODY)];
    let text = String::from_utf8_lossy(body);
    let words = match serde_json::from_str::<Value>(&text) {
        Ok(json) => json_message(&json).unwrap_or_else(|| text.clone().into_owned()),
        Err(_) if text.trim_start().starts_with('<') => page_text(&text),
        Err(_) => text.into_owned(),
    };
    let line = redact(&one_line(&words), secrets);
    let is_cut = line.chars().count() > MAX_SHOWN;
    let shown: String = line.chars().take(MAX_SHOWN).collect();
    let shown = shown.trim_end_matches(['.', ' ']);
    match (shown.is_empty(), is_cut) {
        (true, _) => None,
        (false, true) => Some(format!("{shown}…")),
        (false, false) => Some(shown.to_owned()),
    }
}

fn json_message(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Array(items) => items.first().and_then(json_message),
        Value::Object(members) => MESSAGE_MEMBERS
            .iter()
            .find_map(|name| members.get(*name).and_then(json_message)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn page_text(page: &str) -> String {
    // The conversion keeps byte offsets.
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| {
        let begin = at + lower[at..].find('>')? + 1;
        let end = begin + lower[begin..].find("</title")?;
        Some(&page[begin..end])
    });
    let text = match title.filter(|title| !title.trim().is_empty()) {
        Some(title) => title.to_owned(),
        None => without_tags(page, &lower),
    };
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text, |text, (entity, plain)| text.replace(entity, plain))
}

fn without_tags(page: &str, lower: &str) -> String {
    let (mut text, mut at) = (String::new(), 0);
    while let Some(tag) = lower[at..].find('<').map(|offset| at + offset) {
        text.push_str(&page[at..tag]);
        text.push(' ');
        let hidden = ["script", "style", "head"].into_iter().find(|name| {
            let rest = lower[tag + 1..].strip_prefix(name);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        });
        let end = match hidden {
            Some(name) => lower[tag..].find(&format!("</{name}")),
            None => Some(0),
        };
        let closed = end.and_then(|end| {
            let from = tag + end;
            lower[from..].find('>').map(|offset| from + offset + 1)
        });
        let Some(next) = closed else { return text };
        at = next;
    }
    text.push_str(&page[at..]);
    text
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    line.chars()
        .filter(|character| !is_invisible(*character))
        .take(MAX_LINE)
        .collect()
}

/// Returns whether a character is invisible and changes how others are shown.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Replaces the parts that the line has in common with a secret by an ellipsis.
fn redact(line: &str, secrets: &[&str]) -> String {
    let line: Vec<char> = line.chars().collect();
    let mut hidden = vec![false; line.len()];
    for secret in secrets.iter().flat_map(|secret| secret_forms(secret)) {
        let secret: Vec<char> = secret.chars().collect();
        if secret.len() < MIN_SECRET {
            continue;
        }
        let width = secret.len().min(MAX_COMMON + 1);
        for part in secret.windows(width) {
            for (at, window) in line.windows(width).enumerate() {
                if window == part {
                    hidden[at..at + part.len()].fill(true);
                }
            }
        }
    }
    let mut shown = String::new();
    for (character, is_hidden) in line.into_iter().zip(hidden) {
        match is_hidden {
            false => shown.push(character),
            true if shown.ends_with('…') => {}
            true => shown.push('…'),
        }
    }
    shown
}

/// Returns the secret parts of a header's value, plain and URL-encoded. A scheme such as `Bearer` is
/// not secret.
fn secret_forms(value: &str) -> Vec<String> {
    let parts: Vec<_> = value.split_whitespace().collect();
    let secrets = match parts.as_slice() {
        [_, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    };
    let written = secrets.iter().flat_map(|secret| {
        let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes());
        [(*secret).to_owned(), encoded.collect()]
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    fn plain_excerpt(body: &str) -> Option<String> {
        excerpt(body.as_bytes(), &[])
    }

    #[test]
    fn excerpt_of_json_is_member_for_users() {
        for body in [
            r#"{"error":"invalid_request","error_description":"no key"}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"no key"}}"#,
            r#"{"type":"about:blank","title":"Unauthorized","detail":"no key","status":401}"#,
            r#"{"errors":[{"code":1,"message":"no key"}]}"#,
            r#"{"error":"no key"}"#,
            r#"{"message":" ","detail":"no key"}"#,
            "\"no key\"",
            "no\r\n\tkey.\n",
        ] {
            assert_eq!(plain_excerpt(body).as_deref(), Some("no key"), "{body}");
        }
        assert_eq!(
            plain_excerpt(r#"{"code":7}"#).as_deref(),
            Some(r#"{"code":7}"#)
        );
        assert_eq!(plain_excerpt(""), None);
        assert_eq!(plain_excerpt(" \n"), None);
    }

    #[test]
    fn excerpt_of_page_has_no_markup() {
        let page = "<!DOCTYPE html><html><head><style>a{}</style><TITLE>401 &amp; out</TITLE></head><body>x</body></html>";
        assert_eq!(plain_excerpt(page).as_deref(), Some("401 & out"));
        let plain = "<html><head><script>1<2</script></head><h1>No</h1><p>key<script>evil()</script> here</p>";
        assert_eq!(plain_excerpt(plain).as_deref(), Some("No key here"));
        assert_eq!(
            plain_excerpt("<header>No</header> key").as_deref(),
            Some("No key")
        );
        for broken in ["<", "<a", "<script", "<title", "<head><"] {
            assert_eq!(plain_excerpt(broken), None, "{broken}");
        }
    }

    #[test]
    fn excerpt_is_one_short_line() {
        let hostile = format!("\u{1b}[31mred\u{202e}\r\n\u{0}{}", "x ".repeat(50_000));
        let shown = plain_excerpt(&hostile).unwrap();
        assert!(shown.starts_with("[31mred x x"), "{shown}");
        assert!(shown.ends_with('…') && shown.chars().count() <= 201);
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'));
        assert!(excerpt(&[0xff, 0xfe, b'n', b'o'], &[]).is_some());
    }

    #[test]
    fn excerpt_leaves_out_secrets() {
        let secret = "sk-live-a&b/12345";
        for body in [
            format!("the key {secret} is wrong"),
            "the key sk-live-a& is wrong".to_owned(),
            format!("{{\"message\":\"the key {secret} is wrong\"}}"),
            "<p>the key sk-live-a&amp;b/12345 is wrong</p>".to_owned(),
            "the key sk-live-a%26b%2F12345 is wrong".to_owned(),
        ] {
            let shown = excerpt(body.as_bytes(), &["blue", secret]).unwrap();
            assert_eq!(shown, "the key … is wrong", "{body}");
        }
        let bearer = excerpt(b"Bearer abcdefghijkl is wrong", &["Bearer abcdefghijkl"]);
        assert_eq!(bearer.as_deref(), Some("Bearer … is wrong"));
        assert_eq!(excerpt(b"k7mm is wrong", &["k7mm"]).unwrap(), "… is wrong");
        let short = excerpt(b"all is well", &["", " ", "l", "is"]);
        assert_eq!(short.unwrap(), "all is well");
    }
}
