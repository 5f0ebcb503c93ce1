//! Every text that a user reads, in each language, as data.
//!
//! Owns: the catalogue (Project Fluent files under `locales/`), its keys as types, and the
//! rendering of a [`Text`]. Does not own: which language is shown where, and the meaning of an
//! error for the caller (`control::api::ProblemKind`).
//!
//! A [`Text`] is the key of a message with its parameters. It is rendered where it is shown. An
//! error is a text whose message has an attribute `hint`, which says what to do next. The key is
//! the code of the error (`docs/errors.md`).
//!
//! [`text!`] makes a text. A key or a parameter that the English files do not have is an error of
//! the compiler.

mod catalogue;
mod language;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use language::Language;

/// The key of a message and its parameters. Serialized as `{"code": …, "params": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    code: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    params: Params,
}

/// The parameters of a [`Text`], by name.
type Params = std::collections::BTreeMap<Cow<'static, str>, Arg>;

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arg {
    /// A number, which selects plural forms.
    Number(i64),
    /// A value that has no translation: a name, a path, a message of a server.
    Verbatim(String),
    /// The hint of another text. Nothing is shown if that has none.
    HintOf {
        /// The text.
        #[serde(rename = "hintOf")]
        text: Box<Text>,
    },
    /// The message of another text, such as the cause.
    Text(Box<Text>),
}

/// An error that can be shown to a user.
pub trait Describe {
    /// Returns what failed, with its parameters and its cause.
    fn text(&self) -> Text;
}

/// Makes a [`Text`]: `text!(NotSignedIn)`, `text!(PortInUse { server, port: 80 })`.
///
/// The values of parameters are anything that converts into [`Arg`]. A parameter without a value
/// takes the variable of its name.
#[macro_export]
macro_rules! text {
    (@value $name:ident) => { $name };
    (@value $name:ident $value:expr) => { $value };
    ($key:ident) => { $crate::Text::from($crate::key::$key) };
    ($key:ident { $($name:ident $(: $value:expr)?),+ $(,)? }) => {
        $crate::Text::from($crate::key::$key {
            $($name: $crate::Arg::from($crate::text!(@value $name $($value)?)),)+
        })
    };
}

/// Implements `Display` and `Error` for an error that implements [`Describe`]: its English text
/// with the hint, for logs.
#[macro_export]
macro_rules! error_in_english {
    ($($error:ty),+ $(,)?) => { $(
        impl ::std::fmt::Display for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&$crate::Describe::text(self), f)
            }
        }

        impl ::std::error::Error for $error {}
    )+ };
}

mod keys {
    use super::{Arg, Text};

    /// A message as a file has it.
    #[cfg(test)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Row {
        pub(crate) code: &'static str,
        pub(crate) attributes: &'static [&'static str],
        pub(crate) params: &'static [&'static str],
    }

    include!(concat!(env!("OUT_DIR"), "/keys.rs"));
}
pub use keys::key;

impl Text {
    fn from_key<const N: usize>(code: &'static str, params: [(&'static str, Arg); N]) -> Self {
        let params = params.map(|(name, value)| (Cow::Borrowed(name), value));
        Self {
            code: Cow::Borrowed(code),
            params: params.into(),
        }
    }

    /// Makes a text of words that have no translation: those of a library or of a server.
    #[must_use]
    pub fn verbatim(text: impl fmt::Display) -> Self {
        text!(Verbatim {
            text: text.to_string()
        })
    }

    /// Renders the message. Returns its key if the catalogue lacks it, as that of an older version
    /// may.
    #[must_use]
    pub fn message(&self, language: Language) -> String {
        catalogue::render(language, &self.code, None, &self.params)
            .unwrap_or_else(|| self.code.clone().into_owned())
    }

    /// Renders an attribute of the message. Returns `None` if it has no such attribute.
    fn attribute(&self, name: &str, language: Language) -> Option<String> {
        catalogue::render(language, &self.code, Some(name), &self.params)
    }

    /// Renders what to do next: the attribute `hint` of the message, else the hints of the texts in
    /// it. Returns `None` if there is none.
    #[must_use]
    pub fn hint(&self, language: Language) -> Option<String> {
        self.attribute("hint", language).or_else(|| {
            let causes = self.params.values().filter_map(|value| match value {
                Arg::Text(cause) => cause.hint(language),
                Arg::Number(_) | Arg::Verbatim(_) | Arg::HintOf { .. } => None,
            });
            causes.reduce(|first, second| text!(HintsJoined { first, second }).message(language))
        })
    }

    /// Returns the hint of this text as a parameter of another one.
    #[must_use]
    pub fn into_hint(self) -> Arg {
        Arg::HintOf {
            text: Box::new(self),
        }
    }
}

/// Shows the English message and hint, for logs.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(Language::English))?;
        match self.hint(Language::English) {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Verbatim(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Verbatim(value.to_owned())
    }
}

impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Verbatim(value.clone())
    }
}

impl From<&Path> for Arg {
    fn from(value: &Path) -> Self {
        Self::Verbatim(value.display().to_string())
    }
}

impl From<&Text> for Arg {
    fn from(value: &Text) -> Self {
        Self::Text(Box::new(value.clone()))
    }
}

impl From<Text> for Arg {
    fn from(value: Text) -> Self {
        Self::Text(Box::new(value))
    }
}

macro_rules! number {
    ($($number:ty),+) => { $(
        /// A number beyond `i64` is shown as the greatest one.
        impl From<$number> for Arg {
            fn from(value: $number) -> Self {
                Self::Number(i64::try_from(value).unwrap_or(i64::MAX))
            }
        }
    )+ };
}
number!(i32, i64, u8, u16, u32, u64, usize);

#[cfg(test)]
mod tests;
