//! `postern doctor`.

use control::CallError;
use control::api::{DoctorCheck, DoctorOutcome, Reply, Request};

use crate::cli::JsonArgs;
use crate::context::{Context, VERSION, unexpected};
use crate::failure::Failure;
use crate::terminal;

/// Asks the bridge to look everything over, and starts one if none runs.
pub(crate) fn run(args: &JsonArgs, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        let checks = checks(context).await?;
        if args.json {
            terminal::json(&checks)?;
        } else {
            terminal::say(text(&checks));
        }
        let broken = checks
            .iter()
            .filter(|check| check.outcome == DoctorOutcome::Broken)
            .count();
        match broken {
            0 => Ok(()),
            1 => Err(Failure::new("one thing does not work")),
            several => Err(Failure::new(format_args!("{several} things do not work"))),
        }
    })
}

async fn checks(context: &Context) -> Result<Vec<DoctorCheck>, Failure> {
    let mut client = match context.connect().await {
        Ok(client) => client,
        Err(CallError::NotRunning) => match context.bridge().await {
            Ok(client) => client,
            Err(failure) => {
                let finding = format!("does not start: {}", failure.message());
                return Ok(vec![not_serving(finding, failure.hint(), context)]);
            }
        },
        Err(hung @ CallError::Hung(_)) => return Ok(vec![hanging(hung, context)]),
        Err(error) => return Err(error.into()),
    };
    let mut checks = vec![version(&client.welcome().version)];
    match client.call(&Request::Doctor).await {
        Ok(Reply::Doctor(found)) => checks.extend(found),
        Ok(other) => return Err(unexpected(&other)),
        Err(hung @ CallError::Hung(_)) => checks.push(hanging(hung, context)),
        Err(error) => return Err(error.into()),
    }
    Ok(checks)
}

fn hanging(hung: CallError, context: &Context) -> DoctorCheck {
    let failure = Failure::from(hung);
    not_serving(failure.message().to_owned(), failure.hint(), context)
}

/// Without a bridge there is nobody to look at the rest.
fn not_serving(finding: String, first: Option<&str>, context: &Context) -> DoctorCheck {
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

fn version(of_bridge: &str) -> DoctorCheck {
    let same = of_bridge == VERSION;
    DoctorCheck {
        subject: "version".to_owned(),
        outcome: if same {
            DoctorOutcome::Fine
        } else {
            DoctorOutcome::Warning
        },
        finding: format!("the bridge is {of_bridge}, this program is {VERSION}"),
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

    use super::{text, version};

    #[test]
    fn what_is_wrong_comes_with_what_to_do() {
        let checks = [version(crate::context::VERSION), version("0.0.1")];
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
