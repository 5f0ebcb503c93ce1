//! The steps of a longer job. Each is announced and timed, and the first failure ends the job.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// A job in steps.
pub(crate) struct Steps {
    job: &'static str,
    started: Instant,
    done: Vec<(String, Duration)>,
}

impl Steps {
    pub(crate) fn new(job: &'static str) -> Self {
        Self {
            job,
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Runs a program as a step, with its output.
    ///
    /// # Errors
    ///
    /// If it cannot be started or fails. The error names the step.
    pub(crate) fn command(&mut self, step: &str, command: &mut Command) -> Result<()> {
        let shown = shown(command);
        self.step(step, &shown, || run(command))
    }

    /// Runs `work` as a step. Returns its result.
    ///
    /// # Errors
    ///
    /// The error of `work`, after the step's name.
    pub(crate) fn step<T>(
        &mut self,
        step: &str,
        detail: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        println!("\n==> {step}: {detail}");
        let started = Instant::now();
        let outcome = work();
        let took = started.elapsed();
        if outcome.is_ok() {
            println!("    {step}: done in {}", duration(took));
            self.done.push((step.to_owned(), took));
        }
        outcome.with_context(|| {
            format!(
                "{} stopped at step `{step}` after {}",
                self.job,
                duration(self.started.elapsed())
            )
        })
    }

    /// Prints the duration of each step.
    pub(crate) fn finish(self) {
        println!();
        for (step, took) in &self.done {
            println!("{:>10}  {step}", duration(*took));
        }
        println!(
            "{}: all {} steps passed in {}",
            self.job,
            self.done.len(),
            duration(self.started.elapsed())
        );
    }
}

/// Runs a program to its end.
///
/// # Errors
///
/// If it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy(),
    ];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    words.join(" ")
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}
