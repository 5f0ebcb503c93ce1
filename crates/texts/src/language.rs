//! The languages of the catalogue, and which of them a user reads.

use serde::{Deserialize, Serialize};

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// Japanese.
    #[serde(rename = "ja")]
    Japanese,
    /// English with other letters and 40 % more of them. It shows texts that are not in the
    /// catalogue and layouts that are too narrow.
    #[serde(rename = "en-XA")]
    Pseudo,
}

impl Language {
    /// All languages.
    pub const ALL: [Self; 3] = [Self::English, Self::Japanese, Self::Pseudo];

    /// Returns the tag (BCP 47).
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Japanese => "ja",
            Self::Pseudo => "en-XA",
        }
    }

    /// Returns the language of a locale as POSIX (`ja_JP.UTF-8`) or BCP 47 (`ja-JP`) writes it.
    /// Returns `None` for a language that the catalogue lacks.
    #[must_use]
    pub fn from_locale(locale: &str) -> Option<Self> {
        let tag = locale.split(['.', '@']).next()?.replace('_', "-");
        let exact = Self::ALL
            .into_iter()
            .find(|known| known.tag().eq_ignore_ascii_case(&tag));
        let primary = tag.split('-').next()?;
        exact.or_else(|| {
            [Self::English, Self::Japanese]
                .into_iter()
                .find(|known| known.tag().eq_ignore_ascii_case(primary))
        })
    }

    /// Returns the language that an `Accept-Language` header prefers (RFC 9110 §12.5.4). Returns
    /// English if the catalogue has none of its languages.
    #[must_use]
    pub fn from_accept_language(header: &str) -> Self {
        let mut best: Option<(Self, u16)> = None;
        for range in header.split(',') {
            let (tag, weight) = weighted(range);
            if let Some(language) = Self::from_locale(tag)
                && weight > best.map_or(0, |(_, weight)| weight)
            {
                best = Some((language, weight));
            }
        }
        best.map_or(Self::English, |(language, _)| language)
    }
}

/// Splits a language range into its tag and its weight in thousandths. An unreadable weight is 0.
fn weighted(range: &str) -> (&str, u16) {
    let mut parts = range.split(';').map(str::trim);
    let tag = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q="));
    let thousandths = |weight: &str| {
        let weight: f32 = weight.parse().ok()?;
        (0.0..=1.0).contains(&weight).then_some(weight * 1000.0)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and 1000"
    )]
    match weight {
        None => (tag, 1000),
        Some(weight) => (tag, thousandths(weight).unwrap_or_default() as u16),
    }
}
