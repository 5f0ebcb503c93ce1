//! `postern doctor`.

use control::CallError;
use control::api::{DoctorCheck, DoctorOutcome, Reply, Request};

use crate::cli::JsonArgs;
use crate::context::{Context, VERSION, unexpected};
use crate::error::CliError;
use crate::terminal;

/// Asks the bridge to look everything over, and starts one if none runs.
pub(crate) fn run(args: &JsonArgs, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        let checks = checks(context).await?;
        if args.json {
            terminal::json(&checks)?;
        } else {
            terminal::print(text(&checks));
        }
        let broken = checks
            .iter()
            .filter(|check| check.outcome == DoctorOutcome::Broken)
            .count();
        match broken {
            0 => Ok(()),
            1 => Err(CliError::new("one thing does not work")),
            several => Err(CliError::new(format_args!("{several} things do not work"))),
        }
    })
}

async fn checks(context: &Context) -> Result<Vec<DoctorCheck>, CliError> {
    let mut client = match context.connect().await {
        Ok(client) => client,
        Err(CallError::NotRunning) => match context.bridge().await {
            Ok(client) => client,
            Err(failure) => {
                let finding = format!("does not start: {}", failure.message());
                return Ok(vec![failed_check(finding, failure.hint(), context)]);
            }
        },
        Err(hung @ CallError::Hung(_)) => return Ok(vec![hung_check(hung, context)]),
        Err(error) => return Err(error.into()),
    };
    let mut checks = vec![version_check(&client.welcome().version)];
    match client.call(&Request::Doctor).await {
        Ok(Reply::Doctor(found)) => checks.extend(found),
        Ok(other) => return Err(unexpected(&other)),
        Err(hung @ CallError::Hung(_)) => checks.push(hung_check(hung, context)),
        Err(error) => return Err(error.into()),
    }
    Ok(checks)
}

fn hung_check(hung: CallError, context: &Context) -> DoctorCheck {
    let failure = CliError::from(hung);
    failed_check(failure.message().to_owned(), failure.hint(), context)
}

/// Without a bridge there is nobody to look at the rest.
fn failed_check(finding: String, first: Option<&str>, context: &Context) -> DoctorCheck {
    let hint = format!(
        "its log is {}; nothing else was looked at",
        context.home.log_file().display()
    );
    DoctorCheck {
        subject: "bridge".to_owned(),
        outcome: DoctorOutcome::Broken,
        finding,
        hint: Some(match first {
            Some(first) => format!("{first}; {hint}"),
            None => hint,
        }),
    }
}

fn version_check(bridge_version: &str) -> DoctorCheck {
    let same = bridge_version == VERSION;
    DoctorCheck {
        subject: "version".to_owned(),
        outcome: if same {
            DoctorOutcome::Fine
        } else {
            DoctorOutcome::Warning
        },
        finding: format!("the bridge is {bridge_version}, this program is {VERSION}"),
        hint: (!same).then(|| "`postern bridge --replace --detach` runs this version".to_owned()),
    }
}

fn text(checks: &[DoctorCheck]) -> String {
    let lines = checks.iter().map(|check| {
        let mark = match check.outcome {
            DoctorOutcome::Fine => "ok     ",
            DoctorOutcome::Warning => "warning",
            DoctorOutcome::Broken => "BROKEN ",
        };
        let hint = check
            .hint
            .as_ref()
            .map_or(String::new(), |hint| format!("\n           hint: {hint}"));
        format!("  {mark}  {}: {}{hint}", check.subject, check.finding)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use control::api::DoctorOutcome;

    use super::{text, version_check};

    #[test]
    fn what_is_wrong_comes_with_what_to_do() {
        let checks = [
            version_check(crate::context::VERSION),
            version_check("0.0.1"),
        ];
        assert_eq!(checks[0].outcome, DoctorOutcome::Fine);
        let text = text(&checks);
        assert!(
            text.starts_with("  ok       version: the bridge is "),
            "{text}"
        );
        assert!(
            text.contains("\n  warning  version: the bridge is 0.0.1"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\n           hint: `postern bridge --replace --detach` runs this version"
            ),
            "{text}"
        );
    }
}
