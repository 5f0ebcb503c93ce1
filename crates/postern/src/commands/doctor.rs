//! `postern doctor`.

use control::CallError;
use control::api::{DoctorCheck, DoctorOutcome, Reply, Request};

use crate::cli::JsonArgs;
use crate::context::{Context, VERSION, unexpected};
use crate::error::CliError;
use crate::terminal;

/// Runs the bridge's diagnostics, and starts a bridge if none runs.
pub(crate) fn run(args: &JsonArgs, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        let checks = checks(context).await?;
        if args.json {
            terminal::json(&checks)?;
        } else {
            terminal::print(text(&checks));
        }
        let failed = checks
            .iter()
            .filter(|check| check.outcome == DoctorOutcome::Failed)
            .count();
        match failed {
            0 => Ok(()),
            1 => Err(CliError::new("one check failed")),
            several => Err(CliError::new(format_args!("{several} checks failed"))),
        }
    })
}

async fn checks(context: &Context) -> Result<Vec<DoctorCheck>, CliError> {
    let mut client = match context.connect().await {
        Ok(client) => client,
        Err(CallError::NotRunning) => match context.bridge().await {
            Ok(client) => client,
            Err(error) => {
                let finding = format!("does not start: {}", error.message());
                return Ok(vec![failed_check(finding, error.hint(), context)]);
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
    let error = CliError::from(hung);
    failed_check(error.message().to_owned(), error.hint(), context)
}

/// Returns the check of a bridge that cannot be used. It is the only one, because the bridge runs the
/// others.
fn failed_check(finding: String, first: Option<&str>, context: &Context) -> DoctorCheck {
    let hint = format!(
        "see its log {}; the other checks were skipped",
        context.home.log_file().display()
    );
    DoctorCheck {
        subject: "bridge".to_owned(),
        outcome: DoctorOutcome::Failed,
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
            DoctorOutcome::Ok
        } else {
            DoctorOutcome::Warning
        },
        finding: format!("the bridge is {bridge_version}, this program is {VERSION}"),
        hint: (!same).then(|| "`postern bridge --replace --detach` starts this version".to_owned()),
    }
}

fn text(checks: &[DoctorCheck]) -> String {
    let lines = checks.iter().map(|check| {
        let mark = match check.outcome {
            DoctorOutcome::Ok => "ok     ",
            DoctorOutcome::Warning => "warning",
            DoctorOutcome::Failed => "FAILED ",
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
    fn warning_is_shown_with_hint() {
        let checks = [
            version_check(crate::context::VERSION),
            version_check("0.0.1"),
        ];
        assert_eq!(checks[0].outcome, DoctorOutcome::Ok);
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
                "\n           hint: `postern bridge --replace --detach` starts this version"
            ),
            "{text}"
        );
    }
}
