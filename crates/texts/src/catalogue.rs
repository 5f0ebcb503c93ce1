//! The messages of each language, and their rendering.

use std::borrow::Cow;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use crate::keys::{EN, JA};
use crate::{Arg, Language, Params};

type Bundle = FluentBundle<FluentResource>;

static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| bundle("en", EN, None));
static JAPANESE: LazyLock<Bundle> = LazyLock::new(|| bundle("ja", JA, None));
static PSEUDO: LazyLock<Bundle> = LazyLock::new(|| bundle("en", EN, Some(pseudo)));

/// Renders a message or an attribute of it. Returns `None` if the catalogue lacks it. The tests check
/// that all languages have the same ones.
pub(crate) fn render(
    language: Language,
    code: &str,
    attribute: Option<&str>,
    params: &Params,
) -> Option<String> {
    let bundle = match language {
        Language::English => &*ENGLISH,
        Language::Japanese => &*JAPANESE,
        Language::Pseudo => &*PSEUDO,
    };
    let message = bundle.get_message(code)?;
    let pattern = match attribute {
        None => message.value()?,
        Some(name) => message.get_attribute(name)?.value(),
    };
    let arguments = arguments(params, language);
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&arguments), &mut errors);
    debug_assert!(errors.is_empty(), "{code}: {errors:?}");
    Some(text.into_owned())
}

fn arguments(params: &Params, language: Language) -> FluentArgs<'_> {
    let pairs = params.iter().map(|(name, value)| {
        let value = match value {
            Arg::Number(number) => FluentValue::from(*number),
            Arg::Verbatim(text) => FluentValue::from(text.as_str()),
            Arg::Text(text) => FluentValue::from(text.message(language)),
            Arg::HintOf { text } => FluentValue::from(text.hint(language).unwrap_or_default()),
        };
        (Cow::Borrowed(&**name), value)
    });
    pairs.collect()
}

/// Builds the bundle of a language. Values are not isolated by invisible marks, because addresses,
/// commands and paths are copied from texts.
fn bundle(language: &str, files: &[&str], transform: Option<fn(&str) -> Cow<'_, str>>) -> Bundle {
    let language: LanguageIdentifier = language.parse().unwrap_or_default();
    let mut bundle = Bundle::new_concurrent(vec![language]);
    bundle.set_use_isolating(false);
    bundle.set_transform(transform);
    bundle.set_formatter(Some(|value, _| match value {
        // Ports and codes have no thousands separators.
        FluentValue::Number(number) => Some(number.value.to_string()),
        _ => None,
    }));
    for file in files {
        // The tests parse every file and report what is wrong with it.
        let resource = match FluentResource::try_new((*file).to_owned()) {
            Ok(resource) | Err((resource, _)) => resource,
        };
        bundle.add_resource_overriding(resource);
    }
    bundle
}

/// Replaces the vowels and makes the text 40 % longer.
fn pseudo(text: &str) -> Cow<'_, str> {
    let mut vowels = 0;
    let mut changed = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        let other = match letter {
            'a' => 'á',
            'e' => 'é',
            'i' => 'í',
            'o' => 'ó',
            'u' => 'ú',
            'A' => 'Á',
            'E' => 'É',
            'I' => 'Í',
            'O' => 'Ó',
            'U' => 'Ú',
            other => other,
        };
        changed.push(other);
        if other != letter {
            vowels += 1;
            if other.is_lowercase() {
                changed.push(other);
            }
        }
    }
    if vowels == 0 {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(changed)
    }
}
