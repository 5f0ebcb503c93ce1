//! Parses the forms of the admin page into commands.

use crate::admin::Command;
use crate::admin::command::retry_after;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::fault_injection::{Requirement, Reuse, Times};
use crate::parameters::Parameters;

/// Parses a form of the page. `do` names the command; an empty field counts as missing.
///
/// # Errors
/// With a message that tells the user what to change.
pub(super) fn read(body: &[u8]) -> Result<Command, String> {
    let form = Parameters::parse(body).map_err(|fault: Fault| fault.to_string())?;
    Ok(match form.optional("do").unwrap_or_default() {
        "fail" => Command::Fail {
            number: number(&form, "number")?.ok_or("Type an AADSTS number.")?,
            endpoint: word(&form, "endpoint")?,
            user: form.owned("user"),
            app: form.owned("app"),
            times: times(&form)?.unwrap_or(Times::ONCE),
        },
        "require" => Command::Require {
            requirement: word::<Requirement>(&form, "requirement")?
                .ok_or("Select a requirement.")?,
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
            rule: number(&form, "rule")?.ok_or("Select a rule.")?,
        },
        "clear" => Command::Clear,
        "revoke-sessions" => Command::RevokeSessions {
            user: form.owned("user").ok_or("Select a user.")?,
        },
        "challenge-tokens" => Command::ChallengeTokens {
            user: form.owned("user").ok_or("Select a user.")?,
        },
        "refresh-reuse" => Command::RefreshReuse {
            reuse: word::<Reuse>(&form, "reuse")?.ok_or("Select tolerated or detected.")?,
        },
        "add-key" => Command::AddKey,
        "use-key" => Command::UseKey {
            kid: form.owned("kid").ok_or("Select a key.")?,
        },
        "drop-key" => Command::DropKey {
            kid: form.owned("kid").ok_or("Select a key.")?,
        },
        "replace-keys" => Command::ReplaceKeys,
        "advance" => Command::Advance {
            seconds: number(&form, "seconds")?.ok_or("Type a number of seconds.")?,
        },
        other => return Err(format!("There is no command {other:?}.")),
    })
}

fn number<T: std::str::FromStr>(form: &Parameters, name: &str) -> Result<Option<T>, String> {
    form.optional(name)
        .map(|text| {
            text.trim()
                .parse()
                .map_err(|_| format!("{text:?} is not a number that is allowed here."))
        })
        .transpose()
}

/// Parses `always` or a number.
fn times(form: &Parameters) -> Result<Option<Times>, String> {
    match form.optional("times") {
        Some("always") => Ok(Some(Times::Always)),
        _ => Ok(number(form, "times")?.map(Times::Next)),
    }
}

/// Parses a value as the JSON API spells it.
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
    fn form_fields_parse_to_commands() {
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
    fn invalid_form_returns_message() {
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
