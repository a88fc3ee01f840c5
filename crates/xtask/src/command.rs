//! Runs programs: their output is shown as it arrives, and a failure is one sentence.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

/// Runs a program, with an error that names it.
pub(crate) trait Run {
    /// Runs it with inherited output.
    fn run(&mut self) -> Result<(), String>;

    /// Runs it and passes every line of its standard output to `look`, after showing it unchanged.
    fn run_and_look(&mut self, look: impl FnMut(&str)) -> Result<(), String>;

    /// Runs it and returns its standard output; nothing is shown.
    fn capture(&mut self) -> Result<Vec<u8>, String>;
}

impl Run for Command {
    fn run(&mut self) -> Result<(), String> {
        let status = self.status().map_err(|error| unstarted(self, &error))?;
        ended(self, status)
    }

    fn run_and_look(&mut self, mut look: impl FnMut(&str)) -> Result<(), String> {
        let mut child =
            self.stdout(Stdio::piped()).spawn().map_err(|error| unstarted(self, &error))?;
        let output = child.stdout.take().ok_or("the output of a program was not to be had")?;
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(|error| error.to_string())? > 0 {
            std::io::stdout().write_all(&line).map_err(|error| error.to_string())?;
            look(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        ended(self, status)
    }

    fn capture(&mut self) -> Result<Vec<u8>, String> {
        let output =
            self.stderr(Stdio::inherit()).output().map_err(|error| unstarted(self, &error))?;
        ended(self, output.status)?;
        Ok(output.stdout)
    }
}

fn unstarted(command: &Command, error: &std::io::Error) -> String {
    format!("{} could not be started: {error}", shown(command))
}

fn ended(command: &Command, status: std::process::ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command))) }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
