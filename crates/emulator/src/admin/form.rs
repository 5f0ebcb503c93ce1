//! The commands of the page, as its forms send them.

use crate::admin::Command;
use crate::admin::command::retry_after;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::fault_injection::{Requirement, Reuse, Times};
use crate::parameters::Parameters;

/// Reads a form of the page: `do` names the command, an empty field is left out.
///
/// # Errors
/// With what a person has to change.
pub(super) fn read(body: &[u8]) -> Result<Command, String> {
    let form = Parameters::parse(body).map_err(|fault: Fault| fault.to_string())?;
    Ok(match form.optional("do").unwrap_or_default() {
        "fail" => Command::Fail {
            number: number(&form, "number")?.ok_or("Which error? Type an AADSTS number.")?,
            endpoint: word(&form, "endpoint")?,
            user: form.owned("user"),
            app: form.owned("app"),
            times: times(&form)?.unwrap_or(Times::ONCE),
        },
        "require" => Command::Require {
            requirement: word::<Requirement>(&form, "requirement")?.ok_or("What is demanded?")?,
            user: form.owned("user"),
            app: form.owned("app"),
        },
        "throttle" => Command::Throttle {
            endpoint: word::<Endpoint>(&form, "endpoint")?,
            times: times(&form)?.unwrap_or(Times::ONCE),
            retry_after: number(&form, "retry_after")?.unwrap_or(retry_after()),
        },
        "outage" => Command::Outage {
            endpoint: word(&form, "endpoint")?,
            times: times(&form)?.unwrap_or(Times::Always),
        },
        "remove" => Command::Remove {
            rule: number(&form, "rule")?.ok_or("Which rule?")?,
        },
        "clear" => Command::Clear,
        "revoke-sessions" => Command::RevokeSessions {
            user: form.owned("user").ok_or("Whose sessions?")?,
        },
        "challenge-tokens" => Command::ChallengeTokens {
            user: form.owned("user").ok_or("Whose tokens?")?,
        },
        "refresh-reuse" => Command::RefreshReuse {
            reuse: word::<Reuse>(&form, "reuse")?.ok_or("Tolerated or detected?")?,
        },
        "add-key" => Command::AddKey,
        "use-key" => Command::UseKey {
            kid: form.owned("kid").ok_or("Which key?")?,
        },
        "drop-key" => Command::DropKey {
            kid: form.owned("kid").ok_or("Which key?")?,
        },
        "replace-keys" => Command::ReplaceKeys,
        "advance" => Command::Advance {
            seconds: number(&form, "seconds")?.ok_or("By how many seconds?")?,
        },
        other => return Err(format!("There is no command {other:?}.")),
    })
}

fn number<T: std::str::FromStr>(form: &Parameters, name: &str) -> Result<Option<T>, String> {
    form.optional(name)
        .map(|text| {
            text.trim()
                .parse()
                .map_err(|_| format!("{text:?} is not a number that goes here."))
        })
        .transpose()
}

/// `always`, or how often.
fn times(form: &Parameters) -> Result<Option<Times>, String> {
    match form.optional("times") {
        Some("always") => Ok(Some(Times::Always)),
        _ => Ok(number(form, "times")?.map(Times::Next)),
    }
}

/// One of the words that the JSON has too.
fn word<T: serde::de::DeserializeOwned>(
    form: &Parameters,
    name: &str,
) -> Result<Option<T>, String> {
    form.optional(name)
        .map(|text| {
            serde_json::from_value(text.into()).map_err(|_| format!("{text:?} is not known here."))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::read;
    use crate::admin::Command;
    use crate::endpoint::Endpoint;
    use crate::fault_injection::{Requirement, Times};

    #[test]
    fn reads_what_the_forms_of_the_page_send() {
        let fail = read(b"do=fail&number=50076&endpoint=token&user=&app=x&times=3");
        let expected = Command::Fail {
            number: 50_076,
            endpoint: Some(Endpoint::Token),
            user: None,
            app: Some("x".to_owned()),
            times: Times::Next(NonZeroU32::new(3).unwrap()),
        };
        assert_eq!(fail, Ok(expected));
        let require = read(b"do=require&requirement=second-factor&user=&app=");
        let expected = Command::Require {
            requirement: Requirement::SecondFactor,
            user: None,
            app: None,
        };
        assert_eq!(require, Ok(expected));
        let throttle = read(b"do=throttle&endpoint=&times=always&retry_after=");
        let expected = Command::Throttle {
            endpoint: None,
            times: Times::Always,
            retry_after: 60,
        };
        assert_eq!(throttle, Ok(expected));
    }

    #[test]
    fn says_what_is_wrong_with_a_form() {
        for (body, part) in [
            ("do=fail&number=", "Type an AADSTS number"),
            ("do=fail&number=x", "\"x\" is not a number"),
            ("do=fail&number=50076&times=0", "\"0\" is not a number"),
            ("do=outage&endpoint=logout", "\"logout\" is not known"),
            ("do=fly", "no command \"fly\""),
            ("", "no command"),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
    }
}
