//! The members of a JSON object, with any names and any repetitions.
//!
//! Owns: reading names as bytes. A name may be invalid text (half a surrogate pair), and an
//! irrelevant name must not hide the others. Does not own: what a value is.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `take` for each member of the object, in order. An error of `take` ends that.
///
/// # Errors
///
/// If the text is not one object, and the errors of `take`.
pub(crate) fn each<'a>(
    object: &'a str,
    take: impl FnMut(&[u8], &'a RawValue) -> Result<(), &'static str>,
) -> Result<(), serde_json::Error> {
    threads::pass(object.len(), || {
        let mut from = serde_json::Deserializer::from_str(object);
        from.deserialize_map(Each(take))?;
        from.end()
    })
}

/// Returns the value with this name. If there are several it is the last one, as most readers have
/// it.
pub(crate) fn find<'a>(object: &'a str, wanted: &str) -> Option<&'a RawValue> {
    let mut found = None;
    each(object, |name, value| {
        if name == wanted.as_bytes() {
            found = Some(value);
        }
        Ok(())
    })
    .ok()?;
    found
}

struct Each<F>(F);

impl<'de, F> Visitor<'de> for Each<F>
where
    F: FnMut(&[u8], &'de RawValue) -> Result<(), &'static str>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let name = unescaped(name.get()).map_err(A::Error::custom)?;
            (self.0)(&name, map.next_value()?).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Decodes the escapes of a JSON string. Half a surrogate pair is encoded as if it were a
/// character.
///
/// # Errors
///
/// If the text is not a string.
pub(crate) fn unescaped(json: &str) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Bytes<'a>(#[serde(borrow)] Cow<'a, [u8]>);
    let Bytes(bytes) = serde_json::from_str(json)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::find;

    fn found<'a>(object: &'a str, name: &str) -> Option<&'a str> {
        find(object, name).map(serde_json::value::RawValue::get)
    }

    #[test]
    fn invalid_name_hides_no_other() {
        let odd = r#"{"\ud800":1,"":2,"a":[3.0] ,"\u0061":"four","\udc00\ud83d":5}"#;
        assert_eq!(found(odd, "a"), Some(r#""four""#), "the last one");
        assert_eq!(found(odd, ""), Some("2"));
        assert_eq!(found(odd, "b"), None);
    }

    #[test]
    fn invalid_object_has_no_members() {
        for text in ["", "1", "[]", r#"{"a":1"#, r#"{"a":1} 2"#, r#"{"a":1,}"#] {
            assert_eq!(found(text, "a"), None, "{text}");
        }
    }
}
