//! Changing a part of a JSON object and leaving the rest as it was written.
//!
//! Owns: the members of an object as JSON texts. Does not own: what they mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Message, RequestId, json};

/// The members of an object: names and values as JSON texts, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Object<'a> {
    /// Parses JSON text. The result is empty if it is not an object.
    pub(crate) fn parse(text: &'a str) -> Self {
        threads::pass(text.len(), || {
            let mut text = serde_json::Deserializer::from_str(text);
            text.deserialize_map(Members).unwrap_or_default()
        })
    }

    pub(crate) fn from_raw(raw: Option<&'a RawValue>) -> Self {
        raw.map(|raw| Self::parse(raw.get())).unwrap_or_default()
    }

    /// Returns the value with this name. If there are several it is the last one, as most readers
    /// have it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(key, _)| is(key, name));
        found.map(|(_, value)| value.as_ref())
    }

    /// Returns the value with this name if it is a string.
    pub(crate) fn string(&self, name: &str) -> Option<String> {
        json::read(self.get(name)?).ok()
    }

    /// Returns the object with this name. The result is empty if there is none.
    pub(crate) fn object(&self, name: &str) -> Object<'_> {
        self.get(name).map(Object::parse).unwrap_or_default()
    }

    /// Sets the value with this name, a JSON text, at the end.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<Cow<'a, str>>) {
        self.cut(name);
        self.0.push((Cow::Owned(quoted(name)), value.into()));
    }

    /// Removes the members with this name.
    pub(crate) fn cut(&mut self, name: &str) {
        self.0.retain(|(key, _)| !is(key, name));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names as text, and the values as JSON.
    pub(crate) fn members(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().filter_map(|(key, value)| {
            let key = serde_json::from_str(key).ok()?;
            Some((key, value.as_ref()))
        })
    }

    pub(crate) fn text(&self) -> String {
        let size = self.0.iter().map(|(key, value)| key.len() + value.len());
        threads::pass(size.sum(), || self.text_here())
    }

    fn text_here(&self) -> String {
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

/// Returns a text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Builds the same message with other parameters, and with another id if it is a request.
pub(crate) fn with(message: &Message, id: Option<&RequestId>, params: &str) -> Message {
    let method = message.method().unwrap_or_default();
    match id {
        Some(id) => Message::raw_request(id, method, Some(params)),
        None => Message::raw_notification(method, params),
    }
}

fn is(key: &str, name: &str) -> bool {
    serde_json::from_str::<Cow<'_, str>>(key).is_ok_and(|key| key == name)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push((Cow::Borrowed(key.get()), Cow::Borrowed(value.get())));
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn untouched_members_keep_their_bytes() {
        let text = r#"{ "a": 1.0, "b\u0063": {"x": 1e2 , "y":[ ]}, "d":"\u00e9"}"#;
        let mut object = Object::parse(text);
        assert_eq!(object.get("bc"), Some(r#"{"x": 1e2 , "y":[ ]}"#));
        object.put("bc", "2.50");
        object.cut("a");
        object.put("new", "{}");
        let expected = r#"{"d":"\u00e9","bc":2.50,"new":{}}"#;
        assert_eq!(object.text(), expected);
        assert!(Object::parse("[1]").is_empty() && Object::parse("null").is_empty());
    }
}
