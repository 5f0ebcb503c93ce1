//! A parser for the HTML forms of Postern's own pages: attributes are in double quotes, and forms
//! are not nested.

use std::collections::BTreeMap;

/// A form of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// The URL that it is submitted to.
    pub(super) action: String,
    /// The names and values of the inputs.
    pub(super) inputs: Vec<(String, String)>,
    /// The names and values of the submit buttons.
    pub(super) buttons: Vec<(String, String)>,
}

impl Form {
    /// Returns all forms of the page.
    pub(super) fn all(page: &str) -> Vec<Self> {
        page.split("<form")
            .skip(1)
            .filter_map(|rest| {
                let (head, rest) = rest.split_once('>')?;
                let body = rest.split("</form>").next()?;
                let named = |tag| {
                    elements(body, tag)
                        .filter_map(|element| name_and_value(&element))
                        .collect()
                };
                Some(Self {
                    action: attributes(head).remove("action").unwrap_or_default(),
                    inputs: named("<input"),
                    buttons: named("<button"),
                })
            })
            .collect()
    }

    /// Sets the value of an input. Returns false if there is no such input.
    pub(super) fn fill(&mut self, name: &str, text: &str) -> bool {
        let input = self.inputs.iter_mut().find(|(known, _)| known == name);
        input.map(|(_, value)| text.clone_into(value)).is_some()
    }

    /// Returns whether the form has this button.
    pub(super) fn has_button(&self, name: &str, value: &str) -> bool {
        self.buttons
            .iter()
            .any(|(known, has)| known == name && has == value)
    }

    /// Returns the fields that a browser submits when the button is clicked.
    pub(super) fn click(self, name: &str, value: &str) -> Vec<(String, String)> {
        let mut fields = self.inputs;
        fields.push((name.to_owned(), value.to_owned()));
        fields
    }
}

fn elements<'a>(
    html: &'a str,
    tag: &'a str,
) -> impl Iterator<Item = BTreeMap<String, String>> + 'a {
    html.split(tag)
        .skip(1)
        .map(|rest| attributes(rest.split('>').next().unwrap_or_default()))
}

fn name_and_value(element: &BTreeMap<String, String>) -> Option<(String, String)> {
    let value = element.get("value").cloned().unwrap_or_default();
    Some((element.get("name")?.clone(), value))
}

fn attributes(mut text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let Some((value, rest)) = rest.split_once('"') else {
            break;
        };
        let name = name.split_ascii_whitespace().last().unwrap_or_default();
        found.insert(name.to_owned(), unescaped(value));
        text = rest;
    }
    found
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after
            .split_once(';')
            .and_then(|(name, after)| Some((character(name)?, after)));
        match reference {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        number => {
            let code = match number.strip_prefix("#x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.strip_prefix('#')?.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    const PAGE: &str = r#"<p>a &amp; b</p><form method="post" action="/x?a=1&#38;b=2">
        <input type="hidden" name="flow" value="q&quot;&#x3C;&lt;&unknown;"><input name="passwd" autofocus>
        <div><button name="action" value="next" formnovalidate>Next</button><button
        name="account" value="a@b.example" data-account="a@b.example">A</button></div></form>
        <form action="/y"><button>Go</button></form>"#;

    #[test]
    fn form_is_filled_and_submitted_like_in_browser() {
        let mut forms = Form::all(PAGE);
        assert_eq!(forms.len(), 2);
        assert_eq!(
            forms[1],
            Form {
                action: "/y".into(),
                inputs: vec![],
                buttons: vec![]
            }
        );
        let mut form = forms.remove(0);
        assert_eq!(form.action, "/x?a=1&b=2");
        assert!(form.has_button("account", "a@b.example") && !form.has_button("account", "c"));
        assert!(form.fill("passwd", "p") && !form.fill("other", "p"));
        let sent = [
            ("flow", "q\"<<&unknown;"),
            ("passwd", "p"),
            ("action", "next"),
        ];
        let sent: Vec<_> = sent
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(form.click("action", "next"), sent);
    }
}
